"""Two groups of different items: the difference of their shares."""

from __future__ import annotations

import math

from factfade.stats.intervals import Interval


def difference(first: Interval, second: Interval, *, method: str = "newcombe") -> Interval:
    """first minus second, from the two intervals (Newcombe 1998, method 10; MOVER, Donner and Zou 2012).

    With Wilson's intervals it keeps its level where a share is 0 or 1. The groups are taken as independent. Items of
    one entity that stand in both go together, which makes the true spread smaller than this one. `n` and `clusters` are
    those of the smaller group.
    """
    smaller = min(first, second, key=lambda one: one.clusters)
    value = low = high = None
    if first.value is not None and second.value is not None:
        value = first.value - second.value
        of_first, of_second = _distances(first), _distances(second)
        if of_first is not None and of_second is not None:
            low, high = value - math.hypot(of_first[0], of_second[1]), value + math.hypot(of_first[1], of_second[0])
    return Interval(
        value=value,
        low=low,
        high=high,
        n=smaller.n,
        clusters=smaller.clusters,
        level=first.level,
        method=method if first.method == "wilson" == second.method else f"{method}, from {first.method}",
    )


def _distances(found: Interval) -> tuple[float, float] | None:
    """From the estimate down to its lower and up to its upper bound; None where there is no interval."""
    if found.value is None or found.low is None or found.high is None:
        return None
    return found.value - found.low, found.high - found.value
