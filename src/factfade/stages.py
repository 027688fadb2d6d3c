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
from dataclasses import replace
from typing import TYPE_CHECKING

from factfade import stage_notes
from factfade import stage_words as words
from factfade.records import PROBES
from factfade.stage_calls import Setting, calls_of
from factfade.stage_guards import guards
from factfade.stage_json import from_json, to_json
from factfade.stage_panel import Panel, Panels, Run, build_panels
from factfade.stage_rule import ENDPOINTS, FLUENCY_MINIMUM, VERSION, Rule, decide
from factfade.verdicts import Onset, Overall, Stage, StageCall, StageReport

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "ENDPOINTS", "FLUENCY_MINIMUM", "VERSION", "Rule", "call_panels", "call_stages", "decide", "find_onsets",
    "from_json", "over_formats", "sentence_for_lineage", "to_json",
]  # fmt: skip
# Resamples of a call's probabilities: their standard error is at most .016.
DRAWS = 1000


def call_stages(
    evidence: pd.DataFrame,
    fluency: pd.DataFrame | None,
    own: pd.DataFrame | None,
    rule: Rule,
    *,
    controls: Mapping[str, str | None],
    draws: int = DRAWS,
    marks: Mapping[str, Sequence[str]] | None = None,
    declared_sha256: str | None = None,
) -> StageReport:
    """Every call of every lineage, seed, generation after 0 and format, with onsets and sentences.

    `evidence`, `fluency` and `own` are tables of docs/evidence.md; `own` holds, in the completions' columns, what
    each evaluated generation wrote for the fixed prompts. `controls` names each lineage's own control (None or
    absent: it has none). `marks` are artefacts known from a lineage's record, such as right padding.
    `declared_sha256` is the hash of the rule that was stored before the data; another `rule` marks the report.
    Raises DataError for repeated keys; everything else that is missing makes a call undetermined and says so.
    """
    panels = build_panels(evidence, fluency, own)
    return call_panels(panels, rule, controls=controls, draws=draws, marks=marks, declared_sha256=declared_sha256)


def call_panels(
    panels: Panels,
    rule: Rule,
    *,
    controls: Mapping[str, str | None],
    draws: int = DRAWS,
    marks: Mapping[str, Sequence[str]] | None = None,
    declared_sha256: str | None = None,
) -> StageReport:
    """`call_stages` on tables that are aligned already."""
    setting = Setting(panels=panels, rule=rule, controls=controls, draws=draws)
    runs: dict[Run, dict[str, Panel]] = {}
    notes: list[str] = []
    for (lineage, seed, name), panel in sorted(panels.formats.items()):
        if name in PROBES:
            continue
        if 0 in panel.generations:
            runs.setdefault((lineage, seed), {})[name] = panel
        else:
            notes.append(stage_notes.no_start(panel))
    calls: list[StageCall] = []
    said: list[str] = []
    for run, own in runs.items():
        control = setting.control_of(run[0])
        guarded = {
            name: guards(panels, panel, rule, control=control, marks=(marks or {}).get(run[0], ()))
            for name, panel in own.items()
        }
        said += [note for one in guarded.values() for note in one.notes]
        calls += calls_of(setting, run, own, guarded)
    report = StageReport(
        calls=tuple(calls),
        onsets=find_onsets(calls),
        rule=rule.resolved(),
        rule_sha256=rule.sha256,
        notes=(*stage_notes.general_notes(panels, rule, declared_sha256), *dict.fromkeys(notes)),
        guards=tuple(dict.fromkeys(said)),
        overall=over_formats(calls),
        declared_sha256=declared_sha256,
    )
    found = sorted({(c.lineage, c.seed) for c in calls})
    sentences = {f"{lineage}/seed-{seed}": words.lineage(report, lineage, seed) for lineage, seed in found}
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


def over_formats(calls: Iterable[StageCall]) -> tuple[Overall, ...]:
    """The summary over formats of every lineage, seed and generation."""
    places: dict[tuple[str, int, int], dict[Stage, list[str]]] = {}
    for call in calls:
        places.setdefault((call.lineage, call.seed, call.generation), {}).setdefault(call.stage, []).append(call.format)
    found: list[Overall] = []
    for (lineage, seed, generation), formats in sorted(places.items()):
        stage: Stage = "undetermined"
        if "C" in formats:
            stage = "C"
        elif "B" in formats:
            stage = "B"
        elif set(formats) == {"A"}:
            stage = "A"
        ordered = {name: tuple(sorted(formats[name])) for name in ("C", "B", "A", "undetermined") if name in formats}
        found.append(
            Overall(
                lineage=lineage,
                seed=seed,
                generation=generation,
                stage=stage,
                formats=ordered,
                sentence=words.overall(generation, stage, ordered),
            )
        )
    return tuple(found)
