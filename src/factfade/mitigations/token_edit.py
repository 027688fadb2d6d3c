"""Semi-synthetic text: human documents whose foreseen tokens a model draws anew (arXiv 2412.14689)."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Literal, get_args

from factfade.mitigations.counting import counts
from factfade.protocols import History, Model
from factfade.records import Document, Likeliest, Mixed, derived_seed

Prior = Literal["base", "previous"]


@dataclass(frozen=True, kw_only=True)
class TokenEdit:
    """Edit human documents token by token: a token whose probability under the prior is below `threshold` stays; any
    other is drawn from the prior's `top_k` likeliest tokens at its place, by their probabilities.

    Every probability is conditioned on the human text before the token, as it was: one pass over each document. The
    prior is the run's start model ("base") or the model that is about to be trained ("previous"). Synthetic documents
    go on as they are; with `replaced`, the human documents that this generation's completions stand in for are edited
    and take their place. What is drawn may be the token that stood there: then nothing changed.
    Source: arXiv 2412.14689.
    """

    threshold: float = 0.99
    top_k: int = 8
    prior: Prior = "base"
    replaced: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.threshold <= 1:
            raise ValueError(f"threshold is a probability above 0 and at most 1, not {self.threshold}")
        if self.top_k < 1:
            raise ValueError(f"top_k is at least 1, not {self.top_k}")
        if self.prior not in get_args(Prior):
            raise ValueError(f"prior is one of {', '.join(get_args(Prior))}, not {self.prior!r}")

    def mix(self, documents: Sequence[Document], history: History, *, generation: int, seed: int) -> Mixed:
        """The documents in their order, human ones edited. `synthetic_share_of_tokens` counts changed tokens too."""
        pool, stood_in = self._pool(documents, history, generation)
        human = [place for place, document in enumerate(pool) if document.source == "human" and document.weight > 0]
        changed = drawn = read = 0
        if human:
            with history.model(generation=0 if self.prior == "base" else None).open() as model:
                ids = [_ids(model, pool[place]) for place in human]
                found, read = foreseen(model, ids, k=self.top_k, at_least=self.threshold)
                for place, own, sure in zip(human, ids, found, strict=True):
                    random = Random(derived_seed("token_edit", seed, generation, pool[place].id))
                    edited = edit(own, sure, random)
                    drawn += len(sure)
                    differs = sum(a != b for a, b in zip(own, edited, strict=True))
                    if differs:
                        pool[place] = replace(pool[place], tokens=edited, text=model.decode(edited))
                    changed += differs
        reached = counts(pool)
        tokens = reached["tokens"]
        reached["synthetic_share_of_tokens"] = (reached["synthetic_tokens"] + changed) / tokens if tokens else 0.0
        human_tokens = max(1, sum(len(pool[place].tokens or ()) for place in human))
        return Mixed(
            documents=tuple(pool),
            requested={"threshold": self.threshold, "top_k": self.top_k},
            achieved={
                **reached,
                "edited_documents": len(human),
                "drawn_tokens": drawn,
                "drawn_share_of_human_tokens": drawn / human_tokens,
                "changed_tokens": changed,
                "changed_share_of_human_tokens": changed / human_tokens,
            },
            notes=() if human else ("there is no human document to edit: set synthetic_fraction = 0.0, or replaced",),
            dropped={"an edited human document takes its place": stood_in} if stood_in else {},
            costs={"scored_tokens": read, "synthesized_tokens": drawn},
        )

    def _pool(self, documents: Sequence[Document], history: History, generation: int) -> tuple[list[Document], int]:
        """The documents, and how many completions gave their place to the human document of their block."""
        if not self.replaced:
            return list(documents), 0
        human: Mapping[str, Document] = {d.id: d for d in history.human(generation=generation, replaced=True)}
        found: list[Document] = []
        stood_in = 0
        for document in documents:
            own = document.source == "synthetic" and document.generation == generation - 1
            if own and document.origin in human:
                found.append(replace(human[document.origin], weight=document.weight))
                stood_in += 1
            else:
                found.append(document)
        return found, stood_in


def edit(tokens: Sequence[int], sure: Sequence[Likeliest], random: Random) -> tuple[int, ...]:
    """The tokens, each one that the model was sure of drawn anew from the likeliest ones at its place."""
    found = list(tokens)
    for one in sure:
        reach = list(itertools.accumulate(one.probabilities))
        point = random.random() * reach[-1]
        # A rounding may lead past the end: the last of them stands in.
        at = next((place for place, bound in enumerate(reach) if point < bound), len(reach) - 1)
        found[one.place] = one.tokens[at]
    return tuple(found)


def foreseen(
    model: Model, texts: Sequence[Sequence[int]], *, k: int, at_least: float
) -> tuple[list[list[Likeliest]], int]:
    """`Model.likeliest` of texts of any length, and how many tokens were read for it.

    A text longer than the context is read in windows; each but the first begins half a window before the tokens that
    are looked at in it, so that these are conditioned on half a context or more.
    """
    limit = max(model.context - 1, 2)
    windows: list[tuple[int, int, int]] = []  # text, where the window begins, the first place looked at in it
    for text, tokens in enumerate(texts):
        begin = first = 0
        while first < len(tokens):
            windows.append((text, begin, first))
            first = begin + limit
            begin = first - limit // 2
    cut = [texts[text][begin : begin + limit] for text, begin, _ in windows]
    found: list[list[Likeliest]] = [[] for _ in texts]
    for (text, begin, first), own in zip(windows, model.likeliest(cut, k=k, at_least=at_least), strict=True):
        moved = (replace(one, place=one.place + begin) for one in own)
        found[text].extend(one for one in moved if one.place >= first)
    return found, sum(map(len, cut))


def _ids(model: Model, document: Document) -> tuple[int, ...]:
    return document.tokens if document.tokens is not None else tuple(model.encode(document.text))
