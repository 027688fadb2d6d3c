"""How much of a loss of right answers goes through a binary mediator: natural direct and indirect effects.

Treatment: a later time against the first, on the same items. Mediator M: the answer can be read. Outcome Y: it is
right, which it can only be when it is read. With m = P(M), q = P(Y | M = 1) before (0) and after (1), the closed forms
for a binary mediator (Pearl 2001) as losses are

    direct   = m0 (q0 - q1)          natural direct effect: fewer right among the answers that can be read
    indirect = q0 (m0 - m1)          pure natural indirect effect: fewer answers can be read
    overlap  = -(m0 - m1)(q0 - q1)   lost both ways, and counted in both of the above
    total    = m0 q0 - m1 q1         their sum

They are causal under "no confounder of M and Y": an item that cannot be read would have been right as often as the
others. `strata`, known before the treatment, weaken that to items within a stratum.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from factfade.stats.intervals import Floats, Interval, codes_of, linearised, two_sided, zero_event_bound

# Readable answers below which the share right among them, and so the direct effect, is not estimated.
MINIMUM = 20
MINIMUM_IN_STRATUM = 5
PARTS = ("total", "direct", "indirect", "overlap")


@dataclass(frozen=True, kw_only=True)
class Mediation:
    """The four losses with their intervals (delta method, cluster-robust). A part that cannot be estimated is None in
    its value; `reason` says why ("" where all can)."""

    total: Interval
    direct: Interval
    indirect: Interval
    overlap: Interval
    reason: str = ""


def mediation(
    before: tuple[ArrayLike, ArrayLike],
    after: tuple[ArrayLike, ArrayLike],
    clusters: ArrayLike | None = None,
    *,
    strata: ArrayLike | None = None,
    level: float = 0.90,
) -> Mediation:
    """The split of the loss between two times. Each time is (M, Y), 0/1 per item, Y at most M.

    Raises ValueError where an answer is right that cannot be read, or where lengths differ.
    """
    m0, y0 = (np.asarray(x, dtype=np.float64) for x in before)
    m1, y1 = (np.asarray(x, dtype=np.float64) for x in after)
    n = len(m0)
    if not len(y0) == len(m1) == len(y1) == n:
        raise ValueError("a mediation needs the same items before and after")
    if np.any(y0 > m0) or np.any(y1 > m1):
        raise ValueError("a right answer is one that can be read")
    two_sided(level)
    groups = np.zeros(n, dtype=np.intp) if strata is None else np.unique(np.asarray(strata), return_inverse=True)[1]
    least = MINIMUM if strata is None else MINIMUM_IN_STRATUM
    reason = _reason(m0, m1, groups, least)
    estimable = {"total": n > 0, "indirect": n > 0 and not reason.startswith("before")}
    found = {
        part: _part(part, (m0, y0, m1, y1), groups, clusters, level)
        if estimable.get(part, n > 0 and not reason)
        else Interval(value=None, low=None, high=None, n=n, clusters=0, level=level, method="delta")
        for part in PARTS
    }
    return Mediation(**found, reason=reason)


def _reason(m0: Floats, m1: Floats, groups: np.ndarray, least: int) -> str:
    for name, m in (("before", m0), ("after", m1)):
        read = min((int(m[groups == g].sum()) for g in range(int(groups.max(initial=0)) + 1)), default=0)
        if read < least:
            within = " of a stratum" if groups.any() else ""
            return f"{name}, {read} answers{within} can be read; it takes {least}"
    return ""


def _part(
    part: str, columns: tuple[Floats, ...], groups: np.ndarray, clusters: ArrayLike | None, level: float
) -> Interval:
    """One loss over all strata, weighed by their items, from values and influences within each."""
    n = len(groups)
    values, phi = np.zeros(n), np.zeros(n)
    for group in range(int(groups.max()) + 1):
        at = groups == group
        values[at], phi[at] = _within(part, *(column[at] for column in columns))
    value = float(values.mean())
    influences = phi + values - value
    found = linearised(value, influences, clusters, level=level, method="delta")
    if np.any(np.abs(influences) > 1e-15) or found.low is None:
        return found
    # Nothing varies: no item changed. As many as that could have without one being seen.
    reach = zero_event_bound(codes_of(clusters, n)[1], (1.0 - level) / 2.0)
    return Interval(
        value=value, low=value - reach, high=value + reach, n=found.n, clusters=found.clusters, level=level,
        method="nothing varies: 1 - alpha^(1/n)",
    )  # fmt: skip


def _within(part: str, m0: Floats, y0: Floats, m1: Floats, y1: Floats) -> tuple[float, Floats]:
    """The loss in one stratum and each item's influence on it (their mean is 0)."""
    a, b, c, d = float(m0.mean()), float(y0.mean()), float(m1.mean()), float(y1.mean())
    dm0, dy0, dm1, dy1 = m0 - a, y0 - b, m1 - c, y1 - d
    if part == "total":
        return b - d, dy0 - dy1
    # a q1 and c q0: right answers that the one time's readability and the other's knowledge would give.
    if part == "indirect":
        return b - c * b / a, dy0 - (dm1 * b + c * dy0 - c * b / a * dm0) / a
    crossed = (dm0 * d + a * dy1 - a * d / c * dm1) / c
    if part == "direct":
        return b - a * d / c, dy0 - crossed
    other = (dm1 * b + c * dy0 - c * b / a * dm0) / a
    return a * d / c + c * b / a - b - d, crossed + other - dy0 - dy1
