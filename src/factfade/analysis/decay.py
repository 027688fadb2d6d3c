"""What curve does the loss follow: a straight line, or an exponential to a floor, and how long is its half-life?

One fit for each run and format, with questions as the unit: it describes these checkpoints. A curve that does not
describe the points says so, and what the generations cannot identify (a floor that is far off, a rate when nothing
falls) is said instead of shown with a made-up interval.
"""

from __future__ import annotations

from typing import Any

from factfade.analysis.stacked import POINTS, Stack, level_words, p_words, panels_of, points, span_words, stacked
from factfade.analysis.study import Study
from factfade.stats.curves import curve_of
from factfade.stats.decay import Decay, Fit, Parameter, fit_decay
from factfade.verdicts import Finding

# Below this p a curve is said not to describe the points.
MISFIT = 0.05


def findings(study: Study) -> list[Finding]:
    """The fits of every run and format that is no probe."""
    return [
        _finding(lineage, seed, stacked(study, [panel]))
        for lineage, seed in study.runs
        for panel in panels_of(study, lineage, seed)
    ]


def _finding(lineage: str, seed: int, stack: Stack) -> Finding:
    curve = curve_of(stack.values, stack.generations, stack.clusters)
    found = fit_decay(curve)
    place = f"{lineage}, seed {seed}, {stack.formats[0]}"
    rate = None if found.exponential is None else found.exponential.parameters["rate"]
    return Finding(
        analysis="decay",
        name="decay",
        estimand="checkpoints",
        lineage=lineage,
        seed=seed,
        format=stack.formats[0],
        value=None if rate is None else rate.value,
        low=None if rate is None else rate.low,
        high=None if rate is None else rate.high,
        unbounded=rate is not None and rate.high is None,
        level=found.level,
        n=len(stack.items),
        units="questions",
        unit="per generation",
        method=f"exponential to a floor, {found.method}",
        sentence=_sentence(place, stack, found),
        reason=found.reason,
        extra={
            "clusters": found.units,
            "generations": list(found.generations),
            "means": [] if curve is None else curve.means.tolist(),
            "linear": _plain(found.linear),
            "exponential": _plain(found.exponential),
            "preferred": found.preferred,
        },
    )


def _plain(fit: Fit | None) -> dict[str, Any] | None:
    if fit is None:
        return None
    return {
        **{
            name: {"value": p.value, "low": p.low, "high": p.high, "identified": p.identified}
            for name, p in fit.parameters.items()
        },
        "fitted": list(fit.fitted),
        "misfit": fit.misfit,
        "df": fit.df,
        "p_fit": fit.p_fit,
        "aicc": fit.aicc,
    }


def _sentence(place: str, stack: Stack, found: Decay) -> str:
    if found.linear is None or found.exponential is None:
        return f"No decay curve is fitted ({place}): {found.reason}."
    numbers = f"{place}; {len(stack.items):,} questions in {found.units:,} clusters, {span_words(found.generations)}"
    slope = found.linear.parameters["slope"]
    line, level = _line(slope, found.level), level_words(found.level)
    if slope.high is None or slope.high >= 0:
        way = "rises" if slope.low is not None and slope.low > 0 else "is not shown to fall"
        return f"Accuracy {way} along a straight line ({numbers}): {line}. There is no decay to describe."
    curve = _exponential(found.exponential)
    if found.preferred == "exponential":
        text = f"Accuracy decays towards a floor rather than along a line ({numbers}; {level} intervals): {curve}."
    elif found.preferred == "linear":
        text = f"Accuracy falls along a straight line, with no floor in sight ({numbers}): {line}."
    else:
        why = "the two are not told apart"
        if found.exponential.aicc is None:
            why = f"{len(found.generations)} generations are too few to choose between them"
        text = f"A straight line or a decay to a floor, {why} ({numbers}; {level} intervals): {line}; or {curve}."
    judged = [found.linear if found.preferred == "linear" else found.exponential]
    poor = [fit for fit in judged if fit.p_fit is not None and fit.p_fit < MISFIT]
    for fit in poor:
        text += f" The points scatter more about it than items explain ({p_words(fit.p_fit or 0.0)}): too narrow."
    return text


def _line(slope: Parameter, level: float) -> str:
    if slope.value is None or slope.low is None or slope.high is None:
        return "no slope"
    bounds = f"{points(slope.low, signed=True)} to {points(slope.high, signed=True)}"
    value = round(slope.value, 9) + 0.0  # No "-0.00" for rounding error.
    return f"{points(value, signed=True)} {POINTS} ({level_words(level)} interval {bounds})"


def _share(p: Parameter) -> str:
    if p.value is None or p.low is None or p.high is None:
        return "not known"
    return f"{100 * p.value:.1f}% ({100 * p.low:.1f} to {100 * p.high:.1f}%)"


def _exponential(fit: Fit) -> str:
    """Start, floor and half-life, each with its interval, or what is not identified."""
    floor, rate, half = (fit.parameters[name] for name in ("floor", "rate", "half_life"))
    end = "a floor that these generations do not identify"
    if floor.identified:
        end = f"a floor of {_share(floor)}"
    text = f"from {_share(fit.parameters['start'])} to {end}"
    if not rate.identified:
        return f"{text}, at a rate that is not identified"
    if rate.value is None or half.value is None:
        speed = "in a single step"
    else:
        speed = f"half of the way in {half.value:.2f} generations"
    low = "0" if half.low is None or half.low == 0.0 else f"{half.low:.2f}"
    high = "no upper bound" if half.high is None else f"{half.high:.2f}"
    return f"{text}, {speed} ({low} to {high})"
