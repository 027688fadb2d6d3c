"""What is refused before anything is loaded, and what is handled: pickles, code, adapters, wrong tokenizers."""

from __future__ import annotations

import json
import pickle
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from factfade.errors import ConfigError, DataError, IntegrityError, NotFound, UnsafeArtifact, UsageError
from factfade.models import loading
from factfade.models.hf import HfModel


@pytest.fixture
def copy(tiny_llama: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_llama, tmp_path / "model"))


def opens(folder: Path, **settings: str) -> None:
    with HfModel(path=str(folder), **settings).open():  # type: ignore[arg-type]
        pass


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.pth", "model.ckpt", "weights.pkl"])
def test_pickles_alone_are_refused_and_never_read(copy: Path, name: str) -> None:
    (copy / "model.safetensors").unlink()
    (copy / name).write_bytes(b"\x80\x04cos\nsystem\n")
    with pytest.raises(UnsafeArtifact, match="pickles") as caught:
        opens(copy)
    assert caught.value.path.endswith(name)
    assert "save_pretrained" in caught.value.hint


@dataclass
class Touches:
    """Makes a file when it is unpickled."""

    path: Path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.path,)


def test_pickles_beside_safetensors_are_left_alone(copy: Path, tiny_llama: Path) -> None:
    canary = copy / "canary"
    pickles = {"training_args.bin": pickle.dumps(Touches(canary)), "pytorch_model.bin": b"not a model"}
    for name, content in pickles.items():
        (copy / name).write_bytes(content)
    with HfModel(path=str(copy)).open() as model:
        scored = model.score([model.prompt("The capital of")], [[model.encode(" France")]])
    with HfModel(path=str(tiny_llama)).open() as plain:
        assert scored == plain.score([plain.prompt("The capital of")], [[plain.encode(" France")]])
    assert {name: (copy / name).read_bytes() for name in pickles} == pickles
    assert not canary.exists(), "a pickle was loaded"


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json", "generation_config.json"])
def test_code_of_its_own_is_refused(copy: Path, name: str) -> None:
    canary = copy / "canary"
    (copy / "evil.py").write_text(f"open({str(canary)!r}, 'w')\n")
    file = copy / name
    content = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps({**content, "auto_map": {"AutoModelForCausalLM": "evil.Evil"}}))
    with pytest.raises(UnsafeArtifact, match="auto_map"):
        opens(copy)
    assert not canary.exists()


def test_an_adapter_says_how_it_is_merged(copy: Path) -> None:
    (copy / "config.json").rename(copy / "adapter_config.json")
    with pytest.raises(UsageError, match="adapter") as caught:
        opens(copy)
    assert "merge_and_unload" in caught.value.hint


def test_missing_weights_are_never_drawn_at_random(copy: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(copy / "model.safetensors")
    del tensors["model.norm.weight"]
    save_file(tensors, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(IntegrityError, match=r"lacks 1 of its weights.*model\.norm\.weight"):
        opens(copy)


def test_a_tokenizer_of_another_model_is_refused(copy: Path) -> None:
    tokenizer = loading.load_tokenizer(copy)
    tokenizer.add_tokens([f"extra{n}" for n in range(8)])
    tokenizer.save_pretrained(copy)
    with pytest.raises(UsageError, match="392 tokens and the model 384 rows"):
        opens(copy)


def test_a_tokenizer_far_smaller_than_the_model_is_refused() -> None:
    class Net:
        def get_input_embeddings(self) -> object:
            return type("Rows", (), {"weight": type("W", (), {"shape": (50_000, 8)})})

    class Tokenizer:
        all_special_ids = (0,)

        def __init__(self, size: int) -> None:
            self.size = size

        def get_vocab(self) -> dict[str, int]:
            return {str(n): n for n in range(self.size)}

    loading.check_vocabulary(Net(), Tokenizer(49_700), Path("m"))
    with pytest.raises(UsageError, match="tokenizer"):
        loading.check_vocabulary(Net(), Tokenizer(1200), Path("m"))


def test_paths_that_are_no_model(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="no model folder"):
        HfModel(path=str(tmp_path / "absent")).folder()
    with pytest.raises(NotFound):
        HfModel(path="./absent").folder()
    file = tmp_path / "model.safetensors"
    file.touch()
    with pytest.raises(UsageError, match="is a file"):
        HfModel(path=str(file)).folder()
    with pytest.raises(UsageError, match=r"no config\.json"):
        opens(tmp_path)


def test_a_hub_name_without_a_network_says_so() -> None:
    with pytest.raises(UsageError, match="could not be fetched"):
        HfModel(path="nobody/no-such-model").folder()


def test_broken_files_are_named(copy: Path) -> None:
    (copy / "config.json").write_text("[" * 100_000)
    with pytest.raises(DataError, match=r"config\.json"):
        opens(copy)
    (copy / "config.json").write_text('{"model_type": "no such type"}')
    with pytest.raises(UsageError):
        opens(copy)


def test_cuda_that_is_not_there_is_a_config_error(tiny_llama: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    with pytest.raises(ConfigError, match="CUDA"):
        opens(tiny_llama, device="cuda")


def test_facts_say_how_the_model_is_used(tiny_llama: Path, tiny_gpt2: Path) -> None:
    from factfade.identity import checkpoint_identity

    with HfModel(path=str(tiny_gpt2)).open() as model:
        facts = model.facts
        assert model.context == 128
        assert facts["class"] == "GPT2LMHeadModel"
        assert facts["identity"] == model.identity == checkpoint_identity(tiny_gpt2)
        assert (facts["pad_source"], facts["pad"]) == ("eos", facts["eos"])
        assert facts["first_token_from"] == "bos"
        assert facts["rows"] == model.net.model.get_input_embeddings().weight.shape[0] == 384
    with HfModel(path=str(tiny_llama)).open() as model:
        assert model.facts["pad_source"] == "own"
        assert model.facts["opening"] == [model.facts["bos"]]


def test_threads_are_set_and_given_back(tiny_llama: Path) -> None:
    import torch

    before = torch.get_num_threads()
    with HfModel(path=str(tiny_llama), threads=2).open() as model:
        assert torch.get_num_threads() == 2
        assert model.facts["threads"] == 2
    assert torch.get_num_threads() == before
    with pytest.raises(UsageError, match="closed"):
        _ = model.net


def test_the_model_is_freed_on_exit(tiny_llama: Path) -> None:
    import weakref

    with HfModel(path=str(tiny_llama)).open() as model:
        alive = weakref.ref(model.net.model)
    assert alive() is None


def test_importing_the_spec_costs_neither_torch_nor_transformers() -> None:
    import subprocess
    import sys

    code = "import sys, factfade.models.hf; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
