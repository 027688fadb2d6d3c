"""LoRA adapters on an open base: they answer as the merged model does, and leave the base as it was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from factfade.errors import IntegrityError, UnsafeArtifact, UsageError
from factfade.models import lora
from factfade.models.hf import HfModel, OpenModel

pytest.importorskip("peft")


@pytest.fixture
def adapter(tiny_llama: Path, tmp_path: Path) -> tuple[Path, Path]:
    """An adapter whose output is not zero, and the same merged into the base."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoTokenizer

    base: Any = AutoModelForCausalLM.from_pretrained(tiny_llama)
    made: Any = get_peft_model(base, LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM"))
    draw = torch.Generator().manual_seed(3)
    for name, parameter in made.named_parameters():
        if "lora_B" in name:
            parameter.data = 0.2 * torch.randn(parameter.shape, generator=draw)
    made.save_pretrained(tmp_path / "adapter")
    made.merge_and_unload().save_pretrained(tmp_path / "merged")
    AutoTokenizer.from_pretrained(tiny_llama).save_pretrained(tmp_path / "merged")
    return tmp_path / "adapter", tmp_path / "merged"


def likelihood(model: Any) -> list[float]:
    prompts = [model.encode("Gold has the symbol"), model.encode("The river flows")]
    return [one[0].logprob for one in model.score(prompts, [[model.encode(" Au")], [model.encode(" through ten")]])]


def weights(model: OpenModel) -> dict[str, Any]:
    return {name: value.clone() for name, value in model.net.model.state_dict().items()}


def test_an_adapter_answers_as_its_merged_model_and_leaves_the_base_as_it_was(
    tiny_llama: Path, adapter: tuple[Path, Path]
) -> None:
    import torch

    with HfModel(path=str(tiny_llama)).open() as base:
        before, said = weights(base), likelihood(base)
        flags = [parameter.requires_grad for parameter in base.net.model.parameters()]
        state = torch.random.get_rng_state()
        with lora.attached(base, adapter[0], name="adapter", identity="abc") as (model, reference):
            adapted = likelihood(model)
            assert model.facts["identity"] == "abc"
            with reference.open() as start:
                assert likelihood(start) == said
            assert likelihood(model) == adapted
        assert torch.equal(torch.random.get_rng_state(), state)
        after = weights(base)
        assert before.keys() == after.keys()
        assert all(torch.equal(value, after[name]) for name, value in before.items())
        assert flags == [parameter.requires_grad for parameter in base.net.model.parameters()]
        assert likelihood(base) == said
    with HfModel(path=str(adapter[1])).open() as merged:
        assert likelihood(merged) == pytest.approx(adapted, abs=1e-4)
    assert adapted != pytest.approx(said, abs=0.01)


def test_what_does_not_fit_the_base_is_refused_and_the_base_stays(
    tiny_llama: Path, tiny_gpt2: Path, adapter: tuple[Path, Path]
) -> None:
    with HfModel(path=str(tiny_gpt2)).open() as other:
        said = likelihood(other)
        with (
            pytest.raises(IntegrityError, match="does not fit"),
            lora.attached(other, adapter[0], name="", identity=""),
        ):
            pass
        assert likelihood(other) == said
    settings = json.loads((adapter[0] / "adapter_config.json").read_text())
    (adapter[0] / "adapter_config.json").write_text(json.dumps({**settings, "r": 2}))
    with HfModel(path=str(tiny_llama)).open() as base:
        said = likelihood(base)
        with pytest.raises(IntegrityError, match="does not fit"), lora.attached(base, adapter[0], name="", identity=""):
            pass
        assert likelihood(base) == said


def test_other_adapters_and_pickles_are_refused(adapter: tuple[Path, Path]) -> None:
    folder = adapter[0]
    settings = json.loads((folder / "adapter_config.json").read_text())
    for change, reason in (
        ({"peft_type": "PROMPT_TUNING"}, "LoRA is the one"),
        ({"init_lora_weights": "pissa"}, "base"),
    ):
        (folder / "adapter_config.json").write_text(json.dumps({**settings, **change}))
        with pytest.raises(UsageError, match=reason):
            lora.look_through(folder)
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")
    with pytest.raises(UnsafeArtifact, match="pickle"):
        lora.look_through(folder)
