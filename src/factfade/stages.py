"""Stage calls: from stored evidence of lineages, their controls and a rule to A, B, C or undetermined, with reasons.

The rule is data, declared and hashed before generation 1. For each lineage, seed, generation and format, everything
is paired by item with generation 0 of the same lineage. `docs/stages.md` argues for every choice.

    A            knowledge, format and fluency each shown not worse than at generation 0 by more than the margin
    B            knowledge loss shown beyond its margin; format and fluency each shown not worse
    C            a break of format or of fluency shown beyond its margin
    undetermined everything else, with what it would take
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from factfade import stage_conditions as conditions
from factfade import stage_words as words
from factfade.errors import ConfigError, DataError
from factfade.records import canonical_json, sha256_text
from factfade.stage_conditions import Side, Test
from factfade.stage_guards import guards
from factfade.stage_panel import Panel, Panels, build_panels, text_side
from factfade.verdicts import Condition, Onset, Stage, StageCall, StageReport

if TYPE_CHECKING:
    import pandas as pd

    from factfade.config import StagesSection

# Raised when the same rule would call the same evidence differently: part of the rule's hash.
VERSION = 1
# Fewer prompts than this carry no fluency verdict: Student's t needs some, whatever the margins.
FLUENCY_MINIMUM = 30
ENDPOINTS = ("knowledge", "format", "fluency_nats", "fluency_junk")


@dataclass(frozen=True, kw_only=True)
class Rule:
    """Margins, error rate and least numbers of the calls. Shares as fractions, `fluency_nats` in nats per token.

    `alpha` is one-sided; `minimum_n` counts items; `chance_margin` is the equivalence margin of the flag
    `at_chance`; `confidence`, `minimum_wrong` and `tau` are those of the confidently wrong.
    """

    knowledge: float = 0.05
    format: float = 0.10
    fluency_nats: float = 0.25
    fluency_junk: float = 0.10
    alpha: float = 0.05
    minimum_n: int = 100
    chance_margin: float = 0.10
    confidence: float = 0.05
    minimum_wrong: int = 20
    tau: float = 0.8

    def __post_init__(self) -> None:
        if not 0 < self.alpha < 0.5:
            raise ConfigError(f"alpha is one-sided and lies between 0 and 0.5, not {self.alpha}", field="stages.alpha")

    @classmethod
    def from_section(cls, section: StagesSection) -> Rule:
        """The rule of an experiment file's [stages]."""
        return cls(**section.model_dump())

    @property
    def level(self) -> float:
        """Two-sided level of the intervals whose ends are the one-sided bounds."""
        return 1.0 - 2.0 * self.alpha

    def resolved(self) -> dict[str, Any]:
        """Plain data of the rule, with the version of the code that applies it: what is hashed."""
        return {**asdict(self), "version": VERSION, "fluency_minimum": FLUENCY_MINIMUM}

    @property
    def sha256(self) -> str:
        return sha256_text(canonical_json(self.resolved()))

    def test(self, endpoint: str) -> Test:
        """The test of one endpoint."""
        if endpoint in ("fluency_nats", "fluency_junk"):
            unit = "nats" if endpoint == "fluency_nats" else "share"
            return Test(
                endpoint=endpoint, margin=getattr(self, endpoint), level=self.level, minimum=FLUENCY_MINIMUM, unit=unit
            )
        if endpoint == "confidently_wrong":
            return Test(
                endpoint=endpoint,
                margin=self.confidence,
                level=self.level,
                minimum=self.minimum_wrong,
                unit="probability",
            )
        margin = self.chance_margin if endpoint == "chance" else getattr(self, endpoint)
        return Test(endpoint=endpoint, margin=margin, level=self.level, minimum=self.minimum_n)


def decide(found: Mapping[str, Condition]) -> Stage:
    """The table of stages. `found` holds the four conditions by endpoint name."""
    knowledge, others = found["knowledge"], [found[e] for e in ENDPOINTS[1:]]
    if any(c.shown_worse for c in others):
        return "C"
    if all(c.shown_not_worse for c in others):
        if knowledge.shown_worse:
            return "B"
        if knowledge.shown_not_worse:
            return "A"
    return "undetermined"


