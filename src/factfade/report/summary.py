"""Stored rows and records -> PageData: which measure stands where, in the experiment's own order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from factfade.columns import positions_of
from factfade.places import Places
from factfade.report import changes, heading, measures, record
from factfade.report.checkpoints import compared
from factfade.report.data import ArmPage, Measure, PageData, Panel, RecordTable
from factfade.report.material import Material, arms_of, formats_of, section
from factfade.report.wording import STAGE_NAMES, plain_name
from factfade.stage_panel import Panels, build_panels
from factfade.verdicts import Onset, StageCall, StageReport

if TYPE_CHECKING:
    pass

# Most questions shown of each kind; the counts beside them are always of all.
SHOWN_LOST = 60
SHOWN_GAINED = 30
# Up to so many calls, every one of them is shown with all its conditions.
DETAILED_CALLS = 150


def summarise(material: Material) -> PageData:
    """Everything the report says. Pure: equal material gives equal data."""
    places = Places.of(positions_of(material.evidence)) if material.audited else Places()
    # Measures, calls and numbers are those of generations; from here on their words are those of checkpoints.
    material = replace(material, stages=places.report(material.stages))
    evidence, fluency = material.evidence, material.fluency
    arms, formats = arms_of(material), formats_of(material)
    panels = build_panels(evidence, fluency, material.own)
    cells = _Cells(
        knowledge={f: measures.knowledge_cells(panels, f) for f in formats},
        parse={f: measures.parse_cells(panels, f) for f in formats},
        own=measures.own_cells(panels),
        held=measures.perplexity_cells(fluency),
        junk=measures.junk_cells(panels),
    )
    treated = [arm for arm in arms if not _is_control(material, arm)]
    pages = tuple(
        _arm(material, panels, arm, treated.index(arm) if arm in treated else 0, formats, cells) for arm in arms
    )
    generations = tuple(sorted({int(g) for g in evidence["generation"].unique()}))
    seeds = tuple(sorted({int(s) for s in evidence["seed"].unique()}))
    return PageData(
        name=str(section(material.settings, "experiment").get("name") or "experiment"),
        lede=heading.lede(material, places, arms, generations, formats),
        facts=heading.facts(material, arms, seeds, generations, formats),
        warnings=(*heading.warnings(material, arms, seeds), *heading.guards(material.stages)),
        arms=pages,
        formats=formats,
        generations=generations,
        seeds=seeds,
        rule=tuple(record.flat(material.stages.rule)),
        rule_sha256=material.stages.rule_sha256,
        notes=(*material.stages.notes, *material.stages.guards[heading.SHOWN_GUARDS :]),
        record=_record(material, places),
        places=places,
        arena=material.arena,
        arena_sentences=material.arena_sentences,
        checkpoints=compared(evidence, panels, material.stages, material.questions) if material.audited else None,
    )


@dataclass(frozen=True, kw_only=True)
class _Cells:
    """The cells of every measure, of all arms."""

    knowledge: Mapping[str, list[measures.Cell]]
    parse: Mapping[str, list[measures.Cell]]
    own: list[measures.Cell]
    held: list[measures.Cell]
    junk: list[measures.Cell]


def _arm(material: Material, panels: Panels, arm: str, place: int, formats: Sequence[str], cells: _Cells) -> ArmPage:
    evidence, control = material.evidence, material.controls.get(arm)
    control = control if control != arm else None
    rows = evidence[evidence["lineage"] == arm]
    have = [f for f in formats if (rows["format"] == f).any()]
    lost, gained = changes.changes(evidence, panels, arm, have, material.questions)
    seeds = tuple(sorted({int(s) for s in rows["seed"].unique()}))
    return ArmPage(
        name=arm,
        place=place,
        sentences=_sentences(material.stages, arm, seeds),
        over_seeds=_over_seeds(material.stages, arm, have, len(seeds)) if len(seeds) > 1 else (),
        control=control,
        is_control=_is_control(material, arm),
        facts=() if material.audited else _arm_facts(material, arm, control),
        generations=tuple(sorted({int(g) for g in rows["generation"].unique()})),
        seeds=seeds,
        panels=tuple(_panel(material, panels, arm, control, f, cells) for f in have),
        fluency=_fluency(material, arm, control, cells),
        transitions=changes.transitions(panels, arm, have),
        lost=lost[:SHOWN_LOST],
        gained=gained[:SHOWN_GAINED],
        lost_total=len(lost),
        gained_total=len(gained),
        domains=measures.domain_scores(panels, measures.domains_of(evidence, panels), arm, have),
        outcomes=measures.outcome_rows(evidence, arm, have),
    )


def _arm_facts(material: Material, arm: str, control: str | None) -> tuple[tuple[str, str], ...]:
    return record.arm_facts(material.settings, arm, control, is_control=_is_control(material, arm))


def _panel(material: Material, panels: Panels, arm: str, control: str | None, format: str, cells: _Cells) -> Panel:
    stages = material.stages
    calls = tuple(c for c in stages.calls if c.lineage == arm and c.format == format)
    onsets = tuple(o for o in stages.onsets if o.lineage == arm and o.format == format)
    return Panel(
        format=format,
        basis=measures.bases(panels, format),
        knowledge=measures.measure(
            cells.knowledge[format],
            arm,
            control,
            label="knowledge",
            unit="share",
            reference=measures.chance(panels, arm, format),
            reference_label="chance",
        ),
        parse=measures.measure(cells.parse[format], arm, control, label="parseable", unit="share"),
        calls=calls,
        onsets=onsets,
        detailed=_detailed(calls, onsets, everything=len(stages.calls) <= DETAILED_CALLS),
        not_asked=measures.not_asked(material.evidence, arm, format),
    )


def _detailed(calls: Sequence[StageCall], onsets: Sequence[Onset], *, everything: bool) -> frozenset[tuple[int, int]]:
    """The calls shown with all conditions: all of a small experiment, else each run's first, last and onsets."""
    chosen = {(o.seed, o.generation) for o in onsets}
    for seed in {c.seed for c in calls}:
        generations = [c.generation for c in calls if c.seed == seed]
        chosen |= {(seed, min(generations)), (seed, max(generations))}
    return frozenset({(c.seed, c.generation) for c in calls} if everything else chosen)


