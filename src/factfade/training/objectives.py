"""Losses of logits and labels alone. An objective returns the sum over target tokens and its normaliser; who trains
divides."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from factfade.training.tokens import IGNORED, summed_cross_entropy

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True)
class CrossEntropy:
    """Cross-entropy of the target token in nats, summed over targets and normalised by their number.

    The logarithm is taken in float32 whatever the precision of the logits: in bfloat16 a sum over a vocabulary has
    three digits.
    """

    def loss(self, logits: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, dict[str, float]]:
        """Sum of the losses, number of targets, nothing to log. `logits` (batch, position, vocabulary) predict
        `labels` (batch, position) of the same place; -100 is no target. Without a target the sum is 0."""
        return summed_cross_entropy(logits, labels), (labels != IGNORED).sum(), {}


@dataclass(frozen=True, kw_only=True)
class SpectralDecoupling:
    """Cross-entropy + (coefficient / 2) * mean ||logits||^2: large logits cost (Pezeshki et al., arXiv 2011.09468).

    The mean is over the target tokens; the square norm is a sum over the vocabulary. With a mean over the vocabulary
    too, the coefficient would be the vocabulary's size times as large. `centred` takes each token's mean over the
    vocabulary out of its logits first: the softmax does not see it. In float32 whatever the logits' precision.

    The paper speaks of one logit per example. That a language model's next-token logits stand in for it is our
    transfer.
    """

    coefficient: float = 1e-4
    centred: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.coefficient) and self.coefficient >= 0):
            raise ValueError(f"coefficient is a number of at least 0, not {self.coefficient}")

    def loss(self, logits: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, dict[str, float]]:
        """Sum of both terms over targets, number of targets; logs `logit_norm`, the targets' mean of ||logits||."""
        targets = labels != IGNORED
        number = targets.sum()
        own = logits[targets].float()
        if self.centred:
            own = own - own.mean(-1, keepdim=True)
        squares = own.square().sum(-1)
        total = summed_cross_entropy(logits, labels) + self.coefficient / 2 * squares.sum()
        logs = {"logit_norm": float(squares.detach().sqrt().mean())} if int(number) else {}
        return total, number, logs
