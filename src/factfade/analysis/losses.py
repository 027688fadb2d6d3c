"""Which items were lost and when, beside what an unchanged model that flips would lose and what the control lost.

All shares here are of items right at generation 0; a loss is as in `stats.survival.losses`. The three curves come
from the same resamples of clusters, so that differences carry their own intervals.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from factfade.columns import Codes, Floats
from factfade.stage_panel import Panel, pair
from factfade.stats.intervals import Interval, codes_of, two_sided, zero_event_bound
from factfade.stats.paired import paired_loss
from factfade.stats.survival import (
    Support,
    at_times,
    known_at,
    losses,
    resampled,
    score_bounds,
    support,
    tabulated,
    turnbull,
)
from factfade.stats.transitions import Chain, Flips, chain_first_wrong, chain_survival, flips, stationary_chain

DRAWS = 1000
LEVEL = 0.95


@dataclass(frozen=True, kw_only=True)
class Followed:
    """Right (1), wrong (0) or not evaluated (NaN) of questions from generation 0 on, with their clusters."""

    generations: tuple[int, ...]
    states: Floats
    clusters: Codes
    keys: Codes

    def at(self, keys: Codes, generations: Sequence[int]) -> Followed:
        """Some of the questions (positions) in some of the generations."""
        columns = [self.generations.index(g) for g in generations]
        return Followed(
            generations=tuple(generations),
            states=self.states[keys][:, columns],
            clusters=self.clusters[keys],
            keys=self.keys[keys],
        )


def followed(panel: Panel) -> Followed | None:
    """The panel's knowledge from generation 0 on; None where generation 0 was not evaluated."""
    if 0 not in panel.generations:
        return None
    start = panel.generations.index(0)
    return Followed(
        generations=panel.generations[start:],
        states=panel.knowledge[:, start:],
        clusters=panel.clusters,
        keys=panel.keys,
    )


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Share not lost by generation, with pointwise bounds (None where the sample carries none)."""

    values: Floats
    low: Floats | None
    high: Floats | None


@dataclass(frozen=True, kw_only=True)
class LossStudy:
    """Losses of one run and format: n items right at generation 0 in `clusters`, `lost` of them, `single` wrong in
    their last evaluation alone. `excess` is the share lost less the chain's at the last generation, `first_wrong`
    the chain's share that is never wrong.

    `mirrored` counts losses in the table read backwards in time (wrong in the first two or more evaluated generations
    and right since): an unchanged model shows as many of them as losses, whatever its items are like. `net` is the
    share of all items lost less the share mirrored.
    """

    generations: tuple[int, ...]
    n: int
    clusters: int
    lost: int
    single: int
    share: Interval
    curve: Curve
    chain: Chain
    chain_curve: Curve
    excess: Interval
    first_wrong: Floats
    never_wrong: float
    mirrored: int
    net: Interval


@dataclass(frozen=True, kw_only=True)
class _Features:
    """What a run adds up to by cluster: losses by kind of interval, and flips; (clusters, features)."""

    table: Floats
    support: Support
    kinds: int
    gaps: tuple[int, ...]

    def survival(self, sums: Floats, times: Sequence[int]) -> Floats:
        """Share not lost at each time; sums are (..., features)."""
        mass = turnbull(self.support.holds, sums[..., : self.kinds], tolerance=1e-7, most=2000)
        return at_times(self.support, mass, times)

    def chain(self, sums: Floats) -> Chain:
        """The chain fitted to these flips."""
        k, g = self.kinds, len(self.gaps)
        return stationary_chain(
            Flips(
                right=sums[..., k],
                items=sums[..., k + 1],
                gaps=self.gaps,
                pairs=sums[..., k + 2 : k + 2 + g],
                changed=sums[..., k + 2 + g : k + 2 + 2 * g],
            )
        )


def _features(run: Followed, codes: Codes, count: int) -> _Features:
    found = losses(run.states, run.generations)
    pairs, kinds = np.unique(np.column_stack([found.left, found.right]), axis=0, return_inverse=True)
    table = tabulated(codes[found.items], count, kinds.reshape(-1), len(pairs))
    gaps = flips(run.states, run.generations).gaps
    steps = np.diff(np.asarray(run.generations))
    both = ~np.isnan(run.states[:, 1:]) & ~np.isnan(run.states[:, :-1])
    moved = both & (run.states[:, 1:] != run.states[:, :-1])
    columns = [run.states[:, 0] == 1.0, ~np.isnan(run.states[:, 0])]
    columns += [both[:, steps == d].sum(axis=1) for d in gaps] + [moved[:, steps == d].sum(axis=1) for d in gaps]
    rest = np.array([np.bincount(codes, weights=c, minlength=count) for c in columns], dtype=np.float64).T
    return _Features(
        table=np.concatenate([table, rest], axis=1),
        support=support(pairs[:, 0], pairs[:, 1]),
        kinds=len(pairs),
        gaps=gaps,
    )


def loss_study(run: Followed) -> LossStudy:
    """Losses of a run beside its chain. Needs an item right at generation 0 and three evaluated generations."""
    codes, count = codes_of(run.clusters, len(run.keys))
    features = _features(run, codes, count)
    found = losses(run.states, run.generations)
    n, clusters = len(found.items), len(np.unique(run.clusters[found.items]))
    whole = features.table.sum(axis=0)
    values, chain = features.survival(whole, run.generations), features.chain(whole)
    expected = chain_survival(chain, run.generations)
    curve = chain_curve = None
    excess_draws: Floats | None = None
    if clusters > 1:
        sums = resampled(features.table, DRAWS, 0)
        sums = sums[sums[:, features.kinds] > 0]
        curves = features.survival(sums, run.generations)
        chains = chain_survival(features.chain(sums), run.generations)
        known = known_at(found.left, found.right, run.generations)
        sizes = np.unique(codes[found.items], return_counts=True)[1]
        low, high = score_bounds(values, curves, known, sizes, run.generations, level=LEVEL)
        curve = Curve(values=values, low=low, high=high)
        tail = 1 - two_sided(LEVEL)
        low, high = np.nanquantile(chains, [tail, 1 - tail], axis=0)
        chain_curve = Curve(values=expected, low=low, high=high)
        excess_draws = chains[:, -1] - curves[:, -1]
    curve = curve or Curve(values=values, low=None, high=None)
    chain_curve = chain_curve or Curve(values=expected, low=None, high=None)
    started = run.states[found.items]
    gone, back = (_final_losses(run, states) for states in (run.states, run.states[:, ::-1]))
    return LossStudy(
        generations=run.generations,
        n=n,
        clusters=clusters,
        lost=int(found.lost.sum()),
        single=int(found.single.sum()),
        share=Interval(
            value=1 - float(values[-1]),
            low=None if curve.high is None else 1 - float(curve.high[-1]),
            high=None if curve.low is None else 1 - float(curve.low[-1]),
            n=n,
            clusters=clusters,
            level=LEVEL,
            method="turnbull, score interval at the variance of a bootstrap over clusters",
        ),
        curve=curve,
        chain=chain,
        chain_curve=chain_curve,
        excess=difference(float(expected[-1] - values[-1]), excess_draws, n, clusters),
        first_wrong=chain_first_wrong(chain, run.generations),
        never_wrong=float(np.mean(~np.any(started == 0.0, axis=1))),
        mirrored=int(back.sum()),
        net=paired_loss(gone, back, run.clusters, level=LEVEL).interval,
    )


def _final_losses(run: Followed, states: Floats) -> Floats:
    """1 for every question that is lost in these states."""
    found = losses(states, run.generations)
    marks = np.zeros(len(states))
    marks[found.items[found.lost]] = 1.0
    return marks


def difference(value: float, draws: Floats | None, n: int, clusters: int) -> Interval:
    """A difference of two shares with its percentile interval over resamples, never narrower than what `clusters`
    can exclude when nothing differs (1 - alpha^(1/n) either side)."""
    low = high = None
    if draws is not None and clusters > 1 and np.isfinite(value):
        tail = 1 - two_sided(LEVEL)
        low, high = (float(q) for q in np.nanquantile(draws, [tail, 1 - tail]))
        slack = zero_event_bound(clusters, tail)
        if high - low < slack:
            low, high = value - slack, value + slack
        low, high = max(-1.0, min(low, value)), min(1.0, max(high, value))
    return Interval(
        value=value if np.isfinite(value) else None,
        low=low,
        high=high,
        n=n,
        clusters=clusters,
        level=LEVEL,
        method="difference of two survival curves, paired bootstrap over clusters",
    )


@dataclass(frozen=True, kw_only=True)
class Against:
    """Arm and control on the questions and generations that both have: their curves, and the arm's share lost less
    the control's at the last of them (positive: the arm loses more)."""

    generations: tuple[int, ...]
    arm: Floats
    control: Floats
    loss: Interval
    n: int


