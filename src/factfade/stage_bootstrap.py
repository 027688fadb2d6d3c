"""How firm a call is: the share of each stage over resamples of a run's items (their clusters) and prompts.

Each resample draws as many clusters and prompts as there are, with replacement, and applies the same rule: the same
score and t tests at the same margins, each look at the error rate that the family leaves to it. The share speaks of
these checkpoints and other questions of the same kind; it says nothing of another training run (a bootstrap over a
few runs would not cover).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from factfade.columns import Codes, Floats
from factfade.stage_conditions import Correction, Look, Pairs
from factfade.stats.intervals import codes_of, normal_quantile, student_quantile
from factfade.stats.paired import tango_statistics
from factfade.verdicts import Condition

STAGES = ("A", "B", "C", "undetermined")
# Weights that are held at a time, 8 bytes each: all of them would be draws times units.
HELD_WEIGHTS = 1 << 18
Verdicts = tuple[NDArray[np.bool_], NDArray[np.bool_]]


@dataclass(frozen=True, kw_only=True)
class _Units:
    """A look as sums per independent unit, in an order that depends on the data alone: names and the order of rows
    are nothing."""

    table: Floats
    units: Codes


def probabilities(
    looks: Mapping[str, tuple[Look | Condition, Correction | None]], *, draws: int, seed: int = 0
) -> dict[str, float]:
    """Share of `draws` resamples in which the four looks of a call (by endpoint) make each stage; they sum to 1.

    Knowledge and format are resampled together, by cluster of items; the fluencies together, by prompt.
    """
    if draws < 1:
        return {}
    rng = np.random.default_rng((20260901, seed))
    found: dict[str, Verdicts] = {}
    for group in (("knowledge", "format"), ("fluency_nats", "fluency_junk")):
        found |= _group({e: looks[e] for e in group}, draws, rng)
    worse = {e: found[e][0] for e in looks}
    not_worse = {e: found[e][1] for e in looks}
    broken = worse["format"] | worse["fluency_nats"] | worse["fluency_junk"]
    held = not_worse["format"] & not_worse["fluency_nats"] & not_worse["fluency_junk"] & ~broken
    b = held & worse["knowledge"]
    a = held & not_worse["knowledge"] & ~b
    shares = {"A": float(a.mean()), "B": float(b.mean()), "C": float(broken.mean())}
    return {**shares, "undetermined": float(1.0 - (a | b | broken).mean())}


def _group(
    looks: Mapping[str, tuple[Look | Condition, Correction | None]], draws: int, rng: np.random.Generator
) -> dict[str, Verdicts]:
    """The verdicts of looks that are resampled together: by the union of their clusters."""
    never = np.zeros(draws, dtype=bool)
    found: dict[str, Verdicts] = dict.fromkeys(looks, (never, never))
    usable = {e: (one, fix) for e, (one, fix) in looks.items() if isinstance(one, Look) and one.tested}
    if not usable:
        return found
    columns = {e: _columns(one) for e, (one, _) in usable.items()}
    labels = np.unique(np.concatenate([u.units for u in columns.values()]))
    wide = np.zeros((len(labels), sum(u.table.shape[1] for u in columns.values())))
    at, place = 0, dict[str, slice]()
    for endpoint, units in columns.items():
        place[endpoint] = slice(at, at + units.table.shape[1])
        wide[np.searchsorted(labels, units.units), place[endpoint]] = units.table
        at += units.table.shape[1]
    wide = wide[np.lexsort(wide.T)]
    count = len(labels)
    blocks: dict[str, list[Verdicts]] = {endpoint: [] for endpoint in usable}
    at_once = max(1, HELD_WEIGHTS // count)
    for start in range(0, draws, at_once):
        size = min(at_once, draws - start)
        weights = rng.multinomial(count, np.full(count, 1.0 / count), size=size).astype(np.float64)
        for endpoint, (one, fix) in usable.items():
            alpha = one.test.alpha if fix is None else fix.alpha
            blocks[endpoint].append(_verdicts(one, wide[:, place[endpoint]], weights, alpha))
    for endpoint, parts in blocks.items():
        worse, not_worse = zip(*parts, strict=True)
        found[endpoint] = (np.concatenate(worse), np.concatenate(not_worse))
    return found


def _columns(look: Look) -> _Units:
    sample = look.sample
    if isinstance(sample, Pairs):
        codes, count = codes_of(sample.clusters, len(sample.difference))
        sums = [
            np.bincount(codes, weights=values, minlength=count)
            for values in (sample.difference > 0, sample.difference < 0, np.ones(len(codes)))
        ]
        order = np.unique(sample.clusters)
        return _Units(table=np.column_stack(sums).astype(np.float64), units=order)
    return _Units(table=np.column_stack([*sample.before, *sample.after]), units=np.arange(look.n))


def _verdicts(look: Look, table: Floats, weights: Floats, alpha: float) -> Verdicts:
    """Shown worse and shown not worse in every resample."""
    sample = look.sample
    if isinstance(sample, Pairs):
        statistic, df = _paired(look, sample.effect, table, weights)
    else:
        statistic, df = _ratio(look, table, weights)
    if df is None:
        high, low = normal_quantile(1 - alpha), normal_quantile(1 - look.test.alpha)
    else:
        high, low = student_quantile(1 - alpha, df), student_quantile(1 - look.test.alpha, df)
    return statistic > high, statistic < -low


def _paired(look: Look, effect: float, table: Floats, weights: Floats) -> tuple[Floats, float | None]:
    """Score statistics at the margin, at the design effect of the sample itself."""
    lost, gained, n = (weights @ table[:, i] / effect for i in range(3))
    with np.errstate(invalid="ignore"):
        statistic = np.where(n > 0, tango_statistics(lost, gained, np.maximum(n, 1e-9), look.test.margin), 0.0)
    independent = look.found.clusters == look.found.n
    return statistic, None if independent else look.found.clusters - 1


def _ratio(look: Look, table: Floats, weights: Floats) -> tuple[Floats, float | None]:
    """t statistics of the rise of a ratio at the margin, linearised in every resample."""
    sums = weights @ table
    n = weights.sum(axis=1)
    before, after = sums[:, 0] / sums[:, 1], sums[:, 2] / sums[:, 3]
    # Influences in resample b: (y - r x) n / sum(x), after minus before; their weighted squares give the variance.
    first = (table[:, 0][None, :] - before[:, None] * table[:, 1][None, :]) * (n / sums[:, 1])[:, None]
    second = (table[:, 2][None, :] - after[:, None] * table[:, 3][None, :]) * (n / sums[:, 3])[:, None]
    variance = np.sum(weights * (second - first) ** 2, axis=1) / (n * (n - 1))
    distance = after - before - look.test.margin
    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = distance / np.sqrt(variance)
    return np.where(variance > 0, statistic, np.copysign(np.inf, distance)), look.found.clusters - 1
