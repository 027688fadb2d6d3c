"""How many times as fast does one arm fall as another? Ratios of slopes by Fieller, which can answer "unbounded".

The same questions and generations in both arms, paired by seed. Within a seed questions are the unit ("checkpoints");
over seeds training runs are ("recipe"). The arm that falls faster over all formats and seeds is the numerator, so that
names decide nothing; the set of the inverse ratio is the inverse of the set.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from factfade.analysis.stacked import POINTS, Stack, formats_words, level_words, paired_stacks, panels_of, points
from factfade.analysis.study import Study
from factfade.stats.ratios import RatioSet, Slopes, fieller_of_pairs, joint_slopes, slope_parts
from factfade.stats.trend import largest_slope
from factfade.verdicts import Finding

# A place is (format, domain), "" for all of them.
Place = tuple[str, str]
WHOLE: Place = ("", "")


def findings(study: Study) -> list[Finding]:
    """The ratios of every two lineages of which neither is a control of another."""
    controls = {study.control_of(lineage) for lineage in study.lineages}
    arms = [lineage for lineage in study.lineages if lineage not in controls]
    return [finding for pair in combinations(arms, 2) for finding in _pair(study, *pair)]


def _pair(study: Study, first: str, second: str) -> list[Finding]:
    by_seed: dict[int, dict[Place, Slopes]] = {}
    for seed in sorted(set(study.seeds(first)) & set(study.seeds(second))):
        found = _slopes(study, first, second, seed)
        if WHOLE in found:
            by_seed[seed] = found
    if not by_seed:
        return []
    pooled = np.mean([found[WHOLE].values for found in by_seed.values()], axis=0)
    if pooled[1] < pooled[0]:
        first, second = second, first
        by_seed = {seed: {at: _swapped(s) for at, s in found.items()} for seed, found in by_seed.items()}
    places = sorted({at for found in by_seed.values() for at in found})
    spoken = [at for at in places if "" in at]
    arms = (first, second)
    words = {at: _formats(study, arms, at) for at in spoken}
    if len(by_seed) == 1:
        ((seed, found),) = by_seed.items()
        return [_of_checkpoints(arms, words[at], at, seed, found) for at in spoken]
    made = [_of_checkpoints(arms, words[WHOLE], WHOLE, seed, found) for seed, found in by_seed.items()]
    return made + [_of_recipes(arms, words[at], at, by_seed) for at in spoken]


def _slopes(study: Study, first: str, second: str, seed: int) -> dict[Place, Slopes]:
    """Both slopes with their covariance, over everything and for each format, domain and both; those that exist."""
    mine, theirs = panels_of(study, first, seed), panels_of(study, second, seed)
    formats = [panel.format for panel in mine if panel.format in {other.format for other in theirs}]
    found: dict[Place, Slopes] = {}
    for format in ["", *formats] if len(formats) > 1 else [""]:
        pair = paired_stacks(study, [p for p in mine if format in ("", p.format)], theirs)
        if pair is None:
            continue
        domains = sorted({str(name) for name in pair[0].domains if name != ""})
        for domain in ["", *domains] if len(domains) > 1 else [""]:
            stacks = pair if domain == "" else (pair[0].within(domain), pair[1].within(domain))
            slopes = _joint(*stacks)
            if not np.isnan(slopes.values).any():
                found[format, domain] = slopes
    return found


def _joint(mine: Stack, theirs: Stack) -> Slopes:
    parts = [slope_parts(stack.values, stack.generations) for stack in (mine, theirs)]
    return joint_slopes(parts, mine.clusters, step=largest_slope(mine.generations))


def _swapped(slopes: Slopes) -> Slopes:
    covariance = None if slopes.covariance is None else slopes.covariance[::-1, ::-1]
    return Slopes(
        values=slopes.values[::-1],
        covariance=covariance,
        n=slopes.n,
        units=slopes.units,
        df=slopes.df,
        floor=slopes.floor,
    )


def _recipe_set(of: Sequence[Slopes]) -> RatioSet | None:
    values = np.stack([s.values for s in of])
    floor = float(np.mean([s.floor for s in of])) / len(of)
    return fieller_of_pairs(values[:, 0], values[:, 1], floor=(floor, floor))


def _plain(found: RatioSet | None, values: Sequence[float]) -> dict[str, Any]:
    """A set as plain data."""
    slopes = [float(v) for v in values]
    if found is None:
        return {"slopes": slopes, "ratio": None, "shape": None, "low": None, "high": None}
    return {"slopes": slopes, "ratio": found.value, "shape": found.shape, "low": found.low, "high": found.high}


def _table(places: Mapping[Place, dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"format": format, "domain": domain, **row} for (format, domain), row in sorted(places.items())]


def _of_checkpoints(
    arms: tuple[str, str], formats: str, at: Place, seed: int, found: Mapping[Place, Slopes]
) -> Finding:
    slopes = found[at]
    table = {place: _plain(s.ratio(), s.values.tolist()) for place, s in found.items()} if at == WHOLE else {}
    return _finding(
        arms,
        at,
        slopes.ratio(),
        slopes.values.tolist(),
        seed=seed,
        n=slopes.n,
        formats=formats,
        counts=f"seed {seed}, {slopes.n:,} questions in {slopes.units:,} clusters",
        why_none="the questions are one cluster: nothing says how much they vary",
        extra={"clusters": slopes.units, "table": _table(table)},
    )


def _of_recipes(
    arms: tuple[str, str], formats: str, at: Place, by_seed: Mapping[int, Mapping[Place, Slopes]]
) -> Finding:
    of = {seed: found[at] for seed, found in by_seed.items() if at in found}
    table: dict[Place, dict[str, Any]] = {}
    if at == WHOLE:
        for place in {p for found in by_seed.values() for p in found}:
            there = [found[place] for found in by_seed.values() if place in found]
            table[place] = _plain(_recipe_set(there), np.mean([s.values for s in there], axis=0).tolist())
    return _finding(
        arms,
        at,
        _recipe_set(list(of.values())),
        np.mean([s.values for s in of.values()], axis=0).tolist(),
        seed=None,
        n=len(of),
        formats=formats,
        counts=f"{len(of)} seeds as the unit",
        why_none="one seed has both: no spread between runs is known",
        extra={"by_seed": [{"seed": s, "slopes": v.values.tolist()} for s, v in of.items()], "table": _table(table)},
    )


def _formats(study: Study, arms: tuple[str, str], at: Place) -> str:
    """The formats that a ratio is of, in words."""
    if at[0]:
        return at[0]
    asked = [{panel.format for seed in study.seeds(arm) for panel in panels_of(study, arm, seed)} for arm in arms]
    return formats_words(sorted(asked[0] & asked[1]))


def _finding(
    arms: tuple[str, str],
    at: Place,
    ratio: RatioSet | None,
    slopes: Sequence[float],
    *,
    seed: int | None,
    n: int,
    formats: str,
    counts: str,
    why_none: str,
    extra: Mapping[str, Any],
) -> Finding:
    bounded = ratio is not None and ratio.shape == "bounded"
    sentence, reason = _sentence(arms, at, ratio, slopes, formats, counts, why_none)
    return Finding(
        analysis="slope",
        name="slope_ratio",
        estimand="recipe" if seed is None else "checkpoints",
        lineage=arms[0],
        seed=seed,
        format=at[0],
        domain=at[1],
        value=None if ratio is None else ratio.value,
        low=ratio.low if bounded and ratio is not None else None,
        high=ratio.high if bounded and ratio is not None else None,
        unbounded=ratio is not None and not bounded,
        n=n,
        units="seeds" if seed is None else "questions",
        unit="ratio",
        method="Fieller",
        sentence=sentence,
        reason=reason,
        extra={"numerator": arms[0], "denominator": arms[1], **_plain(ratio, slopes), **extra},
    )


def _sentence(
    arms: tuple[str, str],
    at: Place,
    ratio: RatioSet | None,
    slopes: Sequence[float],
    formats: str,
    counts: str,
    why_none: str,
) -> tuple[str, str]:
    """The sentence, and the reason why there is no answer ("" where there is one)."""
    first, second = arms
    domain = f", {at[1]}" if at[1] else ""
    place = f"({formats}{domain}; {counts})"
    each = f"{points(slopes[0], signed=True)} against {points(slopes[1], signed=True)} {POINTS}"
    if ratio is None:
        said = f"The ratio of the slopes of {first} and {second} cannot be said {place}: {each}, but {why_none}."
        return said, why_none
    seen = "" if ratio.value is None else f" The ratio seen is {ratio.value:.2f}."
    level = level_words(ratio.level)
    if ratio.shape == "bounded" and ratio.low is not None and ratio.high is not None:
        bounds = f"{level} interval {ratio.low:.2f} to {ratio.high:.2f}"
        return f"The slope of {first} is {ratio.value or 0.0:.2f} times that of {second}, {bounds} {place}: {each}.", ""
    if ratio.shape == "outside":
        rays = [f"{ratio.low:.2f} and below"] if ratio.low is not None else []
        rays += [f"{ratio.high:.2f} and above"] if ratio.high is not None else []
        what = f"it has no largest value at {level}: every ratio of {' and of '.join(rays)} fits"
        why = f"since the slope of {second} may be 0"
    else:
        what, why = f"every number fits at {level}", f"since the slopes of {first} and of {second} may both be 0"
    text = f"How many times as fast {first} falls as {second} is unbounded {place}: {each}, and {what}, {why}.{seen}"
    return text, ""
