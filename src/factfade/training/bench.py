"""One training as an objective sees it: what a heavy one is opened with, and how a light one becomes a live one."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from factfade.errors import RunFailed
from factfade.protocols import HeavyObjective, LiveObjective, Objective, Sources

if TYPE_CHECKING:
    import torch

    from factfade.models.prompting import Prompter


@dataclass(frozen=True, kw_only=True)
class TrainingBench:
    """`protocols.Bench` of one training."""

    net: Any
    start_sources: Sources | None
    device: str
    seed: int
    steps_per_epoch: int
    prompter: Prompter

    @property
    def sources(self) -> Sources:
        """What the loop offers beside the documents; RunFailed where the trainer was called without."""
        if self.start_sources is None:
            raise RunFailed(
                "this objective needs held-out text, questions or the start model, and none were given",
                hint="pass sources= to train(), as the loop does",
            )
        return self.start_sources

    def base(self) -> Any:
        """The run's start model, for reading: no gradient, in evaluation mode, on the device of the training."""
        from factfade.models import loading

        base = self.sources.base
        loading.look_through(base)
        net = loading.load_weights(base, dtype="float32", device=self.device)
        net.requires_grad_(False)
        return net.eval()

    def encode(self, text: str) -> list[int]:
        """Ids of raw text, no special tokens."""
        return list(self.prompter.encode(text))

    def prompt(self, text: str) -> list[int]:
        """Ids of a prompt that is put raw: exactly one BOS where the model has one."""
        return list(self.prompter.prompt(text))

    def continued(self, prompt: str, target: str) -> tuple[list[int], list[int]]:
        """Ids of a raw prompt, and of a target as it stands after it. A prompt's trailing blanks go to the target."""
        from factfade.models.prompting import continuation, moved_blank

        bare, moved = moved_blank(prompt, target)
        return self.prompt(bare), continuation(self.encode, bare, moved)


@dataclass(frozen=True, kw_only=True)
class Light:
    """An objective of logits and labels alone, as a live one."""

    objective: Objective

    def step_loss(
        self, logits: torch.Tensor, labels: torch.Tensor, *, ids: torch.Tensor, step: int
    ) -> tuple[torch.Tensor, torch.Tensor, dict[str, float]]:
        """The objective's own loss; where and when it is asked for makes no difference to it."""
        return self.objective.loss(logits, labels)


@contextmanager
def opened(objective: Objective | HeavyObjective, bench: TrainingBench) -> Generator[LiveObjective]:
    """The objective for one training: a heavy one is opened and closed, a light one is itself."""
    if isinstance(objective, HeavyObjective):
        with objective.open(bench) as live:
            yield live
    else:
        yield Light(objective=objective)
