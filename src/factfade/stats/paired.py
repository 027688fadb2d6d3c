"""The same items twice: McNemar's tests and intervals of the loss, before minus after: positive is worse.

Tango's score interval (Tango 1998, Statistics in Medicine 17:891-908) is the interval of a difference of paired
shares: it keeps its level for few discordant pairs and for none, where Wald's collapses.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from factfade.stats.intervals import (
    Floats,
    Interval,
    codes_of,
    design_effect,
    linearised,
    mean,
    score_quantile,
    student_tail,
    two_sided,
)


def mcnemar_exact(lost: int, gained: int) -> float:
    """Two-sided exact McNemar p: a binomial test of the discordant pairs at 1/2; 1 when there are none."""
    from scipy.special import bdtr

    m = lost + gained
    return 1.0 if m == 0 else min(1.0, 2.0 * float(bdtr(min(lost, gained), m, 0.5)))


def mcnemar_mid_p(lost: int, gained: int) -> float:
    """Two-sided mid-p McNemar p: the exact one less the probability of the observed split; 1 when no pair differs."""
    from scipy.special import bdtr

    m, k = lost + gained, min(lost, gained)
    if m == 0:
        return 1.0
    at = float(bdtr(k, m, 0.5))
    below = float(bdtr(k - 1, m, 0.5)) if k else 0.0
    return min(1.0, at + below)


def mcnemar_asymptotic(lost: int, gained: int) -> float:
    """Two-sided asymptotic McNemar p without continuity correction: (b - c)^2 / (b + c) on chi-square 1."""
    m = lost + gained
    return 1.0 if m == 0 else math.erfc(abs(lost - gained) / math.sqrt(2.0 * m))


def _tango_statistic(lost: float, gained: float, n: float, loss: float) -> float:
    """Score statistic of H0: the loss is `loss`, in -1 < loss < 1, with the gained share at its restricted maximum."""
    b = -lost - gained + (2 * n - lost + gained) * loss
    c = -gained * loss * (1 - loss)
    root = math.sqrt(max(b * b - 8 * n * c, 0.0))
    # Two forms of the same root: the one without cancellation.
    q = -2 * c / (b + root) if b > 0 else (root - b) / (4 * n)
    q = max(q, 0.0, -loss)
    variance = n * (2 * q + loss * (1 - loss))
    distance = lost - gained - n * loss
    if variance <= 0.0:
        return 0.0 if distance == 0.0 else math.copysign(math.inf, distance)
    return distance / math.sqrt(variance)


def _tango_bound(lost: float, gained: float, n: float, z: float, sign: int) -> float:
    """The loss at which the statistic is sign * z, between the estimate and the end of the scale: by bisection."""
    inside, outside = (lost - gained) / n, -float(sign)
    for _ in range(200):
        middle = (inside + outside) / 2
        if middle in (inside, outside):
            break
        if sign * _tango_statistic(lost, gained, n, middle) < z:
            inside = middle
        else:
            outside = middle
    return (inside + outside) / 2


def tango_bounds(lost: float, gained: float, n: float, z: float) -> tuple[float, float]:
    """Tango's bounds of (lost - gained) / n at normal quantile z; counts may be real (effective sizes), n > 0."""
    low = -1.0 if gained - lost >= n else _tango_bound(lost, gained, n, z, 1)
    high = 1.0 if lost - gained >= n else _tango_bound(lost, gained, n, z, -1)
    return low, high


def tango_statistics(lost: Floats, gained: Floats, n: Floats, loss: float) -> Floats:
    """The score statistics of many tables at once: arrays of (effective) counts, n > 0, in -1 < loss < 1."""
    b = -lost - gained + (2 * n - lost + gained) * loss
    c = -gained * loss * (1 - loss)
    root = np.sqrt(np.maximum(b * b - 8 * n * c, 0.0))
    with np.errstate(divide="ignore", invalid="ignore"):
        q = np.where(b > 0, -2 * c / (b + root), (root - b) / (4 * n))
        variance = n * (2 * np.maximum(q, max(0.0, -loss)) + loss * (1 - loss))
        distance = lost - gained - n * loss
        found = distance / np.sqrt(variance)
    flat = np.where(distance == 0.0, 0.0, np.copysign(np.inf, distance))
    return np.where(variance > 0.0, found, flat)


