"""The sheets of a case: everything that a table, a page or a figure says, as rows.

| sheet | one row per |
|---|---|
| items | question put: how it was judged, with the answer |
| texts, own | scored text; completion of a fixed prompt |
| curves | measure, lineage, seed (empty: the mean over seeds), format and generation: what pages and terminals print |
| scores | score of every metric |
| calls, conditions, onsets, overall | stage call; each of its conditions; onset; call over all formats |
| changes, transitions, domains, outcomes | question lost or gained; what became of the questions; by domain; outcome |
| findings | answer of an analysis |
| notes | guard and note that stands before or under the tables |
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from factfade import metrics
from factfade.columns import as_float, as_lists, as_text
from factfade.export.layouts import COLUMNS, SAID, SCORE
from factfade.export.sheets import Sheet, sheet
from factfade.judging import Case
from factfade.records import PROBES
from factfade.report import changes, measures
from factfade.report.data import Change, Measure
from factfade.stage_panel import Panels, build_panels
from factfade.verdicts import Condition, Finding, Score, StageCall, StageReport

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Source:
    """A case with what several sheets read of it, computed once."""

    case: Case
    report: StageReport

    @cached_property
    def panels(self) -> Panels:
        return build_panels(self.case.evidence, self.case.fluency, self.case.own)

    @cached_property
    def formats(self) -> list[str]:
        """The formats that are no probes, by name."""
        return sorted({name for _, _, name in self.panels.formats} - set(PROBES))

    @cached_property
    def lineages(self) -> list[str]:
        return sorted({lineage for lineage, _, _ in self.panels.formats})

    def control_of(self, lineage: str) -> str | None:
        """The lineage's own control; None where it has none."""
        name = self.case.controls.get(lineage)
        return name if name != lineage and name in self.lineages else None

    @cached_property
    def knowledge(self) -> dict[tuple[str, str], Measure]:
        """Knowledge by lineage and format."""
        return self._by_format("knowledge")

    @cached_property
    def parse(self) -> dict[tuple[str, str], Measure]:
        """The share of parseable free answers by lineage and format."""
        return self._by_format("parseable")

    def _by_format(self, name: str) -> dict[tuple[str, str], Measure]:
        found: dict[tuple[str, str], Measure] = {}
        for form in self.formats:
            known = name == "knowledge"
            cells = (measures.knowledge_cells if known else measures.parse_cells)(self.panels, form)
            for lineage in sorted({cell.lineage for cell in cells}):
                found[lineage, form] = measures.measure(
                    cells,
                    lineage,
                    self.control_of(lineage),
                    label=name,
                    unit="share",
                    reference=measures.chance(self.panels, lineage, form) if known else None,
                    reference_label="chance" if known else "",
                )
        return found

    @cached_property
    def fluency(self) -> dict[tuple[str, str], Measure]:
        """The measures of fluency by lineage and name: own_nats, held_out_perplexity, junk."""
        _, fluency, _ = self.case.tables()
        cells = {
            "own_nats": (measures.own_cells(self.panels), "own text under the start model", "nats"),
            "held_out_perplexity": (
                measures.perplexity_cells(fluency) if len(fluency) else [],
                "perplexity of held-out human text",
                "perplexity",
            ),
            "junk": (measures.junk_cells(self.panels), "junk share of own text", "share"),
        }
        return {
            (lineage, name): measures.measure(own, lineage, self.control_of(lineage), label=label, unit=unit)
            for name, (own, label, unit) in cells.items()
            for lineage in sorted({cell.lineage for cell in own})
        }

    @cached_property
    def changed(self) -> dict[str, tuple[tuple[Change, ...], tuple[Change, ...]]]:
        """The questions that each lineage lost and gained, most telling first."""
        evidence = self.case.evidence
        questions = dict(zip(as_text(evidence, "item"), as_text(evidence, "question"), strict=True))
        return {
            lineage: changes.changes(evidence, self.panels, lineage, self.asked(lineage), questions)
            for lineage in self.lineages
        }

    def asked(self, lineage: str) -> list[str]:
        """The formats in which the lineage's knowledge was measured."""
        return [form for form in self.formats if (lineage, form) in self.knowledge]


