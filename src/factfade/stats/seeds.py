"""Does the recipe make models fall? The training run is the unit, paired with its control by seed.

Items say nothing here: ten thousand of them under one seed are still one run. What few seeds can show is told
beforehand by the noncentral t.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from factfade.stats.intervals import Interval, mean, student_quantile, two_sided

# Fewer seeds than this explore and confirm nothing.
CONFIRMING_SEEDS = 5


@dataclass(frozen=True, kw_only=True)
class RecipeTrend:
    """The mean over seeds of arm minus control, with its t interval on seeds - 1 degrees of freedom.

    `p` is one-sided for a fall of the arm against its control. `exploratory` marks fewer than five seeds. `reason`
    says why there is no interval.
    """

    interval: Interval
    p: float | None
    seeds: int
    exploratory: bool
    reason: str = ""


def recipe_trend(arm: ArrayLike, control: ArrayLike, *, level: float = 0.90) -> RecipeTrend:
    """Paired t over seeds of one summary per run (a slope, a loss): arm minus control, below 0 is a fall.

    `arm` and `control` hold one number per seed, in the same order; a pair with a NaN is left out. One seed, and seeds
    that agree to the last digit, tell no spread between runs: no interval. In the second case p is 2^-seeds (the least
    that a sign-flip test gives), or 1 where the difference is 0.
    """
    x, y = np.asarray(arm, dtype=np.float64), np.asarray(control, dtype=np.float64)
    if x.shape != y.shape or x.ndim != 1:
        raise ValueError("an arm and its control have one summary per seed each")
    difference = (x - y)[~np.isnan(x - y)]
    n = len(difference)
    found = mean(difference, level=level)
    name = "paired t over seeds"
    deviation = float(np.std(difference, ddof=1)) if n > 1 else 0.0
    scale = float(np.abs(np.concatenate([x, y])[np.concatenate([~np.isnan(x), ~np.isnan(y)])]).max(initial=0.0))
    if n < 2 or deviation <= 1e-12 * scale or deviation == 0.0:
        bare = Interval(value=found.value, low=None, high=None, n=n, clusters=n, level=level, method=name)
        if n < 2:
            reason = (
                "no seed has both arm and control" if n == 0 else "one seed is one training run: no spread is known"
            )
            return RecipeTrend(interval=bare, p=None, seeds=n, exploratory=True, reason=reason)
        value = float(difference.mean())
        p = 1.0 if abs(value) <= 1e-12 * scale or value == 0.0 else 2.0**-n if value < 0 else 1.0
        reason = "the seeds agree to the last digit: no spread between runs is known"
        return RecipeTrend(interval=bare, p=p, seeds=n, exploratory=n < CONFIRMING_SEEDS, reason=reason)
    from scipy.special import stdtr

    value = float(difference.mean())
    interval = Interval(
        value=value, low=found.low, high=found.high, n=n, clusters=n, level=level, method=name, deviation=deviation
    )
    p = float(stdtr(n - 1, value / (deviation / math.sqrt(n))))
    return RecipeTrend(interval=interval, p=p, seeds=n, exploratory=n < CONFIRMING_SEEDS)


def paired_difference(arm: ArrayLike, other: ArrayLike, *, level: float = 0.95) -> RecipeTrend:
    """Paired t over seeds of arm minus other, both sides: as `recipe_trend`, with a two-sided p.

    Where the seeds agree to the last digit, p is 2^(1 - seeds), at most 1 (a sign-flip test), or 1 at no difference.
    """
    found = recipe_trend(arm, other, level=level)
    if found.p is None:
        return found
    value = found.interval.value or 0.0
    if found.interval.deviation is None or found.reason:
        return replace(found, p=1.0 if value == 0 else min(2.0 ** (1 - found.seeds), 1.0))
    return replace(found, p=min(2 * min(found.p, 1 - found.p), 1.0))


def power_of_units(effect: float, units: int, sd: float, *, alpha: float = 0.05) -> float:
    """Power of the one-sided one-sample (or paired) t test at a true mean `effect` >= 0: noncentral t."""
    from scipy.special import nctdtr, ndtr

    _check(units, sd, alpha, 0.5)
    if effect < 0:
        raise ValueError("an effect is a size: not negative")
    if sd == 0:
        return 1.0 if effect > 0 else alpha
    df, shift = units - 1, effect * math.sqrt(units) / sd
    critical = student_quantile(1 - alpha, df)
    if shift > 30.0 + critical:
        # The library's noncentral t fails far out; there the normal approximation of its numerator is 1 or nearly.
        spread = math.sqrt(1 + critical * critical / (2 * df))
        return float(ndtr((shift - critical * (1 - 1 / (4 * df))) / spread))
    return float(1.0 - nctdtr(df, shift, critical))


def detectable_with_seeds(seeds: int, sd: float, *, power: float = 0.8, alpha: float = 0.05) -> float:
    """The mean difference that this many paired runs show with this power, one-sided: noncentral t, seeds - 1 df.

    `sd` is the spread of the paired differences between seeds. The same holds for any independent units.
    """
    _check(seeds, sd, alpha, power)
    if sd == 0:
        return 0.0
    low, high = 0.0, sd
    while power_of_units(high, seeds, sd, alpha=alpha) < power:
        low, high = high, 2 * high
    for _ in range(200):
        middle = (low + high) / 2
        if middle in (low, high):
            break
        if power_of_units(middle, seeds, sd, alpha=alpha) < power:
            low = middle
        else:
            high = middle
    return high


def seeds_for(effect: float, sd: float, *, power: float = 0.8, alpha: float = 0.05, most: int = 100_000) -> int | None:
    """The fewest seeds (at least 2) that show a mean difference of this size with this power.

    None where the effect is 0, or so small beside `sd` that more than `most` seeds would be needed.
    """
    _check(2, sd, alpha, power)
    size = abs(effect)
    if size == 0 or power_of_units(size, most, sd, alpha=alpha) < power:
        return None
    low, high = 1, 2
    while power_of_units(size, high, sd, alpha=alpha) < power:
        low, high = high, min(2 * high, most)
    while high - low > 1:
        middle = (low + high) // 2
        if power_of_units(size, middle, sd, alpha=alpha) < power:
            low = middle
        else:
            high = middle
    return high


def _check(units: int, sd: float, alpha: float, power: float) -> None:
    if units < 2:
        raise ValueError("one unit tells no spread: at least two are needed")
    if sd < 0:
        raise ValueError("a spread is not negative")
    two_sided(power)
    if not 0 < alpha < 0.5:
        raise ValueError(f"alpha lies between 0 and 1/2, not {alpha}")