@dataclass(frozen=True, kw_only=True)
class PairedLoss:
    """The loss between two times on the same pairs: its interval, the two shares, and the pairs lost and gained.

    `effect` is the design effect that the counts are divided by: 1 for independent pairs.
    """

    interval: Interval
    before: float | None
    after: float | None
    lost: int
    gained: int
    effect: float = 1.0

    def p_beyond(self, margin: float) -> float | None:
        """One-sided p of "the loss is at most `margin`" by Tango's score statistic, whose inversion the interval is.

        None where the pairs carry no bound (no pair, one cluster of several).
        """
        n, count = self.interval.n, self.interval.clusters
        if n == 0 or (count < 2 and n > 1):
            return None
        at = _tango_statistic(self.lost / self.effect, self.gained / self.effect, n / self.effect, margin)
        return student_tail(at, None if count == n else count - 1)


def paired_loss(
    before: ArrayLike, after: ArrayLike, clusters: ArrayLike | None = None, *, level: float = 0.90
) -> PairedLoss:
    """Loss of a share of ones between two times, paired: before minus after with Tango's interval.

    With clusters the counts are divided by the design effect of the pair differences (at least 1) and Student's t
    on clusters - 1 takes the normal quantile's place. One cluster of several pairs carries no bound but the scale's.
    `level` .90 gives the two one-sided bounds at 5%.
    """
    x, y = np.asarray(before, dtype=np.float64), np.asarray(after, dtype=np.float64)
    if x.shape != y.shape:
        raise ValueError("a paired loss needs as many values before as after")
    n = len(x)
    codes, count = codes_of(clusters, n)
    method = "tango" if count == n else "tango, cluster-robust"
    two_sided(level)
    if n == 0:
        empty = Interval(value=None, low=None, high=None, n=0, clusters=0, level=level, method=method)
        return PairedLoss(interval=empty, before=None, after=None, lost=0, gained=0)
    difference = x - y
    lost, gained = int(np.sum(difference > 0)), int(np.sum(difference < 0))
    value = (lost - gained) / n
    if count < 2 and n > 1:
        low, high, deviation, method, effect = -1.0, 1.0, None, "one cluster: no bound", 1.0
    else:
        effect = design_effect(difference, codes, count)
        low, high = tango_bounds(lost / effect, gained / effect, n / effect, score_quantile(level, n, count))
        # One pseudo-pair lost and one gained (Bonett and Price 2012), so that a plan never rests on a zero spread.
        spread = (lost + gained + 2) / (n + 2) - ((lost - gained) / (n + 2)) ** 2
        deviation = math.sqrt(spread * effect * count / n)
    interval = Interval(
        value=value, low=low, high=high, n=n, clusters=count, level=level, method=method, deviation=deviation
    )
    return PairedLoss(
        interval=interval, before=float(x.mean()), after=float(y.mean()), lost=lost, gained=gained, effect=effect
    )


def paired_mean(
    before: ArrayLike, after: ArrayLike, clusters: ArrayLike | None = None, *, level: float = 0.90
) -> Interval:
    """Mean of before minus after with Student's t interval, cluster-robust with clusters."""
    x, y = np.asarray(before, dtype=np.float64), np.asarray(after, dtype=np.float64)
    if x.shape != y.shape:
        raise ValueError("a paired mean needs as many values before as after")
    return mean(x - y, clusters, level=level)


def paired_ratio(
    before: tuple[ArrayLike, ArrayLike],
    after: tuple[ArrayLike, ArrayLike],
    clusters: ArrayLike | None = None,
    *,
    level: float = 0.90,
) -> Interval:
    """Increase of a ratio of sums (nats over tokens) on the same units: after minus before, linearised.

    Each of `before` and `after` is (numerators, denominators). None where a denominator sums to nothing.
    """
    parts: list[tuple[float, Floats]] = []
    for numerators, denominators in (before, after):
        y, x = np.asarray(numerators, dtype=np.float64), np.asarray(denominators, dtype=np.float64)
        total = float(x.sum())
        if len(x) == 0 or total <= 0.0:
            two_sided(level)
            return Interval(
                value=None, low=None, high=None, n=len(x), clusters=0, level=level, method="t of a paired ratio"
            )
        r = float(y.sum()) / total
        parts.append((r, (y - r * x) * (len(x) / total)))
    (first, phi_first), (second, phi_second) = parts
    return linearised(second - first, phi_second - phi_first, clusters, level=level, method="t of a paired ratio")