def judged(source: Source) -> Iterator[Sheet]:
    """Every sheet but the findings, in the order of the list above."""
    yield _items(source)
    yield _texts(source)
    yield _own(source)
    yield _curves(source)
    yield _scores(source.case)
    yield from _stages(source.report)
    yield from _changed(source)
    yield _notes(source)


def findings(found: Sequence[Finding]) -> Sheet:
    """The findings of the analyses; `extra` as JSON with sorted names."""
    columns = COLUMNS["findings"]
    names = [name for name in columns if name != "extra"]
    rows = ([*(getattr(one, name) for name in names), _json(one.extra)] for one in found)
    return sheet("findings", columns, rows)


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=True, default=_number) if value else ""


def _number(value: Any) -> Any:
    """numpy's numbers and arrays as plain data."""
    return value.tolist() if hasattr(value, "tolist") else str(value)


# ---------------------------------------------------------------------------------------------------------------
# Rows as they were judged


def _items(source: Source) -> Sheet:
    evidence = source.case.evidence
    knowledge, parseable = np.full(len(evidence), np.nan), np.full(len(evidence), np.nan)
    for panel in source.panels.formats.values():
        there = panel.rows >= 0
        knowledge[panel.rows[there]] = panel.knowledge[there]
        parseable[panel.rows[there]] = panel.parseable[there]
    item, entity = as_text(evidence, "item"), as_text(evidence, "entity")
    options, accepted = as_lists(evidence, "options"), as_lists(evidence, "accepted")
    gold, chosen = as_float(evidence, "gold"), as_float(evidence, "choice")
    right = [_option(o, g) or _first(a) for o, g, a in zip(options, gold, accepted, strict=True)]
    columns: dict[str, Any] = {
        **{name: as_text(evidence, name) for name, kind in COLUMNS["items"].items() if kind == "text"},
        **{name: as_float(evidence, name) for name, kind in COLUMNS["items"].items() if kind == "float"},
        "seed": evidence["seed"],
        "generation": evidence["generation"],
        "cluster": np.where(entity == "", item, entity),
        "knowledge": knowledge,
        "parseable": parseable,
        "right": right,
        "choice": [_option(o, c) for o, c in zip(options, chosen, strict=True)],
    }
    return sheet("items", COLUMNS["items"], columns)


def _option(options: Any, index: float) -> str:
    if options is None or np.isnan(index) or not 0 <= int(index) < len(options):
        return ""
    return str(options[int(index)])


def _first(accepted: Any) -> str:
    return str(accepted[0]) if accepted is not None and len(accepted) else ""


def _texts(source: Source) -> Sheet:
    _, fluency, _ = source.case.tables()
    return _copied("texts", fluency)


def _own(source: Source) -> Sheet:
    _, _, own = source.case.tables()
    marks = [as_float(own, name) for name in ("empty", "near_constant", "repetitive")]
    # As the stage panel has it: an unmeasured mark leaves the text unknown, unless another one says junk.
    junk = np.where(np.any([m == 1.0 for m in marks], axis=0), 1.0, np.sum(marks, axis=0))
    return _copied("own", own, junk=junk)


def _copied(name: str, table: pd.DataFrame, **made: Any) -> Sheet:
    if not len(table):
        return sheet(name, COLUMNS[name], [])
    columns = {
        column: as_text(table, column) if kind == "text" else as_float(table, column)
        for column, kind in COLUMNS[name].items()
    }
    return sheet(name, COLUMNS[name], {**columns, **made})


# ---------------------------------------------------------------------------------------------------------------
# Curves and scores


def _curves(source: Source) -> Sheet:
    rows: list[list[Any]] = []
    for name, found in (("knowledge", source.knowledge), ("parseable", source.parse)):
        for (lineage, form), one in found.items():
            rows += _points(one, lineage, form, name, source.control_of(lineage))
    for (lineage, name), one in source.fluency.items():
        rows += _points(one, lineage, "", name, source.control_of(lineage))
    return sheet("curves", COLUMNS["curves"], rows)


def _points(one: Measure, lineage: str, form: str, name: str, control: str | None) -> Iterator[list[Any]]:
    for curve in one.curves:
        for point in curve.points:
            place = [lineage, curve.seed, point.generation, form, name]
            yield [*place, *_score(point.score), one.reference, one.reference_label, control]


