"""The table of facts of the embedded world, as frozen records."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal

Split = Literal["asked", "dev"]


@dataclass(frozen=True, kw_only=True)
class Fact:
    """One real fact: the `relation` of `entity` is `answer`.

    `phrase` is the relation in words ("atomic number"); `split` is "asked" for a fact that evaluation asks and
    "dev" for one that is only ever a solved example of a few-shot prompt.
    """

    relation: str
    entity: str
    answer: str
    domain: str
    phrase: str
    split: Split = "asked"


@cache
def table_text() -> str:
    """The shipped table as it is: its hash is part of the world's identity."""
    return (files("factfade.world") / "facts.json").read_text(encoding="utf-8")


@cache
def load_facts() -> tuple[Fact, ...]:
    """All facts, asked and dev, in the table's order (relation, entity)."""
    content = json.loads(table_text())
    relations = content["relations"]
    return tuple(
        Fact(
            relation=relation,
            entity=entity,
            answer=answer,
            domain=relations[relation]["domain"],
            phrase=relations[relation]["phrase"],
            split=split,
        )
        for relation, entity, answer, split in content["facts"]
    )


@cache
def relations() -> tuple[str, ...]:
    """The relations, in the table's order."""
    return tuple(json.loads(table_text())["relations"])


@cache
def domains() -> tuple[str, ...]:
    """The domains, in the order in which the relations name them."""
    return tuple(dict.fromkeys(fact["domain"] for fact in json.loads(table_text())["relations"].values()))


@cache
def answers(relation: str) -> tuple[str, ...]:
    """The closed answer set of a relation: every answer that it gives, sorted."""
    return tuple(sorted({fact.answer for fact in load_facts() if fact.relation == relation}))
