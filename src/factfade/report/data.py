"""What the report says, as plain values: everything `render` needs and nothing it would have to compute.

A curve of `seed` None is the mean over the seeds. Shares are in [0, 1]; fluency is in nats per token or a perplexity.
Every text in here may come from a model or a data set and is untrusted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from factfade.places import Places
from factfade.verdicts import Onset, Score, Stage, StageCall


@dataclass(frozen=True, kw_only=True)
class Point:
    """A score at a generation."""

    generation: int
    score: Score


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One measure of one run over its evaluated generations; `seed` None is the mean over seeds."""

    seed: int | None
    points: tuple[Point, ...]

    def at(self, generation: int) -> Score | None:
        """The score of a generation; None where it was not evaluated."""
        return next((p.score for p in self.points if p.generation == generation), None)


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One measure of one arm: a curve per seed, the mean of several, and the control's curve (one, or none).

    `unit` is "share", "nats" or "perplexity". `reference` is a level to compare with, named by `reference_label`
    (chance, or generation 0 plus the margin).
    """

    name: str
    label: str
    unit: str
    curves: tuple[Curve, ...]
    control: Curve | None = None
    reference: float | None = None
    reference_label: str = ""

    @property
    def main(self) -> Curve | None:
        """The mean over seeds, or the one seed there is."""
        return next((c for c in self.curves if c.seed is None), self.curves[0] if self.curves else None)

    @property
    def seeds(self) -> tuple[Curve, ...]:
        """The curves of single seeds."""
        return tuple(c for c in self.curves if c.seed is not None)

    @property
    def first(self) -> Score | None:
        """The main curve's score at its first generation."""
        return self.main.points[0].score if self.main and self.main.points else None

    @property
    def last(self) -> Score | None:
        """The main curve's score at its last generation."""
        return self.main.points[-1].score if self.main and self.main.points else None


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One instruction format of one arm: its knowledge, its format, its stage calls (of all seeds) and onsets.

    `detailed` are the (seed, generation) whose conditions are shown in full.
    """

    format: str
    basis: str
    knowledge: Measure
    parse: Measure
    calls: tuple[StageCall, ...] = ()
    onsets: tuple[Onset, ...] = ()
    detailed: frozenset[tuple[int, int]] = frozenset()
    not_asked: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Transitions:
    """What became of the questions between the first and the last evaluated generation, in one format and seed.

    `kept` is the share still right of those that were right at first. `n` counts questions put to both.
    """

    format: str
    seed: int
    right_right: int
    right_wrong: int
    wrong_right: int
    wrong_wrong: int
    n: int
    kept: Score


@dataclass(frozen=True, kw_only=True)
class Said:
    """What a model made of one question: its choice and its free answer, each with its confidence."""

    choice: str | None
    choice_confidence: float | None
    answer: str | None
    answer_confidence: float | None
    outcome: str | None


@dataclass(frozen=True, kw_only=True)
class Change:
    """A question whose answer changed between the first and the last generation, shown in its most telling format.

    `formats` of `formats_asked` formats changed the same way; `seeds` of `seeds_run` runs did. `since` is the
    generation from which the answer stays changed.
    """

    item: str
    question: str
    right: str
    domain: str
    format: str
    wording: str
    before: Said
    after: Said
    since: int
    formats: int
    formats_asked: int
    seeds: int
    seeds_run: int


@dataclass(frozen=True, kw_only=True)
class DomainScore:
    """Knowledge of one domain in one format and arm: first and last generation, and the share of it kept."""

    format: str
    domain: str
    first: Score
    last: Score
    kept: Score


@dataclass(frozen=True, kw_only=True)
class OutcomeRow:
    """Counts of the free answers' outcomes in one format, seed and generation; they sum to `asked` + not_asked."""

    format: str
    seed: int
    generation: int
    counts: Mapping[str, int]
    asked: int


