"""Stored rows -> curves: knowledge and format per instruction format, fluency per generation, domains, outcomes.

Questions are aligned and judged by `stage_panel`, so that a curve shows what the stage rule compares: knowledge is
the share right by choice where there are options or candidates, else the share correct among parseable free answers;
format is the share of asked questions whose free answer is parseable.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from factfade.columns import Codes, Floats, as_float, as_text
from factfade.records import OUTCOMES
from factfade.report import estimates
from factfade.report.data import Curve, DomainScore, Measure, OutcomeRow, Point
from factfade.stage_chance import chance_level, codes_at
from factfade.stage_panel import Panel, Panels, TextPanel
from factfade.verdicts import Score

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One measure of one run at one generation."""

    lineage: str
    seed: int
    generation: int
    score: Score


def knowledge_cells(panels: Panels, format: str) -> list[Cell]:
    """Knowledge of every run in one format, generation by generation."""
    return [
        _cell(panel, column, "knowledge", panel.knowledge, "no choice and no parseable free answer")
        for panel in _of(panels, format)
        for column in range(len(panel.generations))
    ]


def parse_cells(panels: Panels, format: str) -> list[Cell]:
    """The share of parseable free answers of every run in one format."""
    return [
        _cell(panel, column, "parseable", panel.parseable, "no free answers are stored")
        for panel in _of(panels, format)
        for column in range(len(panel.generations))
    ]


def _of(panels: Panels, format: str) -> list[Panel]:
    return [panel for (_, _, name), panel in sorted(panels.formats.items()) if name == format]


def _cell(panel: Panel, column: int, name: str, values: Floats, reason: str) -> Cell:
    found = values[:, column]
    known = ~np.isnan(found)
    score = estimates.share(name, found[known], panel.items[known], panel.clusters[known], reason)
    return Cell(lineage=panel.lineage, seed=panel.seed, generation=panel.generations[column], score=score)


def own_cells(panels: Panels) -> list[Cell]:
    """Nats per token of own completions under the start model."""
    return [
        Cell(lineage=run[0], seed=run[1], generation=g, score=_nats(panel, column, "own text under the start model"))
        for run, panel in sorted(panels.nats.items())
        for column, g in enumerate(panel.generations)
    ]


def _nats(panel: TextPanel, column: int, name: str) -> Score:
    nll, tokens = panel.values["nll"][:, column], panel.values["tokens"][:, column]
    known = ~np.isnan(nll + tokens)
    return estimates.per_token(name, nll[known], tokens[known])


def junk_cells(panels: Panels) -> list[Cell]:
    """The share of own completions that are empty, near-constant or repetitive."""
    cells: list[Cell] = []
    for run, panel in sorted(panels.junk.items()):
        for column, generation in enumerate(panel.generations):
            values = panel.values["junk"][:, column]
            known = ~np.isnan(values)
            score = estimates.share("junk", values[known], panel.keys[known], panel.keys[known], "nothing is marked")
            cells.append(Cell(lineage=run[0], seed=run[1], generation=generation, score=score))
    return cells


def perplexity_cells(fluency: pd.DataFrame) -> list[Cell]:
    """Token-weighted perplexity of held-out human text."""
    cells: list[Cell] = []
    held = fluency[as_text(fluency, "kind") == "held_out"]
    for key, rows in held.groupby(["lineage", "seed", "generation"], sort=True):
        lineage, seed, generation = key  # type: ignore[misc]
        nats = estimates.per_token("held-out perplexity", as_float(rows, "nll"), as_float(rows, "tokens"))
        score = estimates.exponential(nats)
        cells.append(Cell(lineage=str(lineage), seed=int(seed), generation=int(generation), score=score))
    return cells


def measure(
    cells: Sequence[Cell],
    lineage: str,
    control: str | None,
    *,
    label: str,
    unit: str,
    reference: float | None = None,
    reference_label: str = "",
) -> Measure:
    """The curves of one arm and its control out of the cells of all arms."""
    curves = [Curve(seed=seed, points=points) for seed, points in _by_seed(cells, lineage).items()]
    if len(curves) > 1:
        curves.append(_mean(curves))
    other = [Curve(seed=s, points=p) for s, p in _by_seed(cells, control).items()] if control is not None else []
    return Measure(
        name=cells[0].score.name if cells else label,
        label=label,
        unit=unit,
        curves=tuple(curves),
        control=_mean(other) if len(other) > 1 else (other[0] if other else None),
        reference=reference,
        reference_label=reference_label,
    )


def _by_seed(cells: Sequence[Cell], lineage: str | None) -> dict[int, tuple[Point, ...]]:
    found: dict[int, list[Point]] = {}
    for cell in sorted((c for c in cells if c.lineage == lineage), key=lambda c: (c.seed, c.generation)):
        found.setdefault(cell.seed, []).append(Point(generation=cell.generation, score=cell.score))
    return {seed: tuple(points) for seed, points in found.items()}


