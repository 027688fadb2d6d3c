"""Intervals for one share, one mean and one ratio of sums, with or without clusters.

A cluster is a set of observations that may move together (two wordings of one item, the facts about one entity).
Variances are then taken between clusters (linearisation; "cluster-robust", CR1), with Student's t on clusters - 1
degrees of freedom. Without clusters every observation is its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Codes = NDArray[np.intp]
_NORMAL = NormalDist()


@dataclass(frozen=True, kw_only=True)
class Interval:
    """An estimate with its two-sided interval at `level` (each bound one-sided at (1 + level) / 2).

    `n` counts observations, `clusters` the independent units. `deviation` is the standard error times the square
    root of `clusters`: the spread of one independent unit, from which the units that a margin takes are planned.
    `value` is None where nothing was observed; bounds are None where the sample carries none.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int
    clusters: int
    level: float
    method: str
    deviation: float | None = None


def normal_quantile(p: float) -> float:
    """Quantile of the standard normal distribution, 0 < p < 1."""
    return _NORMAL.inv_cdf(p)


def student_quantile(p: float, df: float) -> float:
    """Quantile of Student's t with `df` > 0 degrees of freedom, 0 < p < 1."""
    from scipy.special import stdtrit

    return float(stdtrit(df, p))


def student_tail(statistic: float, df: float | None) -> float:
    """P(T > statistic) of Student's t with `df` degrees of freedom; of the normal distribution where `df` is None."""
    if df is None:
        return 0.5 * math.erfc(statistic / math.sqrt(2.0))
    from scipy.special import stdtr

    return float(stdtr(df, -statistic))


def p_beyond(found: Interval, margin: float) -> float | None:
    """One-sided p of "the value is at most `margin`" for a t interval (`linearised` and what is made by it).

    None without a spread (fewer than two clusters); where nothing varies 0 or 1.
    """
    if found.value is None or found.deviation is None or found.clusters < 2:
        return None
    error = found.deviation / math.sqrt(found.clusters)
    distance = found.value - margin
    if error <= 0.0:
        return 0.0 if distance > 0.0 else 1.0
    return student_tail(distance / error, found.clusters - 1)


def two_sided(level: float) -> float:
    """The probability whose quantile bounds a two-sided interval: .95 gives .975. Raises ValueError outside (0, 1)."""
    if not 0.0 < level < 1.0:
        raise ValueError(f"a level lies between 0 and 1, not {level}")
    return 0.5 + level / 2.0


def codes_of(clusters: ArrayLike | None, n: int) -> tuple[Codes, int]:
    """Cluster labels as codes 0..G-1 and their number; without labels every observation is its own cluster."""
    if clusters is None:
        return np.arange(n), n
    labels = np.asarray(clusters)
    if labels.shape != (n,):
        raise ValueError(f"{n} observations need {n} cluster labels, not {labels.shape}")
    if labels.dtype.kind in "iu" and n and labels.min() >= 0 and labels.max() < 16 * n + 4096:
        present = np.bincount(labels) > 0  # Small integer labels need no sort.
        return (np.cumsum(present) - 1)[labels], int(present.sum())
    found, codes = np.unique(labels, return_inverse=True)
    return codes, len(found)


def cluster_variance(influences: Floats, codes: Codes, count: int) -> float:
    """Variance of a mean whose per-observation influences (centred) are given: G/(G-1) * sum(cluster sums^2) / n^2.

    Needs two clusters; with singletons it is the usual s^2 / n.
    """
    sums = np.bincount(codes, weights=influences, minlength=count)
    return float(count / (count - 1) * np.dot(sums, sums) / len(influences) ** 2)


def design_effect(values: Floats, codes: Codes, count: int) -> float:
    """How many times the variance of a mean exceeds that of independent observations; at least 1.

    Where nothing varies it cannot be estimated, and the largest possible one is taken: sum(m^2) / n over cluster
    sizes m, each cluster then counting as about one observation.
    """
    n = len(values)
    if count == n or n == 0:
        return 1.0
    centred = values - values.mean()
    independent = float(np.dot(centred, centred)) / (n * (n - 1))
    if independent <= 0.0 or count < 2:
        sizes = np.bincount(codes, minlength=count)
        return float(np.dot(sizes, sizes) / n)
    return max(1.0, cluster_variance(centred, codes, count) / independent)


