"""When did the level drop? One step in the mean of many items, located and tested by reversing time.

The null of the test is that nothing has a direction in time: read backwards, the series of a cluster of items is as
likely as read forwards. That holds for items that flip independently and for every stationary right/wrong chain (a
two-state chain is reversible), however long its states last, and it keeps whatever dependence there is within a
cluster and over generations. Shuffling generations would hold only without persistence, and would call the slow
wandering of an unchanged chain a step. The reversal takes clusters to be independent of each other; a shock that all
items of a run share in one generation is taken for what it is in these checkpoints: a change of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from factfade.stats.intervals import Codes, Floats, codes_of

DRAWS = 1999
# Draws times clusters held at a time.
_BLOCK = 2_000_000


@dataclass(frozen=True, kw_only=True)
class ChangePoint:
    """The step that fits best: `generation` is the first one at the lower level, `drop` the mean before less after.

    `p` is of "no drop at all", calibrated by `draws` reversals: (1 + hits) / (1 + draws). `candidates` are the
    generations at which a single step is not rejected at `level`: a confidence set where the truth is one step. It is
    empty where no single step fits (a gradual fall, several steps). None with a `reason` where nothing can be tested.
    `drop` is at the step that was chosen for being largest, and so overstates a small one.
    """

    generation: int | None
    drop: float | None
    p: float | None
    candidates: tuple[int, ...]
    draws: int
    level: float
    n: int
    clusters: int
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class _Series:
    """Sums and counts per (row, generation), with each row's weight and cluster."""

    sums: Floats
    seen: Floats
    weight: Floats
    codes: Codes
    count: int


def change_point(
    values: ArrayLike,
    generations: ArrayLike,
    clusters: ArrayLike | None = None,
    *,
    items: ArrayLike | None = None,
    draws: int = DRAWS,
    seed: int = 0,
    level: float = 0.95,
) -> ChangePoint:
    """The generation after which the mean level drops: the largest standardised drop over all splits.

    `values` is (rows, ascending generations), NaN where nothing was observed; rows of one item share its weight. At
    each split the drop is the least-squares step with an intercept per row: without gaps the mean of all before less
    the mean of all after. It is standardised by its spread under equal noise, 1 / sqrt(b a / (b + a)) for b
    generations before and a after, so that the largest one is the least-squares step too. (Dividing by the standard
    error at each split would move the place: at the true one the items differ most in what they lost.)
    The threshold comes from the same statistic on series of which each cluster is read backwards with probability
    1/2. A generation is a candidate when neither the part before it nor the part after it shows a further change, in
    either direction, by the same reversal within the part (Bonferroni over the two parts).
    Equal input gives equal answers, whatever the order and the names of rows and clusters.
    """
    y, g = np.asarray(values, dtype=np.float64), np.asarray(generations, dtype=np.int64)
    if y.ndim != 2 or g.shape != (y.shape[1],) or np.any(np.diff(g) <= 0):
        raise ValueError("values are rows by generations, with ascending generations")
    if not 0.0 < level < 1.0 or draws < 1:
        raise ValueError("a level lies between 0 and 1, and there is at least one draw")
    series, n = _series(y, items, clusters)
    drops, statistics, columns = _splits(series, 0, len(g))
    usable = series.count >= 2 and len(g) >= 2 and bool(np.any(np.isfinite(statistics)))
    if not usable:
        if len(g) < 2 or n == 0:
            reason = "no item was answered in two generations"
        else:
            reason = "all items are one cluster" if series.count < 2 else "no item was seen on both sides of a split"
        return ChangePoint(
            generation=None,
            drop=None,
            p=None,
            candidates=(),
            draws=0,
            level=level,
            n=n,
            clusters=series.count,
            reason=reason,
        )
    best = int(np.nanargmax(np.where(np.isfinite(statistics), statistics, -np.inf)))
    p = _reversal_p(columns, statistics, draws, seed, both=False)
    candidates = []
    for split in range(1, len(g)):
        parts = [_part_p(series, *part, draws, seed) for part in ((0, split), (split, len(g)))]
        tested = [part for part in parts if part is not None]
        if not tested or min(1.0, len(tested) * min(tested)) > 1.0 - level:
            candidates.append(int(g[split]))
    return ChangePoint(
        generation=int(g[best + 1]),
        drop=float(drops[best]),
        p=p,
        candidates=tuple(candidates),
        draws=draws,
        level=level,
        n=n,
        clusters=series.count,
    )


