"""Workflows: which text of which generation is trained on, and that the counts say so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from factfade import registry
from factfade.errors import ConfigError
from factfade.mitigations.counting import counts
from factfade.mitigations.pools import Accumulate, AccumulateSubsample, Replace
from factfade.records import Document

SIZE = 8


def human(generation: int, place: int) -> Document:
    return Document(id=f"h{generation}-{place}", text="", source="human", tokens=(1, 2), origin=f"{generation}-{place}")


def synthetic(generation: int, place: int) -> Document:
    return Document(
        id=f"s{generation}-{place}", text="", source="synthetic", tokens=(1, 2, 3), generation=generation - 1
    )


@dataclass(frozen=True)
class Past:
    """A run of `SIZE` blocks a generation, of which the first `synthesized` are continued by the model."""

    synthesized: int = SIZE
    generation: int = 9

    def human(self, *, generation: int, replaced: bool = False) -> Sequence[Document]:
        return [human(generation, i) for i in range(0 if replaced else self.synthesized, SIZE)]

    def completions(self, *, generation: int) -> Sequence[Document]:
        return [synthetic(generation, i) for i in range(self.synthesized)]

    def checkpoint(self, *, generation: int) -> Any:
        raise AssertionError("a workflow asks for no weights")

    def blocks(self, *, count: int, generation: int, seed: int, domain: str | None = None) -> Any:
        raise AssertionError("a workflow cuts no blocks")

    def now(self, generation: int) -> list[Document]:
        """What the loop hands to the first part."""
        return [*self.human(generation=generation), *self.completions(generation=generation)]


def ids(documents: Sequence[Document]) -> set[str]:
    return {document.id for document in documents}


def test_replace_passes_the_generation_on() -> None:
    past = Past(synthesized=6)
    dropped = Document(id="x", text="", source="synthetic", tokens=(1,), weight=0.0, dropped_by="filter")
    mixed = Replace().mix([*past.now(3), dropped], past, generation=3, seed=0)
    assert list(mixed.documents) == past.now(3)
    assert mixed.requested == {"documents": 9}
    assert mixed.achieved == {
        "documents": 8,
        "tokens": 22,
        "human_documents": 2,
        "human_tokens": 4,
        "synthetic_documents": 6,
        "synthetic_tokens": 18,
        "synthetic_share_of_documents": 0.75,
        "synthetic_share_of_tokens": 18 / 22,
        "documents_without_tokens": 0,
    }


@pytest.mark.parametrize("generation", [1, 2, 5])
def test_accumulate_keeps_the_original_human_data_and_all_synthetic_text(generation: int) -> None:
    past = Past()
    mixed = Accumulate().mix(past.now(generation), past, generation=generation, seed=0)
    expected = {f"h1-{i}" for i in range(SIZE)} | {f"s{g}-{i}" for g in range(1, generation + 1) for i in range(SIZE)}
    assert ids(mixed.documents) == expected
    assert len(mixed.documents) == len(expected), "no document comes twice"
    assert mixed.achieved["synthetic_share_of_documents"] == pytest.approx(generation / (generation + 1))


@pytest.mark.parametrize(("reading", "human_documents"), [("trained", 0), ("first", SIZE), ("all", 3 * SIZE)])
def test_what_human_text_accumulates_is_chosen(reading: str, human_documents: int) -> None:
    past = Past()
    part = registry.build("pool", {"kind": "accumulate", "human": reading})
    mixed = part.mix(past.now(3), past, generation=3, seed=0)
    assert mixed.achieved["human_documents"] == human_documents
    assert mixed.achieved["synthetic_documents"] == 3 * SIZE
    assert len(ids(mixed.documents)) == len(mixed.documents)


@pytest.mark.parametrize(
    ("reading", "human_documents"), [("trained", 3 * 2), ("first", SIZE + 2 * 2), ("all", 3 * SIZE)]
)
def test_human_documents_of_a_partial_mix_accumulate_too(reading: str, human_documents: int) -> None:
    past = Past(synthesized=6)
    mixed = registry.build("pool", {"kind": "accumulate", "human": reading}).mix(
        past.now(3), past, generation=3, seed=0
    )
    assert mixed.achieved["human_documents"] == human_documents
    assert len(ids(mixed.documents)) == len(mixed.documents)


def test_a_subsample_has_the_size_of_one_generation_and_no_document_twice() -> None:
    past = Past()
    draws = [AccumulateSubsample().mix(past.now(4), past, generation=4, seed=seed) for seed in range(200)]
    pool = Accumulate().mix(past.now(4), past, generation=4, seed=0)
    for mixed in draws:
        assert len(mixed.documents) == len(ids(mixed.documents)) == SIZE
        assert ids(mixed.documents) <= ids(pool.documents)
    # Every document of the pool is equally likely: one human in five, as in the pool.
    share = sum(mixed.achieved["human_documents"] for mixed in draws) / (200 * SIZE)
    assert share == pytest.approx(0.2, abs=0.03)
    assert draws[0].requested["synthetic_share_of_documents"] == pytest.approx(0.8)
    assert AccumulateSubsample().mix(past.now(4), past, generation=4, seed=0) == draws[0]
    assert draws[0] != draws[1]


def test_an_unknown_reading_is_refused() -> None:
    for kind in ("accumulate", "accumulate_subsample"):
        with pytest.raises(ConfigError, match="first, trained, all"):
            registry.build("pool", {"kind": kind, "human": "some"})


def test_counts_of_nothing_and_of_text_without_ids() -> None:
    assert counts([])["synthetic_share_of_tokens"] == 0.0
    assert counts([Document(id="a", text="a b", source="human")])["documents_without_tokens"] == 1
