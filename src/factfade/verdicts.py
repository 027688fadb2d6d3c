"""What is concluded from the stored tables: scores, stage calls and findings. Frozen plain data, as in `records`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, kw_only=True)
class Score:
    """A number with its n and its interval. `low`/`high` bound `value` at `level`; `method` names the interval.

    `value` is None when the evidence cannot carry it; then `reason` says why.
    """

    name: str
    value: float | None
    n: int
    low: float | None = None
    high: float | None = None
    level: float = 0.95
    method: str = ""
    unit: str = ""
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class ScoreRow:
    """A score with the place it belongs to: one line of the long table of scores."""

    lineage: str
    seed: int
    generation: int
    format: str
    domain: str
    score: Score


Stage = Literal["A", "B", "C", "undetermined"]


@dataclass(frozen=True, kw_only=True)
class Condition:
    """One comparison with generation 0: the loss (positive = worse), its two one-sided bounds, its margin.

    `shown_not_worse` = upper bound below the margin; `shown_worse` = lower bound above the margin, also after the
    correction for all looks of the family. `p` is one-sided, of "the loss is at most the margin"; `p_family` is p
    adjusted (Holm 1979). `sentence` says it in words.
    """

    endpoint: str
    loss: float | None
    low: float | None
    high: float | None
    margin: float
    n: int
    unit: str
    shown_not_worse: bool
    shown_worse: bool
    sentence: str
    method: str = ""
    p: float | None = None
    p_family: float | None = None


@dataclass(frozen=True, kw_only=True)
class StageCall:
    """The call for one lineage, seed, generation and format, with every condition and the sentence that says why.

    `probabilities` are those of each stage over resamples of the items and prompts: how firm the call is in this run.
    """

    lineage: str
    seed: int
    generation: int
    format: str
    stage: Stage
    conditions: tuple[Condition, ...]
    sentence: str
    at_chance: bool = False
    flags: tuple[str, ...] = ()
    attribution: Condition | None = None
    attribution_sentence: str = ""
    probabilities: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Overall:
    """The calls of one lineage, seed and generation over its formats: C where one is C, else B where one is B, A where
    all are A, undetermined otherwise. `formats` lists the formats by stage."""

    lineage: str
    seed: int
    generation: int
    stage: Stage
    formats: Mapping[str, Sequence[str]]
    sentence: str


@dataclass(frozen=True, kw_only=True)
class Onset:
    """First generation of a call that the next evaluated generation repeats; provisional in the last one."""

    lineage: str
    seed: int
    format: str
    stage: Stage
    generation: int
    provisional: bool


@dataclass(frozen=True, kw_only=True)
class StageReport:
    """All calls and onsets of an experiment, with the rule (and its hash) they were made by.

    `declared_sha256` is the hash of the rule that was stored before generation 1; None where none was. `guards` are
    the notes on artefacts, to be read before any stage.
    """

    calls: tuple[StageCall, ...]
    onsets: tuple[Onset, ...]
    rule: Mapping[str, Any]
    rule_sha256: str
    sentences: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()
    guards: Sequence[str] = ()
    overall: tuple[Overall, ...] = ()
    declared_sha256: str | None = None


Estimand = Literal["checkpoints", "recipe"]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One answer about a lineage, or about a recipe, over generations: a trend, a slope, a retention, a diagnosis.

    `estimand` names what the interval speaks of: "checkpoints" (these models; questions or texts are the unit) or
    "recipe" (what training like this does; training runs are the unit). `value` with its bounds at `level`; a bound
    that is None with `unbounded` set is infinite, else it is not known. `p` is of the test that `method` names.
    `n` counts `units`. `reason` says why there is no answer ("" where there is one); `sentence` says it in words.
    `extra` holds further numbers by name, plain data only (a curve, a table, the power).
    """

    analysis: str
    name: str
    estimand: Estimand
    lineage: str
    seed: int | None = None
    format: str = ""
    domain: str = ""
    value: float | None = None
    low: float | None = None
    high: float | None = None
    unbounded: bool = False
    level: float = 0.95
    p: float | None = None
    n: int = 0
    units: str = "items"
    unit: str = "share"
    method: str = ""
    sentence: str = ""
    reason: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)
