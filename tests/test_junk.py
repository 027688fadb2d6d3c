"""Junk flags on planted texts, and that ordinary text has none."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factfade.junk import distinct_share, duplicates, entropy, junk_of

PROSE = (
    "The river Danube rises in the hills of the west and flows through ten countries before it reaches the sea. "
    "Many towns stand on its banks, and boats carry grain, stone and people between them in every season."
)
LIST = "\n".join(
    f"Question: What is the capital of {country}?\nAnswer: {city}"
    for country, city in [("Peru", "Lima"), ("Chile", "Santiago"), ("Ghana", "Accra"), ("Kenya", "Nairobi")]
)


@pytest.mark.parametrize("text", [PROSE, LIST, "No.", "Lima", "the cat and the dog and the cat and the dog"])
def test_ordinary_text_has_no_flag(text: str) -> None:
    assert not junk_of(text).any


@pytest.mark.parametrize("text", ["", "   ", "\n\n\t\n"])
def test_blank_text_is_empty(text: str) -> None:
    flags = junk_of(text)
    assert flags.empty
    assert not flags.near_constant
    assert not flags.repetitive


@pytest.mark.parametrize("text", ["the " * 16, "a b c d " * 10, "!" * 64, "=-" * 40, "no no yes " * 12])
def test_a_few_words_over_and_over_are_near_constant(text: str) -> None:
    assert junk_of(text).near_constant


def test_sentences_over_and_over_are_repetitive_and_not_near_constant() -> None:
    flags = junk_of("The boat sails down the wide river to the old town. " * 5)
    assert flags.repetitive
    assert not flags.near_constant
    assert not junk_of("The boat sails down the wide river to the old town. ").repetitive


def test_the_thresholds_are_where_they_are_said_to_be() -> None:
    # Four words in equal parts have ln 4 = 1.39 nats, five have ln 5 = 1.61: the bound of 1.5 lies between.
    four = "alpha beta gamma delta".split()
    assert junk_of(" ".join(four * 4)).near_constant
    assert not junk_of(" ".join([*four, "epsilon"] * 4)).near_constant
    # 15 words are too few to be called anything.
    assert not junk_of(" ".join((four * 4)[:15])).any


def test_only_later_copies_are_duplicates_and_blanks_are_none() -> None:
    assert duplicates(["a", "b", "a", "a ", "", "", "a"]) == [False, False, True, False, False, False, True]
    assert duplicates([]) == []


@given(st.lists(st.sampled_from("abcdef"), max_size=50))
def test_entropy_is_between_zero_and_the_log_of_the_kinds(values: list[str]) -> None:
    found = entropy(values)
    assert -1e-12 <= found <= math.log(max(len(set(values)), 1)) + 1e-9
    share = distinct_share(values)
    assert (share is None) == (len(values) < 4)
    assert share is None or 0 < share <= 1


def test_a_megabyte_is_read_in_a_moment() -> None:
    import time

    before = time.process_time()
    junk_of("ab " * 350_000)
    junk_of("x" * 1_000_000)
    assert time.process_time() - before < 3