def _sentences(report: StageReport, arm: str, seeds: Sequence[int]) -> tuple[tuple[int, str], ...]:
    """The sentence of each seed, without the arm's name in front where the rule put it there."""
    found: list[tuple[int, str]] = []
    for seed in seeds:
        text = str(report.sentences.get(f"{arm}/seed-{seed}", ""))
        text = text.removeprefix(f"{arm} (seed {seed}): ")
        if text:
            found.append((seed, text[:1].upper() + text[1:]))
    return tuple(found)


def _over_seeds(report: StageReport, arm: str, formats: Sequence[str], seeds: int) -> tuple[str, ...]:
    """How many seeds have an onset of each stage in each format, and at which generations."""
    found: list[str] = []
    for stage in ("A", "B", "C"):
        parts: list[str] = []
        for format in formats:
            at = [o.generation for o in report.onsets if (o.lineage, o.format, o.stage) == (arm, format, stage)]
            if at:
                when = f"{min(at)}" if min(at) == max(at) else f"{min(at)} to {max(at)}"
                parts.append(f"{plain_name(format)} in {len(at)} of {seeds} seeds (from generation {when})")
        if parts:
            found.append(f"Stage {stage}, {STAGE_NAMES[stage]}: {'; '.join(parts)}.")
    return tuple(found)


def _is_control(material: Material, arm: str) -> bool:
    """Whether an arm trains on human text alone, or is another arm's control."""
    fraction = section(section(material.settings, "arms"), arm).get("synthetic_fraction")
    return fraction == 0 or any(c == arm for other, c in material.controls.items() if other != arm)


def _fluency(material: Material, arm: str, control: str | None, cells: _Cells) -> tuple[Measure, ...]:
    rule = material.stages.rule
    start, whole = ("base", "the base") if material.audited else ("start", "the start model")
    found = [
        measures.measure(cells.own, arm, control, label=f"own text under {whole}", unit="nats"),
        measures.measure(cells.held, arm, control, label="perplexity of held-out human text", unit="perplexity"),
        measures.measure(cells.junk, arm, control, label="junk share of own text", unit="share"),
    ]
    margins = {"nats": rule.get("fluency_nats"), "share": rule.get("fluency_junk")}
    return tuple(_with_margin(m, margins.get(m.unit), start) for m in found if m.curves)


def _with_margin(measure: Measure, margin: Any, start: str) -> Measure:
    """The level that a stage call compares with: generation 0 plus the margin."""
    first = measure.first
    if not _is_number(margin) or first is None or first.value is None:
        return measure
    return replace(measure, reference=first.value + float(margin), reference_label=f"{start} + margin")


# ---------------------------------------------------------------------------------------------------------------
# The headline


def _record(material: Material, places: Places) -> tuple[RecordTable, ...]:
    found = record.tables(material.settings, material.environment, material.steps)
    return tuple(record.of_checkpoints(table, places) for table in found) if places.audited else found


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
