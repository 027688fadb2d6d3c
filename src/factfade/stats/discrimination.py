"""Discrimination of confidences: do right answers carry higher ones (AUROC), and did that change?"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from factfade.stats.calibration import answers_of
from factfade.stats.intervals import Floats, Interval, codes_of, linearised, score_quantile, two_sided


@dataclass(frozen=True, kw_only=True)
class Discrimination:
    """AUROC with its interval, the counts of right and wrong, and the influence of every item (mean 0)."""

    interval: Interval
    right: int
    wrong: int
    influences: Floats


def auroc(
    confidence: ArrayLike, right: ArrayLike, clusters: ArrayLike | None = None, *, level: float = 0.95
) -> Discrimination:
    """Probability that a right item has the higher confidence than a wrong one, ties counting half (Mann-Whitney).

    Newcombe's score interval (2006, method 5; Hanley and McNeil's variance as a function of the AUROC), which keeps
    a width at 0 and 1, with the counts divided by how often DeLong's variance (1988; summed within clusters,
    Obuchowski 1997) holds Hanley and McNeil's, at least 1, and Student's t between clusters. None where only one
    class is there; no bounds with fewer than two clusters.
    """
    c, y = answers_of(confidence, right)
    two_sided(level)
    n, good = len(c), y == 1.0
    m, k = int(good.sum()), int((~good).sum())
    codes, count = codes_of(clusters, n)
    method = "newcombe 5 at DeLong's variance" + ("" if count == n else ", cluster-robust")
    if not (m and k):
        empty = Interval(value=None, low=None, high=None, n=n, clusters=count, level=level, method=method)
        return Discrimination(interval=empty, right=m, wrong=k, influences=np.zeros(n))
    placement = np.empty(n)
    placement[good] = _below(c[~good], c[good])
    placement[~good] = 1 - _below(c[good], c[~good])
    value = float(placement[good].mean())
    influences = (placement - value) * np.where(good, n / m, n / k)
    low = high = None
    if count > 1:
        found = linearised(0.0, influences, codes, level=level)
        spread = (found.deviation or 0.0) ** 2 / count
        usual = _hanley_mcneil(value, m, k)
        if spread > 0.0 and usual > 0.0:
            effect = max(1.0, spread / usual)
        else:
            # Nothing varies: every cluster counts as about one item.
            sizes = np.bincount(codes, minlength=count)
            effect = float(np.dot(sizes, sizes)) / n
        z = score_quantile(level, n, count)
        low, high = _newcombe(value, max(1.0, m / effect), max(1.0, k / effect), z)
    interval = Interval(value=value, low=low, high=high, n=n, clusters=count, level=level, method=method)
    return Discrimination(interval=interval, right=m, wrong=k, influences=influences)


def auroc_change(
    before: tuple[ArrayLike, ArrayLike],
    after: tuple[ArrayLike, ArrayLike],
    clusters: ArrayLike | None = None,
    *,
    level: float = 0.95,
) -> Interval:
    """AUROC after minus before, each a pair (confidence, right) of the same items in the same order.

    The two intervals are joined by the square-and-add rule with the correlation of the two estimates between
    clusters (MOVER; Zou and Donner 2008). None where either time has one class only.
    """
    first, second = (auroc(c, y, clusters, level=level) for c, y in (before, after))
    a, b = first.interval, second.interval
    if a.n != b.n:
        raise ValueError("a change of AUROC needs the same items before and after")
    method = "MOVER of two AUROC intervals"
    value = None if a.value is None or b.value is None else b.value - a.value
    low = high = None
    if a.low is not None and b.low is not None and a.high is not None and b.high is not None and value is not None:
        r = _correlation(first.influences, second.influences, clusters)
        low = value - _joined(b.value - b.low, a.high - a.value, r)  # type: ignore[operator]
        high = value + _joined(b.high - b.value, a.value - a.low, r)  # type: ignore[operator]
    return Interval(value=value, low=low, high=high, n=a.n, clusters=a.clusters, level=level, method=method)


def _joined(x: float, y: float, r: float) -> float:
    return math.sqrt(max(x * x + y * y - 2 * r * x * y, 0.0))


def _correlation(x: Floats, y: Floats, clusters: ArrayLike | None) -> float:
    codes, count = codes_of(clusters, len(x))
    sums = [np.bincount(codes, weights=v, minlength=count) for v in (x, y)]
    norm = math.sqrt(float(np.dot(sums[0], sums[0]) * np.dot(sums[1], sums[1])))
    return float(np.dot(sums[0], sums[1])) / norm if norm > 0 else 0.0


def _below(others: Floats, values: Floats) -> Floats:
    """For every value the share of the others below it, ties counting half."""
    ordered = np.sort(others)
    return (np.searchsorted(ordered, values) + np.searchsorted(ordered, values, side="right")) / (2 * len(others))


def _hanley_mcneil(a: float, m: float, k: float) -> float:
    """Variance of the Mann-Whitney share at `a` for m and k items, symmetrised as in Newcombe 2006, method 5."""
    half = (m + k) / 2 - 1
    return a * (1 - a) / (m * k) * (1 + half * ((1 - a) / (2 - a) + a / (1 + a)))


def _newcombe(value: float, m: float, k: float, z: float) -> tuple[float, float]:
    """The AUROCs at which the estimate lies z standard errors away, by bisection to the last bit."""
    bounds: list[float] = []
    for outside in (0.0, 1.0):
        near, far = value, outside
        for _ in range(200):
            middle = (near + far) / 2
            if middle in (near, far):
                break
            if (middle - value) ** 2 < z * z * _hanley_mcneil(middle, m, k):
                near = middle
            else:
                far = middle
        bounds.append((near + far) / 2)
    return bounds[0], bounds[1]
