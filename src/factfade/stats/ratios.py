"""Slopes over generations with their covariance, and the ratio of two of them by Fieller's theorem.

A ratio whose denominator may be zero has no finite interval at any confidence: the set of ratios that the data do not
reject is then the outside of an interval, or every number (Gleser and Hwang 1987, Annals of Statistics 15:1351-1362).
A percentile bootstrap always returns two finite numbers and cannot say so. Fieller's set inverts the t test of
b1 - rho * b2 = 0 (Fieller 1954, JRSS B 16:175-185) and can.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from factfade.stats.intervals import Floats, Interval, codes_of, student_quantile, two_sided
from factfade.stats.trend import FEW_CLUSTERS, row_slopes

Shape = Literal["bounded", "outside", "unbounded"]


@dataclass(frozen=True, kw_only=True)
class RatioSet:
    """The ratios that the test of b1 - rho * b2 = 0 does not reject at `level`.

    `shape` "bounded": low <= rho <= high. "outside": rho <= low or rho >= high, low < high; a bound that is None means
    that this ray is not in the set. "unbounded": every number; bounds are None. `value` is b1 / b2, None where b2 is 0.
    """

    value: float | None
    shape: Shape
    low: float | None
    high: float | None
    df: float
    level: float
    method: str = "fieller"

    def holds(self, ratio: float) -> bool:
        """Whether a ratio lies in the set."""
        if self.shape == "unbounded":
            return True
        if self.shape == "bounded":
            return self.low is not None and self.high is not None and self.low <= ratio <= self.high
        return (self.low is not None and ratio <= self.low) or (self.high is not None and ratio >= self.high)


def fieller(b1: float, b2: float, covariance: ArrayLike, df: float, *, level: float = 0.95) -> RatioSet:
    """The set of rho with (b1 - rho b2)^2 <= t^2 (v11 - 2 rho v12 + rho^2 v22), t on `df` (infinite: normal).

    `covariance` is the 2 x 2 covariance matrix of the two estimates. The set is bounded exactly where b2 differs from
    zero at `level`. Where neither estimate has any spread the data carry no test, and the set is "unbounded".
    """
    v = np.asarray(covariance, dtype=np.float64)
    if v.shape != (2, 2):
        raise ValueError(f"the ratio of two estimates needs a 2 x 2 covariance, not {v.shape}")
    if not df > 0:
        raise ValueError(f"degrees of freedom are positive, not {df}")
    t = student_quantile(two_sided(level), df)
    value = b1 / b2 if b2 else None
    # a rho^2 - 2 h rho + c <= 0
    a, h, c = (b2 * b2 - t * t * v[1, 1], b1 * b2 - t * t * v[0, 1], b1 * b1 - t * t * v[0, 0])
    gap = h * h - a * c
    spread = float(v[0, 0] + v[1, 1])

    def made(shape: Shape, low: float | None = None, high: float | None = None) -> RatioSet:
        return RatioSet(value=value, shape=shape, low=low, high=high, df=df, level=level)

    if spread <= 0.0 or (a <= 0.0 and gap <= 0.0):
        return made("unbounded")
    if a == 0.0:  # One root has gone to infinity: a single ray.
        end = c / (2.0 * h)
        return made("outside", None, end) if h > 0 else made("outside", end, None)
    root = math.sqrt(max(gap, 0.0))
    far = h + math.copysign(root, h)  # The root without cancellation; the other follows from the product c / a.
    first = far / a
    second = c / far if far else first
    low, high = sorted((first, second))
    return made("bounded" if a > 0.0 else "outside", low, high)


def mean_over_runs(slopes: ArrayLike, floors: ArrayLike, *, level: float = 0.95) -> Interval:
    """Mean of one slope per training run, Student's t on runs - 1; bounds are None with fewer than two runs.

    `floors` are the least variances of the runs' slopes (`Slopes.floor`): runs that agree by chance, or in which
    nothing changed, are not taken to agree better than one question allows.
    """
    x = np.asarray(slopes, dtype=np.float64)
    n = len(x)
    p = two_sided(level)
    value = float(x.mean()) if n else None
    if value is None or n < 2:
        return Interval(value=value, low=None, high=None, n=n, clusters=n, level=level, method="t over runs")
    variance = max(float(x.var(ddof=1)), float(np.mean(np.asarray(floors, dtype=np.float64))))
    half = student_quantile(p, n - 1) * math.sqrt(variance / n)
    return Interval(
        value=value,
        low=value - half,
        high=value + half,
        n=n,
        clusters=n,
        level=level,
        method="t over runs",
        deviation=math.sqrt(variance),
    )


def fieller_of_pairs(
    first: ArrayLike, second: ArrayLike, *, level: float = 0.95, floor: tuple[float, float] = (0.0, 0.0)
) -> RatioSet | None:
    """Ratio of two means over the same units (slopes of two arms, paired by seed): Fieller on units - 1.

    `floor` bounds the variances of the two means from below. None with fewer than two units.
    """
    x = np.stack([np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)])
    n = x.shape[1]
    if n < 2:
        return None
    covariance: Floats = np.asarray(np.cov(x), dtype=np.float64) / n
    covariance[[0, 1], [0, 1]] = np.maximum(np.diag(covariance), floor)
    return fieller(float(x[0].mean()), float(x[1].mean()), covariance, n - 1, level=level)


def slope_parts(values: ArrayLike, generations: ArrayLike) -> tuple[Floats, Floats]:
    """Numerator and weight of each row's least-squares slope: sum (g - mean g) y and sum (g - mean g)^2.

    `values` is (rows, generations), NaN where there is nothing; means and sums are over what a row has. A row with
    fewer than two values has weight 0. The quotient is the row's slope.
    """
    slopes, squares = row_slopes(values, generations)
    return np.where(squares > 0, slopes * squares, 0.0), squares


@dataclass(frozen=True, kw_only=True)
class Slopes:
    """Slopes with their covariance matrix; `units` clusters, `n` rows, `df` of their t, `floor` the least variance.

    Covariance is None with fewer than two units. `values` is NaN where a column has no row with two generations.
    """

    values: Floats
    covariance: Floats | None
    n: int
    units: int
    df: float
    floor: float = 0.0

    def interval(self, at: int = 0, *, level: float = 0.95) -> Interval:
        """Student's t interval of one slope."""
        value = float(self.values[at])
        method = "t of the slope, cluster-robust"
        if math.isnan(value) or self.covariance is None:
            known = None if math.isnan(value) else value
            return Interval(value=known, low=None, high=None, n=self.n, clusters=self.units, level=level, method=method)
        error = math.sqrt(float(self.covariance[at, at]))
        half = student_quantile(two_sided(level), self.df) * error
        return Interval(
            value=value,
            low=value - half,
            high=value + half,
            n=self.n,
            clusters=self.units,
            level=level,
            method=method,
            deviation=error * math.sqrt(self.units),
        )

    def ratio(self, *, level: float = 0.95) -> RatioSet | None:
        """Fieller's set of the first slope over the second; None where a slope or the covariance is not known."""
        if self.covariance is None or np.isnan(self.values[:2]).any():
            return None
        b1, b2 = (float(b) for b in self.values[:2])
        return fieller(b1, b2, self.covariance[:2, :2], self.df, level=level)