def call_stages(
    evidence: pd.DataFrame,
    fluency: pd.DataFrame | None,
    own: pd.DataFrame | None,
    rule: Rule,
    *,
    controls: Mapping[str, str | None],
) -> StageReport:
    """Every call of every lineage, seed, generation after 0 and format, with onsets and sentences.

    `evidence`, `fluency` and `own` are tables of docs/evidence.md; `own` holds, in the completions' columns, what
    each evaluated generation wrote for the fixed prompts. `controls` names each lineage's own control (None or
    absent: it has none). Raises DataError for repeated keys; everything else that is missing makes a call
    undetermined and says so.
    """
    panels = build_panels(evidence, fluency, own)
    calls: list[StageCall] = []
    notes: list[str] = []
    for place in sorted(panels.formats):
        panel = panels.formats[place]
        if 0 not in panel.generations:
            notes.append(words.no_start(panel))
            continue
        flags, said = guards(panels, panel, knowledge=rule.knowledge, junk=rule.fluency_junk)
        notes += said
        for column, generation in enumerate(panel.generations):
            if generation > 0:
                calls.append(_call(panels, panel, column, rule, controls, flags))
    onsets = find_onsets(calls)
    report = StageReport(
        calls=tuple(calls),
        onsets=onsets,
        rule=rule.resolved(),
        rule_sha256=rule.sha256,
        notes=(*words.general_notes(panels, rule.alpha), *dict.fromkeys(notes)),
    )
    runs = sorted({(c.lineage, c.seed) for c in calls})
    sentences = {f"{lineage}/seed-{seed}": words.lineage(report, lineage, seed) for lineage, seed in runs}
    return replace(report, sentences=sentences)


def sentence_for_lineage(report: StageReport, lineage: str, seed: int) -> str:
    """One plain sentence on a lineage: its earliest stage over formats, with numbers, n, interval and attribution."""
    return report.sentences.get(f"{lineage}/seed-{seed}") or words.lineage(report, lineage, seed)


def find_onsets(calls: Iterable[StageCall]) -> tuple[Onset, ...]:
    """First generation of each call that the next evaluated generation repeats; provisional in the last one."""
    series: dict[tuple[str, int, str], list[StageCall]] = {}
    for call in calls:
        series.setdefault((call.lineage, call.seed, call.format), []).append(call)
    onsets: list[Onset] = []
    for (lineage, seed, name), row in sorted(series.items()):
        row.sort(key=lambda c: c.generation)
        seen: set[str] = set()
        for i, call in enumerate(row):
            last = i + 1 == len(row)
            repeated = not last and row[i + 1].stage == call.stage
            if call.stage == "undetermined" or call.stage in seen or not (last or repeated):
                continue
            seen.add(call.stage)
            onsets.append(
                Onset(
                    lineage=lineage,
                    seed=seed,
                    format=name,
                    stage=call.stage,
                    generation=call.generation,
                    provisional=last,
                )
            )
    return tuple(onsets)


# ---------------------------------------------------------------------------------------------------------------
# One call


def _call(
    panels: Panels, panel: Panel, column: int, rule: Rule, controls: Mapping[str, str | None], flags: Sequence[str]
) -> StageCall:
    generation = panel.generations[column]
    start = panel.generations.index(0)
    before, after = Side(panel=panel, column=start), Side(panel=panel, column=column)
    found = {
        "knowledge": conditions.knowledge(rule.test("knowledge"), before, after)[0],
        "format": conditions.parseable(rule.test("format"), before, after)[0],
        **_fluency(panels, (panel.lineage, panel.seed), 0, (panel.lineage, panel.seed), generation, rule),
    }
    stage = decide(found)
    extra = list(flags)
    missing = int(np.sum((panel.rows[:, start] >= 0) != (panel.rows[:, column] >= 0)))
    if missing:
        extra.append("items_missing")
    sure = conditions.confidently_wrong(rule.test("confidently_wrong"), before, after, rule.tau)
    if sure.shown_not_worse:
        extra.append("confidently_wrong")
    chance = None
    if stage == "C":
        chance = conditions.near_chance(panels.answers, panel, column, rule.test("chance"))
    control = _control(panel.lineage, controls)
    attribution, attributed = _attribution(panels, panel, column, found, stage, rule, control, controls)
    return StageCall(
        lineage=panel.lineage,
        seed=panel.seed,
        generation=generation,
        format=panel.format,
        stage=stage,
        conditions=(*found.values(), sure),
        sentence=words.call(panel.format, generation, stage, found, chance, missing),
        at_chance=chance is not None and chance[0],
        flags=tuple(extra),
        attribution=attribution,
        attribution_sentence=attributed,
    )


