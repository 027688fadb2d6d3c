"""Did these checkpoints fall, and does training like this make models fall? Two questions, two units, kept apart.

"checkpoints": the questions are the unit, and the answer speaks of the models that were measured. One test for each
run, over all its formats, is the primary alarm; formats and domains are families of their own (Holm).
"recipe": the training runs are the unit, paired with the control by seed; see `recipes`. When it happened: `when`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from factfade.analysis import recipes, when
from factfade.analysis.stacked import (
    POINTS,
    Stack,
    formats_words,
    level_words,
    p_words,
    paired_stacks,
    panels_of,
    points,
    span_words,
    stacked,
)
from factfade.analysis.study import Study
from factfade.stats.multiplicity import holm
from factfade.stats.seeds import detectable_with_seeds
from factfade.stats.trend import FEW_CLUSTERS, Trend, items_trend
from factfade.verdicts import Finding


def findings(study: Study) -> list[Finding]:
    """Of every run the primary alarm, the trend of each format and domain, and when; of every lineage the recipe's."""
    found: list[Finding] = []
    for lineage, seed in study.runs:
        found += _run(study, lineage, seed)
    for lineage in study.lineages:
        found += recipes.findings(study, lineage)
    return found


def _run(study: Study, lineage: str, seed: int) -> list[Finding]:
    panels = panels_of(study, lineage, seed)
    if not panels:
        return []
    whole = stacked(study, panels)
    found = [_primary(study, lineage, seed, whole)]
    found += _over_control(study, lineage, seed)
    by_format = [stacked(study, [panel]) for panel in panels]
    if len(panels) > 1:
        made = [
            (one, replace(_blank(lineage, seed), name="trend_by_format", format=one.formats[0])) for one in by_format
        ]
        found += _family(study, made, "formats")
    domains = sorted({str(name) for name in whole.domains if name != ""})
    if len(domains) > 1:
        made = [
            (whole.within(name), replace(_blank(lineage, seed), name="trend_by_domain", domain=name))
            for name in domains
        ]
        found += _family(study, made, "domains")
    found += when.steps(study, lineage, seed, by_format)
    found += when.drops(study, lineage, seed, by_format)
    return found


def _blank(lineage: str, seed: int) -> Finding:
    return Finding(
        analysis="trend",
        name="trend",
        estimand="checkpoints",
        lineage=lineage,
        seed=seed,
        units="items",
        unit="share per generation",
    )


def _trend(study: Study, stack: Stack, *, span: float = 1.0) -> Trend:
    level = 1 - 2 * study.alpha
    return items_trend(stack.values, stack.generations, stack.clusters, items=stack.items, level=level, span=span)


def _filled(study: Study, finding: Finding, stack: Stack, trend: Trend) -> Finding:
    """The finding with the trend's numbers."""
    interval = trend.interval
    extra = {
        **finding.extra,
        "formats": list(stack.formats),
        "generations": list(stack.generations),
        "clusters": interval.clusters,
        "df": trend.df,
        "changed_clusters": trend.changed,
        "gaps": trend.gaps,
        "unused_questions": trend.unused,
        "detectable": _detectable(study, trend),
    }
    return replace(
        finding,
        value=interval.value,
        low=interval.low,
        high=interval.high,
        level=interval.level,
        p=trend.p,
        n=interval.n,
        method=f"{interval.method}; one-sided test of a fall",
        reason=trend.reason,
        extra=extra,
    )


def _detectable(study: Study, trend: Trend) -> float | None:
    """The fall per generation that these clusters show in four of five samples; None where no spread is known."""
    interval = trend.interval
    if interval.deviation is None or interval.clusters < 2:
        return None
    return detectable_with_seeds(interval.clusters, interval.deviation, alpha=study.alpha)


def _primary(study: Study, lineage: str, seed: int, whole: Stack) -> Finding:
    """The one test of a run: an item's slope averaged over the formats it is asked in."""
    trend = _trend(study, whole)
    made = _filled(study, replace(_blank(lineage, seed), extra={"primary": True}), whole, trend)
    shown = made.p is not None and made.p <= study.alpha
    sentence = _sentence(made, trend, whole, shown)
    tail = "" if made.p is None else " This speaks of these checkpoints, not of what such training does in general."
    return replace(made, sentence=sentence + tail, extra={**made.extra, "shown": shown})