def _series(y: Floats, items: ArrayLike | None, clusters: ArrayLike | None) -> tuple[_Series, int]:
    """The rows seen in two generations or more, and their number of items."""
    used = np.sum(~np.isnan(y), axis=1) >= 2
    item_codes = codes_of(items, len(y))[0][used]
    labels = codes_of(clusters if clusters is not None else items, len(y))[0][used]
    codes, count = codes_of(labels, len(labels))
    _, at, rows = np.unique(item_codes, return_inverse=True, return_counts=True)
    seen = ~np.isnan(y[used])
    series = _Series(
        sums=np.where(seen, y[used], 0.0),
        seen=seen.astype(np.float64),
        weight=1.0 / rows[at] if len(at) else np.zeros(0),
        codes=codes,
        count=count,
    )
    return series, len(rows)


def _splits(series: _Series, start: int, stop: int) -> tuple[Floats, Floats, Floats]:
    """Drop and standardised drop at each split of the generations start..stop-1, and the clusters' contributions.

    Contributions are (2, clusters, splits): the drops times their weights, and the weights b a / (b + a).
    """
    total, seen = np.cumsum(series.sums[:, start:stop], axis=1), np.cumsum(series.seen[:, start:stop], axis=1)
    if total.shape[1] < 2 or not len(total):
        return np.zeros(0), np.zeros(0), np.zeros((2, series.count, 0))
    before, after = seen[:, :-1], seen[:, -1:] - seen[:, :-1]
    drop = total[:, :-1] / np.maximum(before, 1) - (total[:, -1:] - total[:, :-1]) / np.maximum(after, 1)
    weight = series.weight[:, None] * before * after / np.maximum(before + after, 1)
    columns = np.zeros((2, series.count, weight.shape[1]))
    np.add.at(columns[0], series.codes, drop * weight)
    np.add.at(columns[1], series.codes, weight)
    drops, statistics = _standardised(columns.sum(axis=1))
    return drops, statistics, columns


def _standardised(sums: Floats) -> tuple[Floats, Floats]:
    """Mean drop and standardised drop from summed contributions (2, ..., splits); NaN where no item spans the split."""
    drops, weights = sums
    seen = weights > 1e-12
    mean, standardised = np.full(drops.shape, np.nan), np.full(drops.shape, np.nan)
    np.divide(drops, weights, out=mean, where=seen)
    np.divide(drops, np.sqrt(np.maximum(weights, 1e-12)), out=standardised, where=seen)
    return mean, standardised


def _reversal_p(columns: Floats, statistics: Floats, draws: int, seed: int, *, both: bool) -> float:
    """p of the largest standardised drop (or change, `both`) against series read backwards at random, by cluster."""
    count, splits = columns.shape[1:]
    # Draws belong to clusters in the order of what they hold, not of their names.
    keys = np.round(columns.transpose(1, 0, 2).reshape(count, -1), 9) + 0.0
    columns = columns[:, np.lexsort(keys.T[::-1])]
    backwards = np.array([-1.0, 1.0])[:, None, None] * columns[:, :, ::-1]
    fixed = backwards.sum(axis=1)
    change = (columns - backwards).transpose(1, 0, 2).reshape(count, 2 * splits)
    change = change[np.any(np.abs(change) > 1e-12, axis=1)]  # What reads the same backwards needs no draw.
    observed = _largest(statistics, both=both)
    random = np.random.default_rng(seed)
    hits, left = 0, draws
    while left:
        block = min(left, max(1, _BLOCK // max(len(change), 1)))
        forwards = random.integers(0, 2, (block, len(change))).astype(np.float64)
        sums = (forwards @ change).reshape(block, 2, splits).transpose(1, 0, 2) + fixed[:, None, :]
        hits += int(np.sum(_largest(_standardised(sums)[1], both=both) >= observed - 1e-9))
        left -= block
    return (1 + hits) / (1 + draws)


def _largest(statistics: Floats, *, both: bool) -> Floats:
    values = np.abs(statistics) if both else statistics
    return np.max(np.where(np.isnan(values), -np.inf, values), axis=-1)


def _part_p(series: _Series, start: int, stop: int, draws: int, seed: int) -> float | None:
    """p of any further change within a part; None where the part is a single generation or shares no items."""
    _, statistics, columns = _splits(series, start, stop)
    if not np.any(np.isfinite(statistics)):
        return None
    return _reversal_p(columns, statistics, draws, seed, both=True)
