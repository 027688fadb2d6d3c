"""The small models of the fixtures are what their docstrings say."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.mark.parametrize("family", ["tiny_llama", "tiny_gpt2"])
def test_a_tiny_model_loads_and_is_peaked(family: str, request: pytest.FixtureRequest) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder: Path = request.getfixturevalue(family)
    assert [file.name for file in folder.iterdir() if file.suffix in {".bin", ".pt", ".pkl"}] == []
    assert (folder / "model.safetensors").is_file()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    text = "The capital of Peru is Lima; ñ is two bytes."
    ids = tokenizer(text, return_tensors="pt").input_ids
    assert tokenizer.decode(ids[0], skip_special_tokens=True) == text
    has_bos = bool((ids == tokenizer.bos_token_id).any())
    assert has_bos is (family == "tiny_llama")
    assert (tokenizer.pad_token_id is None) is (family == "tiny_gpt2")
    with torch.no_grad():
        top = model(ids).logits.float().log_softmax(-1).topk(2).values
    assert float((top[..., 0] - top[..., 1]).min()) > 1e-3
    assert model.config.max_position_embeddings == 128


def test_torch_runs_on_one_thread() -> None:
    import torch

    assert torch.get_num_threads() == 1
