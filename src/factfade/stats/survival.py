"""When items are lost: the definition of a loss, the survival curve of interval-censored losses, time to failure.

`states` are as in `transitions`. Times are generations; a loss is known to lie in (left, right], with right infinite
where it was not seen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from factfade.stats.intervals import Codes, Floats, Interval, codes_of, score_quantile, two_sided, wilson_bounds


@dataclass(frozen=True, kw_only=True)
class Losses:
    """The items right at generation 0 (`items` are their rows) and when each was lost: in (left, right].

    `right` is infinite for an item that was not lost; `left` is then the last generation in which it was right.
    `single` marks those whose last evaluation alone is wrong: not lost, since nothing repeats it.
    """

    items: Codes
    left: Floats
    right: Floats
    single: NDArray[np.bool_]

    @property
    def lost(self) -> NDArray[np.bool_]:
        return np.isfinite(self.right)


def losses(states: ArrayLike, generations: Sequence[int]) -> Losses:
    """An item is lost if right at generation 0 and wrong in its last two or more evaluated generations.

    The loss lies between the last generation in which it was evaluated right and the first of the final wrong run;
    else it is right-censored at the last generation in which it was right. The first column is generation 0.
    """
    x = np.asarray(states, dtype=np.float64)
    if x.ndim != 2 or x.shape[1] != len(generations) or not len(generations):
        raise ValueError("states have one column per evaluated generation")
    when = np.asarray(generations, dtype=np.float64)
    items = np.flatnonzero(x[:, 0] == 1.0)
    x = x[items]
    columns = np.arange(x.shape[1])
    last_right = np.max(np.where(x == 1.0, columns, 0), axis=1) if len(items) else np.zeros(0, dtype=np.intp)
    after = (x == 0.0) & (columns > last_right[:, None])
    run = after.sum(axis=1)
    first_wrong = np.argmax(after, axis=1) if len(items) else last_right
    return Losses(
        items=items, left=when[last_right], right=np.where(run >= 2, when[first_wrong], np.inf), single=run == 1
    )


@dataclass(frozen=True, kw_only=True)
class Support:
    """Where mass can lie: innermost intervals (starts, ends] (Turnbull 1976), and which of the observed intervals
    hold which of them (observed, innermost)."""

    starts: Floats
    ends: Floats
    holds: Floats


def support(left: ArrayLike, right: ArrayLike) -> Support:
    """The innermost intervals of the observed (left, right]. Raises ValueError unless every left < right."""
    low, high = np.asarray(left, dtype=np.float64), np.asarray(right, dtype=np.float64)
    if low.shape != high.shape or np.any(~(low < high)):
        raise ValueError("an interval (left, right] has left < right")
    starts, ends = np.unique(low), np.unique(high)
    # A left end followed by a right end with no other end between. At a tie the right end comes first: (a, b] ends
    # where (b, c] begins.
    following = np.searchsorted(ends, starts, side="right")
    reach = np.where(following < len(ends), ends[np.minimum(following, len(ends) - 1)], np.nan) if len(ends) else ends
    nearest = np.append(starts[1:], np.inf)
    keep = ~np.isnan(reach) & (nearest >= reach)
    inner, outer = starts[keep], reach[keep]
    holds = ((low[:, None] <= inner) & (outer <= high[:, None])).astype(np.float64)
    return Support(starts=inner, ends=outer, holds=holds)


def turnbull(holds: Floats, weights: ArrayLike, *, tolerance: float = 1e-10, most: int = 20_000) -> Floats:
    """Mass of every innermost interval: the NPMLE of interval-censored times, by self-consistency (Turnbull 1976).

    `weights` (..., observed) count how often each observed interval occurs, with leading axes for resamples; the
    result is (..., innermost). Iterates until no mass moves by more than `tolerance`.
    """
    w = np.asarray(weights, dtype=np.float64)
    total = w.sum(axis=-1, keepdims=True)
    mass = np.full((*w.shape[:-1], holds.shape[1]), 1.0 / max(holds.shape[1], 1))
    for _ in range(most):
        covered = mass @ holds.T
        updated = mass * ((w / np.where(covered > 0, covered, 1.0)) @ holds) / np.where(total > 0, total, 1.0)
        if np.max(np.abs(updated - mass), initial=0.0) <= tolerance:
            return updated
        mass = updated
    return mass


@dataclass(frozen=True, kw_only=True)
class Survival:
    """Share not yet lost at each of `times`, with pointwise bounds; `n` items in `clusters`, `lost` of them."""

    times: tuple[int, ...]
    values: tuple[float, ...]
    low: tuple[float | None, ...]
    high: tuple[float | None, ...]
    n: int
    clusters: int
    lost: int
    level: float
    method: str


def at_times(found: Support, mass: Floats, times: Sequence[int]) -> Floats:
    """Survival at each time: the mass of the innermost intervals that do not end by then; the last axis is time."""
    later = (found.ends[:, None] > np.asarray(times, dtype=np.float64)).astype(np.float64)
    return np.clip(mass @ later, 0.0, 1.0)


def resampled(features: Floats, draws: int, seed: int) -> Floats:
    """Sums of (clusters, features) over `draws` resamples of the clusters with replacement: (draws, features).

    Clusters that hold the same are drawn as one kind with its multiplicity: the same bootstrap, and its draws
    depend neither on the order nor on the names of the clusters.
    """
    kinds, counts = np.unique(features, axis=0, return_counts=True)
    random = np.random.default_rng(seed)
    drawn = random.multinomial(int(counts.sum()), counts / counts.sum(), size=draws)
    return drawn.astype(np.float64) @ kinds


def tabulated(codes: Codes, count: int, kinds: Codes, size: int) -> Floats:
    """(clusters, kinds) counts of observations."""
    table = np.zeros((count, size))
    np.add.at(table, (codes, kinds), 1.0)
    return table


def score_bounds(
    values: Floats, draws: Floats, known: ArrayLike, sizes: ArrayLike, times: Sequence[int], *, level: float
) -> tuple[Floats, Floats]:
    """Bounds of survival (times) from resamples (draws, times): Wilson's interval at the effective number of items.

    The number is n over how often the bootstrap variance holds the binomial one, at least 1: percentiles of the same
    resamples cover too rarely near 1, where few are lost, and collapse at 1. Where nothing varies, the items that are
    `known` at that time count, less the largest design effect of clusters of these `sizes`. Survival at time 0 is 1.
    """
    m, seen = np.asarray(sizes, dtype=np.float64), np.asarray(known, dtype=np.float64)
    n, spread = float(m.sum()), draws.var(axis=0)
    z = score_quantile(level, int(n), len(m))
    low, high = np.ones(len(values)), np.ones(len(values))
    for i, value in enumerate(values):
        if times[i] <= 0:
            continue
        usual = value * (1 - value) / n
        if usual > 0.0 and spread[i] > 0.0:
            effective = n / max(1.0, float(spread[i]) / usual)
        else:
            effective = max(1.0, float(seen[i])) / float(np.dot(m, m) / n)
        low[i], high[i] = wilson_bounds(float(value) * effective, effective, z)
    return np.minimum(low, values), np.maximum(high, values)


def known_at(left: ArrayLike, right: ArrayLike, times: Sequence[int]) -> Floats:
    """How many items are known to be lost or not lost at each time."""
    when = np.asarray(times, dtype=np.float64)[:, None]
    return ((np.asarray(left) >= when) | (np.asarray(right) <= when)).sum(axis=1).astype(np.float64)


def survival_curve(
    left: ArrayLike,
    right: ArrayLike,
    times: Sequence[int],
    clusters: ArrayLike | None = None,
    *,
    level: float = 0.95,
    draws: int = 1000,
    seed: int = 0,
) -> Survival:
    """Turnbull's survival at `times`, with score bounds of a bootstrap over clusters.

    No bounds with fewer than two clusters; no items give no values.
    """
    low, high = np.asarray(left, dtype=np.float64), np.asarray(right, dtype=np.float64)
    n, method = len(low), "turnbull, score interval at the variance of a bootstrap over clusters"
    codes, count = codes_of(clusters, n)
    two_sided(level)
    if n == 0:
        return Survival(
            times=tuple(times), values=(), low=(), high=(), n=0, clusters=0, lost=0, level=level, method=method
        )
    pairs, kinds = np.unique(np.column_stack([low, high]), axis=0, return_inverse=True)
    found = support(pairs[:, 0], pairs[:, 1])
    kinds = kinds.reshape(-1)
    values = at_times(found, turnbull(found.holds, np.bincount(kinds, minlength=len(pairs))), times)
    below: Sequence[float | None] = [None] * len(times)
    above: Sequence[float | None] = [None] * len(times)
    if count > 1:
        drawn = resampled(tabulated(codes, count, kinds, len(pairs)), draws, seed)
        curves = at_times(found, turnbull(found.holds, drawn, tolerance=1e-6, most=2000), times)
        known, sizes = known_at(low, high, times), np.bincount(codes, minlength=count)
        bounds = score_bounds(values, curves, known, sizes, times, level=level)
        below, above = bounds[0].tolist(), bounds[1].tolist()
    return Survival(
        times=tuple(times),
        values=tuple(values.tolist()),
        low=tuple(below),
        high=tuple(above),
        n=n,
        clusters=count,
        lost=int(np.isfinite(high).sum()),
        level=level,
        method=method,
    )


@dataclass(frozen=True, kw_only=True)
class Failure:
    """The first evaluated generation at which a share is below a threshold: in (left, right].

    `right` is infinite where it never was (censored at `left`); at generation 0 already `left` is -infinite.
    `earliest` is the first generation whose lower bound is below the threshold, `surely` the first whose upper
    bound is (its level shared among the generations looked at); each None where there is none.
    """

    left: float
    right: float
    earliest: int | None
    surely: int | None

    @property
    def failed(self) -> bool:
        return math.isfinite(self.right)


def time_to_failure(
    generations: Sequence[int],
    shares: Sequence[float | None],
    low: Sequence[float | None],
    high: Sequence[float | None],
    *,
    threshold: float = 0.75,
) -> Failure:
    """Failure of a curve with its bounds; entries that are None were not evaluated."""
    known = [i for i, value in enumerate(shares) if value is not None]
    below = [i for i in known if (shares[i] or 0.0) < threshold]
    first = below[0] if below else None
    before = [generations[i] for i in known if first is None or i < first]
    maybe = [g for g, bound in zip(generations, low, strict=True) if bound is not None and bound < threshold]
    sure = [g for g, bound in zip(generations, high, strict=True) if bound is not None and bound < threshold]
    return Failure(
        left=float(before[-1]) if before else -math.inf,
        right=math.inf if first is None else float(generations[first]),
        earliest=maybe[0] if maybe else None,
        surely=sure[0] if sure else None,
    )


def median_time(failures: Sequence[Failure], *, level: float = 0.95) -> Interval:
    """Median time to failure over training runs: the middle of the ordered times, interval of order statistics.

    A run that never failed has an infinite time; a median or a bound that falls on one is None. Two order
    statistics cover with 1 - 2 P(binomial(n, 1/2) < rank): with fewer than 6 runs not even the extremes reach 95%,
    and there is no interval.
    """
    from scipy.special import bdtr

    n = len(failures)
    times = sorted(f.right for f in failures)
    method = "median; order statistics"
    if n == 0:
        return Interval(value=None, low=None, high=None, n=0, clusters=0, level=level, method=method)
    middle = (times[(n - 1) // 2] + times[n // 2]) / 2
    tail, rank = 1 - two_sided(level), 0
    while rank + 1 <= n // 2 and float(bdtr(rank, n, 0.5)) <= tail:
        rank += 1
    low, high = (times[rank - 1], times[n - rank]) if rank else (math.inf, math.inf)
    finite = [value if math.isfinite(value) else None for value in (middle, low, high)]
    return Interval(value=finite[0], low=finite[1], high=finite[2], n=n, clusters=n, level=level, method=method)
