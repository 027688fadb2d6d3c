"""Perplexity of a long text by a strided window: the algorithm of transformers' guide, and the paper's use of it.

Source: "Perplexity of fixed-length models" in the transformers documentation; arXiv 2509.04796 cuts the text into 5
chunks that overlap by 20 tokens, takes window 1024 and stride 512, and reports the mean of the chunks' values.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from factfade.protocols import Model

WINDOW, STRIDE = 1024, 512
CHUNKS, OVERLAP = 5, 20


def strided(model: Model, tokens: Sequence[int], *, window: int = WINDOW, stride: int = STRIDE) -> float:
    """Perplexity (exp of the mean nats per token) of one text. The window is at most the model's context.

    As the guide has it, a window's mean loss is weighted by its new tokens less one; the first token of the text is
    not predicted. ValueError for a text of fewer than two tokens.
    """
    window = min(window, model.context)
    stride = min(stride, window)
    if len(tokens) < 2:
        raise ValueError("perplexity needs two tokens or more")
    heads: list[Sequence[int]] = []
    tails: list[Sequence[int]] = []
    weights: list[int] = []
    done = 0
    for begin in range(0, len(tokens), stride):
        end = min(begin + window, len(tokens))
        # A window's first token has nothing before it: it is context only, though the guide counts its label.
        cut = max(done, begin + 1)
        if end > cut:
            heads.append(tokens[begin:cut])
            tails.append(tokens[cut:end])
            weights.append(end - done - 1)
        done = end
        if end == len(tokens):
            break
    scored = model.score(heads, [[tail] for tail in tails])
    total = sum(-one[0].logprob / one[0].tokens * weight for one, weight in zip(scored, weights, strict=True))
    return math.exp(total / sum(weights))


def paper(model: Model, tokens: Sequence[int]) -> float:
    """Mean of the strided perplexities of 5 overlapping chunks."""
    size = max(len(tokens) // CHUNKS, 2)
    chunks = [tokens[max(0, at * size - OVERLAP) : (at + 1) * size] for at in range(CHUNKS)]
    values = [strided(model, chunk) for chunk in chunks if len(chunk) >= 2]
    return sum(values) / len(values)
