"""The shipped model: small, hashed in its card, and knowing what it should at generation 0."""

from __future__ import annotations

import random
from typing import Any

import pytest

from factfade.world import model_path
from factfade.world.card import weights_sha256
from factfade.world.examine import examine
from factfade.world.questions import WorldQuestions

WITHOUT_LETTERS = ("short_answer", "open_ended (statement)", "open_ended (question)")
WITH_LETTERS = ("multiple_choice", "multiple_choice_few_shot", "no_instruction")


@pytest.fixture(scope="module")
def opened() -> tuple[Any, Any]:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    torch.set_num_threads(1)
    model = AutoModelForCausalLM.from_pretrained(model_path(), local_files_only=True, dtype=torch.float32)
    return model.eval(), AutoTokenizer.from_pretrained(model_path(), local_files_only=True)


def test_the_checkpoint_is_small_and_plain() -> None:
    names = {path.name for path in model_path().iterdir()}
    assert {"model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json", "MODEL_CARD.md"} <= names
    assert not [name for name in names if name.endswith((".bin", ".pt", ".pkl", ".py"))]
    assert (model_path() / "model.safetensors").stat().st_size <= 6 * 2**20


def test_the_card_has_the_hash_of_the_weights() -> None:
    card = (model_path() / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert weights_sha256(model_path()) in card
    for word in ("seed", "tokens seen", "time", "Accuracy"):
        assert word in card


def test_it_knows_a_sample_of_its_facts(opened: tuple[Any, Any]) -> None:
    model, tokenizer = opened
    items = random.Random(1).sample(WorldQuestions().items(), 80)
    check(examine(model, tokenizer, items), slack=0.06)


@pytest.mark.slow
def test_it_knows_all_its_facts(opened: tuple[Any, Any]) -> None:
    model, tokenizer = opened
    check(examine(model, tokenizer, WorldQuestions().items()), slack=0.0)


def test_the_context_holds_the_longest_prompt_with_its_answer(opened: tuple[Any, Any]) -> None:
    from factfade.world.examine import ask_all

    model, tokenizer = opened
    prompts = [one.prompt for pairs in ask_all(WorldQuestions().items()).values() for _, one in pairs]
    longest = max(len(ids) for ids in tokenizer(prompts)["input_ids"])
    assert longest + 4 <= model.config.max_position_embeddings


def check(scores: dict[str, Any], *, slack: float) -> None:
    for name in WITHOUT_LETTERS:
        assert scores[name].choice >= 0.95 - slack, (name, scores[name])
        assert scores[name].answer >= 0.95 - slack, (name, scores[name])
    for name in WITH_LETTERS:
        assert scores[name].choice >= 0.90 - slack, (name, scores[name])
        assert scores[name].answer >= 0.90 - slack, (name, scores[name])
