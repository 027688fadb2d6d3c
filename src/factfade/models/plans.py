"""How rows of different lengths are put into batches: arithmetic alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

# Prompts are put together by their first tokens, the long beginnings first (the examples of one subject), then the
# heads alone. Fewer rows than `MIN_GROUP` do not repay a batch of their own.
HEADS, MIN_GROUP = (32, 12), 8
# Tokens of a pass.
DEFAULT_BATCH_TOKENS = 8192
# Logits held at once (rows x positions x vocabulary): 2**26 float32 are 256 MB.
MAX_LOGITS = 2**26


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


def common_prefix(prompts: Sequence[Sequence[int]]) -> int:
    """Number of leading tokens that all prompts share; at least one token of every prompt is left out of it."""
    limit = min(len(prompt) for prompt in prompts) - 1
    first, last = min(prompts, key=list), max(prompts, key=list)
    for at in range(max(limit, 0)):
        if first[at] != last[at]:
            return at
    return max(limit, 0)


def tail_batches(
    order: Sequence[int], widths: Sequence[int], tails: Sequence[int], *, budget: int, vocabulary: int
) -> Iterator[tuple[list[int], int]]:
    """Rows in the given order, in batches, each with the length of its longest tail, where logits are needed.

    A batch has at most `budget` tokens (rows x widest, the order being ascending) and `MAX_LOGITS` logits; at least
    one row.
    """
    at = 0
    while at < len(order):
        size, keep = 1, tails[order[at]]
        while at + size < len(order):
            row = order[at + size]
            wider = max(keep, tails[row])
            if (size + 1) * widths[row] > budget or (size + 1) * wider * vocabulary > MAX_LOGITS:
                break
            size, keep = size + 1, wider
        yield list(order[at : at + size]), keep
        at += size


def batches(
    prompts: Sequence[Sequence[int]], widths: Sequence[int], budget: int, *, price: int | None = None
) -> Iterator[list[int]]:
    """Rows in batches of at most `budget` tokens (rows x widest), shortest first; at least one row each.

    Prompts that share a long beginning with seven others or more come together, so that it is run once. With a `price`
    for a batch, in tokens, there are more batches where that saves as much padding (`runs`).
    """
    alone = list(range(len(prompts)))
    groups: list[list[int]] = []
    for size in HEADS:
        heads: dict[tuple[int, ...], list[int]] = {}
        for row in alone:
            heads.setdefault(tuple(prompts[row][:size]) if len(prompts[row]) > size else (), []).append(row)
        groups += [rows for head, rows in heads.items() if head and len(rows) >= MIN_GROUP]
        alone = sorted(row for head, rows in heads.items() if not head or len(rows) < MIN_GROUP for row in rows)
    for group in (*groups, alone):
        rows = sorted(group, key=lambda r: (widths[r], r))
        if price is None or not rows:
            parts = [len(rows)]
        else:
            # Every batch of a group runs the shared beginning once more.
            shared = 0 if group is alone else common_prefix([prompts[row] for row in rows])
            parts = runs([widths[row] for row in rows], price + shared)
        held: list[int] = []
        at = 0
        for size in parts:
            for row in rows[at : at + size]:
                if held and (len(held) + 1) * widths[row] > budget:
                    yield held
                    held = []
                held.append(row)
            at += size
            if held:
                yield held
                held = []
