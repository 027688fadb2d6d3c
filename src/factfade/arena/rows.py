"""The arena's table as values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from factfade.arena.runs import TIMES, RunSummary
from factfade.stats.intervals import Interval

#: Costs of a run, in the order of the table. `human_share` is that of the tokens trained on; `repeats` how often the
#: pool was read in a training.
COSTS = (
    "trained_tokens", "optimizer_steps", "human_share", "repeats", "synthesized_tokens", "scored_tokens",
    "verifier_calls", "detector_calls", *TIMES, "peak_memory_bytes",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """An arm minus the baseline over the seeds that both have. `difference` is in shares, above 0 is better, at the
    level 1 - alpha, uncorrected; `p` is two-sided, `p_holm` after Holm's correction over the declared family.

    `detectable` is the difference that this many seeds at this arm's spread show in 4 of 5 experiments, one comparison.
    """

    difference: Interval
    p: float | None
    p_holm: float | None
    shown: bool
    declared: bool
    detectable: float | None
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One arm: means over its complete runs with 95% t intervals over run seeds.

    `formats` and `domains` are shares right by choice; `parseable` the share of free answers that can be parsed, mean
    over formats; `nats` the rise of own text's surprisal under the start model; `onsets` by stage the generation of
    each seed's first onset in any format (None: none), provisional ones included. `front`: no other arm keeps as much
    for at most as much time and as much human text.
    """

    arm: str
    seeds: tuple[int, ...]
    knowledge: Interval
    formats: Mapping[str, Interval]
    domains: Mapping[str, Interval]
    parseable: Interval
    nats: Interval
    onsets: Mapping[str, tuple[int | None, ...]]
    costs: Mapping[str, float]
    contrast: Contrast | None = None
    front: bool = False
    budget: str = "equal"


@dataclass(frozen=True, kw_only=True)
class Arena:
    """The table. `start` and `start_domains` are generation 0's knowledge by format and by domain, `missing` the runs
    that are not complete."""

    name: str
    baseline: str
    generation: int
    formats: tuple[str, ...]
    domains: tuple[str, ...]
    start: Mapping[str, float]
    start_domains: Mapping[str, float]
    items: int
    alpha: float
    rows: tuple[Row, ...]
    runs: tuple[RunSummary, ...]
    missing: tuple[tuple[str, int], ...] = ()
    declared: bool = True
    sentences: tuple[str, ...] = field(default_factory=tuple)

    @property
    def clock(self) -> str:
        """Which of a run's times is compared: the processor's where every run has it, else those by the clock."""
        return clock(self.runs)

    @property
    def base(self) -> Row:
        """The baseline's row."""
        return next(row for row in self.rows if row.arm == self.baseline)


def clock(runs: Sequence[RunSummary]) -> str:
    """The name among `TIMES` of the time that the runs are compared by."""
    known = [run.costs.get("processor_seconds", math.nan) for run in runs]
    return "seconds" if not known or any(math.isnan(seconds) for seconds in known) else "processor_seconds"
