"""Whole numbers out of shares."""

from __future__ import annotations

import math
from collections.abc import Mapping


def apportion(total: int, shares: Mapping[str, float], limits: Mapping[str, int]) -> dict[str, int]:
    """`total` in whole numbers by shares, none above its limit: largest remainders first, the name on a tie.

    What a name cannot take goes to the others by their shares; the sum is `total` where the limits (and shares above
    0) allow it. Shares need not sum to 1.
    """
    found = dict.fromkeys(shares, 0)
    open_names = [name for name in shares if shares[name] > 0 and limits[name] > 0]
    left = min(total, sum(limits[name] for name in open_names))
    while left > 0 and open_names:
        whole = sum(shares[name] for name in open_names)
        exact = {name: left * shares[name] / whole for name in open_names}
        full = [name for name in open_names if exact[name] >= limits[name]]
        if full:
            for name in full:
                found[name] = limits[name]
                left -= limits[name]
            open_names = [name for name in open_names if name not in full]
            continue
        for name in open_names:
            found[name] = math.floor(exact[name])
        rest = left - sum(found[name] for name in open_names)
        order = sorted(open_names, key=lambda name: (found[name] - exact[name], name))
        for name in order[:rest]:
            found[name] += 1
        break
    return found