def _family(study: Study, made: Sequence[tuple[Stack, Finding]], family: str) -> list[Finding]:
    """Trends of a declared family: shown where the Holm-adjusted p says so."""
    trends = [_trend(study, stack) for stack, _ in made]
    adjusted = holm([np.nan if trend.p is None else trend.p for trend in trends])
    found: list[Finding] = []
    for (stack, blank), trend, p in zip(made, trends, adjusted, strict=True):
        finding = _filled(study, blank, stack, trend)
        shown = trend.p is not None and bool(p <= study.alpha)
        corrected = "" if trend.p is None else f"; over {len(made)} {family} (Holm) {p_words(float(p))}"
        sentence = _sentence(finding, trend, stack, shown, corrected)
        extra = {**finding.extra, "p_holm": None if trend.p is None else float(p), "family": family, "shown": shown}
        found.append(replace(finding, sentence=sentence, extra=extra))
    return found


def _over_control(study: Study, lineage: str, seed: int) -> list[Finding]:
    """The checkpoints' trend less that of the control's checkpoints of the same seed, paired by question."""
    control = study.control_of(lineage)
    if control is None:
        return []
    pair = paired_stacks(study, panels_of(study, lineage, seed), panels_of(study, control, seed))
    if pair is None:
        return []
    mine, theirs = pair
    difference = replace(mine, values=mine.values - theirs.values)
    trend = _trend(study, difference, span=2.0)
    blank = replace(_blank(lineage, seed), name="trend_over_control", extra={"control": control})
    finding = _filled(study, blank, difference, trend)
    shown = trend.p is not None and trend.p <= study.alpha
    place = f"({lineage} against {control}, seed {seed})"
    if trend.p is None:
        sentence = f"Whether these checkpoints fell faster than the control's cannot be said {place}: {trend.reason}."
    else:
        verb = "fell faster" if shown else "are not shown to have fallen faster"
        sentence = (
            f"These checkpoints {verb} than the control's {place}: the difference of the slopes over "
            f"{formats_words(mine.formats)} is {_bounds(finding)} ({_counts(finding)}, "
            f"{span_words(mine.generations)}; one-sided {p_words(trend.p)}). One pair of runs: another seed may differ."
        )
    return [replace(finding, sentence=sentence, extra={**finding.extra, "shown": shown})]


def _sentence(finding: Finding, trend: Trend, stack: Stack, shown: bool, corrected: str = "") -> str:
    domain = f", {finding.domain}" if finding.domain else ""
    place = f"({finding.lineage}, seed {finding.seed}{domain})"
    of = formats_words(stack.formats)
    if finding.p is None or finding.value is None:
        return f"Whether these checkpoints fell cannot be said {place}, {of}: {finding.reason}."
    numbers = f"({_counts(finding)}, {span_words(stack.generations)}; one-sided {p_words(finding.p)}{corrected})."
    if shown:
        text = f"These checkpoints fell {place}: the slope of accuracy over {of} is {_bounds(finding)} {numbers}"
    else:
        text = (
            f"These checkpoints are not shown to have fallen {place}: the slope of accuracy over {of} is "
            f"{_bounds(finding)} {numbers}"
        )
        least = finding.extra["detectable"]
        if least is not None:
            text += f" A fall of {points(least)} {POINTS} would be shown in 4 of 5 such samples."
    if trend.df is not None and trend.df + 1 < FEW_CLUSTERS - 1e-9:
        text += f" Few independent clusters (about {trend.df + 1:.0f}): read it with care."
    return text


def _bounds(finding: Finding) -> str:
    if finding.value is None or finding.low is None or finding.high is None:
        return "unknown"
    bounds = f"{points(finding.low, signed=True)} to {points(finding.high, signed=True)}"
    return f"{points(finding.value, signed=True)} {POINTS}, {level_words(finding.level)} interval {bounds}"


def _counts(finding: Finding) -> str:
    clusters = int(finding.extra["clusters"])
    among = "" if clusters == finding.n else f" in {clusters:,} clusters"
    return f"{finding.n:,} items{among}"