def _fluency(
    panels: Panels,
    first: tuple[str, int],
    first_generation: int,
    second: tuple[str, int],
    second_generation: int,
    rule: Rule,
    endpoints: Sequence[str] = ("fluency_nats", "fluency_junk"),
    margin: float | None = None,
) -> dict[str, Condition]:
    """The fluency conditions between two (run, generation); absent ones say what is not stored."""
    found: dict[str, Condition] = {}
    for endpoint in endpoints:
        test = _with_margin(rule.test(endpoint), margin)
        table = panels.nats if endpoint == "fluency_nats" else panels.junk
        before = text_side(table, first, first_generation)
        after = text_side(table, second, second_generation)
        if before is None or after is None:
            what = "completions scored under the start model" if endpoint == "fluency_nats" else "completions"
            where = first_generation if before is None else second_generation
            found[endpoint] = conditions.absent(test, f"fluency: no {what} of generation {where} are stored")
        else:
            compare = conditions.nats if endpoint == "fluency_nats" else conditions.junk
            found[endpoint] = compare(test, before, after)
    return found


def _with_margin(test: Test, margin: float | None) -> Test:
    return test if margin is None else replace(test, margin=margin)


def _control(lineage: str, controls: Mapping[str, str | None]) -> str | None:
    name = controls.get(lineage)
    return None if name == lineage else name


def _attribution(
    panels: Panels,
    panel: Panel,
    column: int,
    found: Mapping[str, Condition],
    stage: Stage,
    rule: Rule,
    control: str | None,
    controls: Mapping[str, str | None],
) -> tuple[Condition | None, str]:
    """The lineage minus its own control at the same generation and seed, on the endpoint that made the call.

    C: the broken endpoint whose lower bound is the most margins large. Otherwise knowledge. Due to the recursion
    when the lower bound of the difference is above 0.
    """
    generation = panel.generations[column]
    if control is None:
        mine = [arm for arm, other in sorted(controls.items()) if other == panel.lineage and arm != panel.lineage]
        return None, words.without_control(stage, mine)
    other = panels.formats.get((control, panel.seed, panel.format))
    if other is None or generation not in other.generations:
        return None, words.control_absent(control, panel.seed, generation)
    broken = [c for c in found.values() if c.endpoint != "knowledge" and c.shown_worse and c.low is not None]
    endpoint = max(broken, key=lambda c: (c.low or 0.0) / c.margin).endpoint if stage == "C" else "knowledge"
    sides = Side(panel=other, column=other.generations.index(generation)), Side(panel=panel, column=column)
    test = _with_margin(rule.test(endpoint), 0.0)
    if endpoint == "knowledge":
        condition = conditions.knowledge(test, *sides)[0]
    elif endpoint == "format":
        condition = conditions.parseable(test, *sides)[0]
    else:
        runs = (control, panel.seed), (panel.lineage, panel.seed)
        condition = _fluency(panels, runs[0], generation, runs[1], generation, rule, (endpoint,), 0.0)[endpoint]
    return condition, words.attribution(condition, stage, control, rule.test(endpoint).margin)


# ---------------------------------------------------------------------------------------------------------------
# JSON


def to_json(report: StageReport) -> dict[str, Any]:
    """Plain data of a report, for stages.json: lists, dicts, numbers and text."""
    data = asdict(report)
    for key in ("calls", "onsets", "notes"):
        data[key] = list(data[key])
    for call in data["calls"]:
        call["conditions"], call["flags"] = list(call["conditions"]), list(call["flags"])
    data["rule"], data["sentences"] = dict(report.rule), dict(report.sentences)
    return data


def from_json(data: Mapping[str, Any]) -> StageReport:
    """The report that `to_json` made plain. Raises DataError when it is none."""
    try:
        calls: list[StageCall] = []
        for raw in data["calls"]:
            made = tuple(Condition(**c) for c in raw["conditions"])
            against = None if raw["attribution"] is None else Condition(**raw["attribution"])
            values: dict[str, Any] = {**raw, "conditions": made, "attribution": against, "flags": tuple(raw["flags"])}
            calls.append(StageCall(**values))
        return StageReport(
            calls=tuple(calls),
            onsets=tuple(Onset(**o) for o in data["onsets"]),
            rule=dict(data["rule"]),
            rule_sha256=str(data["rule_sha256"]),
            sentences=dict(data.get("sentences", {})),
            notes=tuple(data.get("notes", ())),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"this is no report of stages: {error}", hint="run `factfade stages` again") from error
