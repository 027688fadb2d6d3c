"""Which indicator moves before knowledge does? Exploratory, and said to be (after arXiv 2310.00489).

One series of knowledge and one of each indicator per run, over the evaluated generations; seeds of a lineage are
pooled. An indicator leads where its p, corrected for the number of indicators (Holm), is at most alpha and the interval
of its lead, over runs, lies after zero. A lead is no cause: whatever moves both moves one of them first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from factfade.analysis.sensitivity import Rows, compare, over_pairs, scored_rows
from factfade.analysis.stacked import panels_of
from factfade.columns import Codes, Floats, as_float, as_text
from factfade.stats.lead_lag import RUNS, LeadLag, lead_lag
from factfade.stats.multiplicity import holm
from factfade.verdicts import Finding

if TYPE_CHECKING:
    import pandas as pd

    from factfade.analysis.study import Study
    from factfade.stage_panel import Panel

Series = dict[int, float]
Run = tuple[str, int]
INDICATORS = {
    "parse_rate": "the parse rate",
    "confidence": "the confidence of choices",
    "format_sensitivity": "the divergence between formats",
    "held_out": "the held-out perplexity",
    "own_under_start": "the nats of its own text under the start model",
    "junk": "the share of junk",
    "distinct_2": "the share of distinct word pairs",
}


def findings(study: Study) -> list[Finding]:
    """One finding per lineage and indicator that was measured."""
    rows = scored_rows(study.evidence)
    series = {run: indicators(study, run, rows) for run in study.runs}
    outcome = {run: knowledge(study, run) for run in study.runs}
    found: list[Finding] = []
    for lineage in study.lineages:
        runs = [(lineage, seed) for seed in study.seeds(lineage) if outcome[lineage, seed]]
        grid = _grid([sorted(outcome[run]) for run in runs])
        step = grid[1] - grid[0] if len(grid) > 1 else 1
        tested: dict[str, LeadLag] = {}
        for name in INDICATORS:
            own = [run for run in runs if series[run].get(name)]
            if own:
                tested[name] = lead_lag(
                    [_on(grid, series[run][name]) for run in own],
                    [_on(grid, outcome[run]) for run in own],
                    alpha=study.alpha,
                    level=1 - 2 * study.alpha,
                )
        found += _lineage(lineage, tested, step, study.alpha)
    return found


def knowledge(study: Study, run: Run) -> Series:
    """Share right by generation, over the questions asked in every generation, each format weighing the same."""
    return _over_formats(study, run, lambda panel: panel.knowledge)


def indicators(study: Study, run: Run, rows: Rows) -> Mapping[str, Series]:
    """Every indicator of a run by generation; those without data are empty."""
    return {
        "parse_rate": _over_formats(study, run, lambda panel: panel.parseable),
        "confidence": _over_formats(study, run, lambda panel: panel.choice_confidence),
        "format_sensitivity": _sensitivity(rows, rows.of(run)),
        "held_out": _held_out(study.fluency, run),
        "own_under_start": _texts(study, run, "nats"),
        "junk": _texts(study, run, "junk"),
        "distinct_2": _distinct(study.own, run),
    }


def _over_formats(study: Study, run: Run, values: Callable[[Panel], Floats]) -> Series:
    """Mean over formats of the mean over questions that have the value in every generation."""
    by_generation: dict[int, list[float]] = {}
    for panel in panels_of(study, *run):
        matrix = values(panel)
        whole = matrix[~np.isnan(matrix).any(axis=1)]
        if len(whole):
            for generation, value in zip(panel.generations, whole.mean(axis=0), strict=True):
                by_generation.setdefault(generation, []).append(float(value))
    most = max((len(own) for own in by_generation.values()), default=0)
    return {g: float(np.mean(own)) for g, own in by_generation.items() if len(own) == most}


def _sensitivity(rows: Rows, here: Codes) -> Series:
    views = sorted({rows.view[r] for r in here})
    pairs = [(a, b) for i, a in enumerate(views) for b in views[i + 1 :] if a[0] != b[0]]
    if not pairs:
        return {}
    found = compare(rows, here, pairs)
    everywhere = np.repeat(~np.isnan(found.js).any(axis=2, keepdims=True), len(found.generations), axis=2)
    values = over_pairs(found.js, everywhere)
    if np.isnan(values).all():
        return {}
    return {g: float(v) for g, v in zip(found.generations, np.nanmean(values, axis=0), strict=True)}


def _held_out(fluency: pd.DataFrame | None, run: Run) -> Series:
    """Nats per token of held-out text, the logarithm of its perplexity."""
    if fluency is None or not len(fluency):
        return {}
    own = fluency[
        (fluency["kind"] == "held_out") & (as_text(fluency, "lineage") == run[0]) & (fluency["seed"] == run[1])
    ]
    nll, tokens = as_float(own, "nll"), as_float(own, "tokens")
    generation = own["generation"].to_numpy(dtype=np.int64)
    sums = {int(g): (float(nll[generation == g].sum()), float(tokens[generation == g].sum())) for g in set(generation)}
    return {g: top / bottom for g, (top, bottom) in sums.items() if bottom > 0 and np.isfinite(top)}


def _texts(study: Study, run: Run, kind: str) -> Series:
    panel = getattr(study.panels, kind).get(run)
    if panel is None:
        return {}
    top = panel.values["nll" if kind == "nats" else "junk"]
    bottom = panel.values["tokens"] if kind == "nats" else np.ones_like(top)
    known = np.isfinite(top) & np.isfinite(bottom)
    total = np.where(known, bottom, 0.0).sum(axis=0)
    return {
        g: float(np.where(known, top, 0.0)[:, j].sum() / total[j])
        for j, g in enumerate(panel.generations)
        if total[j] > 0
    }


def _distinct(own: pd.DataFrame | None, run: Run) -> Series:
    """Distinct over all pairs of neighbouring words of a generation's own texts."""
    if own is None or not len(own) or "completion" not in own.columns:
        return {}
    table = own[(as_text(own, "lineage") == run[0]) & (own["seed"] == run[1])]
    pairs: dict[int, list[tuple[str, str]]] = {}
    for generation, text in zip(table["generation"], as_text(table, "completion"), strict=True):
        words = str(text).split()
        pairs.setdefault(int(generation), []).extend(pairwise(words))
    return {g: len(set(found)) / len(found) for g, found in pairs.items() if found}


