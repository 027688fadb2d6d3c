"""Anchored prompts: facts that fit come first, nothing is longer than it may be, and no anchor is trained on."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from random import Random

import pytest

from factfade import registry
from factfade.data.blocks import cut
from factfade.errors import ConfigError
from factfade.history import TRAINING_SET_FILE
from factfade.mitigations.anchored import FactAnchored
from factfade.models.hf import HfModel, OpenModel
from factfade.records import Block
from factfade.world.documents import WorldCorpus
from factfade.world.facts import load_facts
from tests.mitigations.past import one_generation, record


@dataclass(frozen=True)
class Now:
    """A synthesis step with a real model: blocks of the world's text."""

    model: OpenModel
    spare: int = 0

    def blocks(self, *, count: int, generation: int, seed: int, domain: str | None = None) -> Sequence[Block]:
        texts = ((self.model.encode(t), d) for t, d in WorldCorpus().documents(split="train", seed=generation))
        wanted = (one for one in texts if domain in (None, one[1]))
        found = islice(cut(wanted, 96), count)
        return [Block(id=f"b{k}", tokens=ids, domain=of) for k, (ids, of, _) in enumerate(found)]

    def encode(self, text: str) -> list[int]:
        return self.model.encode(text)

    def decode(self, tokens: Sequence[int]) -> str:
        return self.model.decode(tokens)

    def room(self, tokens: Sequence[int]) -> int:
        return self.model.context - len(self.model.wrap(tokens)) - self.spare


@pytest.fixture(scope="module")
def now(world_model: Path) -> Iterator[Now]:
    with HfModel(path=str(world_model)).open() as model:
        yield Now(model)


PART = FactAnchored(facts="world", prompt_tokens=32, new_tokens=64)


def names(part: FactAnchored, text: str, domain: str = "", seed: int = 0) -> list[str]:
    return [fact.fact for fact in part.retrieved(text, domain, Random(seed))]


def test_facts_of_an_entity_in_the_text_come_first() -> None:
    part = replace(PART, count=2)
    assert names(part, "Question: What is the capital of Peru?")[0] == "capital/Peru"
    assert names(part, "Question: State the currency of Peru.")[0] == "currency/Peru"
    assert {name.split("/")[1] for name in names(part, "PERU and gold.")} <= {"Peru", "gold"}
    assert names(replace(part, count=1), "The people of Peru, then those of Kenya")[0].endswith("Kenya"), (
        "the later one"
    )
    assert names(part, "A peruke and golden rings.") == [], "whole words only"
    assert names(replace(part, count=9), "South Korea")[0].endswith("/South Korea")


def test_the_domain_fills_up_by_seed_and_only_where_it_is_wanted() -> None:
    assert names(PART, "The lamp was old.", "everyday") == []
    drawn = names(PART, "The lamp was old.", "chemistry")
    domains = {f"{f.relation}/{f.entity}": f.domain for f in load_facts()}
    assert len(drawn) == len(set(drawn)) == 4
    assert {domains[name] for name in drawn} == {"chemistry"}
    assert drawn == names(PART, "The lamp was old.", "chemistry") != names(PART, "The lamp was old.", "chemistry", 1)
    assert names(replace(PART, fill=False), "The lamp was old.", "chemistry") == []
    some = names(PART, "The capital of Peru", "chemistry")
    assert some[0] == "capital/Peru"
    assert len(some) == len(set(some)) == 4


def test_blocks_are_the_human_ones_and_the_anchor_keeps_its_bound(now: Now) -> None:
    texts = {s.fact: s.text for s in PART.table.statements()}
    for part in (PART, replace(PART, tokens=10), replace(PART, tokens=5, count=1), replace(PART, tokens=500, count=30)):
        found = part.blocks(now, count=40, generation=2, seed=3)
        plain = now.blocks(count=40, generation=2, seed=3)
        assert [replace(block, anchor=(), facts=()) for block in found] == list(plain)
        for block in found:
            assert len(block.anchor) <= part.tokens
            assert len(now.model.wrap(block.anchor + block.tokens[:32])) + 64 <= now.model.context
            assert len(block.facts) <= part.count
            said = " ".join(texts[name] for name in block.facts)
            assert now.decode(block.anchor) == (f"{said}\n" if said else "")
            assert bool(block.anchor) == bool(block.facts)
        assert found == part.blocks(now, count=40, generation=2, seed=3)
    assert all(not block.anchor for block in replace(PART, tokens=5).blocks(now, count=10, generation=1, seed=0))
    assert any(block.anchor for block in PART.blocks(now, count=10, generation=1, seed=0))
    geography = replace(PART, domain="geography").blocks(now, count=6, generation=1, seed=0)
    assert {block.domain for block in geography} == {"geography"}


def test_no_room_no_anchor(now: Now) -> None:
    tight = Now(now.model, spare=now.model.context - 33 - 64 - 9)
    for block in PART.blocks(tight, count=20, generation=1, seed=0):
        assert len(block.anchor) <= 9
    full = Now(now.model, spare=now.model.context)
    assert all(block.anchor == () for block in PART.blocks(full, count=20, generation=1, seed=0))


def test_settings_are_refused_with_what_to_type() -> None:
    for settings, says in (
        ({"count": 0}, "count is at least 1"),
        ({"tokens": 0}, "tokens is at least 1"),
        ({"domain": ""}, "domain is empty"),
        ({"facts": "wold"}, "no kind 'wold'"),
    ):
        with pytest.raises(ConfigError, match=says):
            registry.build("prompts", {"kind": "fact_anchored", "facts": "world", **settings})
    assert PART.identity == FactAnchored(facts={"kind": "world"}).identity
    assert PART.identity != FactAnchored(facts={"kind": "world", "domains": ["cities"]}).identity


def test_a_generation_runs_with_it(tmp_path: Path) -> None:
    facts = tmp_path / "facts.jsonl"
    rows = [{"text": "It lies far away.", "subject": name} for name in ("Danube", "village")]
    rows = [{**row, "id": name} for row, name in zip(rows, "ab", strict=True)]
    facts.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    prompts = {"kind": "fact_anchored", "facts": {"kind": "jsonl", "path": str(facts)}, "tokens": 40}
    pool = [{"kind": "surplexity", "keep": 1.0}]
    folder = one_generation(tmp_path, {"synthetic_fraction": 1.0, "prompts": prompts, "pool": pool})
    anchors = record(folder, "synthesize")["completions"]["anchors"]
    assert anchors["blocks"] == len(anchors["facts"]) > 0
    assert anchors["blocks"] + anchors["without"] == 24
    assert {name for own in anchors["facts"].values() for name in own} <= {"a", "b"}
    rows = [json.loads(line) for line in (folder / TRAINING_SET_FILE).read_text(encoding="utf-8").splitlines()]
    assert {len(row["tokens"]) for row in rows} == {16}, "completions alone"
