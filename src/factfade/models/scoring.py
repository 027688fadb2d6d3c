"""log p(continuation | prompt), in float32, with one prompt pass shared by all continuations of a prompt.

A continuation of one token is read from the prompt's last logits: four letters, or seventy one-word candidates, cost
nothing beyond the prompt. Longer ones go on from the prompt's cache; those that begin alike share their rows. A
prompt with a single longer continuation (a text's likelihood) is read in one pass with it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from factfade.errors import NonFinite
from factfade.models.passes import Net, Prefilled, padded, positions_of, prefill
from factfade.models.plans import DEFAULT_BATCH_TOKENS, MAX_LOGITS, batches, runs, tail_batches
from factfade.records import Scored

# The second pass feeds few tokens a row; its cost is the copied cache, of which this many times the budget is held.
# A GPU wants many rows at once; a processor gains nothing by them.
CACHE_FACTOR_CPU, CACHE_FACTOR_GPU = 1, 4

Ids = Sequence[int]


@dataclass
class _Sum:
    """A continuation's sum of log-probabilities so far, and whether every token was the argmax."""

    logprob: float = 0.0
    greedy: bool = True


@dataclass
class _Reads:
    """Places of a logits tensor (row, position) to be read at a token, each for one continuation."""

    rows: list[int] = field(default_factory=list[int])
    places: list[int] = field(default_factory=list[int])
    tokens: list[int] = field(default_factory=list[int])
    sums: list[_Sum] = field(default_factory=list[_Sum])

    def add(self, row: int, place: int, token: int, into: _Sum) -> None:
        self.rows.append(row)
        self.places.append(place)
        self.tokens.append(token)
        self.sums.append(into)

    def read(self, logits: torch.Tensor) -> None:
        """Adds the log-probabilities: logits (rows, positions, vocabulary)."""
        if not self.sums:
            return
        flat = logits.reshape(-1, logits.shape[-1])
        at = torch.tensor(self.rows, device=logits.device) * logits.shape[1] + torch.tensor(
            self.places, device=logits.device
        )
        used, where = at.unique(return_inverse=True)
        if len(used) < len(flat):
            flat = flat.index_select(0, used)
        else:
            where = at
        token = torch.tensor(self.tokens, device=logits.device)
        values = flat[where, token] - flat.logsumexp(1)[where]
        best = flat.argmax(1)[where] == token
        for into, value, greedy in zip(self.sums, values.tolist(), best.tolist(), strict=True):
            into.logprob += value
            into.greedy &= greedy


def score(
    net: Net, prompts: Sequence[Ids], continuations: Sequence[Sequence[Ids]], *, batch_tokens: int | None
) -> list[list[Scored]]:
    """Scores every continuation of every prompt; results in the order given. No prompt may be empty.

    An empty continuation has log-probability 0 and no tokens. Raises NonFinite when a log-probability is no number.
    """
    budget = batch_tokens or DEFAULT_BATCH_TOKENS
    sums = [[_Sum() for _ in own] for own in continuations]
    whole = [row for row, own in enumerate(continuations) if len(own) == 1 and len(own[0]) > 1]
    shared = [row for row, own in enumerate(continuations) if own and not (len(own) == 1 and len(own[0]) > 1)]
    _score_whole(
        net,
        [prompts[row] for row in whole],
        [continuations[row][0] for row in whole],
        [sums[row][0] for row in whole],
        budget,
    )
    widths = [len(prompts[row]) for row in shared]
    for batch in batches([prompts[row] for row in shared], widths, budget, price=net.price):
        rows = [shared[place] for place in batch]
        own = [continuations[row] for row in rows]
        # What the second pass feeds finds its room here, and the cache is copied once.
        room = max((len(ids) - 1 for options in own for ids in options if ids), default=0)
        state = prefill(net, [prompts[row] for row in rows], room=room)
        score_after(state, own, [sums[row] for row in rows], budget)
    return [finished(own, done) for own, done in zip(continuations, sums, strict=True)]


def finished(own: Sequence[Ids], done: Sequence[_Sum]) -> list[Scored]:
    """The sums as records. Raises NonFinite for what is no number."""
    found: list[Scored] = []
    for ids, total in zip(own, done, strict=True):
        if not math.isfinite(total.logprob):
            raise NonFinite(
                "a continuation's log-probability is not a finite number",
                hint='the weights have diverged (train with a lower rate), or model.dtype = "float32" is needed',
            )
        found.append(Scored(logprob=total.logprob, tokens=len(ids), greedy=total.greedy))
    return found


def new_sums(continuations: Sequence[Sequence[Ids]]) -> list[list[_Sum]]:
    """Sums to be filled by `score_after`."""
    return [[_Sum() for _ in own] for own in continuations]


