"""Does one series move before another? Lagged partial correlations of differences, pooled over runs.

Levels that both drift correlate at every lag, so series are differenced first, and each run's mean difference is taken
out. At lag L the indicator's change at t - L is set against the outcome's at t, given the outcome's own change at t - 1
(Granger 1969: what the outcome's past does not tell already). The test is the largest of the lags 1 to `lags`, against
the same series shifted in a circle within each run: shifts keep how each series goes on by itself and break what ties
the two together. The lead is the lag of the largest plain correlation, of those before, at and after the outcome.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from factfade.stats.intervals import Floats, two_sided

MINIMUM = 8  # pooled pairs of differences at lag 1
RUNS = 3  # runs below which a lead has no interval
RESAMPLES = 999
SEED = 231000489


@dataclass(frozen=True, kw_only=True)
class LeadLag:
    """`correlations` by lag (positive: the indicator moves first; partial for those, plain for the others), `p` of the
    largest leading one, `lead` in steps with the bounds of a bootstrap over runs. `pairs` at lag 1.

    `reason` says why there is no answer; then p and lead are None. `low` and `high` are None below `RUNS` runs.
    """

    correlations: dict[int, float]
    p: float | None
    lead: int | None
    low: int | None
    high: int | None
    pairs: int
    runs: int
    shifts: int
    reason: str = ""


def lead_lag(
    indicator: Sequence[ArrayLike],
    outcome: Sequence[ArrayLike],
    *,
    lags: int = 3,
    alpha: float = 0.05,
    level: float = 0.90,
    resamples: int = RESAMPLES,
) -> LeadLag:
    """Levels of both series by run, on one grid of equal steps, NaN where a step was not measured.

    Undetermined with fewer than `MINIMUM` pairs at lag 1, or where all shifts together cannot give p <= alpha.
    Raises ValueError where the two have different runs or lengths.
    """
    if len(indicator) != len(outcome):
        raise ValueError("a lead is sought within the same runs")
    x, y = _differences(indicator), _differences(outcome)
    if x.shape != y.shape:
        raise ValueError("both series of a run are on one grid")
    two_sided(level)
    runs, steps = x.shape
    lags = max(1, min(lags, steps // 3))
    shifts = max(1, steps) ** runs
    pairs = int(np.sum(np.isfinite(x[:, :-1]) & np.isfinite(y[:, 1:]))) if steps > 1 else 0
    correlations = {lag: float(_correlation(x[None], y, lag, partial=lag > 0)[0][0]) for lag in range(-lags, lags + 1)}
    reason = _reason(x, y, pairs, shifts, alpha)
    if reason:
        return LeadLag(
            correlations=correlations, p=None, lead=None, low=None, high=None, pairs=pairs, runs=runs, shifts=shifts,
            reason=reason,
        )  # fmt: skip
    random = np.random.default_rng(SEED)
    low, high = _lead_bounds(x, y, lags, level, random) if runs >= RUNS else (None, None)
    return LeadLag(
        correlations=correlations,
        p=_shifted_p(x, y, lags, resamples, random),
        lead=int(_leads(x[None], y[None], lags)[0]),
        low=low,
        high=high,
        pairs=pairs,
        runs=runs,
        shifts=shifts,
    )


def _differences(series: Sequence[ArrayLike]) -> Floats:
    """First differences by run less their mean, (runs, steps), NaN beyond the end of a shorter run."""
    rows = [np.diff(np.asarray(levels, dtype=np.float64)) for levels in series]
    found = np.full((len(rows), max((len(r) for r in rows), default=0)), np.nan)
    for i, row in enumerate(rows):
        known = np.isfinite(row)
        found[i, : len(row)] = np.where(known, row - row[known].mean() if known.any() else 0.0, np.nan)
    return found


def _reason(x: Floats, y: Floats, pairs: int, shifts: int, alpha: float) -> str:
    if pairs < MINIMUM:
        return f"{pairs} pairs of differences one step apart; it takes {MINIMUM}"
    for name, d in (("the indicator", x), ("the outcome", y)):
        if float(np.nanmax(np.abs(d))) < 1e-12:
            return f"{name} does not vary beyond a straight line"
    if shifts * alpha < 1.0:
        return f"{shifts} shifts cannot give a p of {alpha:g} or less"
    return ""


def _correlation(x: Floats, y: Floats, lag: int, *, partial: bool) -> tuple[Floats, Floats]:
    """Pooled correlation of x at t - lag with y at t, x as (draws, runs, steps), and the number of pairs.

    Partial given y at t - 1. y has the shape (runs, steps) or (draws, runs, steps). NaN where nothing varies.
    """
    steps = x.shape[-1]
    t = np.arange(max(lag, 1 if partial else 0), steps + min(lag, 0))
    a, b = x[..., t - lag], np.broadcast_to(y[..., t], (*x.shape[:-1], len(t)))
    parts = [a, b]
    if partial:
        parts.append(np.broadcast_to(y[..., t - 1], b.shape))
    known = np.all([np.isfinite(part) for part in parts], axis=0)
    n = known.sum(axis=(-2, -1)).astype(np.float64)
    flat = [np.where(known, part, 0.0).reshape(len(x), -1) for part in parts]
    weight = known.reshape(len(x), -1)
    with np.errstate(divide="ignore", invalid="ignore"):
        centred = [(v - (v.sum(axis=1) / n)[:, None]) * weight for v in flat]

        def r(i: int, j: int) -> Floats:
            top = (centred[i] * centred[j]).sum(axis=1)
            return top / np.sqrt((centred[i] ** 2).sum(axis=1) * (centred[j] ** 2).sum(axis=1))

        found = r(0, 1)
        if partial:
            found = (found - r(0, 2) * r(1, 2)) / np.sqrt((1 - r(0, 2) ** 2) * (1 - r(1, 2) ** 2))
    return found, n


def _strength(x: Floats, y: Floats, lag: int, *, partial: bool) -> Floats:
    """|Fisher's z| of a correlation in units of its error, so that lags of different n compare; 0 where not known."""
    found, n = _correlation(x, y, lag, partial=partial)
    z = np.arctanh(np.clip(found, -1 + 1e-12, 1 - 1e-12)) * np.sqrt(np.maximum(n - 3.0 - partial, 0.0))
    return np.where(np.isfinite(z), np.abs(z), 0.0)