def against_control(arm: Followed, control: Followed) -> Against | None:
    """None where fewer than three generations or no item right at generation 0 are shared."""
    shared = [g for g in arm.generations if g in control.generations]
    mine, theirs = pair(arm.keys, control.keys)
    if len(shared) < 3 or not len(mine):
        return None
    sides = (arm.at(mine, shared), control.at(theirs, shared))
    if not all(np.any(side.states[:, 0] == 1.0) for side in sides):
        return None
    codes, count = codes_of(sides[0].clusters, len(mine))
    first, second = (_features(side, codes, count) for side in sides)
    width = first.table.shape[1]
    table = np.concatenate([first.table, second.table], axis=1)
    whole = table.sum(axis=0)
    values = first.survival(whole[:width], shared), second.survival(whole[width:], shared)
    draws = None
    n = int(whole[first.kinds])
    owners = sides[0].clusters[sides[0].states[:, 0] == 1.0]
    clusters = len(np.unique(owners))
    if clusters > 1:
        sums = resampled(table, DRAWS, 0)
        sums = sums[(sums[:, first.kinds] > 0) & (sums[:, width + second.kinds] > 0)]
        draws = second.survival(sums[:, width:], shared)[:, -1] - first.survival(sums[:, :width], shared)[:, -1]
    return Against(
        generations=tuple(shared),
        arm=values[0],
        control=values[1],
        loss=difference(float(values[1][-1] - values[0][-1]), draws, n, clusters),
        n=n,
    )
