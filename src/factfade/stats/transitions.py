"""Right and wrong over generations: the four-way table, and the stationary chain that an unchanged model is.

`states` are matrices (items, evaluated generations) of 1 right, 0 wrong, NaN not evaluated; `generations` are the
evaluated generations, ascending, and may have gaps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike

from factfade.stats.intervals import Floats, Interval, share

CELLS = ("right_right", "right_wrong", "wrong_right", "wrong_wrong")


@dataclass(frozen=True, kw_only=True)
class Transitions:
    """Items by what they were and are: counts and shares of all pairs in the order of `CELLS`.

    `retention` is the share right now of those right before, `recovery` of those wrong before.
    """

    counts: tuple[int, int, int, int]
    shares: tuple[Interval, Interval, Interval, Interval]
    retention: Interval
    recovery: Interval


def transitions(
    before: ArrayLike, after: ArrayLike, clusters: ArrayLike | None = None, *, level: float = 0.95
) -> Transitions:
    """The four-way table of the items evaluated both times; Wilson intervals, cluster-robust.

    NaN marks an item that was not evaluated. Raises ValueError for arrays of different lengths.
    """
    x, y = np.asarray(before, dtype=np.float64), np.asarray(after, dtype=np.float64)
    if x.shape != y.shape:
        raise ValueError("a transition needs as many values before as after")
    owner = np.arange(len(x)) if clusters is None else np.asarray(clusters)
    both = ~np.isnan(x) & ~np.isnan(y)
    x, y, owner = x[both], y[both], owner[both]
    cells = [(x == a) & (y == b) for a in (1.0, 0.0) for b in (1.0, 0.0)]
    shares = [share(cell, owner, level=level) for cell in cells]
    counts = [int(cell.sum()) for cell in cells]
    return Transitions(
        counts=(counts[0], counts[1], counts[2], counts[3]),
        shares=(shares[0], shares[1], shares[2], shares[3]),
        retention=share(y[x == 1.0], owner[x == 1.0], level=level),
        recovery=share(y[x == 0.0], owner[x == 0.0], level=level),
    )


@dataclass(frozen=True, kw_only=True)
class Flips:
    """What a chain is fitted from: items right at generation 0 of those evaluated there, and for every gap between
    neighbouring evaluations the pairs and those of them that changed. Arrays may carry leading axes (bootstrap)."""

    right: Floats
    items: Floats
    gaps: tuple[int, ...]
    pairs: Floats
    changed: Floats


def flips(states: ArrayLike, generations: Sequence[int]) -> Flips:
    """Counts the flips of all items between neighbouring columns; the last axis of `pairs` and `changed` is the gap."""
    x = np.asarray(states, dtype=np.float64)
    _checked(x, generations)
    steps = np.diff(np.asarray(generations))
    both = ~np.isnan(x[:, 1:]) & ~np.isnan(x[:, :-1])
    moved = both & (x[:, 1:] != x[:, :-1])
    gaps = sorted({int(d) for d in steps})
    return Flips(
        right=np.asarray(np.nansum(x[:, 0])),
        items=np.asarray(np.sum(~np.isnan(x[:, 0])), dtype=np.float64),
        gaps=tuple(gaps),
        pairs=np.array([both[:, steps == d].sum() for d in gaps], dtype=np.float64),
        changed=np.array([moved[:, steps == d].sum() for d in gaps], dtype=np.float64),
    )


@dataclass(frozen=True, kw_only=True)
class Chain:
    """An unchanged model whose items flip: `right` is the constant share right, `persistence` the correlation of an
    item's state with its state a generation later, in [0, 1].

    Over d generations a right item is wrong with (1 - right)(1 - persistence^d), a wrong one right with
    right (1 - persistence^d): as many are lost as gained. Arrays where the flips were. `capped` where more flips
    were seen than independent answers of that share make (persistence 0).
    """

    right: Floats
    persistence: Floats
    capped: bool

    def losing(self, gap: int) -> Floats:
        """P(wrong after `gap` generations | right)."""
        return (1 - self.right) * (1 - self.persistence**gap)

    def gaining(self, gap: int) -> Floats:
        """P(right after `gap` generations | wrong)."""
        return self.right * (1 - self.persistence**gap)

    def retained(self, generation: int) -> Floats:
        """P(right at `generation` | right at 0)."""
        return self.right + (1 - self.right) * self.persistence**generation


def stationary_chain(counted: Flips) -> Chain:
    """The stationary two-state chain with the share right at generation 0 and as many flips as were seen.

    With equal gaps the flips per pair are churn = 2 right (1 - right) (1 - persistence^gap), which is solved; with
    several gaps the total is matched by bisection. A chain with free loss and gain rates would not do as a
    reference: it explains a steady loss as its own course. NaN where no item or no pair was evaluated.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        right = np.asarray(counted.right / counted.items, dtype=np.float64)
        most = 2 * right * (1 - right)
        pairs, changed = counted.pairs.sum(axis=-1), counted.changed.sum(axis=-1)
        free = np.where(most > 0, changed / (pairs * most), np.where(changed > 0, np.inf, 0.0))
    low, high = np.zeros_like(free), np.ones_like(free)
    gaps = np.array(counted.gaps, dtype=np.float64)
    if len(gaps) == 1:
        persistence = np.clip(1 - free, 0.0, 1.0) ** (1 / gaps[0])
    else:
        for _ in range(60):
            middle = (low + high) / 2
            expected = (counted.pairs * (1 - middle[..., None] ** gaps)).sum(axis=-1) / np.maximum(pairs, 1)
            more = expected > free  # Too many flips: the chain must persist more.
            low, high = np.where(more, middle, low), np.where(more, high, middle)
        persistence = np.where(free > 1, 0.0, (low + high) / 2)
    persistence = np.where(np.isnan(free) | np.isnan(right) | (pairs == 0), np.nan, persistence)
    return Chain(right=right, persistence=persistence, capped=bool(np.any(free > 1)))


def chain_survival(chain: Chain, generations: Sequence[int]) -> Floats:
    """Share of items right at generation 0 that are not lost up to each generation, under the chain.

    Lost as in `survival.losses`: right at the evaluation before, wrong from here to the last one, two or more. The
    last axis is the generation; the last entry repeats the one before, since the last evaluation shows no loss.
    """
    gaps = [int(d) for d in np.diff(np.asarray(generations))]
    lost = np.zeros((*chain.right.shape, len(generations)))
    for onset in range(1, len(generations) - 1):
        at = chain.retained(generations[onset - 1] - generations[0]) * chain.losing(gaps[onset - 1])
        for gap in gaps[onset:]:
            at = at * (1 - chain.gaining(gap))
        lost[..., onset] = at
    return 1 - np.cumsum(lost, axis=-1)


def chain_first_wrong(chain: Chain, generations: Sequence[int]) -> Floats:
    """Share of items right at generation 0 and at every evaluation up to each generation, under the chain."""
    stay = np.stack([np.ones_like(chain.right)] + [1 - chain.losing(int(d)) for d in np.diff(generations)], axis=-1)
    return np.asarray(np.cumprod(stay, axis=-1), dtype=np.float64)


def _checked(states: Floats, generations: Sequence[int]) -> None:
    if states.ndim != 2 or states.shape[1] != len(generations):
        raise ValueError("states have one column per evaluated generation")
    if any(b <= a for a, b in pairwise(generations)):
        raise ValueError("generations ascend")