def joint_slopes(
    parts: Sequence[tuple[Floats, Floats]], clusters: ArrayLike | None = None, *, step: float = 0.0
) -> Slopes:
    """Slopes of several arms on the same rows, with the covariance between clusters of rows (CR1).

    `parts` holds per arm what `slope_parts` returns; a row without weight in an arm adds nothing there. A slope is
    sum(numerators) / sum(weights): the least-squares slope with one intercept per row, which is the slope of the
    mean curve where nothing is missing. The covariance is that of the linearised ratios. `step` (see
    `trend.largest_slope`) keeps a variance at or above that of one row that falls and one that rises by it, so that
    "nothing changed in n items" does not become certainty. Below 20 effective clusters the degrees of freedom are the
    effective number less 1, as in `trend`.
    """
    numerators = np.stack([p[0] for p in parts], axis=1)
    weights = np.stack([p[1] for p in parts], axis=1)
    if clusters is not None and np.shape(clusters) != (len(weights),):
        raise ValueError(f"{len(weights)} rows need as many cluster labels, not {np.shape(clusters)}")
    used = weights.sum(axis=1) > 0
    numerators, weights = numerators[used], weights[used]
    codes, count = codes_of(None if clusters is None else np.asarray(clusters)[used], len(weights))
    totals = weights.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        values = np.where(totals > 0, numerators.sum(axis=0) / totals, np.nan)
        influences = (numerators - values * weights) / totals
    shares = np.bincount(codes, weights=weights.sum(axis=1), minlength=count) / max(float(weights.sum()), 1e-300)
    effective = 1.0 / max(float(shares @ shares), 1e-300) if count else 0.0
    least = 2.0 * step**2 / max(len(weights) * (len(weights) + 2), 1)
    if effective < 2.0 - 1e-9:
        return Slopes(values=values, covariance=None, n=len(weights), units=count, df=0.0, floor=least)
    sums = np.stack([np.bincount(codes, weights=column, minlength=count) for column in influences.T], axis=1)
    covariance = np.asarray(sums.T @ sums * (count / (count - 1)), dtype=np.float64)
    at = np.arange(len(values))
    # Where nothing varies each cluster counts as one observation, as in `trend`.
    floor_units = np.where(covariance[at, at] > 1e-24, len(weights), count)
    covariance[at, at] = np.maximum(covariance[at, at], 2.0 * step**2 / (floor_units * (floor_units + 2)))
    df = count - 1.0 if effective >= FEW_CLUSTERS else effective - 1.0
    return Slopes(values=values, covariance=covariance, n=len(weights), units=count, df=df, floor=least)
