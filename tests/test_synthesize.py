"""The synthesize step: which blocks, which prompts, what a row says, and the gate against junk."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factfade import synthesize
from factfade.data.blocks import block_id, human_document
from factfade.errors import ConfigError, JunkGate
from factfade.models.hf import HfModel
from factfade.protocols import Model
from factfade.records import COMPLETIONS_COLUMNS, Block, Decoding, Sampled
from factfade.sections import SynthesisSection

WORDS = [f"w{i}" for i in range(200)]
BOS, EOS = 0, 1


@dataclass
class Speaker:
    """A model that says what `says` plants, and notes how it was asked. Ids are words."""

    context: int = 100
    says: Any = None
    calls: list[dict[str, Any]] = field(default_factory=list)
    identity: str = "speaker"

    @property
    def facts(self) -> Mapping[str, Any]:
        return {"eos": EOS}

    def encode(self, text: str) -> list[int]:
        return [WORDS.index(word) for word in text.split()]

    def decode(self, tokens: Sequence[int]) -> str:
        return " ".join(WORDS[token] for token in tokens)

    def prompt(self, text: str, *, system: str | None = None) -> list[int]:
        return [BOS, *self.encode(text)]

    def wrap(self, tokens: Sequence[int], *, system: str | None = None) -> list[int]:
        return [BOS, *([7] if system else []), *tokens]

    def sample(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        new_tokens: int,
        decoding: Decoding,
        seed: int,
        stop: Sequence[str] = (),
        batch: int | None = None,
        padding: str = "left",
        through_end: bool = False,
    ) -> list[Sampled]:
        how = {"padding": padding, "through_end": through_end}
        self.calls.append({"prompts": [list(p) for p in prompts], "seed": seed, "batch": batch, **how})
        draw = Random(seed)
        if self.says:
            return [self.says(prompt) for prompt in prompts]
        return [
            Sampled(tokens=tuple(draw.randrange(2, 200) for _ in range(new_tokens)), ended=False, logprob=-1.0)
            for _ in prompts
        ]

    def score(self, *args: Any, **kwargs: Any) -> Any:
        raise AssertionError("synthesis scores nothing")

    ask = score


class Quiet:
    def __init__(self) -> None:
        self.seen: list[tuple[str, int, int]] = []

    def step(self, what: str, done: int, total: int) -> None:
        self.seen.append((what, done, total))


def blocks(count: int, *, length: int = 12) -> list[Block]:
    made = [tuple(2 + (5 * i + k) % 190 for k in range(length)) for i in range(count)]
    return [Block(id=block_id(tokens), tokens=tokens) for tokens in made]


def section(**changes: Any) -> SynthesisSection:
    return SynthesisSection(**{"prompt_tokens": 4, "new_tokens": 8, "batch": 5, **changes})


def run(
    model: Model, given_blocks: Sequence[Block], settings: SynthesisSection, **changes: Any
) -> list[dict[str, Any]]:
    where = {"lineage": "general", "seed": 3, "generation": 2, "progress": Quiet(), **changes}
    return synthesize.synthesize(model, given_blocks, settings, **where)


@given(count=st.integers(0, 60), percent=st.integers(0, 100), seed=st.integers(0, 4))
def test_exactly_the_fraction_is_chosen_and_order_is_kept(count: int, percent: int, seed: int) -> None:
    given_blocks = [Block(id=str(i), tokens=(i,)) for i in range(count)]
    synthetic, human = synthesize.choose(given_blocks, percent / 100, seed=seed, generation=1)
    assert len(synthetic) == round(percent / 100 * count)
    assert sorted([*synthetic, *human], key=lambda block: block.tokens) == given_blocks
    for part in (synthetic, human):
        assert part == sorted(part, key=lambda block: block.tokens)
    more, _ = synthesize.choose(given_blocks, min(1.0, percent / 100 + 0.1), seed=seed, generation=1)
    assert {block.id for block in synthetic} <= {block.id for block in more}


def test_the_choice_depends_on_seed_and_generation() -> None:
    given_blocks = blocks(40)
    draws = [synthesize.choose(given_blocks, 0.5, seed=s, generation=g)[0] for s, g in ((0, 1), (0, 1), (0, 2), (1, 1))]
    assert draws[0] == draws[1]
    assert draws[0] != draws[2] != draws[3] != draws[0]
    with pytest.raises(ValueError, match="between 0 and 1"):
        synthesize.choose(given_blocks, 1.1, seed=0, generation=1)


def test_the_head_of_the_block_is_the_prompt_and_rows_keep_the_blocks_order() -> None:
    model, given_blocks = Speaker(), blocks(12)
    rows = run(model, given_blocks, section())
    assert [row["prompt"] for row in rows] == [block.id for block in given_blocks]
    assert [len(call["prompts"]) for call in model.calls] == [5, 5, 2]
    assert model.calls[0]["prompts"][0] == [BOS, *given_blocks[0].tokens[:4]]
    assert all(set(COMPLETIONS_COLUMNS) == set(row) for row in rows)
    assert {(row["lineage"], row["seed"], row["generation"]) for row in rows} == {("general", 3, 2)}
    assert all(row["tokens"] == len(row["token_ids"]) == 8 and not row["ended"] for row in rows)


def test_completions_depend_on_seed_and_generation_alone() -> None:
    given_blocks = blocks(12)
    one = run(Speaker(), given_blocks, section())
    assert run(Speaker(), given_blocks, section(), lineage="general") == one
    texts = [row["completion"] for row in one]
    assert len(set(texts)) == 12
    for changed in ({"seed": 4}, {"generation": 3}):
        assert not set(texts) & {row["completion"] for row in run(Speaker(), given_blocks, section(), **changed)}


def test_settings_reach_the_model() -> None:
    model = Speaker()
    run(model, blocks(2), section(padding="right", system="Continue."))
    assert [call["padding"] for call in model.calls] == ["right"]
    assert [call["through_end"] for call in model.calls] == [True]
    run(model, blocks(2), section(through_end=False))
    assert model.calls[-1]["through_end"] is False
    assert all(prompt[:2] == [BOS, 7] for prompt in model.calls[0]["prompts"])
    record = synthesize.record(run(model, blocks(2), section(padding="right")), section(padding="right"))
    assert record["replicates"]
    assert synthesize.record([], section())["replicates"] is None


def test_a_text_that_stopped_keeps_its_end_for_training() -> None:
    def says(prompt: Sequence[int]) -> Sampled:
        return Sampled(tokens=(5, 6), ended=True, logprob=-1.0)

    row = run(Speaker(says=says), blocks(1), section())[0]
    assert (row["completion"], row["tokens"], row["ended"], row["token_ids"]) == ("w5 w6", 2, True, [5, 6, EOS])
    assert synthesize.documents([row])[0].tokens == (5, 6, EOS)


def test_prompts_that_do_not_fit_are_not_asked_and_counted() -> None:
    model = Speaker(context=12)  # 1 + prompt + 8 new tokens: a prompt of 3
    short = Block(id="short", tokens=(2, 3, 4))
    rows = run(model, [*blocks(2), short], section())
    assert [row["dropped_by"] for row in rows] == ["context", "context", ""]
    assert [row["weight"] for row in rows] == [0.0, 0.0, 1.0]
    assert len(model.calls) == 1
    record = synthesize.record(rows, section())
    assert record["requested"] == {"completions": 3, "tokens": 24}
    assert record["achieved"] == {"completions": 1, "tokens": 8, "ended": 0}
    assert record["left_out"] == {"context": 2}
    assert synthesize.junk_shares(rows)["n"] == 1
    assert [document.origin for document in synthesize.documents(rows)] == ["short"]
    with pytest.raises(ConfigError, match="context of 12"):
        run(model, blocks(2), section())


def test_progress_counts_completions() -> None:
    quiet = Quiet()
    run(Speaker(), blocks(12), section(), progress=quiet)
    assert quiet.seen == [("synthesize", 5, 12), ("synthesize", 10, 12), ("synthesize", 12, 12)]


def planted_junk() -> Iterator[tuple[int, ...]]:
    yield ()  # empty
    yield (5,) * 30  # near-constant, and repetitive
    yield (8, 9) * 15  # near-constant, and repetitive
    yield tuple(range(20, 30))
    yield tuple(range(20, 30))  # duplicate
    yield from (tuple(range(20 + i, 40 + i)) for i in range(5))


def test_junk_is_measured_and_gated() -> None:
    planted = planted_junk()
    model = Speaker(says=lambda prompt: Sampled(tokens=next(planted), ended=False, logprob=0.0))
    rows = run(model, blocks(10), section())
    shares = synthesize.junk_shares(rows)
    assert shares == {"n": 10, "empty": 0.1, "near_constant": 0.2, "repetitive": 0.2, "duplicate": 0.1, "junk": 0.4}
    synthesize.junk_gate(shares, section(junk_bound=0.4))
    synthesize.junk_gate(shares, section(junk_bound=0.1, allow_junk=True))
    with pytest.raises(JunkGate, match=r"40\.0% of 10 .*duplicate 10\.0%.* 39\.0%") as caught:
        synthesize.junk_gate(shares, section(junk_bound=0.39))
    assert "synthesis.allow_junk=true" in caught.value.hint


def test_no_completion_is_no_junk() -> None:
    shares = synthesize.junk_shares([])
    assert (shares["n"], shares["junk"]) == (0, 0.0)
    synthesize.junk_gate(shares, section(junk_bound=0.0))


def test_documents_are_what_is_trained_on() -> None:
    rows = run(Speaker(), blocks(4), section())
    rows[0] |= {"weight": 0.0, "dropped_by": "filter"}
    rows[1] |= {"token_ids": [], "completion": ""}
    rows[2] |= {"weight": float("nan"), "token_ids": None}
    found = synthesize.documents(rows)
    assert [document.origin for document in found] == [rows[2]["prompt"], rows[3]["prompt"]]
    assert found[0].tokens is None
    assert found[0].weight == 1.0
    assert found[1].tokens == tuple(rows[3]["token_ids"])
    assert (found[1].source, found[1].generation, found[1].text) == ("synthetic", 2, rows[3]["completion"])
    assert synthesize.record(rows, section())["left_out"] == {"filter": 1, "no_tokens": 1}


def test_documents_survive_the_stored_table(tmp_path: Path) -> None:
    from factfade import tables

    rows = run(Speaker(), blocks(4), section())
    tables.write(tmp_path / "completions.parquet", rows, "completions")
    frame = tables.read(tmp_path / "completions.parquet", "completions")
    assert synthesize.documents(frame.to_dict("records")) == synthesize.documents(rows)


def test_a_real_model_continues_blocks_the_same_way_twice(tiny_llama: Path) -> None:
    with HfModel(path=str(tiny_llama)).open() as model:
        tokens = model.encode("The river Danube flows through ten countries; its mouth lies in the Black Sea.")
        given_blocks = [Block(id=str(i), tokens=tuple(tokens[i : i + 20])) for i in range(6)]
        one = run(model, given_blocks, section(batch=4))
        assert run(model, given_blocks, section(batch=4)) == one
        human = human_document(given_blocks[0], 8, model.decode)
        assert human.text == model.decode(tokens[12:20])
    assert all(len(row["token_ids"]) - row["tokens"] == int(row["ended"]) for row in one)
