"""How rows of different lengths are put into batches: arithmetic alone."""

from __future__ import annotations

from collections.abc import Sequence


def runs(widths: Sequence[int], price: int) -> list[int]:
    """Sizes of runs of ascending `widths`, one batch each: few padded positions at a `price` for every run.

    The sum of rows times widest and of the prices is least over all plans, but for runs whose padding alone costs more
    than a run of its own for each width in it: these are not looked at.
    """
    ends = [at for at in range(1, len(widths) + 1) if at == len(widths) or widths[at] != widths[at - 1]]
    starts = [0, *ends]
    best, cut = [0], [0]
    for last, end in enumerate(ends):
        found, padding = (best[last] + (end - starts[last]) * widths[end - 1] + price, last), 0
        for first in range(last - 1, -1, -1):
            rows = end - starts[first]
            padding += (starts[first + 1] - starts[first]) * (widths[end - 1] - widths[starts[first]])
            if padding > price * (last - first):
                break
            cost = best[first] + rows * widths[end - 1] + price
            if cost < found[0]:
                found = cost, first
        best.append(found[0])
        cut.append(found[1])
    sizes: list[int] = []
    at = len(ends)
    while at:
        sizes.append(starts[at] - starts[cut[at]])
        at = cut[at]
    return sizes[::-1]
