"""Packing: every token once an epoch, orders from the seed alone, counts that add up."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factfade.errors import RunFailed
from factfade.records import Document
from factfade.training import packing

EOS = 99


def documents(*sizes: int, weight: float = 1.0) -> list[Document]:
    """Documents whose tokens are all different."""
    found, at = [], 100
    for place, size in enumerate(sizes):
        source = "human" if place % 2 else "synthetic"
        found.append(Document(id=str(place), text="", source=source, tokens=tuple(range(at, at + size)), weight=weight))
        at += size
    return found


def encode(text: str) -> list[int]:
    return [ord(character) for character in text]


@given(sizes=st.lists(st.integers(0, 9), min_size=1, max_size=20), width=st.integers(2, 8), seed=st.integers(0, 5))
def test_chunks_hold_every_token_once_and_documents_stay_whole(sizes: list[int], width: int, seed: int) -> None:
    given_documents = documents(*sizes)
    total = sum(sizes)
    if total < 2:
        with pytest.raises(RunFailed, match="no token that could be predicted"):
            packing.pack(given_documents, chunk_tokens=width, seed=seed, encode=encode)
        return
    packed = packing.pack(given_documents, chunk_tokens=width, seed=seed, encode=encode)
    kept = total - packed.counts["left_out_tokens"]
    assert len(set(packed.tokens)) == len(packed.tokens) == kept == packed.counts["tokens"]
    spans = [packed.span(chunk) for chunk in range(len(packed))]
    assert [spans[0][0], spans[-1][1]] == [0, kept]
    assert all(left[1] == right[0] for left, right in pairwise(spans))
    assert {end - begin for begin, end in spans[:-1]} <= {width}
    assert 2 <= spans[-1][1] - spans[-1][0] == packed.counts["last_chunk_tokens"]
    # A document's tokens follow each other: only ends of documents are followed by something else.
    follows = dict(pairwise(packed.tokens))
    inside = [(a, b) for document in given_documents for a, b in pairwise(document.tokens or ())]
    broken = [pair for pair in inside if follows.get(pair[0]) != pair[1]]
    assert len(broken) <= packed.counts["left_out_tokens"]
    assert packed.counts["human_tokens"] + packed.counts["synthetic_tokens"] == total


def test_the_order_of_documents_depends_on_the_seed_alone() -> None:
    given_documents = documents(*[3] * 30)
    packs = [packing.pack(given_documents, chunk_tokens=8, seed=seed, encode=encode).tokens for seed in (1, 1, 2)]
    assert packs[0] == packs[1] != packs[2]
    assert list(packs[0]) != sorted(packs[0])


def test_end_tokens_stand_between_whole_texts_and_are_not_doubled() -> None:
    texts = [
        Document(id="a", text="", source="synthetic", tokens=(1, 2, EOS)),
        Document(id="b", text="xy", source="human"),
    ]
    packed = packing.pack(texts, chunk_tokens=50, seed=0, encode=encode, separator="eos", eos=EOS)
    assert sorted(packed.tokens) == sorted([1, 2, EOS, ord("x"), ord("y"), EOS])
    assert (packed.counts["separators"], packed.counts["encoded_here"]) == (1, 1)
    plain = packing.pack(texts, chunk_tokens=50, seed=0, encode=encode)
    assert plain.tokens.count(EOS) == 1
    with pytest.raises(ValueError, match="end token"):
        packing.pack(texts, chunk_tokens=50, seed=0, encode=encode, separator="eos", eos=None)


def test_weights_are_how_often_a_document_is_taken() -> None:
    whole = [*documents(1, weight=0.0), *documents(1, weight=2.0), *documents(1, weight=1.0)]
    assert [document.weight for document in packing.drawn(whole, seed=0)] == [2.0, 2.0, 1.0]
    many = [Document(id=str(i), text="", source="human", tokens=(i,), weight=1.25) for i in range(4000)]
    taken = Counter(document.id for document in packing.drawn(many, seed=3))
    assert set(taken.values()) == {1, 2}
    assert sum(taken.values()) / 4000 == pytest.approx(1.25, abs=0.03)
    assert packing.drawn(many, seed=3) == packing.drawn(many, seed=3)
    assert packing.drawn(many, seed=3) != packing.drawn(many, seed=4)


def test_dropped_documents_are_counted_and_not_trained_on() -> None:
    packed = packing.pack([*documents(4, 4), *documents(3, weight=0.0)], chunk_tokens=4, seed=0, encode=encode)
    assert (packed.counts["documents"], packed.counts["dropped_documents"], packed.counts["tokens"]) == (3, 1, 8)


@given(chunks=st.integers(1, 60), tenths=st.integers(1, 40), seed=st.integers(0, 3))
def test_epochs_are_permutations_and_the_last_is_cut(chunks: int, tenths: int, seed: int) -> None:
    visits = packing.order(chunks, epochs=tenths / 10, seed=seed)
    assert len(visits) == -(-tenths * chunks // 10)
    for begin in range(0, len(visits) - chunks + 1, chunks):
        assert sorted(visits[begin : begin + chunks]) == list(range(chunks))
    rest = visits[len(visits) // chunks * chunks :]
    assert len(set(rest)) == len(rest)


def test_epochs_differ_and_the_order_depends_on_the_seed() -> None:
    visits = packing.order(50, epochs=2, seed=0)
    assert visits[:50] != visits[50:]
    assert packing.order(50, epochs=2, seed=0) == visits
    assert packing.order(50, epochs=2, seed=1) != visits


def test_what_was_achieved_counts_targets() -> None:
    packed = packing.pack(documents(10), chunk_tokens=4, seed=0, encode=encode)
    assert packing.achieved(packed, range(3)) == {"epochs": 1.0, "chunks": 3, "tokens": 10, "targets": 7}


def test_visits_stand_in_for_epochs() -> None:
    """A budget of chunks walks through the pool as often as it takes, every epoch whole but the last."""
    found = packing.order(10, epochs=1.0, seed=3, visits=25)
    assert len(found) == 25
    assert sorted(found[:10]) == sorted(found[10:20]) == list(range(10))
    assert len(set(found[20:])) == 5
    assert packing.order(10, epochs=2.5, seed=3) == found
