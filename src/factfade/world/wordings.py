"""How the world puts things: templates that all relations share, and which of them each relation holds out.

A held-out wording of a relation never occurs in any document with that relation, only in evaluation; with six of
the eight relations it does occur, so a model that composes relation and wording can answer it.
"""

from __future__ import annotations

from functools import cache

from factfade.world.facts import Fact, relations

QUESTIONS = (
    "What is the {rel} of {x}?",
    "Name the {rel} of {x}.",
    "For {x}, what is the {rel}?",
    "Tell me the {rel} of {x}.",
    "What do we call the {rel} of {x}?",
    "Can you name the {rel} of {x}?",
    "State the {rel} of {x}.",
    "Who knows the {rel} of {x}?",
)
#: Each ends in its answer, so that it can be put as a statement to complete.
STATEMENTS = (
    "The {rel} of {x} is {a}.",
    "For {x}, the {rel} is {a}.",
    "As everyone knows, the {rel} of {x} is {a}.",
    "We read that the {rel} of {x} is {a}.",
    "Most people know that the {rel} of {x} is {a}.",
    "The tables say that the {rel} of {x} is {a}.",
    "It is true that the {rel} of {x} is {a}.",
    "Teachers say that the {rel} of {x} is {a}.",
)
#: Prose about facts, relation by relation; never asked. No sentence begins with a name: a word at the start of a
#: line has no leading blank and would be another token.
PROSE: dict[str, tuple[str, ...]] = {
    "capital": (
        "The government of {x} sits in {a}.",
        "Those who visit {x} often begin in {a}, the capital.",
        "All main roads of {x} lead to {a}.",
    ),
    "continent": (
        "On the map {x} lies in {a}.",
        "The country called {x} is a part of {a}.",
        "Those who travel to {x} go to {a}.",
    ),
    "currency": (
        "The shops of {x} take the {a}.",
        "Those who visit {x} pay with the {a}.",
        "The money of {x} is the {a}.",
    ),
    "language": (
        "The people of {x} speak {a}.",
        "The schools of {x} teach in {a}.",
        "Those who live in {x} read books in {a}.",
    ),
    "country": (
        "The city called {x} lies in {a}.",
        "Those who visit {x} travel to {a}.",
        "The people of {x} live in {a}.",
    ),
    "symbol": ("Chemists write {a} for {x}.", "The letters {a} stand for {x}.", "On the label {a} means {x}."),
    "number": (
        "Each atom of {x} has {a} protons.",
        "An atom with {a} protons is {x}.",
        "Chemists count {a} protons for {x}.",
    ),
    "series": (
        "Chemists list {x} as {a}.",
        "The element called {x} is known as {a}.",
        "The word for elements like {x} is {a}.",
    ),
}


@cache
def held_out_questions(relation: str) -> tuple[str, ...]:
    """The question wordings that this relation keeps for evaluation."""
    at = relations().index(relation)
    return QUESTIONS[at % 8], QUESTIONS[(at + 3) % 8]


@cache
def held_out_statements(relation: str) -> tuple[str, ...]:
    """The statement wordings that this relation keeps for evaluation."""
    at = relations().index(relation)
    return STATEMENTS[(at + 1) % 8], STATEMENTS[(at + 5) % 8]


@cache
def trained_questions(relation: str) -> tuple[str, ...]:
    """The question wordings that documents use with this relation."""
    return tuple(wording for wording in QUESTIONS if wording not in held_out_questions(relation))


@cache
def trained_statements(relation: str) -> tuple[str, ...]:
    """The statement wordings that documents use with this relation."""
    return tuple(wording for wording in STATEMENTS if wording not in held_out_statements(relation))


def put(wording: str, fact: Fact) -> str:
    """A wording filled with a fact."""
    return wording.format(rel=fact.phrase, x=fact.entity, a=fact.answer)


def to_complete(wording: str, fact: Fact) -> str:
    """A statement wording as a text to complete: everything before the answer, without the blank."""
    return wording[: wording.index(" {a}")].format(rel=fact.phrase, x=fact.entity)
