"""How fast does accuracy change, how many times as fast as in another arm, and do formats differ in it?

Slopes are estimates with intervals; whether a fall is shown is the trend's question. Ratios of slopes: `slope_ratios`.
The published two-way analysis of variance stands beside a permutation test that keeps its level: `slope_formats`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from factfade.analysis import slope_formats, slope_ratios
from factfade.analysis.stacked import POINTS, Stack, level_words, panels_of, points, span_words, stacked
from factfade.analysis.study import Study
from factfade.stats.intervals import Interval
from factfade.stats.ratios import Slopes, joint_slopes, mean_over_runs, slope_parts
from factfade.stats.trend import largest_slope
from factfade.verdicts import Finding

# So many domains are named in a sentence; more are in the finding's `extra`.
SPOKEN_DOMAINS = 4


def findings(study: Study) -> list[Finding]:
    """Slopes of every run and format, of every recipe and format, ratios of arms, and formats against each other."""
    found: list[Finding] = []
    for lineage, seed in study.runs:
        for panel in panels_of(study, lineage, seed):
            found.append(_of_run(lineage, seed, stacked(study, [panel])))
    for lineage in study.lineages:
        found += _of_recipe(study, lineage)
    found += slope_ratios.findings(study)
    for lineage in study.lineages:
        found += slope_formats.findings(study, lineage)
    return found


def slopes_of(stack: Stack) -> Slopes:
    """The slope of a stack of questions, with its variance between clusters."""
    parts = slope_parts(stack.values, stack.generations)
    return joint_slopes([parts], stack.clusters, step=largest_slope(stack.generations))


def _domains(stack: Stack) -> list[str]:
    names = sorted({str(name) for name in stack.domains if name != ""})
    return names if len(names) > 1 else []


def _plain(found: Interval) -> dict[str, Any]:
    return {"slope": found.value, "low": found.low, "high": found.high, "n": found.n, "units": found.clusters}


def _words(found: Interval) -> str:
    """ "-3.01 points a generation (95% interval -3.60 to -2.42)"."""
    if found.value is None:
        return "not known"
    if found.low is None or found.high is None:
        return f"{points(found.value, signed=True)} {POINTS} (no interval)"
    bounds = f"{points(found.low, signed=True)} to {points(found.high, signed=True)}"
    return f"{points(found.value, signed=True)} {POINTS} ({level_words(found.level)} interval {bounds})"


def _by_domain(table: Sequence[tuple[str, Interval]], units: str = "questions") -> str:
    if not table or len(table) > SPOKEN_DOMAINS:
        return ""
    return " By domain: " + "; ".join(f"{name} {_words(found)}, {found.n:,} {units}" for name, found in table) + "."


def _of_run(lineage: str, seed: int, stack: Stack) -> Finding:
    """The slope of one run and format: these checkpoints, clusters of questions as the unit."""
    found = slopes_of(stack).interval()
    table = [(name, slopes_of(stack.within(name)).interval()) for name in _domains(stack)]
    place = f"{lineage}, seed {seed}, {stack.formats[0]}"
    reason = ""
    if found.value is None:
        reason = "no question was answered in two generations"
        sentence = f"How fast accuracy changes cannot be said ({place}): {reason}."
    else:
        if found.low is None:
            reason = "the questions are one cluster: nothing says how much they vary"
        numbers = f"{found.n:,} questions in {found.clusters:,} clusters, {span_words(stack.generations)}"
        why = f": {reason}" if reason else ""
        sentence = f"Accuracy changes by {_words(found)} ({place}; {numbers}){why}.{_by_domain(table)}"
    return Finding(
        analysis="slope",
        name="slope",
        estimand="checkpoints",
        lineage=lineage,
        seed=seed,
        format=stack.formats[0],
        value=found.value,
        low=found.low,
        high=found.high,
        level=found.level,
        n=found.n,
        units="questions",
        unit="share per generation",
        method=found.method,
        sentence=sentence,
        reason=reason,
        extra={
            "clusters": found.clusters,
            "generations": list(stack.generations),
            "by_domain": {name: _plain(of) for name, of in table},
        },
    )


def _of_recipe(study: Study, lineage: str) -> list[Finding]:
    """The mean slope over the seeds of a lineage, by format: training runs as the unit. Nothing for one seed."""
    by_format: dict[str, dict[int, Stack]] = {}
    for seed in study.seeds(lineage):
        for panel in panels_of(study, lineage, seed):
            by_format.setdefault(panel.format, {})[seed] = stacked(study, [panel])
    return [_over_seeds(lineage, format, of) for format, of in by_format.items() if len(of) > 1]


def _mean_of(stacks: Sequence[Stack]) -> Interval:
    known = [s for s in map(slopes_of, stacks) if not np.isnan(s.values[0])]
    return mean_over_runs([float(s.values[0]) for s in known], [s.floor for s in known])


def _over_seeds(lineage: str, format: str, of: Mapping[int, Stack]) -> Finding:
    found = _mean_of(list(of.values()))
    names = sorted({name for stack in of.values() for name in _domains(stack)})
    table = [(name, _mean_of([stack.within(name) for stack in of.values()])) for name in names]
    reason = "" if found.low is not None else "fewer than two seeds have a slope: no spread between runs is known"
    if reason:
        sentence = f"The slope that training like {lineage} gives cannot be said ({format}): {reason}."
    else:
        sentence = (
            f"Training like {lineage} changes accuracy by {_words(found)} ({format}; {found.n} seeds as the unit)."
            f"{_by_domain(table, 'seeds')}"
        )
    return Finding(
        analysis="slope",
        name="recipe_slope",
        estimand="recipe",
        lineage=lineage,
        format=format,
        value=found.value,
        low=found.low,
        high=found.high,
        level=found.level,
        n=found.n,
        units="seeds",
        unit="share per generation",
        method=found.method,
        sentence=sentence,
        reason=reason,
        extra={
            "by_seed": {str(seed): slopes_of(stack).interval().value for seed, stack in of.items()},
            "by_domain": {name: _plain(one) for name, one in table},
        },
    )
