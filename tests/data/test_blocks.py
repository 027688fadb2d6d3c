"""Blocks: nothing is lost or repeated uncounted, and arms that read the same corpus are paired."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factfade.data.blocks import BlockSource, block_id, cut, distinct, human_document
from factfade.errors import DataError
from factfade.protocols import Corpus
from factfade.records import Block

EOS = 999


@dataclass(frozen=True, kw_only=True)
class Lines:
    """A corpus that ends."""

    rows: tuple[tuple[str, str], ...]
    endless: bool = False
    identity: str = "lines"

    def check(self) -> dict[str, Any]:
        return {}

    def documents(self, *, split: str, seed: int) -> Iterator[tuple[str, str]]:
        yield from self.rows


@dataclass(frozen=True, kw_only=True)
class Stream:
    """A corpus without end: another stream for every seed."""

    domains: tuple[str, ...] = ("a", "b")
    endless: bool = True
    identity: str = "stream"

    def check(self) -> dict[str, Any]:
        return {}

    def documents(self, *, split: str, seed: int) -> Iterator[tuple[str, str]]:
        random = Random(f"{split} {seed}")
        while True:
            yield (
                " ".join(str(random.randrange(900)) for _ in range(random.randint(1, 30))),
                random.choice(self.domains),
            )


def encode(text: str) -> list[int]:
    return [int(word) for word in text.split()]


def numbered(count: int, *, length: int = 7, domains: Sequence[str] = ("",)) -> Lines:
    """Documents whose tokens are all different: 0 1 2 ... over the whole corpus."""
    rows = [(" ".join(str(length * i + k) for k in range(length)), domains[i % len(domains)]) for i in range(count)]
    return Lines(rows=tuple(rows))


def source(corpus: Corpus, **changes: Any) -> BlockSource:
    return BlockSource(corpus, encode, **{"block_tokens": 5, "eos": None, **changes})


@given(documents=st.lists(st.lists(st.integers(0, 50), max_size=12), max_size=12), size=st.integers(1, 9))
def test_cutting_keeps_every_token_in_order(documents: list[list[int]], size: int) -> None:
    found = list(cut([(tokens, "x") for tokens in documents], size))
    flat = list(chain.from_iterable(documents))
    kept = len(flat) // size * size
    assert list(chain.from_iterable(tokens for tokens, _, _ in found)) == flat[:kept]
    assert all(len(tokens) == size for tokens, _, _ in found)


def test_a_block_says_its_domain_and_whether_it_crosses() -> None:
    found = list(cut([([1, 2, 3, 4, 5, 6], "a"), ([7, 8, 9], "b")], 4))
    assert found == [((1, 2, 3, 4), "a", False), ((5, 6, 7, 8), "a", True)]
    assert list(cut([([1], "a"), ([2, 3], "b")], 3)) == [((1, 2, 3), "b", True)]


def test_documents_are_joined_by_the_end_token() -> None:
    corpus = Lines(rows=(("1 2 3", ""), ("", ""), ("4 5", "")))
    blocks = source(corpus, eos=EOS, block_tokens=7).blocks(count=1, generation=1, seed=0)
    assert blocks[0].tokens == (1, 2, 3, EOS, 4, 5, EOS)


def test_a_corpus_that_ends_is_walked_through_once_before_it_repeats() -> None:
    corpus = numbered(20)  # 140 tokens: 28 blocks of 5
    cuts = source(corpus)
    generations = [cuts.blocks(count=10, generation=g, seed=3) for g in (1, 2, 3)]
    first_28 = [block.id for block in chain.from_iterable(generations)][:28]
    assert len(set(first_28)) == 28
    assert sorted(chain.from_iterable(b.tokens for b in list(chain.from_iterable(generations))[:28])) == list(
        range(140)
    )
    # 30 were taken of 28.
    assert [taken["repeats"] for taken in cuts.record()["taken"]] == [0, 0, 2]
    assert [block.tokens for block in generations[2][8:]] == [block.tokens for block in generations[0][:2]]


def test_more_blocks_than_there_are_get_ids_of_their_own() -> None:
    cuts = source(numbered(2))  # 14 tokens: 2 blocks
    blocks = cuts.blocks(count=5, generation=1, seed=0)
    assert len({block.id for block in blocks}) == 5
    assert len({block.tokens for block in blocks}) == 2
    taken = cuts.record()["taken"][0]
    assert (taken["available"], taken["repeats"], taken["equal"]) == (2, 3, 3)


def test_the_order_depends_on_the_seed_and_nothing_else() -> None:
    corpus = numbered(40)
    take = {"count": 20, "generation": 2}
    one = source(corpus).blocks(seed=1, **take)
    again = source(corpus)
    again.blocks(count=20, generation=1, seed=1)
    assert again.blocks(seed=1, **take) == one
    assert source(corpus).blocks(seed=2, **take) != one


def test_an_endless_corpus_is_fresh_in_every_generation() -> None:
    cuts = source(Stream(), block_tokens=8, eos=EOS)
    one = cuts.blocks(count=50, generation=1, seed=0)
    two = cuts.blocks(count=50, generation=2, seed=0)
    assert not {b.tokens for b in one} & {b.tokens for b in two}
    assert source(Stream(), block_tokens=8, eos=EOS).blocks(count=50, generation=1, seed=0) == one
    assert cuts.blocks(count=50, generation=1, seed=1) != one
    # Fewer blocks are the first of more.
    assert cuts.blocks(count=20, generation=1, seed=0) == one[:20]


def test_the_split_is_another_text() -> None:
    train = source(Stream()).blocks(count=5, generation=0, seed=0)
    assert source(Stream(), split="held_out").blocks(count=5, generation=0, seed=0) != train


@pytest.mark.parametrize("corpus", [numbered(40, domains=("a", "b")), Stream()], ids=["file", "endless"])
def test_a_domain_keeps_to_its_documents(corpus: Corpus) -> None:
    blocks = source(corpus).blocks(count=10, generation=1, seed=0, domain="b")
    assert {block.domain for block in blocks} == {"b"}
    if not corpus.endless:
        of_b = {number for block in blocks for number in block.tokens}
        assert all(number // 7 % 2 == 1 for number in of_b)


@pytest.mark.parametrize("corpus", [numbered(4, domains=("a",)), Stream(domains=("a",))], ids=["file", "endless"])
def test_a_domain_that_is_not_there_names_those_that_are(corpus: Corpus) -> None:
    with pytest.raises(DataError, match="'b'") as caught:
        source(corpus).blocks(count=1, generation=1, seed=0, domain="b")
    assert "'a'" in caught.value.hint


def test_a_corpus_shorter_than_a_block_is_refused() -> None:
    with pytest.raises(DataError, match="shorter than one block of 8"):
        source(numbered(1), block_tokens=8).blocks(count=1, generation=1, seed=0)


def test_generation_0_of_a_file_takes_the_other_end() -> None:
    cuts = source(numbered(40))
    zero, one = (cuts.blocks(count=20, generation=g, seed=0) for g in (0, 1))
    assert not {b.id for b in zero} & {b.id for b in one}
    assert cuts.record()["taken"][0]["repeats"] == 0


def test_the_human_document_is_the_tail() -> None:
    block = Block(id=block_id((1, 2, 3, 4)), tokens=(1, 2, 3, 4), domain="d")
    document = human_document(block, 3, lambda tokens: " ".join(map(str, tokens)))
    assert (document.tokens, document.text, document.source) == ((2, 3, 4), "2 3 4", "human")
    assert (document.origin, document.domain) == (block.id, "d")
    with pytest.raises(ValueError, match="no human document"):
        human_document(block, 5)
    own = Block(id="x", tokens=(1, 2, 3), source="synthetic")
    with pytest.raises(ValueError, match="no human document"):
        human_document(own, 2)


def test_ids_are_hashes_of_the_tokens() -> None:
    assert block_id((1, 23)) != block_id((12, 3))
    twice = distinct([Block(id="a", tokens=(1,)), Block(id="a", tokens=(1,)), Block(id="b", tokens=(2,))])
    assert [block.id for block in twice] == ["a", "a-2", "b"]
