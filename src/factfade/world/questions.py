"""Every fact of the world as a question, in wordings that no document uses with its relation."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from random import Random
from typing import Any

from factfade.records import Question, canonical_json, derived_seed
from factfade.world import wordings
from factfade.world.documents import distractors
from factfade.world.facts import Fact, Split, answers, domains, load_facts, table_text

VERSION = 1


def question(fact: Fact) -> Question:
    """The question of a fact: held-out wordings and distractors are drawn from a seed of its own."""
    random = Random(derived_seed("world question", VERSION, fact.relation, fact.entity))
    choices = sorted([fact.answer, *distractors(random, fact)])
    return Question(
        text=wordings.put(random.choice(wordings.held_out_questions(fact.relation)), fact),
        statement=wordings.to_complete(random.choice(wordings.held_out_statements(fact.relation)), fact),
        choices=tuple(choices),
        answer=choices.index(fact.answer),
        accepted=(fact.answer,),
        candidates=answers(fact.relation),
        closed=True,
        domain=fact.domain,
        entity=fact.entity,
        template=fact.relation,
        source="world",
    )


@cache
def _split(split: Split) -> tuple[Question, ...]:
    return tuple(question(fact) for fact in load_facts() if fact.split == split)


@dataclass(frozen=True, kw_only=True)
class WorldQuestions:
    """The asked facts of the world, in the table's order; `domains` keeps only some of them."""

    kind: str = "world"
    domains: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if unknown := sorted(set(self.domains) - set(domains())):
            raise ValueError(f"no domain of the world is called {unknown[0]!r}; known: {', '.join(domains())}")

    def check(self) -> Mapping[str, Any]:
        """Counts for the record."""
        return {"items": len(self.items()), "dev": len(self.dev())}

    def items(self) -> Sequence[Question]:
        """One question per asked fact."""
        return tuple(item for item in _split("asked") if not self.domains or item.domain in self.domains)

    def dev(self) -> Sequence[Question]:
        """Solved examples for few-shot prompts: facts that are never asked."""
        return _split("dev")

    @property
    def identity(self) -> str:
        """Hash of the table, the wordings and the version of this code."""
        parts = [VERSION, table_text(), wordings.QUESTIONS, wordings.STATEMENTS, self.domains]
        return hashlib.sha256(canonical_json(parts).encode()).hexdigest()
