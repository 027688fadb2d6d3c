"""What a model foresees in a given text: tokens it is sure of, and the likeliest tokens at their places."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from factfade.errors import NonFinite
from factfade.models.passes import Net, padded, positions_of
from factfade.models.plans import DEFAULT_BATCH_TOKENS, tail_batches
from factfade.records import Likeliest


def likeliest(
    net: Net,
    heads: Sequence[Sequence[int]],
    tails: Sequence[Sequence[int]],
    *,
    k: int,
    at_least: float,
    batch_tokens: int | None = None,
) -> list[list[Likeliest]]:
    """Of each tail, after its head, the tokens whose probability is `at_least` or more, with the `k` likeliest tokens
    there. `place` counts within the tail. Probabilities are float32 softmax, in one pass over batches of like length.

    Raises NonFinite when a probability is no number.
    """
    budget = batch_tokens or DEFAULT_BATCH_TOKENS
    found: list[list[Likeliest]] = [[] for _ in tails]
    widths = [len(head) + len(tail) for head, tail in zip(heads, tails, strict=True)]
    order = sorted((row for row in range(len(tails)) if tails[row]), key=lambda row: (widths[row], row))
    lengths = [len(tail) for tail in tails]
    for rows, keep in tail_batches(order, widths, lengths, budget=budget, vocabulary=net.vocabulary):
        for row, own in zip(rows, _batch(net, [(heads[r], tails[r]) for r in rows], keep, k, at_least), strict=True):
            found[row] = own
    return found


def _batch(
    net: Net, pairs: Sequence[tuple[Sequence[int], Sequence[int]]], keep: int, k: int, at_least: float
) -> list[list[Likeliest]]:
    """One pass. Texts are padded on the left, so that the last `keep` logits are those of the widest tail."""
    ids, mask = padded([[*head, *tail[:-1]] for head, tail in pairs], net)
    logits = net.forward(ids, mask, positions_of(mask, ids), None, keep)
    targets = torch.tensor([[-1] * (keep - len(tail)) + list(tail) for _, tail in pairs], device=logits.device)
    chosen = logits.log_softmax(-1).gather(2, targets.clamp(min=0)[..., None])[..., 0].exp()
    real = targets >= 0
    if not bool(torch.isfinite(chosen[real]).all()):
        raise NonFinite(
            "the model's next-token probabilities are not finite numbers",
            hint='the weights have diverged (train with a lower rate), or model.dtype = "float32" is needed',
        )
    sure = (real & (chosen >= at_least)).nonzero()
    best = logits[sure[:, 0], sure[:, 1]].softmax(-1).topk(min(k, net.vocabulary), dim=-1)
    found: list[list[Likeliest]] = [[] for _ in pairs]
    columns = (sure.tolist(), chosen[sure[:, 0], sure[:, 1]].tolist(), best.indices.tolist(), best.values.tolist())
    for (row, column), probability, tokens, probabilities in zip(*columns, strict=True):
        place = column - (keep - len(pairs[row][1]))
        found[row].append(
            Likeliest(place=place, probability=probability, tokens=tuple(tokens), probabilities=tuple(probabilities))
        )
    return found
