"""Judges sentences of the world: is a sentence grammatical, does it state a fact, and is that fact true?

The judge knows the grammar of the filler prose and all wordings of facts; everything else is ungrammatical. It is
made for text that a model wrote about the world, in linear time and without trust in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache

from factfade.world import filler, wordings
from factfade.world.facts import load_facts, relations

_MAX_SENTENCE = 200


@dataclass(frozen=True, kw_only=True)
class Judged:
    """`fact`: the sentence states a fact. `true`: it agrees with the table; None where the table says nothing about
    that relation of that entity, or where there is no fact."""

    grammatical: bool
    fact: bool = False
    true: bool | None = None


@dataclass(frozen=True, kw_only=True)
class Said:
    """What a sentence states: the `relation` of `entity` is `answer`."""

    relation: str
    entity: str
    answer: str


@dataclass(frozen=True, kw_only=True)
class Tally:
    """Counts over many sentences; `known` counts the facts that the table can judge, `true` those that agree."""

    sentences: int
    grammatical: int
    facts: int
    known: int
    true: int


def sentences(text: str) -> Iterator[str]:
    """Sentences of a text: lines, cut after full stops and question marks that a blank follows."""
    for start, end in spans(text):
        yield text[start:end]


def spans(text: str) -> Iterator[tuple[int, int]]:
    """Where the sentences of a text begin and end, without the blanks around them."""
    at = 0
    for line in text.splitlines(keepends=True):
        for sentence in re.split(r"(?<=[.?]) ", line):
            shown = sentence.strip()
            if shown:
                start = at + sentence.index(shown)
                yield start, start + len(shown)
            at += len(sentence) + 1
        at -= 1  # the last piece of a line had no blank after it


def judge(sentence: str) -> Judged:
    """The verdict on one sentence."""
    if len(sentence) > _MAX_SENTENCE:
        return Judged(grammatical=False)
    if said := stated(sentence):
        answer = answer_of(said.relation, said.entity)
        return Judged(grammatical=True, fact=True, true=None if answer is None else answer == said.answer)
    return Judged(grammatical=any(_agrees(match) for match in _filler_matches(sentence)))


def stated(sentence: str) -> Said | None:
    """The fact that a sentence states, true or not; None for a sentence that states none in the world's wordings."""
    if len(sentence) > _MAX_SENTENCE:
        return None
    for pattern, relation in _fact_patterns():
        if match := pattern.fullmatch(sentence):
            name = relation or match["rel"]
            return Said(relation=_phrases().get(name, name), entity=match["x"], answer=match["a"])
    return None


def answer_of(relation: str, entity: str) -> str | None:
    """The table's answer; None where it has none."""
    return _table().get((relation, entity))


def tally(texts: Iterable[str]) -> Tally:
    """The verdicts on all sentences of some texts, counted."""
    judged = [judge(sentence) for text in texts for sentence in sentences(text)]
    return Tally(
        sentences=len(judged),
        grammatical=sum(one.grammatical for one in judged),
        facts=sum(one.fact for one in judged),
        known=sum(one.true is not None for one in judged),
        true=sum(one.true is True for one in judged),
    )


@cache
def _table() -> dict[tuple[str, str], str]:
    return {(fact.relation, fact.entity): fact.answer for fact in load_facts()}


@cache
def _phrases() -> dict[str, str]:
    return {fact.phrase: fact.relation for fact in load_facts()}


def _one_of(words: Iterable[str]) -> str:
    return "|".join(re.escape(word) for word in sorted(set(words), key=len, reverse=True))


@cache
def _fact_patterns() -> tuple[tuple[re.Pattern[str], str], ...]:
    """Patterns with the relation they state; "" where the sentence names its relation."""
    facts = load_facts()
    slots = {
        "rel": f"(?P<rel>{_one_of(fact.phrase for fact in facts)})",
        "x": f"(?P<x>{_one_of(fact.entity for fact in facts)})",
        "a": f"(?P<a>{_one_of(fact.answer for fact in facts)})",
    }
    named = [(wording, "") for wording in wordings.STATEMENTS]
    prose = [(wording, relation) for relation in relations() for wording in wordings.PROSE[relation]]
    return tuple((_compile(wording, slots), relation) for wording, relation in named + prose)


@cache
def _frames() -> tuple[re.Pattern[str], ...]:
    people = _one_of(filler.WOMEN + filler.MEN)
    slots = {
        "n": f"(?P<n>{people})", "m": f"(?P<m>{people})", "p": "(?P<p>she|he)", "q": "(?P<q>her|his)",
        "k": f"(?:{_one_of(filler.KIN)})", "t": f"(?P<t>{_one_of(filler.THINGS)})",
        "u": f"(?P<u>{_one_of(filler.THINGS)})", "s": f"(?:{_one_of(filler.PLURALS)})",
        "v": f"(?P<v>{_one_of(filler.VERBS)})", "w": f"(?P<w>{_one_of(filler.VERBS)})",
        "g": f"(?:{_one_of(filler.MOVES)})", "l": f"(?:{_one_of(filler.PLACES)})",
        "z": f"(?:{_one_of(filler.TIMES)})", "a": f"(?:{_one_of(filler.QUALITIES)})",
        "b": f"(?:{_one_of(filler.QUALITIES)})", "o": f"(?:{_one_of(filler.MOODS)})",
    }  # fmt: skip
    return tuple(_compile(frame, slots) for frame in filler.FRAMES)


def _compile(template: str, slots: dict[str, str]) -> re.Pattern[str]:
    parts = re.split(r"\{(\w+)\}", template)
    return re.compile("".join(slots[part] if at % 2 else re.escape(part) for at, part in enumerate(parts)))


def _filler_matches(sentence: str) -> Iterator[re.Match[str]]:
    for pattern in _frames():
        if match := pattern.fullmatch(sentence):
            yield match


def _agrees(match: re.Match[str]) -> bool:
    """Pronouns agree with the name; two people are different people."""
    found = match.groupdict()
    pronoun, possessive = filler.PRONOUNS.get(found.get("n") or "", (None, None))
    if found.get("p") not in (None, pronoun) or found.get("q") not in (None, possessive):
        return False
    return found.get("m") is None or found["m"] != found["n"]
