"""Documents as a model reads them."""

from __future__ import annotations

from collections.abc import Sequence

from factfade.protocols import Model
from factfade.records import Document


def nll_of(model: Model, documents: Sequence[Document], *, tokens: int) -> list[tuple[float, int]]:
    """Sum of negative log-likelihoods (nats) and number of predicted tokens of each document's beginning.

    At most `tokens` ids are read, and never more than the model's context holds. A document without ids of its own is
    encoded; one without any token is (0, 0).
    """
    # One place is the start token's.
    limit = min(tokens, model.context - 1)
    ids = [tuple(d.tokens if d.tokens is not None else model.encode(d.text))[:limit] for d in documents]
    found: list[tuple[float, int]] = [(0.0, 0)] * len(documents)
    filled = [place for place, own in enumerate(ids) if own]
    for place, one in zip(filled, model.nll([ids[place] for place in filled]), strict=True):
        found[place] = one
    return found
