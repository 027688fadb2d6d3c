"""Sampling: one random generator per batch, in a fixed batch plan, so that a result depends on nothing else.

The uniform numbers of a batch are drawn before its first token, one per row and token, and turned into tokens by the
inverse of the cumulative distribution: a row's tokens do not depend on which other rows have ended by then.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from factfade.errors import NonFinite
from factfade.models.passes import Net, Prefilled, prefill
from factfade.records import Decoding, Sampled, derived_seed

DEFAULT_BATCH = 128
# Rows that have ended are dropped from the batch when at most this share is left: copying the others' cache costs
# about two steps.
SHRINK_AT = 0.75


def batch_plan(lengths: Sequence[int], batch: int | None = None, *, side: str = "left") -> list[list[int]]:
    """Which prompts are sampled together: by length, then by place, in batches of `batch`. Recorded with the run.

    With padding on the right they stay in the given order: the published code whose artefact that replicates does
    not sort, and rows of equal length would hide it.
    """
    rows = range(len(lengths))
    order = sorted(rows, key=lambda row: (lengths[row], row)) if side == "left" else list(rows)
    size = batch or DEFAULT_BATCH
    return [order[at : at + size] for at in range(0, len(order), size)]


def sample(
    net: Net,
    prompts: Sequence[Sequence[int]],
    *,
    new_tokens: int,
    decoding: Decoding,
    seed: int,
    ends: frozenset[int],
    ended: Callable[[Sequence[int]], bool] | None,
    batch: int | None,
    side: str,
) -> list[Sampled]:
    """Continues every prompt by at most `new_tokens` tokens; results in the order of the prompts.

    Batch k of the plan draws from a generator seeded by derived_seed(seed, k). `ends` are the tokens that end a text,
    `ended` says whether a text (its tokens so far) has met a stop string.
    """
    results: dict[int, Sampled] = {}
    for number, rows in enumerate(batch_plan([len(prompt) for prompt in prompts], batch, side=side)):
        state = prefill(net, [prompts[row] for row in rows], room=new_tokens, side=side)
        drawn = decode(
            state, new_tokens=new_tokens, decoding=decoding, seed=derived_seed(seed, number), ends=ends, ended=ended
        )
        results.update(zip(rows, drawn, strict=True))
    return [results[row] for row in range(len(prompts))]


def decode(
    state: Prefilled,
    *,
    new_tokens: int,
    decoding: Decoding,
    seed: int,
    ends: frozenset[int],
    ended: Callable[[Sequence[int]], bool] | None,
) -> list[Sampled]:
    """Goes on from a prompt pass, row by row until it ends or has `new_tokens` tokens."""
    count = len(state.lengths)
    device = state.last.device
    uniform: torch.Tensor | None = None
    if decoding.temperature > 0:
        # Drawn on the CPU whatever the device, so that the numbers are the same everywhere.
        generator = torch.Generator().manual_seed(seed)
        uniform = torch.rand((count, new_tokens), generator=generator, dtype=torch.float64).to(device)
    end_ids = torch.tensor(sorted(ends), dtype=torch.long, device=device)
    tokens: list[list[int]] = [[] for _ in range(count)]
    by_itself = [False] * count
    logprob = torch.zeros(count, dtype=torch.float64, device=device)
    # Rows of the batch -> rows of the result; `live` are the places in the batch that still go on.
    owner = list(range(count))
    live = list(range(count))
    logits = state.last
    for number in range(new_tokens):
        draws = None if uniform is None else uniform[owner, number]
        chosen = choose(logits, decoding, draws)
        gained = logits.gather(1, chosen[:, None])[:, 0] - logits.logsumexp(1)
        at_end = torch.isin(chosen, end_ids).tolist()
        picked = chosen.tolist()
        logprob[[owner[row] for row in live]] += gained[live].double()
        still: list[int] = []
        for row in live:
            mine = owner[row]
            if at_end[row]:
                by_itself[mine] = True
                continue
            tokens[mine].append(picked[row])
            if ended is not None and ended(tokens[mine]):
                by_itself[mine] = True
            else:
                still.append(row)
        live = still
        if not live or number + 1 == new_tokens:
            break
        if len(live) <= SHRINK_AT * len(owner):
            kept = torch.tensor(live, device=device)
            state = state.rows(kept, new_tokens - number)
            chosen, owner, live = chosen[kept], [owner[row] for row in live], list(range(len(live)))
        logits = state.step(chosen[:, None])[:, -1]
    sums = logprob.tolist()
    if not bool(torch.isfinite(logprob).all()):
        raise NonFinite(
            "the model's next-token probabilities are not finite numbers",
            hint='the weights have diverged (train with a lower rate), or model.dtype = "float32" is needed',
        )
    return [Sampled(tokens=tuple(t), ended=e, logprob=s) for t, e, s in zip(tokens, by_itself, sums, strict=True)]


def choose(logits: torch.Tensor, decoding: Decoding, uniform: torch.Tensor | None) -> torch.Tensor:
    """One token a row (rows, vocabulary) -> (rows,). Temperature 0 takes the largest logit, the lowest id on a tie.

    Order of the settings: temperature, then top_k, then top_p, each over what the one before left.
    """
    if decoding.temperature == 0 or uniform is None:
        return logits.argmax(1)
    scaled = logits / decoding.temperature
    if 0 < decoding.top_k < scaled.shape[1]:
        bound = scaled.topk(decoding.top_k, dim=1).values[:, -1:]
        scaled = scaled.masked_fill(scaled < bound, -torch.inf)
    if decoding.top_p < 1:
        scaled = _nucleus(scaled, decoding.top_p)
    cumulative = scaled.softmax(1).double().cumsum(1)
    total = cumulative[:, -1:]
    drawn = torch.searchsorted(cumulative, uniform[:, None] * total, right=True)[:, 0]
    # A rounding of the last step may lead past the end: the likeliest token stands in.
    return torch.where(drawn < scaled.shape[1], drawn, scaled.argmax(1))


def _nucleus(scaled: torch.Tensor, top_p: float) -> torch.Tensor:
    """Leaves the smallest set of likeliest tokens whose probabilities reach `top_p` (Holtzman et al. 2020)."""
    ordered, order = scaled.sort(dim=1, descending=True, stable=True)
    probability = ordered.softmax(1)
    before = probability.cumsum(1) - probability
    return torch.empty_like(scaled).scatter_(1, order, ordered.masked_fill(before >= top_p, -torch.inf))
