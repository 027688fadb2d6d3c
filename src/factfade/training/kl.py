"""Cross-entropy and a price on moving away from the run's start model."""

from __future__ import annotations

import math
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from factfade.protocols import Bench
from factfade.training.tokens import IGNORED, summed_cross_entropy

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True)
class KlToStart:
    """CE + beta * KL per target token, between the next-token distributions of the run's start model and the trained.

    `direction` "forward" is KL(start || trained): what the start model finds likely must stay likely. "reverse" is
    KL(trained || start): what the trained model finds likely must have been likely. The start model is generation 0,
    in every generation. Source: knowledge distillation against forgetting (Li and Hoiem, arXiv 1606.09282).
    """

    beta: float = 0.1
    direction: Literal["forward", "reverse"] = "forward"

    def __post_init__(self) -> None:
        if not (math.isfinite(self.beta) and self.beta >= 0):
            raise ValueError(f"beta is a number of at least 0, not {self.beta}")
        if self.direction not in ("forward", "reverse"):
            raise ValueError(f'direction is "forward" or "reverse", not {self.direction!r}')

    @contextmanager
    def open(self, bench: Bench) -> Generator[LiveKl]:
        """Loads the start model, for one training."""
        yield LiveKl(settings=self, start=bench.base())


@dataclass(frozen=True, kw_only=True)
class LiveKl:
    """The objective with the start model at hand."""

    settings: KlToStart
    start: Any

    def step_loss(
        self, logits: torch.Tensor, labels: torch.Tensor, *, ids: torch.Tensor, step: int
    ) -> tuple[torch.Tensor, torch.Tensor, dict[str, float]]:
        """Sum of both terms over targets, number of targets; logs `kl`, the targets' mean divergence in nats."""
        from factfade.training.divergence import StartDivergence

        del step
        targets = labels != IGNORED
        reverse = self.settings.direction == "reverse"
        divergence: Any = StartDivergence.apply(logits, targets, ids, self.start, reverse)
        number = targets.sum()
        total = summed_cross_entropy(logits, labels) + self.settings.beta * divergence
        logs = {"kl": float(divergence.detach()) / int(number)} if int(number) else {}
        return total, number, logs
