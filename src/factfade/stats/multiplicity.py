"""Several tests at once, and what an interval shows about a margin."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from factfade.stats.intervals import Floats, Interval


def holm(p_values: ArrayLike) -> Floats:
    """Holm's step-down adjusted p values (Holm 1979, Scandinavian Journal of Statistics 6:65-70), in the given order.

    An adjusted p at most alpha rejects with a family-wise error of at most alpha under any dependence. NaN means not
    tested: it stays NaN and is no member of the family.
    """
    p = np.asarray(p_values, dtype=np.float64)
    if p.ndim != 1:
        raise ValueError("p values are one list")
    tested = np.flatnonzero(~np.isnan(p))
    if np.any((p[tested] < 0) | (p[tested] > 1)):
        raise ValueError("a p value lies between 0 and 1")
    order = tested[np.argsort(p[tested], kind="stable")]
    adjusted = np.full(len(p), np.nan)
    steps = p[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted


@dataclass(frozen=True, kw_only=True)
class Margin:
    """What an interval shows about a margin, at the one-sided error rate `alpha` = (1 - level) / 2 of its bounds.

    `shown` False is not the opposite claim: it says that the interval reaches beyond the margin. None where there are
    no bounds; `reason` says so. `p` is given for t intervals, None else.
    """

    shown: bool | None
    alpha: float
    p: float | None = None
    reason: str = ""


def non_inferior(loss: Interval, margin: float) -> Margin:
    """Not worse by more than `margin` > 0: the upper bound of the loss (positive is worse) lies below it."""
    return _within(loss, margin, both=False)


def tost(difference: Interval, margin: float) -> Margin:
    """Equivalent within `margin` > 0: both bounds of the difference lie within it (two one-sided tests).

    Schuirmann 1987 (J. Pharmacokinetics and Biopharmaceutics 15:657-680): a 90% interval gives the test at 5%.
    """
    return _within(difference, margin, both=True)


def _within(interval: Interval, margin: float, *, both: bool) -> Margin:
    if not margin > 0:
        raise ValueError("a margin is above 0")
    alpha = (1.0 - interval.level) / 2.0
    value, low, high = interval.value, interval.low, interval.high
    if value is None or high is None or (both and low is None):
        return Margin(shown=None, alpha=alpha, reason="the sample carries no bound")
    shown = high < margin and not (both and low is not None and low <= -margin)
    return Margin(shown=shown, alpha=alpha, p=_student_p(interval, value, margin, both=both))


def _student_p(interval: Interval, value: float, margin: float, *, both: bool) -> float | None:
    if not interval.method.startswith(("t", "paired t")) or interval.method.startswith("tango"):
        return None
    if not interval.deviation or interval.clusters < 2:
        return None
    from scipy.special import stdtr

    error, df = interval.deviation / interval.clusters**0.5, interval.clusters - 1
    upper = float(stdtr(df, (value - margin) / error))
    return max(upper, float(stdtr(df, (-margin - value) / error))) if both else upper
