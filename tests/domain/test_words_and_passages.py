"""Words, terms and passages: what is cut, what is left out, and that everything is counted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factfade import registry
from factfade.domain import passages
from factfade.domain.words import stem, terms, words
from factfade.errors import DataError


def test_words_are_lower_case_runs_without_the_unknown_one() -> None:
    assert words("The Shari'ah , <unk> 19 @-@ Öl_x") == ["the", "shari", "ah", "19", "öl", "x"]


@pytest.mark.parametrize(
    ("word", "stemmed"),
    [
        ("religions", "religion"),
        ("cities", "city"),
        ("churches", "churche"),
        ("heroes", "heroes"),
        ("moses", "mose"),
        ("jesus", "jesus"),
        ("gas", "gas"),
        ("class", "class"),
    ],
)
def test_plurals_lose_their_ending_by_the_three_rules(word: str, stemmed: str) -> None:
    assert stem(word) == stemmed


def test_terms_have_no_stop_words() -> None:
    assert terms("Which of the following are the religions of Asia ?") == ["religion", "asia"]


@dataclass(frozen=True)
class Given:
    texts: tuple[tuple[str, str], ...]
    endless: bool = False
    identity: str = "given"

    def check(self) -> Mapping[str, Any]:
        return {}

    def documents(self, *, split: str, seed: int) -> Iterator[tuple[str, str]]:
        yield from self.texts


def read(*texts: str, **changes: Any) -> tuple[list[passages.Passage], Mapping[str, Any]]:
    settings: dict[str, Any] = {"shortest": 2, "longest": 8, "documents": None, "headings": True, "seed": 0}
    return passages.read(Given(tuple((text, "d") for text in texts)), **{**settings, **changes})


ARTICLE = "= Islam =\nIt is a religion .\n= = Law = =\n= = = Food = = =\nshort\nSome food is halal .\n= 5 > 3\n"


def test_paragraphs_of_an_article_stand_under_their_headings() -> None:
    found, counts = read(ARTICLE)
    assert [(p.article, p.heading, p.paragraph) for p in found] == [
        ("Islam", "", 1), ("Islam", "Food", 3), ("Islam", "Food", 4),
    ]  # fmt: skip
    assert found[0].text == "= Islam =\nIt is a religion ."
    assert found[1].text == "= Islam =\n= = Food = =\nSome food is halal ."
    assert found[2].text.endswith("\n= 5 > 3"), "no heading: it does not end with one"
    assert counts == {"documents": 1, "short": 1, "cut": 0, "repeated": 0, "passages": 3}
    bare, _ = read(ARTICLE, headings=False)
    assert bare[1].text == "Some food is halal ."
    assert sorted(bare[1].terms) == sorted(found[1].terms), "the search reads the headings either way"


def test_a_document_without_headings_is_one_passage_unless_it_is_long() -> None:
    short = "a b\n\nc d"
    assert [p.text for p in read(short)[0]] == [short]
    long = "a b c d e .\n \nf g h i j k ."
    assert [p.text for p in read(long)[0]] == ["a b c d e .", "f g h i j k ."]


def test_long_paragraphs_are_cut_at_sentences_and_repeated_ones_counted() -> None:
    found, counts = read("a b c d e . f g h i", "a b c d e . f g h i")
    assert [p.text for p in found] == ["a b c d e .", "f g h i"]
    assert (counts["cut"], counts["repeated"]) == (2, 2)


@given(st.lists(st.sampled_from(["a", "b.", "c!", "d"]), min_size=1, max_size=60), st.integers(2, 9))
def test_cut_loses_no_word_and_keeps_the_bound(split: list[str], longest: int) -> None:
    pieces = list(passages.cut(" ".join(split), longest))
    assert " ".join(pieces).split() == split
    assert max(len(piece.split()) for piece in pieces) <= longest


@pytest.mark.timeout(20)
def test_a_line_of_equal_signs_costs_no_more_than_its_length() -> None:
    text = "= " * 500_000 + "x" + " =" * 499_999
    assert list(passages.paragraphs(text, 10**7)) == [("", "", text)]


def test_an_endless_corpus_and_an_empty_one_are_refused() -> None:
    with pytest.raises(DataError, match="no end"):
        passages.read(Given((), endless=True), shortest=2, longest=8, documents=None, headings=True, seed=0)
    with pytest.raises(DataError, match="no paragraph"):
        read("one")


def test_the_text_corpus_gives_articles(tmp_path: Path) -> None:
    file = tmp_path / "t.txt"
    file.write_text(" \n = One = \n \n a b c \n \n = = S = = \n \n d e f \n \n = Two = \n \n g h i \n")
    corpus = registry.build("corpus", {"kind": "text", "path": str(file), "every": 0})
    found, _ = passages.read(corpus, shortest=2, longest=99, documents=None, headings=False, seed=0)
    assert [(p.article, p.heading, p.text, p.document) for p in found] == [
        ("One", "", "a b c", 1), ("One", "S", "d e f", 1), ("Two", "", "g h i", 2),
    ]  # fmt: skip
