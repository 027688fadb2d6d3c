"""Completions that are written behind trusted facts: retrieval first, fluent text second (arXiv 2601.19506)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from random import Random

from factfade.mitigations.trusting import Trusting
from factfade.protocols import History
from factfade.records import Block, Stated, derived_seed

_WORD = re.compile(r"[^\W_]+")
Words = tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class FactAnchored(Trusting):
    """Human blocks, each behind statements of facts that fit it; the statements are shown and never trained on.

    Facts whose entity occurs in the prompt's text (whole words, whatever their case) come first: those whose statement
    shares more words with the prompt before others, later entities before earlier ones. Where fewer than `count` fit
    and `fill` is set, facts of the block's domain are drawn by seed. Statements are added while the anchor keeps within
    `tokens` ids and leaves room for the prompt and the new tokens in the model's context. `domain` keeps to human
    blocks of one domain. Source: arXiv 2601.19506.
    """

    count: int = 4
    tokens: int = 48
    fill: bool = True
    domain: str | None = None
    prompt_tokens: int | None = None
    new_tokens: int | None = None

    def __post_init__(self) -> None:
        for name in ("count", "tokens", "prompt_tokens", "new_tokens"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} is at least 1, not {value}")
        if self.domain == "":
            raise ValueError("domain is empty: name a domain of the corpus, or leave it out")
        super().__post_init__()

    def blocks(self, history: History, *, count: int, generation: int, seed: int) -> Sequence[Block]:
        """The human blocks of the generation (those of general or domain prompts), with anchors."""
        found = history.blocks(count=count, generation=generation, seed=seed, domain=self.domain)
        return [self._anchored(block, history, generation, seed) for block in found]

    def retrieved(self, text: str, domain: str, random: Random) -> list[Stated]:
        """The facts for a prompt's text, the best first; at most `count`."""
        words = _words(text)
        last = self._last_places(words)
        shown = set(words)
        ranked: list[tuple[int, int, float, Stated]] = []
        for fact in (one for entity in last for one in self._by_entity[entity]):
            common = len(shown.intersection(_words(fact.text)))
            ranked.append((-common, -last[_words(fact.entity)], random.random(), fact))
        ranked.sort(key=lambda one: one[:3])
        found = [fact for *_, fact in ranked][: self.count]
        if self.fill and len(found) < self.count:
            names = {fact.fact for fact in found}
            rest = [fact for fact in self._by_domain.get(domain, ()) if fact.fact not in names]
            found += random.sample(rest, min(self.count - len(found), len(rest)))
        return found

    def _anchored(self, block: Block, history: History, generation: int, seed: int) -> Block:
        prompt = block.tokens[: self.prompt_tokens]
        random = Random(derived_seed("fact_anchored", seed, generation, block.id))
        # Where the new tokens are not known, as many as there are in the block.
        new = self.new_tokens or len(block.tokens)
        budget = min(self.tokens, history.room(prompt) - new)
        chosen: list[Stated] = []
        anchor: tuple[int, ...] = ()
        for fact in self.retrieved(history.decode(prompt), block.domain, random):
            longer = tuple(history.encode(" ".join(one.text for one in (*chosen, fact)) + "\n"))
            if len(longer) <= budget:
                chosen.append(fact)
                anchor = longer
        return replace(block, anchor=anchor, facts=tuple(fact.fact for fact in chosen))

    def _last_places(self, words: Words) -> dict[Words, int]:
        """The entities in a text and where each occurs last."""
        found: dict[Words, int] = {}
        for at, word in enumerate(words):
            for entity in self._by_first_word.get(word, ()):
                if words[at : at + len(entity)] == entity:
                    found[entity] = at
        return found

    @cached_property
    def _by_entity(self) -> Mapping[Words, Sequence[Stated]]:
        found: dict[Words, list[Stated]] = {}
        for fact in self.table.statements():
            if entity := _words(fact.entity):
                found.setdefault(entity, []).append(fact)
        return found

    @cached_property
    def _by_first_word(self) -> Mapping[str, Sequence[Words]]:
        found: dict[str, list[Words]] = {}
        for entity in self._by_entity:
            found.setdefault(entity[0], []).append(entity)
        return found

    @cached_property
    def _by_domain(self) -> Mapping[str, Sequence[Stated]]:
        found: dict[str, list[Stated]] = {}
        for fact in self.table.statements():
            if fact.domain:
                found.setdefault(fact.domain, []).append(fact)
        return found


def _words(text: str) -> Words:
    return tuple(word.casefold() for word in _WORD.findall(text))