def score_after(
    state: Prefilled, continuations: Sequence[Sequence[Ids]], sums: Sequence[Sequence[_Sum]], budget: int
) -> None:
    """Scores the continuations of a batch whose prompt pass is done. The state is left as it was."""
    first = _Reads()
    fed: list[tuple[int, Ids]] = []
    waiting: list[list[tuple[Ids, _Sum]]] = []
    for row, (own, into) in enumerate(zip(continuations, sums, strict=True)):
        longer: list[tuple[Ids, _Sum]] = []
        for ids, total in zip(own, into, strict=True):
            if ids:
                first.add(row, 0, ids[0], total)
            if len(ids) > 1:
                longer.append((ids, total))
        for head, users in _shared_rows(longer):
            fed.append((row, head))
            waiting.append(users)
    first.read(state.last[:, None])
    order = sorted(range(len(fed)), key=lambda place: (len(fed[place][1]), place))
    at = 0
    for run in runs([len(fed[place][1]) for place in order], state.net.price):
        end = at + run
        while at < end:
            # Ascending lengths: the last row that is taken is the widest.
            size = 1
            while at + size < end and _fits(state, size + 1, len(fed[order[at + size]][1]), budget):
                size += 1
            part = order[at : at + size]
            _second_pass(state, [fed[place] for place in part], [waiting[place] for place in part])
            at += size


def _fits(state: Prefilled, rows: int, width: int, budget: int) -> bool:
    factor = CACHE_FACTOR_CPU if state.net.device.type == "cpu" else CACHE_FACTOR_GPU
    return rows * (state.width + width) <= factor * budget and rows * width * state.net.vocabulary <= MAX_LOGITS


def _second_pass(state: Prefilled, fed: Sequence[tuple[int, Ids]], users: Sequence[Sequence[tuple[Ids, _Sum]]]) -> None:
    """Feeds all but the last token of continuations after their prompts, and reads the log-probabilities."""
    net = state.net
    width = max(len(head) for _, head in fed)
    tokens = torch.tensor([[*head, *[net.pad] * (width - len(head))] for _, head in fed], device=net.device)
    fresh = torch.tensor([[1] * len(head) + [0] * (width - len(head)) for _, head in fed], device=net.device)
    rows = state.rows(torch.tensor([row for row, _ in fed], device=net.device), width)
    logits = rows.step(tokens, None if bool(fresh.all()) else fresh)
    reads = _Reads()
    for row, own in enumerate(users):
        for ids, total in own:
            for place in range(len(ids) - 1):
                reads.add(row, place, ids[place + 1], total)
    reads.read(logits)


def _shared_rows(longer: Sequence[tuple[Ids, _Sum]]) -> list[tuple[tuple[int, ...], list[tuple[Ids, _Sum]]]]:
    """The token runs that must be fed, each with the continuations it serves.

    A run is a continuation without its last token; one that another begins with needs no row of its own.
    """
    runs = sorted({tuple(ids[:-1]) for ids, _ in longer})
    # Sorted, a run that another begins with stands right before such a one.
    kept = [run for at, run in enumerate(runs) if not runs[at + 1 :] or runs[at + 1][: len(run)] != run]
    served: dict[tuple[int, ...], tuple[int, ...]] = {}
    for run in kept:
        for size in range(1, len(run) + 1):
            served.setdefault(run[:size], run)
    users: dict[tuple[int, ...], list[tuple[Ids, _Sum]]] = {run: [] for run in kept}
    for ids, total in longer:
        users[served[tuple(ids[:-1])]].append((ids, total))
    return list(users.items())


def _score_whole(
    net: Net, prompts: Sequence[Ids], continuations: Sequence[Ids], sums: Sequence[_Sum], budget: int
) -> None:
    """One pass over prompt and continuation together, logits at the continuation's positions alone."""
    if not prompts:
        return
    texts = [[*prompt, *ids[:-1]] for prompt, ids in zip(prompts, continuations, strict=True)]
    order = sorted(range(len(texts)), key=lambda row: (len(texts[row]), len(continuations[row]), row))
    widths, lengths = [len(text) for text in texts], [len(ids) for ids in continuations]
    for part, keep in tail_batches(order, widths, lengths, budget=budget, vocabulary=net.vocabulary):
        ids, mask = padded([texts[row] for row in part], net)
        logits = net.forward(ids, mask, positions_of(mask, ids), None, keep)
        reads = _Reads()
        for row, item in enumerate(part):
            scored = continuations[item]
            for place, token in enumerate(scored):
                reads.add(row, keep - len(scored) + place, token, sums[item])
        reads.read(logits)
