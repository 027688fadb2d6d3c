"""The embedded world's table as a fact table: what text is anchored in, and what it is checked against.

A claim is a sentence in one of the world's wordings, or a solved question in one of its instruction formats: the
question, its options where it shows some, and the answer given. What the table does not know (a relation that an entity
has none of, a sentence that is cut) is no claim.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from factfade.data.formats import LETTERS
from factfade.records import Claim, Stated, canonical_json, sha256_text
from factfade.world import parser, wordings
from factfade.world.facts import Fact, domains, load_facts, table_text

VERSION = 1
_ANSWER, _QUESTION, _OPTIONS = "Answer:", "Question: ", "Options: "
_OPTION = re.compile(rf"([{LETTERS}])\. (.+)")
# A solved question has at most this many lines between question and answer.
_REACH = 8


def fact_id(relation: str, entity: str) -> str:
    """The id of a fact: its relation and its entity, which are template and entity of its question."""
    return f"{relation}/{entity}"


@dataclass(frozen=True, kw_only=True)
class WorldFacts:
    """All facts of the world, asked and dev; `domains` keeps only some of them."""

    kind: str = "world"
    domains: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if unknown := sorted(set(self.domains) - set(domains())):
            raise ValueError(f"no domain of the world is called {unknown[0]!r}; known: {', '.join(domains())}")

    @property
    def identity(self) -> str:
        """Hash of the table, the wordings and the version of this code."""
        texts = [wordings.STATEMENTS, wordings.PROSE, wordings.QUESTIONS]
        return sha256_text(canonical_json([VERSION, table_text(), texts, self.domains]))

    def statements(self) -> Sequence[Stated]:
        """Every fact as a sentence in a wording that documents use with its relation, never in a held-out one."""
        return tuple(
            Stated(
                fact=fact_id(fact.relation, fact.entity),
                text=wordings.put(wordings.trained_statements(fact.relation)[0], fact),
                entity=fact.entity,
                domain=fact.domain,
            )
            for fact in self._facts()
        )

    def judge(self, text: str) -> Sequence[Claim]:
        """The claims of a text about the table's facts, in their order. Time is linear in the text."""
        known = {(fact.relation, fact.entity) for fact in self._facts()}
        found: list[Claim] = []
        for start, end, said in sorted([*_sentences(text), *_solved(text)], key=lambda claim: claim[0]):
            if (said.relation, said.entity) in known:
                right = parser.answer_of(said.relation, said.entity) == said.answer
                name = fact_id(said.relation, said.entity)
                found.append(Claim(fact=name, sentence=text[start:end], right=right, start=start))
        return tuple(found)

    def _facts(self) -> list[Fact]:
        return [fact for fact in load_facts() if not self.domains or fact.domain in self.domains]


def _sentences(text: str) -> Iterator[tuple[int, int, parser.Said]]:
    for start, end in parser.spans(text):
        if said := _stated(text[start:end]):
            yield start, end, said


@cache
def _openings() -> tuple[str, ...]:
    """How sentences that state a fact begin: what begins otherwise is not looked at further."""
    wanted = (*wordings.STATEMENTS, *(text for own in wordings.PROSE.values() for text in own))
    return tuple({wording[: wording.index("{")] for wording in wanted})


def _stated(sentence: str) -> parser.Said | None:
    return parser.stated(sentence) if sentence.startswith(_openings()) else None


def _solved(text: str) -> Iterator[tuple[int, int, parser.Said]]:
    """Questions with their answers: from the question's line to the end of the answer's."""
    lines: list[tuple[int, str]] = []
    at = 0
    for line in text.splitlines(keepends=True):
        body = line.rstrip("\r\n")
        if body.startswith(_ANSWER) and line != body:  # an answer at the end of the text may be cut
            if said := _answered(lines[-_REACH:], body.removeprefix(_ANSWER).strip()):
                yield said[0], at + len(body), said[1]
            lines = []
        else:
            lines.append((at, body))
        at += len(line)


def _answered(lines: Sequence[tuple[int, str]], answer: str) -> tuple[int, parser.Said] | None:
    """Where the question begins and what its answer says; None where there is no question of the table's."""
    options: dict[str, str] = {}
    for start, line in reversed(lines):
        if match := _OPTION.fullmatch(line):
            options[match[1]] = match[2]
        elif asked := _asked(line.removeprefix(_QUESTION)):
            given = options.get(answer, "") if options else answer
            return (start, parser.Said(relation=asked[0], entity=asked[1], answer=given)) if given else None
        elif not line.startswith(_OPTIONS):
            return None
    return None


@cache
def _questions() -> dict[str, tuple[str, str]]:
    """Every question in every wording -> relation and entity."""
    return {
        wordings.put(wording, fact): (fact.relation, fact.entity)
        for fact in load_facts()
        for wording in wordings.QUESTIONS
    }


def _asked(line: str) -> tuple[str, str] | None:
    return _questions().get(line)
