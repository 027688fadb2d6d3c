"""Losses. An objective returns the sum over target tokens and its normaliser; who trains divides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

#: The label of a position that is no target.
IGNORED = -100


@dataclass(frozen=True, kw_only=True)
class CrossEntropy:
    """Cross-entropy of the target token in nats, summed over targets and normalised by their number.

    The logarithm is taken in float32 whatever the precision of the logits: in bfloat16 a sum over a vocabulary has
    three digits.
    """

    def loss(self, logits: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, dict[str, float]]:
        """Sum of the losses, number of targets, nothing to log. `logits` (batch, position, vocabulary) predict
        `labels` (batch, position) of the same place; -100 is no target. Without a target the sum is 0."""
        from torch.nn.functional import cross_entropy

        flat = logits.reshape(-1, logits.shape[-1]).float()
        total = cross_entropy(flat, labels.reshape(-1), ignore_index=IGNORED, reduction="sum")
        return total, (labels != IGNORED).sum(), {}