def score_quantile(level: float, n: int, count: int) -> float:
    """The quantile of a score interval: normal for independent observations, Student's t between clusters."""
    p = two_sided(level)
    return normal_quantile(p) if count == n else student_quantile(p, count - 1)


def wilson_bounds(successes: float, n: float, z: float) -> tuple[float, float]:
    """Wilson's score bounds (Wilson 1927) for `successes` of `n` > 0 (real numbers allowed) at normal quantile z."""
    p = successes / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    low = 0.0 if successes <= 0 else max(0.0, centre - half)
    high = 1.0 if successes >= n else min(1.0, centre + half)
    return low, high


def share(values: ArrayLike, clusters: ArrayLike | None = None, *, level: float = 0.95) -> Interval:
    """Share of ones among 0/1 values: Wilson's interval; with clusters at the effective size n / design effect."""
    x = np.asarray(values, dtype=np.float64)
    n = len(x)
    codes, count = codes_of(clusters, n)
    method = "wilson" if count == n else "wilson, cluster-robust"
    two_sided(level)
    if n == 0:
        return Interval(value=None, low=None, high=None, n=0, clusters=0, level=level, method=method)
    p = float(x.mean())
    if count < 2 and n > 1:
        return Interval(value=p, low=0.0, high=1.0, n=n, clusters=count, level=level, method="one cluster: no bound")
    effect = design_effect(x, codes, count)
    low, high = wilson_bounds(p * n / effect, n / effect, score_quantile(level, n, count))
    deviation = math.sqrt(max(p * (1 - p), 0.25 / (n + 1)) * effect * count / n)
    return Interval(value=p, low=low, high=high, n=n, clusters=count, level=level, method=method, deviation=deviation)


def zero_event_bound(n: int, alpha: float = 0.05) -> float:
    """Upper one-sided bound of a share when none of n was seen: 1 - alpha^(1/n) (exact; about 3/n at .05)."""
    if n < 1:
        return 1.0
    return -math.expm1(math.log(alpha) / n)


def linearised(
    value: float, influences: ArrayLike, clusters: ArrayLike | None = None, *, level: float = 0.95, method: str = "t"
) -> Interval:
    """t interval of an estimate from its per-observation influences (their mean is 0, their mean square the variance).

    Bounds are None with fewer than two clusters.
    """
    phi = np.asarray(influences, dtype=np.float64)
    n = len(phi)
    codes, count = codes_of(clusters, n)
    name = method if count == n else f"{method}, cluster-robust"
    p = two_sided(level)
    if count < 2:
        return Interval(value=value, low=None, high=None, n=n, clusters=count, level=level, method=name)
    error = math.sqrt(cluster_variance(phi, codes, count))
    half = student_quantile(p, count - 1) * error
    return Interval(
        value=value,
        low=value - half,
        high=value + half,
        n=n,
        clusters=count,
        level=level,
        method=name,
        deviation=error * math.sqrt(count),
    )


def mean(values: ArrayLike, clusters: ArrayLike | None = None, *, level: float = 0.95) -> Interval:
    """Mean with Student's t interval; with clusters cluster-robust."""
    x = np.asarray(values, dtype=np.float64)
    if len(x) == 0:
        two_sided(level)
        return Interval(value=None, low=None, high=None, n=0, clusters=0, level=level, method="t")
    m = float(x.mean())
    return linearised(m, x - m, clusters, level=level)


def ratio(
    numerators: ArrayLike, denominators: ArrayLike, clusters: ArrayLike | None = None, *, level: float = 0.95
) -> Interval:
    """Ratio of two sums over the same observations (nats over tokens), linearised: t on (y - R x) / mean(x)."""
    y, x = np.asarray(numerators, dtype=np.float64), np.asarray(denominators, dtype=np.float64)
    if y.shape != x.shape:
        raise ValueError("a ratio needs as many numerators as denominators")
    total = float(x.sum())
    if len(x) == 0 or total <= 0.0:
        two_sided(level)
        return Interval(value=None, low=None, high=None, n=len(x), clusters=0, level=level, method="t of a ratio")
    r = float(y.sum()) / total
    return linearised(r, (y - r * x) * (len(x) / total), clusters, level=level, method="t of a ratio")
