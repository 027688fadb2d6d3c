"""What a sample can carry: the detectable drop, the power at a drop, the items that a margin takes.

`churn` is the share of items whose right/wrong changes between two generations (lost plus gained), `drop` the net
loss (lost minus gained). Powers are those of paired comparisons on independent items.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from factfade.stats.intervals import normal_quantile

Test = Literal["asymptotic", "exact", "mid_p"]


def _quantiles(alpha: float, power: float, sides: int) -> float:
    if not (0 < alpha < 1 and 0 < power < 1 and sides in (1, 2)):
        raise ValueError("alpha and power lie between 0 and 1, and a test has one or two sides")
    return normal_quantile(1 - alpha / sides) + normal_quantile(power)


def detectable_drop(n: int, churn: float, *, power: float = 0.8, alpha: float = 0.05, sides: int = 2) -> float | None:
    """The drop that n paired items show with this power: d = k sqrt(churn - d^2), k = (z_alpha + z_power) / sqrt(n).

    In closed form d = k sqrt(churn / (1 + k^2)). None where it exceeds the churn itself (a drop is at most that).
    """
    if n < 1 or not 0 < churn <= 1:
        raise ValueError("n is at least 1 and the churn a share above 0")
    k = _quantiles(alpha, power, sides) / math.sqrt(n)
    drop = k * math.sqrt(churn / (1 + k * k))
    return drop if drop <= churn else None


def items_for_drop(drop: float, churn: float, *, power: float = 0.8, alpha: float = 0.05, sides: int = 2) -> int:
    """Paired items that show a drop with this power (the inverse of `detectable_drop`)."""
    if not 0 < drop <= churn <= 1:
        raise ValueError("a drop lies above 0 and is at most the churn")
    return max(1, math.ceil((_quantiles(alpha, power, sides) / drop) ** 2 * (churn - drop * drop)))


def items_for_margin(gap: float, deviation: float, *, power: float = 0.8, alpha: float = 0.05) -> int | None:
    """Independent units after which a one-sided bound clears a margin that the true loss lies `gap` away from.

    `deviation` is the spread of one unit (`Interval.deviation`). None where the gap is 0: no sample settles that.
    """
    if deviation < 0:
        raise ValueError("a deviation is not negative")
    if gap == 0:
        return None
    return max(2, math.ceil((_quantiles(alpha, power, 1) * deviation / gap) ** 2))


def detectable_excess(units: int, deviation: float, *, power: float = 0.8, alpha: float = 0.05) -> float:
    """How far beyond a margin a loss must lie so that `units` independent units show it with this power (one-sided).

    The inverse of `items_for_margin`: (z_alpha + z_power) s / sqrt(units).
    """
    if units < 1 or deviation < 0:
        raise ValueError("there is at least one unit, and a deviation is not negative")
    return _quantiles(alpha, power, 1) * deviation / math.sqrt(units)


def power_paired(n: int, churn: float, drop: float, *, alpha: float = 0.05, test: Test = "asymptotic") -> float:
    """Power of a two-sided McNemar test at a true churn and drop, n independent items, summed over all tables.

    Discordant pairs are binomial(n, churn); of m, the lost ones are binomial(m, (churn + drop) / (2 churn)).
    """
    from scipy.stats import binom

    if not 0 < churn <= 1 or abs(drop) > churn:
        raise ValueError("a drop is at most the churn, and the churn a share above 0")
    discordant = np.arange(n + 1)
    weights = binom.pmf(discordant, n, churn)
    keep = weights > 1e-14
    limits = np.array([_rejection_limit(int(m), alpha, test) for m in discordant[keep]])
    m, p = discordant[keep], (churn + drop) / (2 * churn)
    reject = binom.cdf(limits, m, p) + binom.sf(m - limits - 1, m, p)
    return float(np.dot(weights[keep], np.minimum(np.where(limits < 0, 0.0, reject), 1.0)))


def _rejection_limit(m: int, alpha: float, test: Test) -> int:
    """The largest smaller count of m discordant pairs at which the test rejects; -1 where it never does."""
    from scipy.special import bdtr

    if m == 0:
        return -1
    k = np.arange((m + 1) // 2)
    if test == "asymptotic":
        reject = (m - 2 * k) >= -normal_quantile(alpha / 2) * math.sqrt(m)
    else:
        at = bdtr(k, m, 0.5)
        below = np.concatenate([[0.0], at[:-1]])
        reject = (2 * at if test == "exact" else at + below) <= alpha
    return int(np.sum(reject)) - 1
