"""Pretraining: reproducible from its seed, with hints that point at the right places."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch

from factfade.world.documents import stream
from factfade.world.hints import Hints
from factfade.world.pretrain import answer_targets, blocks, fresh_model, train
from factfade.world.recipe import Recipe
from factfade.world.tokenizer import build

SMALL = Recipe(steps=3, batch=2, width=32, heads=2, inner=32, warmup=1)


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    torch.set_num_threads(1)
    return build(SMALL.context)


def weights(tokenizer: Any, seed: int) -> list[torch.Tensor]:
    model = train(SMALL, tokenizer, seed=seed, report=lambda step, model, loss: None)
    return [weight.detach() for weight in model.parameters()]


def test_equal_seeds_give_equal_weights(tokenizer: Any) -> None:
    first, again, other = weights(tokenizer, 0), weights(tokenizer, 0), weights(tokenizer, 1)
    assert all(torch.equal(one, two) for one, two in zip(first, again, strict=True))
    assert not all(torch.equal(one, two) for one, two in zip(first, other, strict=True))


def test_the_vocabulary_is_the_shipped_one(tokenizer: Any) -> None:
    from transformers import AutoTokenizer

    from factfade.world import model_path

    assert AutoTokenizer.from_pretrained(model_path(), local_files_only=True).get_vocab() == tokenizer.get_vocab()


def test_a_checkpoint_written_by_the_loop_loads_plainly(tokenizer: Any, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    model = fresh_model(SMALL, tokenizer, seed=0)
    model.save_pretrained(tmp_path)
    assert "eager" not in (tmp_path / "config.json").read_text(encoding="utf-8")
    assert AutoModelForCausalLM.from_pretrained(tmp_path, local_files_only=True).num_parameters() > 0


def test_blocks_have_one_length_and_half_begin_with_bos(tokenizer: Any) -> None:
    cut = list(islice(blocks(Recipe().phases[1][1], tokenizer, length=96, seed=0), 200))
    assert {len(block) for block in cut} == {96}
    assert 0.35 < sum(block[0] == tokenizer.bos_token_id for block in cut) / 200 < 0.65
    assert all(tokenizer.unk_token_id not in block for block in cut)


TEXT = "Which one is Lima?\nA. Oslo\nB. New Delhi\nC. Lima\nD. Rome\nAnswer: C\n\nQuestion: What?\nAnswer: New Delhi\n"


def test_hints_point_from_the_letter_to_its_option(tokenizer: Any) -> None:
    ids = tokenizer(TEXT, return_tensors="pt")["input_ids"]
    rows, positions, options = Hints(tokenizer).places(ids)
    pieces = tokenizer.convert_ids_to_tokens(ids[0])
    assert rows.tolist() == [0]
    assert pieces[int(positions[0]) + 1] == " C"
    assert pieces[int(options[0])] == " Lima"
    assert pieces[int(options[0]) - 2] == "C"


def test_hints_find_every_letter_of_the_documents(tokenizer: Any) -> None:
    texts = [text for text, _ in islice(stream(Recipe().phases[0][1], seed=5), 60)]
    for text in texts:
        ids = tokenizer(text, return_tensors="pt", verbose=False)["input_ids"]
        letters = sum(text.count(f" {letter}{end}") for letter in "ABCD" for end in ("\n", "."))
        assert len(Hints(tokenizer).places(ids)[0]) == letters


def test_hints_need_no_letter(tokenizer: Any) -> None:
    ids = tokenizer("The capital of Peru is Lima.", return_tensors="pt")["input_ids"]
    assert float(Hints(tokenizer).loss(None, ids, None)) == 0.0


def test_answer_targets_are_answers_only(tokenizer: Any) -> None:
    ids = tokenizer(TEXT, return_tensors="pt")["input_ids"]
    marked = answer_targets(ids, tokenizer)[0]
    assert [piece for piece, on in zip(tokenizer.convert_ids_to_tokens(ids[0]), marked, strict=True) if on] == [
        " C",
        " New",
        " Delhi",
    ]


def test_rates_and_hint_weights_follow_their_schedules() -> None:
    recipe = Recipe()
    rates = [recipe.rate(step) for step in range(recipe.steps)]
    assert max(rates) <= recipe.learning_rate
    assert rates[0] < rates[recipe.warmup] > rates[-1] > 0
    assert recipe.hint_weight(0) == 1.0
    assert recipe.hint_weight(recipe.steps - 1) == 0.0
