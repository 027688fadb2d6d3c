"""Does training like this make models fall? Training runs are the unit, paired with the control by seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from factfade.analysis.stacked import (
    POINTS,
    Stack,
    formats_words,
    level_words,
    p_words,
    paired_stacks,
    panels_of,
    points,
)
from factfade.analysis.study import Study
from factfade.stage_panel import Panel
from factfade.stats.multiplicity import holm
from factfade.stats.seeds import CONFIRMING_SEEDS, RecipeTrend, detectable_with_seeds, recipe_trend, seeds_for
from factfade.stats.trend import items_trend
from factfade.verdicts import Finding


def findings(study: Study, lineage: str) -> list[Finding]:
    """The recipe's trend over all formats, and by format with Holm; one undetermined finding without a control.

    The summary of a run is the slope of its mean accuracy per generation, on the questions and generations that arm
    and control of that seed share. A lineage that is itself a control has none.
    """
    control = study.control_of(lineage)
    if control is None:
        if lineage in study.controls.values() or not _panels(study, lineage, study.seeds(lineage)):
            return []
        reason = "it has no control of its own, so plain forgetting is not excluded"
        blank = _blank(lineage, None, reason)
        return [replace(blank, sentence=f"Whether training like {lineage} makes models fall cannot be said: {reason}.")]
    seeds = sorted(set(study.seeds(lineage)) & set(study.seeds(control)))
    mine, theirs = _panels(study, lineage, seeds), _panels(study, control, seeds)
    formats = sorted({panel.format for of in mine.values() for panel in of})
    unpaired = sorted(set(study.seeds(lineage)) - set(seeds))
    whole = _finding(study, lineage, control, "", unpaired, *_slopes(study, mine, theirs, None))
    found = [replace(whole, extra={**whole.extra, "primary": True})]
    if len(formats) < 2:
        return found
    made = [_finding(study, lineage, control, name, unpaired, *_slopes(study, mine, theirs, name)) for name in formats]
    adjusted = holm([np.nan if finding.p is None else finding.p for finding in made])
    for finding, p in zip(made, adjusted, strict=True):
        corrected = None if finding.p is None else float(p)
        found.append(_corrected(study, finding, corrected, len(formats)))
    return found


def _panels(study: Study, lineage: str, seeds: Sequence[int]) -> dict[int, list[Panel]]:
    """The panels of each seed that has any."""
    found = {seed: panels_of(study, lineage, seed) for seed in seeds}
    return {seed: panels for seed, panels in found.items() if panels}


def _slopes(
    study: Study, mine: dict[int, list[Panel]], theirs: dict[int, list[Panel]], format: str | None
) -> tuple[RecipeTrend, list[dict[str, Any]], tuple[str, ...]]:
    """The paired comparison over seeds, each seed's slopes, and the formats that they are of."""
    table: list[dict[str, Any]] = []
    formats: set[str] = set()
    for seed, panels in mine.items():
        of = [panel for panel in panels if format in (None, panel.format)]
        pair = paired_stacks(study, of, theirs.get(seed, []))
        if pair is None:
            continue
        arm, control = (_slope(stack) for stack in pair)
        if arm is None or control is None:
            continue
        formats |= set(pair[0].formats)
        row = {"seed": seed, "arm": arm, "control": control, "difference": arm - control}
        table.append({**row, "generations": list(pair[0].generations)})
    level = 1 - 2 * study.alpha
    trend = recipe_trend([row["arm"] for row in table], [row["control"] for row in table], level=level)
    return trend, table, tuple(sorted(formats))


def _slope(stack: Stack) -> float | None:
    return items_trend(stack.values, stack.generations, stack.clusters, items=stack.items).interval.value


def _blank(lineage: str, control: str | None, reason: str = "") -> Finding:
    return Finding(
        analysis="trend",
        name="recipe_trend",
        estimand="recipe",
        lineage=lineage,
        units="seeds",
        unit="share per generation",
        reason=reason,
        extra={} if control is None else {"control": control},
    )


def _finding(
    study: Study,
    lineage: str,
    control: str,
    format: str,
    unpaired: Sequence[int],
    trend: RecipeTrend,
    table: Sequence[dict[str, Any]],
    formats: Sequence[str],
) -> Finding:
    interval = trend.interval
    sd = interval.deviation
    carried = sd is not None and trend.seeds > 1
    least = detectable_with_seeds(trend.seeds, sd, alpha=study.alpha) if carried and sd is not None else None
    takes = None
    if sd is not None and interval.value is not None and interval.value < 0:
        takes = seeds_for(interval.value, sd, alpha=study.alpha)
    finding = replace(
        _blank(lineage, control, trend.reason),
        format=format,
        value=interval.value,
        low=interval.low,
        high=interval.high,
        level=interval.level,
        p=trend.p,
        n=trend.seeds,
        method=f"{interval.method}, arm minus control; one-sided test of a fall",
        extra={
            "control": control,
            "formats": list(formats),
            "by_seed": list(table),
            "unpaired_seeds": list(unpaired),
            "sd": sd,
            "exploratory": trend.exploratory,
            "detectable": least,
            "seeds_needed": takes,
            "shown": trend.p is not None and trend.p <= study.alpha,
        },
    )
    return replace(finding, sentence=_sentence(finding, formats))


def _corrected(study: Study, finding: Finding, p: float | None, family: int) -> Finding:
    shown = p is not None and p <= study.alpha
    finding = replace(finding, extra={**finding.extra, "p_holm": p, "family": "formats", "shown": shown})
    words = "" if p is None else f"; over {family} formats (Holm) {p_words(p)}"
    return replace(finding, sentence=_sentence(finding, finding.extra["formats"] or [finding.format], words))


def _sentence(finding: Finding, formats: Sequence[str], corrected: str = "") -> str:
    extra, control = finding.extra, finding.extra["control"]
    of = formats_words(formats) if formats else (finding.format or "all formats")
    runs = "1 seed" if finding.n == 1 else f"{finding.n} seeds"
    if finding.value is None or finding.p is None:
        seen = ""
        if finding.value is not None:
            seen = f" In this pair the slope is {points(finding.value, signed=True)} {POINTS} against the control's."
        return (
            f"Whether training like {finding.lineage} makes models fall cannot be said ({of}, against {control}): "
            f"{finding.reason}.{seen} Runs are the unit here: {CONFIRMING_SEEDS} seeds of both are advised."
        )
    few = bool(extra["exploratory"])
    if extra["shown"]:
        verb = "appears to make models fall" if few else "makes models fall"
    else:
        verb = "is not shown to make models fall"
    start = f"Exploratory, {runs}: training" if few else "Training"
    text = (
        f"{start} like {finding.lineage} {verb} ({of}): arm minus control ({control}), the slope is "
        f"{points(finding.value, signed=True)} {POINTS}"
    )
    if finding.low is None or finding.high is None:
        text += f", without an interval since {finding.reason} ({runs}; one-sided {p_words(finding.p)}{corrected})."
        return text
    bounds = f"{points(finding.low, signed=True)} to {points(finding.high, signed=True)}"
    text += (
        f", {level_words(finding.level)} interval {bounds} "
        f"({runs} as the unit; one-sided {p_words(finding.p)}{corrected})."
    )
    if extra["detectable"] is not None:
        text += (
            f" At this spread between seeds, {runs} show a fall of {points(extra['detectable'])} {POINTS} "
            "in 4 of 5 such experiments"
        )
        needed = extra["seeds_needed"]
        text += f"; one as small as that seen takes {needed:,} seeds." if needed and not extra["shown"] else "."
    return text
