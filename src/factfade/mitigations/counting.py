"""What the pool parts share: counts of a training set, and weights that are whole numbers."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from random import Random
from typing import Literal

from factfade.errors import RunFailed
from factfade.records import Document

#: What a share is a share of.
Unit = Literal["documents", "tokens"]


def counts(documents: Iterable[Document]) -> dict[str, float]:
    """Documents and tokens that are kept (weight above 0), human and synthetic, and the synthetic shares of both.

    Tokens are counted where a document has its ids; `documents_without_tokens` says how many have none. A share of
    nothing is 0.
    """
    kept = [document for document in documents if document.weight > 0]
    found: dict[str, float] = {"documents": len(kept), "tokens": 0}
    for source in ("human", "synthetic"):
        of = [document for document in kept if document.source == source]
        found[f"{source}_documents"] = len(of)
        found[f"{source}_tokens"] = sum(len(document.tokens or ()) for document in of)
        found["tokens"] += found[f"{source}_tokens"]
    for unit in ("documents", "tokens"):
        found[f"synthetic_share_of_{unit}"] = found[f"synthetic_{unit}"] / found[unit] if found[unit] else 0.0
    found["documents_without_tokens"] = sum(document.tokens is None for document in kept)
    return found


def drawn_counts(documents: Iterable[Document]) -> dict[str, float]:
    """Documents and tokens as often as they are trained on in one pass (their weights), and the human shares of both.

    With whole weights these are what training draws; with others what it draws on average.
    """
    found: dict[str, float] = {"drawn_documents": 0.0, "drawn_tokens": 0.0}
    human = dict.fromkeys(found, 0.0)
    for document in documents:
        for name, size in (("drawn_documents", 1), ("drawn_tokens", len(document.tokens or ()))):
            found[name] += document.weight * size
            human[name] += document.weight * size * (document.source == "human")
    for name in human:
        share = human[name] / found[name] if found[name] else 0.0
        found[f"human_share_of_{name}"] = share
    return found


def means(
    name: str, values: Sequence[float | None], documents: Sequence[Document], chosen: Collection[int]
) -> dict[str, float]:
    """Mean value, one per document, of what came in, of the chosen places and of each source, as `mean_<name>_in`,
    `_kept`, `_human`, `_synthetic`. Documents without a value do not count; the mean of nothing is 0."""

    def mean(places: Iterable[int]) -> float:
        known = [value for place in places if (value := values[place]) is not None]
        return sum(known) / len(known) if known else 0.0

    every = range(len(documents))
    found = {f"mean_{name}_in": mean(every), f"mean_{name}_kept": mean(sorted(chosen))}
    for source in ("human", "synthetic"):
        found[f"mean_{name}_{source}"] = mean(place for place in every if documents[place].source == source)
    return found


def mass(documents: Iterable[Document], unit: Unit) -> float:
    """How much text there is: the sum of the weights, or of weight times tokens. RunFailed for text without ids."""
    total = 0.0
    for document in documents:
        if unit == "tokens" and document.tokens is None:
            raise RunFailed(
                f"the document {document.id} has no token ids, so its tokens cannot be counted",
                hint='count documents: by = "documents"',
            )
        total += document.weight * (1 if unit == "documents" else len(document.tokens or ()))
    return total


def whole_weights(documents: Sequence[Document], wanted: Sequence[float], random: Random) -> list[int]:
    """How often each document is taken so that it is `wanted` times on average: floor or ceiling of the number.

    Systematic sampling along the documents' lengths: the number of documents differs from the sum of `wanted` by less
    than one, and their tokens from what is wanted by about one document's. Whole numbers stay as they are. Drawing
    here, and not in training, makes the counts of the record those of the training set.
    """
    if any(not weight >= 0 for weight in wanted):
        raise ValueError("a weight is a number of at least 0")
    order = list(range(len(documents)))
    random.shuffle(order)
    order.sort(key=lambda place: len(documents[place].tokens or ()))
    found = [0] * len(documents)
    at = random.random()
    for place in order:
        whole = math.floor(wanted[place])
        at += wanted[place] - whole
        found[place] = whole + (at >= 1.0)
        at -= at >= 1.0
    return found
