"""near_duplicates: exactly what all pairs of Jaccard similarities say, and the planted copies."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factfade import registry
from factfade.errors import ConfigError, RunFailed
from factfade.mitigations.duplicates import NearDuplicates, jaccard, near_kept
from factfade.records import Document
from tests.mitigations.pasts import Past


def document(name: str, text: str, source: Any = "synthetic") -> Document:
    return Document(id=name, text=text, source=source, tokens=tuple(ord(c) for c in text))


def ids(part: NearDuplicates, documents: list[Document]) -> list[str]:
    return [d.id for d in part.mix(documents, Past(), generation=1, seed=0).documents]


SETS = st.lists(st.frozensets(st.sampled_from("abcdefghij"), min_size=1, max_size=8), max_size=25)


@given(SETS, st.sampled_from([0.2, 1 / 3, 0.5, 0.6, 0.75, 0.8, 1.0]), st.randoms(use_true_random=False))
def test_the_filter_finds_what_all_pairs_find(
    sets: list[frozenset[str]], threshold: float, draw: random.Random
) -> None:
    order = list(range(len(sets)))
    draw.shuffle(order)
    may_go = [draw.random() < 0.7 for _ in sets]
    kept: list[int] = []
    expected: list[int | None] = [None] * len(sets)
    for place in order:
        near = [k for k in kept if len(sets[place] & sets[k]) / len(sets[place] | sets[k]) >= threshold]
        if near and may_go[place]:
            expected[place] = near[0]
        else:
            kept.append(place)
    assert near_kept(sets, order, may_go, threshold) == expected


def test_planted_copies_go_and_nothing_else() -> None:
    draw = random.Random(0)
    originals = [document(f"o{i}", " ".join(f"w{draw.randrange(3000)}" for _ in range(60))) for i in range(200)]
    copies = []
    for i in range(0, 200, 5):
        words = originals[i].text.split()
        words[30] = "changed"  # 3 of 58 runs of three words are others: Jaccard 55 / 61
        copies.append(document(f"c{i}", " ".join(words)))
    pool = [*originals, *copies]
    mixed = NearDuplicates().mix(pool, Past(), generation=1, seed=0)
    assert [d.id for d in mixed.documents] == [d.id for d in originals]
    assert mixed.dropped == {"synthetic text near synthetic text": 40}
    assert mixed.achieved["near_duplicates"] == 40
    assert mixed.achieved["of_equal_n_grams"] == 0
    assert NearDuplicates(threshold=0.91).mix(pool, Past(), generation=1, seed=0).documents == tuple(pool)


def test_different_text_is_passed_on_unchanged() -> None:
    past = Past()
    documents = [replace(d, text=f"{d.id} is its own text") for d in past.now(1)]
    mixed = NearDuplicates().mix(documents, past, generation=1, seed=0)
    assert list(mixed.documents) == documents
    assert not mixed.dropped


def test_which_one_stays() -> None:
    first = document("a", "the river is long and the city is old")
    human = document("h", "The river is long, and the city is old.", "human")
    longer = document("b", "the river is long and the city is old too")
    pool = [first, human, longer]
    assert ids(NearDuplicates(threshold=0.6), pool) == ["h"]
    assert ids(NearDuplicates(threshold=0.6, keep="first"), pool) == ["a", "h"], "human text is not dropped"
    assert ids(NearDuplicates(threshold=0.6, keep="first", drop="all"), pool) == ["a"]
    assert ids(NearDuplicates(threshold=0.6, keep="longest", drop="all"), pool) == ["b"]
    reasons = NearDuplicates(threshold=0.6).mix(pool, Past(), generation=1, seed=0).dropped
    assert reasons == {"synthetic text near human text": 2}


def test_a_chain_of_likeness_does_not_drag_its_ends() -> None:
    """c is near b and b is near a; b goes, and c stays since a, which is kept, is far from it."""
    a, b, c = (document(n, t) for n, t in (("a", "1 2 3 4 5 6"), ("b", "3 4 5 6 7 8"), ("c", "5 6 7 8 9 0")))
    part = NearDuplicates(threshold=0.5, ngram=1)
    assert jaccard(frozenset("123456"), frozenset("567890")) < 0.5 <= jaccard(frozenset("123456"), frozenset("345678"))
    assert ids(part, [a, b, c]) == ["a", "c"]


def test_short_and_empty_texts() -> None:
    pool = [
        document("a", "one two"),
        document("b", "one two"),
        document("c", "one"),
        document("d", ""),
        document("e", ""),
    ]
    mixed = NearDuplicates(ngram=5).mix(pool, Past(), generation=1, seed=0)
    assert [d.id for d in mixed.documents] == ["a", "c", "d"]
    assert mixed.achieved["of_equal_n_grams"] == 2


def test_tokens_in_place_of_words() -> None:
    one = Document(id="a", text="x", source="synthetic", tokens=(1, 2, 3, 4))
    other = Document(id="b", text="x", source="synthetic", tokens=(5, 6, 7, 8))
    assert ids(NearDuplicates(units="tokens"), [one, other]) == ["a", "b"]
    assert ids(NearDuplicates(units="words"), [one, other]) == ["a"]
    with pytest.raises(RunFailed, match="no token ids"):
        ids(NearDuplicates(units="tokens"), [replace(one, tokens=None)])


@pytest.mark.parametrize(
    "spec", [{"threshold": 0.0}, {"ngram": 0}, {"keep": "last"}, {"drop": "human"}, {"units": "x"}]
)
def test_settings_are_checked(spec: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(spec))):
        registry.build("pool", {"kind": "near_duplicates", **spec})