def _mean(curves: Sequence[Curve]) -> Curve:
    """The mean over seeds at the generations that every seed has."""
    common = set[int].intersection(*({p.generation for p in c.points} for c in curves))
    points: list[Point] = []
    for generation in sorted(common):
        scores = [s for c in curves if (s := c.at(generation)) is not None]
        # Generation 0 is one model for all seeds: its interval is that of its items.
        one_model = generation == 0 and len({(s.value, s.n) for s in scores}) == 1
        points.append(Point(generation=generation, score=scores[0] if one_model else estimates.over_seeds(scores)))
    return Curve(seed=None, points=tuple(points))


def chance(panels: Panels, lineage: str, format: str) -> float | None:
    """The stage rule's chance level at the first evaluated generation; None where no right answer is stored."""
    panel = next((p for p in _of(panels, format) if p.lineage == lineage), None)
    found = codes_at(panels.answers, panel, 0) if panel is not None else None
    return None if found is None else chance_level(found[0])


def bases(panels: Panels, format: str) -> str:
    """What knowledge is read from in a format: "choice", "free answer", or both."""
    by_choice = np.concatenate([panel.by_choice for panel in _of(panels, format)] or [np.zeros(0, dtype=bool)])
    if by_choice.all():
        return "choice"
    return "choice, else free answer" if by_choice.any() else "free answer"


def domain_scores(
    panels: Panels, domain_of: Mapping[int, str], lineage: str, formats: Sequence[str]
) -> tuple[DomainScore, ...]:
    """Knowledge by domain at the first and the last evaluated generation, and the share kept of what was right first.

    Several seeds are put together: their answers to one item are one cluster.
    """
    found: list[DomainScore] = []
    for format in formats:
        runs = [p for p in _of(panels, format) if p.lineage == lineage and len(p.generations) > 1]
        if not runs:
            continue
        first = np.concatenate([p.knowledge[:, 0] for p in runs])
        last = np.concatenate([p.knowledge[:, -1] for p in runs])
        items = np.concatenate([p.items for p in runs])
        clusters = np.concatenate([p.clusters for p in runs])
        domains = np.array([domain_of.get(i, "") for i in items.tolist()], dtype=object)
        for domain in sorted(set(domains.tolist())):
            here = domains == domain
            found.append(
                DomainScore(
                    format=format,
                    domain=str(domain),
                    first=_part("knowledge", first, here, items, clusters),
                    last=_part("knowledge", last, here, items, clusters),
                    kept=_part("kept", last, here & (first == 1.0), items, clusters),
                )
            )
    return tuple(found)


def _part(name: str, values: Floats, chosen: NDArray[np.bool_], items: Codes, clusters: Codes) -> Score:
    at = chosen & ~np.isnan(values)
    return estimates.share(name, values[at], items[at], clusters[at], "nothing to count")


def domains_of(evidence: pd.DataFrame, panels: Panels) -> dict[int, str]:
    """The domain of every item's code."""
    names = as_text(evidence, "domain")
    found: dict[int, str] = {}
    for panel in panels.formats.values():
        at = panel.rows.max(axis=1)
        found.update(zip(panel.items.tolist(), names[at].tolist(), strict=True))
    return found


def outcome_rows(evidence: pd.DataFrame, lineage: str, formats: Sequence[str]) -> tuple[OutcomeRow, ...]:
    """Counts of every outcome in `formats`, wordings counted singly; rows without a free answer are not counted."""
    own = (evidence["lineage"] == lineage) & evidence["format"].isin(list(formats))
    rows = evidence[own & evidence["outcome"].notna()]
    counts = rows.groupby(["format", "seed", "generation", "outcome"], sort=True).size()
    table: dict[tuple[str, int, int], dict[str, int]] = {}
    for key, count in counts.items():
        format, seed, generation, outcome = key  # type: ignore[misc]
        table.setdefault((str(format), int(seed), int(generation)), {})[str(outcome)] = int(count)
    place = {format: i for i, format in enumerate(formats)}
    found: list[OutcomeRow] = []
    for (format, seed, generation), row in sorted(table.items(), key=lambda kv: (place[kv[0][0]], kv[0][1:])):
        full = {name: row.get(name, 0) for name in (*OUTCOMES, *sorted(set(row) - set(OUTCOMES)))}
        asked = sum(full.values()) - full["not_asked"]
        found.append(OutcomeRow(format=format, seed=seed, generation=generation, counts=full, asked=asked))
    return tuple(found)


def not_asked(evidence: pd.DataFrame, lineage: str, format: str) -> tuple[tuple[str, int], ...]:
    """Reasons why questions were not put in this format, with the number of questions (of the first generation)."""
    rows = evidence[(evidence["lineage"] == lineage) & (evidence["format"] == format)]
    rows = rows[rows["outcome"].fillna("") == "not_asked"]
    if rows.empty:
        return ()
    rows = rows[(rows["generation"] == rows["generation"].min()) & (rows["seed"] == rows["seed"].min())]
    reasons = ["no reason given" if r == "" else str(r) for r in as_text(rows, "reason")]
    return tuple((reason, reasons.count(reason)) for reason in sorted(set(reasons)))