def _grid(runs: list[list[int]]) -> list[int]:
    """Equal steps from the first to the last generation, as small as the smallest gap between two evaluations."""
    gaps = [b - a for own in runs for a, b in pairwise(own)]
    if not gaps:
        return []
    first = min(own[0] for own in runs if own)
    return list(range(first, max(own[-1] for own in runs if own) + 1, min(gaps)))


def _on(grid: list[int], series: Series) -> Floats:
    return np.array([series.get(g, np.nan) for g in grid])


def _lineage(lineage: str, tested: Mapping[str, LeadLag], step: int, alpha: float) -> list[Finding]:
    ps = {name: one.p for name, one in tested.items() if one.p is not None}
    adjusted = dict(zip(ps, (float(p) for p in holm(list(ps.values()))), strict=True)) if ps else {}
    return [_finding(lineage, name, one, adjusted.get(name), step, alpha) for name, one in tested.items()]


def _finding(lineage: str, name: str, found: LeadLag, p: float | None, step: int, alpha: float) -> Finding:
    what = INDICATORS[name]
    verdict, reason = "undetermined", found.reason
    leads = p is not None and p <= alpha
    if not reason and leads and found.runs < RUNS:
        reason = f"{found.runs} run{'s' if found.runs > 1 else ''}: the interval of a lead takes {RUNS}"
    elif not reason and leads and found.lead is not None and found.low is not None and found.low >= 1:
        verdict = "leads"
    elif not reason:
        verdict = "no lead shown"
        reason = f"no lead is shown (p = {p:.3f} over {found.runs} runs, corrected for the number of indicators)"
        if leads:
            reason = f"it moves with knowledge or after it as well as before it (lead {_span(found, step)})"
    shown = verdict == "leads"
    sentence = f"Exploratory: {what} before knowledge: {reason}."
    if verdict == "undetermined":
        sentence = f"Exploratory: whether {what} moves before knowledge is undetermined: {reason}."
    if shown:
        sentence = (
            f"Exploratory: {what} moves before knowledge, by {_span(found, step)} "
            f"(p = {p:.3f}, {found.runs} runs, {found.pairs} pairs of differences)."
        )
    return Finding(
        analysis="lead_lag",
        name=f"lead_of_{name}",
        estimand="recipe",
        lineage=lineage,
        value=float(found.lead * step) if shown and found.lead is not None else None,
        low=float(found.low * step) if shown and found.low is not None else None,
        high=float(found.high * step) if shown and found.high is not None else None,
        level=1 - 2 * alpha,
        p=p,
        n=found.runs,
        units="runs",
        unit="generations",
        method="lagged partial correlations of differences; circular shifts; bootstrap over runs; Holm over indicators",
        sentence=sentence,
        reason="" if shown else reason,
        extra={
            "exploratory": True,
            "verdict": verdict,
            "pairs": found.pairs,
            "step": step,
            "lead": None if found.lead is None else found.lead * step,
            "correlations": {
                str(lag * step): None if np.isnan(r) else round(r, 6) for lag, r in found.correlations.items()
            },
        },
    )


def _span(found: LeadLag, step: int) -> str:
    if found.lead is None or found.low is None or found.high is None:
        return "not known"
    lead = found.lead * step
    return f"{lead} generation{'' if lead == 1 else 's'} ({found.low * step} to {found.high * step})"
