"""BM25 and relevance weights against slow versions written from the formulas, and hand calculations."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factfade.domain import bm25

TEXTS = st.lists(st.lists(st.sampled_from("abcde"), max_size=8), min_size=1, max_size=8)
QUERY = st.dictionaries(st.sampled_from("abcdez"), st.floats(0.1, 3), max_size=4)


def slow(texts: Sequence[Sequence[str]], query: Mapping[str, float], k1: float, b: float) -> list[float]:
    """Robertson and Zaragoza 2009, equation 3.15, document by document, with Lucene's weight."""
    mean = sum(map(len, texts)) / len(texts)
    found: list[float] = []
    for text in texts:
        score = 0.0
        for term, weight in query.items():
            n = sum(term in other for other in texts)
            tf = text.count(term)
            if tf:
                idf = math.log(1 + (len(texts) - n + 0.5) / (n + 0.5))
                score += weight * idf * tf * (k1 + 1) / (tf + k1 * ((1 - b) + b * len(text) / mean))
        found.append(score)
    return found


@settings(max_examples=150)
@given(TEXTS, QUERY, st.floats(0, 3), st.floats(0, 1))
def test_scores_equal_the_formula(texts: list[list[str]], query: dict[str, float], k1: float, b: float) -> None:
    found = bm25.Index(texts).scores(query, k1=k1, b=b)
    assert np.allclose(found, slow(texts, query, k1, b), rtol=1e-12, atol=1e-12)


def test_one_score_by_hand() -> None:
    index = bm25.Index([["a", "a", "b"], ["b"], ["c", "c"]])
    # length 3, mean 2, tf 2, n = 1 of 3
    expected = math.log(1 + 2.5 / 1.5) * 2 * 2.2 / (2 + 1.2 * (0.25 + 0.75 * 1.5))
    assert index.scores({"a": 1.0}, k1=1.2, b=0.75)[0] == pytest.approx(expected)


def test_limits_of_the_constants() -> None:
    index = bm25.Index([["a"] * 9 + ["b"], ["a"] + ["b"] * 30, ["b"]])
    presence = index.scores({"a": 1.0}, k1=0.0, b=0.5)
    assert presence[0] == presence[1] > presence[2] == 0, "k1 = 0: only presence counts"
    assert index.scores({"a": 1.0}, k1=1.2, b=1.0)[1] < index.scores({"a": 1.0}, k1=1.2, b=0.0)[1]


def test_given_weights_replace_the_inverse_frequency() -> None:
    index = bm25.Index([["a", "b"], ["b"]])
    plain = index.scores({"a": 1.0, "b": 1.0}, k1=1.2, b=0.0, weights={"a": 2.0})
    assert plain[1] == 0.0, "a term without a weight weighs nothing"
    assert plain[0] == pytest.approx(2.0)


def test_the_relevance_weight_is_the_log_odds_ratio() -> None:
    # r = 3 of 4 relevant, n = 10 of 100 texts
    table = ((3 + 0.5) / (1 + 0.5)) / ((7 + 0.5) / (89 + 0.5))
    assert bm25.relevance_weight(3, 4, 10, 100) == pytest.approx(math.log(table))
    assert bm25.relevance_weight(0, 0, 10, 100) == pytest.approx(math.log(90.5 / 10.5)), "without relevant texts: idf"


def test_saturation_goes_from_one_to_its_ceiling() -> None:
    assert bm25.saturated(1, 8) == 1.0
    assert bm25.saturated(10**9, 8) == pytest.approx(9)
    assert bm25.saturated(5, 0) == 1.0


def test_learnt_terms_count_the_relevant_texts() -> None:
    texts = [["a", "a", "b"], ["a"], ["c"], ["b", "c"]]
    learnt = bm25.Index(texts).learnt([0, 1], texts)
    assert {term: r for term, (r, _) in learnt.items()} == {"a": 2, "b": 1}
    assert learnt["a"][1] == pytest.approx(bm25.relevance_weight(2, 2, 2, 4))
    assert learnt["a"][1] > learnt["b"][1]
