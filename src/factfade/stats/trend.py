"""Did these checkpoints fall? A one-sided trend test on per-item slopes, with clusters of items as the unit.

The answer speaks of the checkpoints that were measured and of items like those asked. What a recipe does to models is
another question, with training runs as the unit: `seeds`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from factfade.stats.intervals import Codes, Floats, Interval, cluster_variance, codes_of, student_quantile, two_sided

# Below this many (effective) clusters the degrees of freedom follow the effective number.
FEW_CLUSTERS = 20


@dataclass(frozen=True, kw_only=True)
class Trend:
    """The mean slope per generation of a set of items, and the test that it is below 0.

    `interval.n` counts items, `interval.clusters` their clusters. `p` is one-sided for a fall; None where the sample
    carries no test, then `reason` says why. `df` are the t's degrees of freedom. `changed` counts clusters whose
    slope is not 0, `unused` rows with fewer than two observed generations, `gaps` the unobserved cells among the rest.
    """

    interval: Interval
    p: float | None
    df: float | None
    changed: int
    unused: int
    gaps: int
    reason: str = ""


def row_slopes(values: ArrayLike, generations: ArrayLike) -> tuple[Floats, Floats]:
    """Least-squares slope of each row over its observed generations, and the sum of squares of those generations.

    `values` is (rows, generations), NaN where nothing was observed. A row with fewer than two observed generations
    has no slope: NaN, and 0 squares.
    """
    y, g = np.asarray(values, dtype=np.float64), np.asarray(generations, dtype=np.float64)
    if y.ndim != 2 or g.shape != (y.shape[1],):
        raise ValueError("values are rows by generations, with one number per generation")
    seen = ~np.isnan(y)
    count = seen.sum(axis=1)
    centre = np.where(seen, g, 0.0).sum(axis=1) / np.maximum(count, 1)
    distance = np.where(seen, g - centre[:, None], 0.0)
    # Centred on the row's mean, so that a row that never changes has slope 0 to the last digit.
    level = np.where(seen, y, 0.0).sum(axis=1) / np.maximum(count, 1)
    squares = np.sum(distance**2, axis=1)
    products = np.sum(distance * np.where(seen, y - level[:, None], 0.0), axis=1)
    slopes = np.full(len(y), np.nan)
    np.divide(products, squares, out=slopes, where=(count >= 2) & (squares > 0))
    return slopes, np.where(np.isnan(slopes), 0.0, squares)


def largest_slope(generations: ArrayLike) -> float:
    """The steepest slope that values between 0 and 1 can have at these generations; 0 for fewer than two."""
    g = np.asarray(generations, dtype=np.float64)
    distance = g - g.mean() if len(g) else g
    squares = float(np.dot(distance, distance))
    return float(np.abs(distance).sum()) / 2.0 / squares if squares > 0 else 0.0


def items_trend(
    values: ArrayLike,
    generations: ArrayLike,
    clusters: ArrayLike | None = None,
    *,
    items: ArrayLike | None = None,
    level: float = 0.90,
    span: float = 1.0,
) -> Trend:
    """Mean slope per generation with its cluster-robust t interval, and the one-sided p of a fall.

    `values` is (rows, generations), NaN where nothing was observed; `clusters` and `items` label the rows. Rows of one
    item (its wordings, its formats) are averaged first, so that an item counts once however often it was asked.
    The estimate is the least-squares slope with an intercept per row (the within estimator): the mean of the items'
    slopes, weighted by the squares of the generations that each was seen in. Without gaps all weights are equal; with
    gaps an item seen in two neighbouring generations does not outweigh one seen in eleven.

    `level` .90 gives two one-sided bounds at 5%: the upper one is below 0 where p < .05, unless the floor of p forbids.
    Two guards hold where few items change and t is too sure of itself. The standard error is at least that of a sample
    in which one answer fell and one rose by the steepest slope (`span` = largest less smallest possible value). And p
    is at least 2^-k for k clusters that changed: the least that a sign-flip test of them can give, so that p = 1 where
    nothing changed.
    """
    slopes, squares = row_slopes(values, generations)
    rows = len(slopes)
    used = ~np.isnan(slopes)
    seen_cells = ~np.isnan(np.asarray(values, dtype=np.float64)[used])
    item_codes = codes_of(items, rows)[0][used]
    cluster_codes = codes_of(clusters if clusters is not None else items, rows)[0][used]
    unused, gaps = rows - int(used.sum()), int(seen_cells.size - seen_cells.sum())
    two_sided(level)
    if not used.any():
        empty = Interval(value=None, low=None, high=None, n=0, clusters=0, level=level, method=_NAME)
        reason = "no item was answered in two generations"
        return Trend(interval=empty, p=None, df=None, changed=0, unused=unused, gaps=gaps, reason=reason)
    slope, weight, codes, count = _by_item(slopes[used], squares[used], item_codes, cluster_codes)
    value = float(np.dot(weight, slope) / weight.sum())
    weight = weight / weight.mean()
    sums = np.bincount(codes, weights=weight * slope, minlength=count)
    changed = int(np.sum(np.abs(sums) > 1e-12))
    shares = np.bincount(codes, weights=weight, minlength=count) / len(slope)
    effective = 1.0 / float(np.dot(shares, shares))
    name = _NAME if count == len(slope) else f"{_NAME}, cluster-robust"
    if effective < 2.0 - 1e-9:
        only = "all items are one cluster" if count == 1 else "nearly all items are one cluster"
        none = Interval(value=value, low=None, high=None, n=len(slope), clusters=count, level=level, method=name)
        reason = f"{only}: nothing says how much they vary"
        return Trend(interval=none, p=None, df=None, changed=changed, unused=unused, gaps=gaps, reason=reason)
    df = count - 1.0 if effective >= FEW_CLUSTERS else effective - 1.0
    variance = cluster_variance(weight * (slope - value), codes, count)
    # Where nothing varies, each cluster counts as one observation, as in `intervals.design_effect`.
    units = len(slope) if variance > 1e-24 else count
    # One answer of one item: with several rows an item's own slope moves by that much less.
    step = span * largest_slope(generations) * len(slope) / int(used.sum())
    least = 2.0 * step**2 / (units * (units + 2))
    error = math.sqrt(max(variance, least))
    half = student_quantile(two_sided(level), df) * error
    interval = Interval(
        value=value,
        low=value - half,
        high=value + half,
        n=len(slope),
        clusters=count,
        level=level,
        method=name,
        deviation=error * math.sqrt(count),
    )
    p = max(_student_below(value / error if error > 0 else 0.0, df), 2.0**-changed)
    return Trend(interval=interval, p=p, df=df, changed=changed, unused=unused, gaps=gaps)


_NAME = "t of the mean slope"


def _by_item(slopes: Floats, squares: Floats, items: Codes, clusters: Codes) -> tuple[Floats, Floats, Codes, int]:
    """Slope, weight and cluster of each item, and the number of clusters. An item's weight is the mean of its rows'."""
    _, at = np.unique(items, return_inverse=True)
    n = int(at.max()) + 1
    total = np.bincount(at, weights=squares, minlength=n)
    slope = np.bincount(at, weights=slopes * squares, minlength=n) / total
    weight = total / np.bincount(at, minlength=n)
    cluster = np.full(n, np.iinfo(np.intp).max, dtype=np.intp)
    np.minimum.at(cluster, at, clusters)
    codes, count = codes_of(cluster, n)
    return slope, weight, codes, count


def _student_below(t: float, df: float) -> float:
    from scipy.special import stdtr

    return float(stdtr(df, t))
