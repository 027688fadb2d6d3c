"""What the formats without lettered options share: when a question can stand so, its answer set, how it is read."""

from __future__ import annotations

import re
from typing import NamedTuple

from factfade.data.answers import early, normalise, read_name, unread, verdict
from factfade.records import Asked, Parsed, Question

MAX_QUESTION = 20_000
_NEEDS_OPTIONS = re.compile(
    r"\b(?:which|what|who|all|none|any|one|each|two|both|some) (?:\w+ ){0,2}of (?:the )?"
    r"(?:following|above|below|these|those|options|choices)\b"
    r"|\bthe following\b|\bfollowing (?:is|are|statements?)\b|\bstatement 1\b|\bexcept:?\s*$|_{2,}",
    re.IGNORECASE,
)


class AnswerSet(NamedTuple):
    """The texts that may answer a question, the accepted ones, and the index of the right one (None outside them)."""

    candidates: tuple[str, ...]
    accepted: tuple[str, ...]
    gold: int | None


def needs_options(question: Question) -> bool:
    """Whether the question speaks of its options ("Which of the following ...") and cannot stand without them."""
    return _NEEDS_OPTIONS.search(question.text[:MAX_QUESTION]) is not None


def answer_set(question: Question) -> AnswerSet:
    """The relation's own answers where they are known, else the question's options."""
    candidates = question.candidates or question.choices
    accepted = question.accepted or (() if question.gold_text is None else (question.gold_text,))
    right = {normalise(a) for a in accepted}
    gold = next((i for i, c in enumerate(candidates) if normalise(c) in right), None)
    return AnswerSet(tuple(candidates), accepted, gold)


def not_asked(question: Question, name: str, wording: str, why: str) -> Asked:
    """The question as one that the format `name` does not put, with the reason."""
    return Asked(
        item=question.item,
        format=name,
        wording=wording,
        prompt="",
        targets=(),
        options=question.choices,
        permutation=tuple(range(len(question.choices))),
        gold=question.answer,
        accepted=question.accepted,
        domain=question.domain,
        entity=question.entity,
        template=question.template,
        not_asked=why,
    )


def parse_open(answer: str, asked: Asked, *, ended: bool) -> Parsed:
    """An accepted answer; another of the candidates is wrong; anything else is unparseable where the set is closed,
    and wrong where it is open."""
    names = (*asked.accepted, *asked.options)
    if found := early(answer, names):
        return found
    read = read_name(answer, names, asked.prompt)
    if read.indices:
        right = {normalise(a) for a in asked.accepted}
        return verdict(any(i < len(asked.accepted) or normalise(names[i]) in right for i in read.indices), "answer set")
    unknown = unread(answer, ended, read.reason)
    if asked.closed or read.reason or unknown.outcome == "truncated" or not normalise(answer):
        return unknown
    return Parsed(outcome="wrong", reason="another answer")
