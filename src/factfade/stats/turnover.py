"""Items that turned between two times: which of them are losses and not mere wavering.

An item of an unchanged model that answers near its limit is right today and wrong tomorrow as often as the other way
round: exchange the two times and nothing changes. So its signed strength (positive: lost) has either sign with equal
probability, given its size, and the gained items measure how many of the lost ones are wavering.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

SHARE = 0.1


@dataclass(frozen=True, kw_only=True)
class Turnover:
    """Items lost and gained. `wavering` bounds from above (one-sided 95%, exact Poisson) the losses that are expected
    of an unchanged model that gained as many items as were gained here.

    `firm` marks the losses of at least `threshold` (None: there are none), among which at most `share` are expected to
    be wavering. `wavering_share` is the estimate for all losses; None without a loss.
    """

    lost: int
    gained: int
    wavering: float
    wavering_share: float | None
    firm: NDArray[np.bool_]
    threshold: float | None
    share: float


def turnover(strength: ArrayLike, *, share: float = SHARE) -> Turnover:
    """Signed strengths of items (positive lost, negative gained, 0 unchanged) -> which losses are firm.

    The threshold is the least t with (1 + #{strength <= -t}) / #{strength >= t} <= share: the expected share of
    wavering items among those selected is then at most `share`, for items that waver independently of each other
    (Barber and Candes 2015, Annals of Statistics 43:2055-2085, theorem 2; here the signs are those of the two times).
    At least 1 / share losses are needed for any to be firm.
    """
    found = np.asarray(strength, dtype=np.float64)
    if found.ndim != 1 or np.isnan(found).any():
        raise ValueError("strengths are one list of numbers")
    if not 0.0 < share < 1.0:
        raise ValueError("a share lies between 0 and 1")
    lost, gained = int((found > 0).sum()), int((found < 0).sum())
    threshold = None
    for t in np.unique(np.abs(found[found != 0.0])).tolist():
        selected = int((found >= t).sum())
        if selected and (1 + int((found <= -t).sum())) / selected <= share:
            threshold = float(t)
            break
    return Turnover(
        lost=lost,
        gained=gained,
        wavering=poisson_upper(gained),
        wavering_share=min(1.0, (1 + gained) / lost) if lost else None,
        firm=found >= threshold if threshold is not None else np.zeros(len(found), dtype=np.bool_),
        threshold=threshold,
        share=share,
    )


def poisson_upper(count: int, alpha: float = 0.05) -> float:
    """Exact one-sided upper bound of a Poisson mean at 1 - alpha (Garwood 1936, Biometrika 28:437-442)."""
    if count < 0 or not 0.0 < alpha < 1.0:
        raise ValueError("a count is at least 0 and alpha lies between 0 and 1")
    if count == 0:
        return -math.log(alpha)
    from scipy.special import gammaincinv

    return float(gammaincinv(count + 1, 1.0 - alpha))
