"""Prompts: human blocks as the history cuts them, and chains that let no human text back in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from factfade import registry
from factfade.errors import ConfigError, RunFailed
from factfade.mitigations.prompts import Chained, Domain, General, ShardChanged
from factfade.protocols import Prompts
from factfade.records import Block, Document


@dataclass
class Past:
    """A history with planted completions that notes what it was asked."""

    written: dict[int, list[Document]] = field(default_factory=dict)
    asked: list[dict[str, Any]] = field(default_factory=list)
    generation: int = 9

    def blocks(self, *, count: int, generation: int, seed: int, domain: str | None = None) -> Sequence[Block]:
        self.asked.append({"count": count, "generation": generation, "seed": seed, "domain": domain})
        return [Block(id=f"h{i}", tokens=(i, i + 1, i + 2)) for i in range(count)]

    def completions(self, *, generation: int) -> Sequence[Document]:
        return self.written[generation]

    def human(self, *, generation: int, replaced: bool = False) -> Sequence[Document]:
        raise AssertionError("prompts ask for no documents")

    def checkpoint(self, *, generation: int) -> Any:
        raise AssertionError("prompts ask for no weights")


def completion(name: str, *tokens: int, weight: float = 1.0) -> Document:
    return Document(id=name, text="", source="synthetic", tokens=tokens, domain="geo", weight=weight)


@pytest.mark.parametrize(("part", "domain"), [(General(), None), (Domain(domain="geo"), "geo")])
def test_human_blocks_come_from_the_history(part: Prompts, domain: str | None) -> None:
    past = Past()
    blocks = part.blocks(past, count=3, generation=4, seed=7)
    assert len(blocks) == 3
    assert past.asked == [{"count": 3, "generation": 4, "seed": 7, "domain": domain}]


def test_a_domain_has_a_name() -> None:
    with pytest.raises(ConfigError, match="domain is empty"):
        registry.build("prompts", {"kind": "domain", "domain": ""})


def test_a_chain_starts_with_human_text_and_goes_on_with_the_models_own() -> None:
    past = Past(written={1: [completion("a", 1, 2, 3, 4), completion("b", 5, 6, 7, 8)]})
    part = Chained(prompt_tokens=3)
    assert [block.source for block in part.blocks(past, count=2, generation=1, seed=0)] == ["human"] * 2
    asked = list(past.asked)
    later = part.blocks(past, count=2, generation=2, seed=0)
    assert [block.tokens for block in later] == [(2, 3, 4), (6, 7, 8)]
    assert {(block.source, block.domain) for block in later} == {("synthetic", "geo")}
    assert past.asked == asked, "no human block is cut after generation 1"


def test_a_chain_passes_over_what_cannot_be_continued() -> None:
    written = [
        completion("empty"),
        completion("dropped", 1, 2, weight=0.0),
        completion("short", 7),
        completion("a", 1, 2),
    ]
    blocks = Chained(prompt_tokens=2).blocks(Past(written={1: written}), count=4, generation=2, seed=0)
    assert [block.tokens for block in blocks] == [(7,), (1, 2), (7,), (1, 2)]
    assert len({block.id for block in blocks}) == 4


def test_a_chain_without_text_stops_the_run() -> None:
    with pytest.raises(RunFailed, match="generation 1 wrote no text"):
        Chained(prompt_tokens=2).blocks(Past(written={1: [completion("a")]}), count=1, generation=2, seed=0)


def test_a_chain_with_human_documents_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"synthetic_fraction = 1\.0"):
        registry.build("prompts", "chained", prompt_tokens=4, synthetic_fraction=0.5)
    assert registry.build("prompts", "chained", prompt_tokens=4, synthetic_fraction=1.0) == Chained(prompt_tokens=4)
    with pytest.raises(ValueError, match="prompt_tokens"):
        Chained().blocks(Past(), count=1, generation=1, seed=0)


@dataclass
class Cut:
    """A history whose blocks tell the seed, generation and place they were cut for."""

    def blocks(self, *, count: int, generation: int, seed: int, domain: str | None = None) -> Sequence[Block]:
        return [Block(id=f"{seed}-{generation}-{i}", tokens=(seed % 1000, generation, i)) for i in range(count)]


def test_one_shard_of_the_first_human_text_is_another_and_nothing_else() -> None:
    part = ShardChanged(shard=2, shards=5)
    own = Cut().blocks(count=20, generation=1, seed=7)
    found = part.blocks(Cut(), count=20, generation=1, seed=7)  # type: ignore[arg-type]
    changed = [place for place, (a, b) in enumerate(zip(own, found, strict=True)) if a.tokens != b.tokens]
    assert changed == [2, 7, 12, 17]
    assert [found[place].tokens[2] for place in changed] == changed
    assert len({block.id for block in found}) == 20
    later = part.blocks(Cut(), count=20, generation=2, seed=7)  # type: ignore[arg-type]
    assert [b.tokens for b in later] == [b.tokens for b in Cut().blocks(count=20, generation=2, seed=7)]


@pytest.mark.parametrize(("shard", "shards"), [(0, 1), (5, 5), (-1, 5)])
def test_a_shard_is_one_of_several(shard: int, shards: int) -> None:
    with pytest.raises(ConfigError, match="shard"):
        registry.build("prompts", {"kind": "shard_changed", "shard": shard, "shards": shards})
