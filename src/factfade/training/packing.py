"""Documents into chunks of equal length, and the order in which they are trained on. Pure functions of the seed.

The documents are shuffled, joined and cut every `chunk_tokens`, without padding (as in arXiv 2509.04796); the last
chunk is as long as what is left. Every epoch walks through the same chunks in another order.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Literal

from factfade.errors import RunFailed
from factfade.records import Document, derived_seed

Separator = Literal["none", "eos"]


@dataclass(frozen=True, kw_only=True)
class Packed:
    """The chunks of a training set: ids back to back in `tokens`, cut every `chunk_tokens`; and what was counted."""

    tokens: array[int]
    chunk_tokens: int
    counts: dict[str, int]

    def __len__(self) -> int:
        return math.ceil(len(self.tokens) / self.chunk_tokens)

    def span(self, chunk: int) -> tuple[int, int]:
        """Where a chunk begins and ends in `tokens`."""
        begin = chunk * self.chunk_tokens
        return begin, min(begin + self.chunk_tokens, len(self.tokens))


def drawn(documents: Sequence[Document], *, seed: int) -> list[Document]:
    """The documents as often as their weights say: weight w is taken floor(w) times, and once more with probability
    w - floor(w). Weights of 0 and 1 are exact; others hold in expectation, for any objective."""
    random = Random(derived_seed("weights", seed))
    found: list[Document] = []
    for document in documents:
        whole = math.floor(document.weight)
        again = document.weight > whole and random.random() < document.weight - whole
        found.extend([document] * (whole + again))
    return found


def pack(
    documents: Sequence[Document],
    *,
    chunk_tokens: int,
    seed: int,
    encode: Callable[[str], Sequence[int]],
    separator: Separator = "none",
    eos: int | None = None,
    whole: bool = False,
) -> Packed:
    """Shuffles, joins and cuts. A document's own ids are taken where it has them, else its text is encoded.

    `separator` "eos" puts the end token after every document that does not end in it: for whole texts. Windows cut
    from a text are joined as they are. A last chunk of one token predicts nothing and is left out, counted; with
    `whole` so is any last chunk that is shorter, where there is another. RunFailed when there is no token to predict.
    """
    if chunk_tokens < 2:
        raise ValueError("chunk_tokens is at least 2: the first token of a chunk is no target")
    if separator == "eos" and eos is None:
        raise ValueError('separator "eos" needs a tokenizer with an end token')
    found = drawn(documents, seed=seed)
    Random(derived_seed("documents", seed)).shuffle(found)
    tokens = array("i")
    names = ("human_tokens", "synthetic_tokens", "encoded_here", "separators", "empty_documents")
    counts: dict[str, int] = dict.fromkeys(names, 0)
    for document in found:
        ids = document.tokens
        if ids is None:
            ids = tuple(encode(document.text))
            counts["encoded_here"] += 1
        counts[f"{document.source}_tokens"] += len(ids)
        counts["empty_documents"] += not ids
        tokens.extend(ids)
        if separator == "eos" and eos is not None and ids and ids[-1] != eos:
            tokens.append(eos)
            counts["separators"] += 1
    tail = len(tokens) % chunk_tokens
    left_out = tail if tail == 1 or (whole and len(tokens) > chunk_tokens) else 0
    if left_out:
        del tokens[-left_out:]
    if len(tokens) < 2:
        raise RunFailed(
            f"{len(documents)} documents hold no token that could be predicted",
            hint="look at the completions of this generation and at what the pool parts dropped",
        )
    counts |= {
        "documents": len(documents),
        "dropped_documents": sum(document.weight <= 0 for document in documents),
        "drawn_documents": len(found),
        "tokens": len(tokens),
        "left_out_tokens": left_out,
        "last_chunk_tokens": len(tokens) - (math.ceil(len(tokens) / chunk_tokens) - 1) * chunk_tokens,
    }
    return Packed(tokens=tokens, chunk_tokens=chunk_tokens, counts=counts)


def order(chunks: int, *, epochs: float, seed: int, visits: int | None = None) -> list[int]:
    """The chunks in training order: every epoch a permutation of its own, the last one cut where epochs are not whole.

    ceil(epochs * chunks) entries: half an epoch of steps is half the steps, rounded up. `visits` asks for so many
    entries in place of epochs.
    """
    total = math.ceil(round(epochs * chunks, 9)) if visits is None else visits
    found: list[int] = []
    epoch = 0
    while len(found) < total:
        places = list(range(chunks))
        Random(derived_seed("chunks", seed, epoch)).shuffle(places)
        found.extend(places[: total - len(found)])
        epoch += 1
    return found


def achieved(packed: Packed, visits: Sequence[int]) -> dict[str, Any]:
    """What a training order comes to: epochs, chunks, tokens read and target tokens (a chunk's first is no target)."""
    lengths = [end - begin for begin, end in map(packed.span, visits)]
    return {
        "epochs": len(visits) / len(packed),
        "chunks": len(visits),
        "tokens": sum(lengths),
        "targets": sum(lengths) - len(lengths),
    }