def _largest(x: Floats, y: Floats, lags: int) -> Floats:
    return np.max([_strength(x, y, lag, partial=True) for lag in range(1, lags + 1)], axis=0)


def _shifted_p(x: Floats, y: Floats, lags: int, resamples: int, random: np.random.Generator) -> float:
    """Share of circular shifts whose largest leading correlation is at least the observed one, itself counted."""
    runs, steps = x.shape
    everything = steps**runs <= resamples
    if everything:
        offsets = np.stack(np.meshgrid(*[np.arange(steps)] * runs, indexing="ij"), axis=-1).reshape(-1, runs)
    else:
        offsets = np.vstack([np.zeros((1, runs), dtype=np.intp), random.integers(0, steps, (resamples, runs))])
    at = (np.arange(steps)[None, None, :] - offsets[:, :, None]) % steps
    shifted = x[np.arange(runs)[None, :, None], at]
    found = _largest(shifted, y, lags)
    return float(np.mean(found >= found[0] - 1e-9))


def _leads(x: Floats, y: Floats, lags: int) -> Floats:
    """Lag of the largest plain correlation; the smallest absolute lag on a tie."""
    order = sorted(range(-lags, lags + 1), key=abs)
    strengths = np.stack([_strength(x, y, lag, partial=False) for lag in order])
    return np.asarray(order)[(strengths > strengths.max(axis=0) - 1e-9).argmax(axis=0)]


def _lead_bounds(
    x: Floats, y: Floats, lags: int, level: float, random: np.random.Generator, resamples: int = 500
) -> tuple[int, int]:
    """Percentiles of the lead over resampled runs."""
    drawn = random.integers(0, len(x), (resamples, len(x)))
    leads = np.sort(_leads(x[drawn], y[drawn], lags))
    tail = math.floor((1 - level) / 2 * resamples)
    return int(leads[tail]), int(leads[-1 - tail])
