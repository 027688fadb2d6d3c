"""What gives a question away is found, shown, and nothing else: planted texts, and a slow n-gram search."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factfade.domain.contamination import Checker, right_answers
from factfade.domain.settings import DecontaminationSection
from factfade.domain.words import words
from factfade.records import Question

GURU = Question(
    text="Which Guru ordered the building of the Darbar Sahib, also known as the Divine Court?",
    choices=("Guru Nanak", "Guru Arjan"),
    answer=1,
)


def checker(*questions: Question, **changes: Any) -> Checker:
    return Checker(questions or (GURU,), DecontaminationSection(**changes))


def test_thirteen_words_of_a_question_are_found_whatever_the_case_and_punctuation() -> None:
    text = 'They asked : " which guru ordered the building of the DARBAR SAHIB ( also known as the court ) '
    match = checker().find(words(text))
    assert match is not None
    assert match.rule == "ngram"
    assert match.matched == "which guru ordered the building of the darbar sahib also known as the"
    assert match.item == GURU.item
    assert checker(ngram=14).find(words(text)) is None
    assert checker(ngram=0, window=0).find(words(text)) is None


def test_a_short_question_counts_with_all_its_words_down_to_the_bound() -> None:
    short = Question(text="What is the sign of the covenant for males?", accepted=("Rite",))
    text = words("so what is the sign of the covenant for males today")
    assert checker(short, window=0).find(text) is not None
    strict = checker(short, shortest=10, window=0)
    assert strict.find(text) is None
    assert strict.skipped["ngram_too_short"] == 1


PROSE = "The Harmandir , which is called Darbar Sahib or divine court , is a building that Guru Arjan ordered in 1581 ."


def test_the_answer_beside_its_question_is_found_and_shown() -> None:
    match = checker().find(words(PROSE))
    assert match is not None
    assert (match.rule, match.answer) == ("answer", "Guru Arjan")
    assert match.matched == "darbar sahib or divine court is a building that guru arjan ordered"


@pytest.mark.parametrize(
    ("text", "changes"),
    [
        (PROSE.replace("Arjan", "Nanak"), {}),  # another answer
        (PROSE, {"window": 3}),  # too far
        (PROSE, {"overlap": 1.0}),  # "known" is missing
        ("Guru Arjan ordered tea .", {}),  # too little of the question
        (PROSE.replace("Guru Arjan", "Arjan Guru"), {}),  # not verbatim
    ],
)
def test_what_gives_nothing_away_passes(text: str, changes: dict[str, Any]) -> None:
    assert checker(**changes).find(words(text)) is None


def test_answers_that_say_nothing_are_not_looked_for() -> None:
    assert right_answers(Question(text="q", choices=("of the", "48"), answer=0)) == []
    assert right_answers(Question(text="q", choices=("48", "x"), answer=0)) == []
    assert right_answers(Question(text="q", choices=("1581", "x"), answer=0)) == [("1581",)]
    assert checker(Question(text="How many minutes?", choices=("48", "60"), answer=0)).skipped["answer_too_common"] == 1


@settings(max_examples=200)
@given(
    st.lists(st.sampled_from(["k", "l", "m"]), max_size=14),
    st.lists(st.sampled_from(["k", "l", "m"]), min_size=1, max_size=8),
    st.integers(1, 6),
)
def test_ngrams_are_found_as_by_a_slow_search(passage: list[str], asked: list[str], size: int) -> None:
    question = Question(text=" ".join(asked), accepted=("q",))
    found = checker(question, ngram=size, shortest=1, window=0).find(passage)
    run = min(size, len(asked))
    grams = [asked[i : i + run] for i in range(len(asked) - run + 1)]
    slow = any(passage[i : i + run] in grams for i in range(len(passage) - run + 1))
    assert (found is not None) == slow