@dataclass(frozen=True, kw_only=True)
class ArmPage:
    """Everything about one arm. `place` counts the arms that are no control, and gives colour and marker.

    `sentences` are the stage rule's, one per seed; `over_seeds` count onsets where there are several seeds. `lost` and
    `gained` may be cut; their totals are not.
    """

    name: str
    place: int
    sentences: tuple[tuple[int, str], ...]
    over_seeds: tuple[str, ...]
    control: str | None
    is_control: bool
    facts: tuple[tuple[str, str], ...]
    generations: tuple[int, ...]
    seeds: tuple[int, ...]
    panels: tuple[Panel, ...]
    fluency: tuple[Measure, ...]
    transitions: tuple[Transitions, ...]
    lost: tuple[Change, ...]
    gained: tuple[Change, ...]
    lost_total: int
    gained_total: int
    domains: tuple[DomainScore, ...]
    outcomes: tuple[OutcomeRow, ...]


@dataclass(frozen=True, kw_only=True)
class FactChange:
    """A fact that a checkpoint lost or gained against its base: `turned` of the `of` formats and wordings in which it
    was right (lost: at the base; gained: here), out of `ways` in all.

    `firm`: a loss among those of which at most a small share is wavering. `since` is the first position from which it
    is lost (gained) at every one up to this.
    """

    change: Change
    turned: int
    of: int
    ways: int
    firm: bool
    since: int


@dataclass(frozen=True, kw_only=True)
class DomainFacts:
    """The facts of one domain: how many are asked and known at the base, and every one that is lost or gained."""

    domain: str
    asked: int
    known: int
    lost_share: Score
    lost: tuple[FactChange, ...]
    gained: tuple[FactChange, ...]


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a checkpoint lost and gained, one call per fact. `lost_share` is of the `known` facts of the base.

    `wavering` bounds the losses that a model would show that only wavers and gained as many facts as this one;
    `wavering_share` is their estimated share among the lost; `firm` losses have an expected share of at most `share`.
    `unjudged` facts could be judged at the base alone. `known_entities` are the independent units among the known.
    """

    asked: int
    known: int
    known_entities: int
    lost: int
    gained: int
    firm: int
    wavering: float
    wavering_share: float | None
    share: float
    unjudged: int
    lost_share: Score
    net: Score
    domains: tuple[DomainFacts, ...]


@dataclass(frozen=True, kw_only=True)
class CheckpointRow:
    """One checkpoint beside its base: `position` in the order of steps, 0 being the base itself.

    Shares are over all formats and wordings. The losses are paired with the base (None at the base), positive is
    worse. `formats` lists the formats by stage; `stage` is None where none is called (the base).
    `broke` says what else is shown to be broken ("" for nothing), `sentence` all of it.
    """

    position: int
    name: str
    step: int | None
    lineage: str
    seed: int
    knowledge: Score
    knowledge_loss: Score | None
    format: Score
    format_loss: Score | None
    nats: Score
    junk: Score
    confident_wrong: Score
    stage: Stage | None
    formats: Mapping[str, tuple[str, ...]]
    facts: Facts | None
    broke: str = ""
    sentence: str = ""


@dataclass(frozen=True, kw_only=True)
class Checkpoints:
    """The answer of an audit: the base of each series, every checkpoint, and all of it in one sentence."""

    base: tuple[CheckpointRow, ...]
    rows: tuple[CheckpointRow, ...]
    sentence: str


@dataclass(frozen=True, kw_only=True)
class RecordTable:
    """A table of the record: a caption, a head and rows of text; `folded` ones are opened by the reader."""

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    folded: bool = False
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class PageData:
    """The whole report."""

    name: str
    lede: str
    facts: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...]
    arms: tuple[ArmPage, ...]
    formats: tuple[str, ...]
    generations: tuple[int, ...]
    seeds: tuple[int, ...]
    rule: tuple[tuple[str, str], ...]
    rule_sha256: str
    notes: tuple[str, ...] = ()
    record: tuple[RecordTable, ...] = field(default=())
    checkpoints: Checkpoints | None = None
    arena: tuple[RecordTable, ...] = ()
    arena_sentences: tuple[str, ...] = ()
    places: Places = field(default_factory=Places)