def _score(score: Score) -> list[Any]:
    return [getattr(score, name) for name in SCORE]


def _scores(case: Case) -> Sheet:
    rows = metrics.compute(*case.tables())
    return sheet(
        "scores",
        COLUMNS["scores"],
        ([r.lineage, r.seed, r.generation, r.format, r.domain, r.score.name, *_score(r.score)] for r in rows),
    )


# ---------------------------------------------------------------------------------------------------------------
# Stages


def _stages(report: StageReport) -> Iterator[Sheet]:
    yield sheet("calls", COLUMNS["calls"], (_call(call) for call in report.calls))
    rows = [_condition(call, one, "condition") for call in report.calls for one in call.conditions]
    rows += [_condition(call, call.attribution, "attribution") for call in report.calls if call.attribution]
    yield sheet("conditions", COLUMNS["conditions"], rows)
    yield sheet(
        "onsets",
        COLUMNS["onsets"],
        ([o.lineage, o.seed, o.generation, o.format, o.stage, o.provisional] for o in report.onsets),
    )
    yield sheet(
        "overall", COLUMNS["overall"], ([o.lineage, o.seed, o.generation, o.stage, o.sentence] for o in report.overall)
    )


def _call(call: StageCall) -> list[Any]:
    chances = [call.probabilities.get(stage) for stage in ("A", "B", "C", "undetermined")]
    place = [call.lineage, call.seed, call.generation, call.format, call.stage, call.at_chance]
    return [*place, "; ".join(call.flags), *chances, call.sentence, call.attribution_sentence]


def _condition(call: StageCall, one: Condition, role: str) -> list[Any]:
    place = [call.lineage, call.seed, call.generation, call.format, role]
    return [*place, *(getattr(one, name) for name in list(COLUMNS["conditions"])[len(place) :])]


# ---------------------------------------------------------------------------------------------------------------
# What changed


def _changed(source: Source) -> Iterator[Sheet]:
    evidence, panels = source.case.evidence, source.panels
    domain_of = measures.domains_of(evidence, panels)
    moved: list[list[Any]] = []
    ends: list[list[Any]] = []
    domains: list[list[Any]] = []
    outcomes: list[list[Any]] = []
    for lineage in source.lineages:
        have = source.asked(lineage)
        for direction, found in zip(("lost", "gained"), source.changed[lineage], strict=True):
            moved += [_change(lineage, direction, one) for one in found]
        for t in changes.transitions(panels, lineage, have):
            counts = [t.right_right, t.right_wrong, t.wrong_right, t.wrong_wrong, t.n]
            kept = [t.kept.value, t.kept.n, t.kept.low, t.kept.high, t.kept.reason]
            ends.append([lineage, t.seed, t.format, *counts, *kept])
        for one in measures.domain_scores(panels, domain_of, lineage, have):
            for when in ("first", "last", "kept"):
                domains.append([lineage, one.format, one.domain, when, *_score(getattr(one, when))])
        for row in measures.outcome_rows(evidence, lineage, [*have, *PROBES]):
            for outcome, count in row.counts.items():
                outcomes.append([lineage, row.seed, row.generation, row.format, outcome, count, row.asked])
    yield sheet("changes", COLUMNS["changes"], moved)
    yield sheet("transitions", COLUMNS["transitions"], ends)
    yield sheet("domains", COLUMNS["domains"], domains)
    yield sheet("outcomes", COLUMNS["outcomes"], outcomes)


def _change(lineage: str, direction: str, one: Change) -> list[Any]:
    names = [name for name in COLUMNS["changes"] if name not in ("lineage", "direction", *SAID)]
    said = [getattr(getattr(one, when), what) for when, what in (name.split("_", 1) for name in SAID)]
    return [lineage, direction, *(getattr(one, name) for name in names), *said]


def _notes(source: Source) -> Sheet:
    report = source.report
    rows = [["rule_sha256", report.rule_sha256]]
    rows += [["sentence", f"{name}: {text}"] for name, text in sorted(report.sentences.items())]
    rows += [["guard", text] for text in report.guards] + [["note", text] for text in report.notes]
    return sheet("notes", COLUMNS["notes"], rows)
