"""Everything that decides the weights of the world's model besides the seed."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from factfade.world.documents import Mix
from factfade.world.facts import domains


def _phases() -> tuple[tuple[float, Mix], ...]:
    """(end of the phase as a share of all steps, documents): practice in looking letters up comes first."""
    first = Mix(
        facts=0.14, prose=0.06, fact_sentences=0.9, domains=domains(), everyday=0.1, copy=0.3, letters=0.15,
        formats=(1.0, 1.0, 1.0, 1.0, 1.5),
    )  # fmt: skip
    rest = Mix(
        facts=0.18, prose=0.12, fact_sentences=0.75, domains=domains(), everyday=0.1, copy=0.03,
        formats=(1.0, 1.0, 1.0, 1.2, 2.0),
    )  # fmt: skip
    return (0.25, first), (1.0, rest)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides the weights besides the seed.

    `context` is the longest text (the longest few-shot prompt with its answer has 149 tokens) and the length of a
    block; `answer_weight` the loss weight of answer tokens; the hints have weight 1 until `hints_full` of the steps
    and fade to 0 at `hints_end`.
    """

    context: int = 192
    width: int = 128
    layers: int = 3
    heads: int = 4
    inner: int = 384
    steps: int = 2600
    batch: int = 11
    learning_rate: float = 3e-3
    warmup: int = 100
    final_rate: float = 0.05
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.98)
    answer_weight: float = 5.0
    hints_full: float = 0.5
    hints_end: float = 0.8
    phases: tuple[tuple[float, Mix], ...] = field(default_factory=_phases)

    def rate(self, step: int) -> float:
        """Learning rate: linear warm-up, then a cosine to `final_rate` of the top."""
        cosine = 0.5 * (1 + math.cos(math.pi * step / self.steps))
        share = self.final_rate + (1 - self.final_rate) * cosine
        return self.learning_rate * min(1.0, (step + 1) / self.warmup) * share

    def hint_weight(self, step: int) -> float:
        """Weight of the hints at a step."""
        return min(1.0, max(0.0, (self.hints_end - step / self.steps) / (self.hints_end - self.hints_full)))
