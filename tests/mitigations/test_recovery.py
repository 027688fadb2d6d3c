"""Recovery: both ends to the bit, the step between them, and what must not change beside the weights."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import load_file as load_numpy
from safetensors.torch import load_file, save_file

from factfade import loop, registry, store
from factfade.errors import ConfigError, IntegrityError, NonFinite
from factfade.identity import checkpoint_identity
from factfade.mitigations.recovery import Recovery
from factfade.progress import Silent
from factfade.sweep import to_toml
from tests import small


@dataclass(frozen=True)
class Spec:
    path: Path

    def folder(self) -> Path:
        return self.path

    def open(self) -> Any:
        raise AssertionError("no model is opened")


@dataclass(frozen=True)
class Past:
    """A history that only knows where the training started from."""

    start: Path

    def model(self, *, generation: int | None = None) -> Spec:
        assert generation is None
        return Spec(self.start)


def apply(part: Recovery, checkpoint: Path, start: Path) -> dict[str, Any]:
    return dict(part.apply(checkpoint, Past(start)))  # pyright: ignore[reportArgumentType]


@pytest.fixture
def trained(tiny_llama: Path, tmp_path: Path) -> Path:
    """The small Llama with every weight moved, as a checkpoint of its own."""
    folder = tmp_path / "trained"
    shutil.copytree(tiny_llama, folder)
    weights = load_file(folder / "model.safetensors")
    draw = torch.Generator().manual_seed(3)
    moved = {name: value + 0.1 * torch.randn(value.shape, generator=draw) for name, value in weights.items()}
    save_file(moved, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def raw(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in sorted(folder.iterdir())}


def test_a_of_0_gives_the_start_and_of_minus_1_the_end(tiny_llama: Path, trained: Path, tmp_path: Path) -> None:
    ends = {0.0: load_file(tiny_llama / "model.safetensors"), -1.0: load_file(trained / "model.safetensors")}
    for a, expected in ends.items():
        folder = tmp_path / f"end{a}"
        shutil.copytree(trained, folder)
        record = apply(Recovery(a=a), folder, tiny_llama)
        found = load_file(folder / "model.safetensors")
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[name], expected[name]) for name in expected)
        assert record["result"] == checkpoint_identity(folder)
        assert (record["result"] == checkpoint_identity(tiny_llama)) == (a == 0.0)
        assert (record["result"] == record["trained"]) == (a == -1.0)


@pytest.mark.parametrize("a", [0.5, 2.0, -0.25])
def test_the_step_is_taken_back_as_the_formula_says(tiny_llama: Path, trained: Path, a: float) -> None:
    first, last = load_numpy(tiny_llama / "model.safetensors"), load_numpy(trained / "model.safetensors")
    before = raw(trained)
    record = apply(Recovery(a=a), trained, tiny_llama)
    found = load_numpy(trained / "model.safetensors")
    for name, value in found.items():
        theta, step = first[name].astype(np.float64), last[name].astype(np.float64) - first[name]
        np.testing.assert_allclose(value, theta - a * step, atol=1e-6)
        assert record["largest_steps"][name] == pytest.approx(np.abs(step).max(), rel=1e-5)
    squares = sum(((last[name].astype(np.float64) - first[name]) ** 2).sum() for name in first)
    assert record["step_norm"] == pytest.approx(math.sqrt(squares), rel=1e-5)
    assert record["moved_norm"] == pytest.approx(abs(a) * math.sqrt(squares), rel=1e-4)
    after = raw(trained)
    assert {name for name in after if after[name] != before[name]} == {"model.safetensors"}
    assert after.keys() == before.keys()
    json.dumps(record, allow_nan=False)


def test_dtypes_buffers_metadata_and_tied_heads_stay(tmp_path: Path) -> None:
    start, end = tmp_path / "start", tmp_path / "end"
    draw = torch.Generator().manual_seed(0)
    embedding = torch.randn(5, 4, generator=draw)
    for folder in (start, end):
        folder.mkdir()
    # The start leaves its tied head out and has other dtypes; the trained one holds the head as a copy.
    save_file({"model.embed_tokens.weight": embedding.half(), "n": torch.tensor([1, 2])}, start / "model.safetensors")
    moved = (embedding + 1).bfloat16()
    tensors = {"model.embed_tokens.weight": moved, "lm_head.weight": moved.clone(), "n": torch.tensor([7, 8])}
    save_file(tensors, end / "model.safetensors", metadata={"format": "pt", "own": "word"})
    record = apply(Recovery(a=1.0), end, start)
    found = load_file(end / "model.safetensors")
    expected = (embedding.half().float() - (moved.float() - embedding.half().float())).bfloat16()
    assert torch.equal(found["model.embed_tokens.weight"], expected)
    assert torch.equal(found["lm_head.weight"], expected)
    assert found["lm_head.weight"].dtype == torch.bfloat16
    assert found["n"].tolist() == [7, 8]
    assert (record["tensors"], record["tensors_left_as_they_are"]) == (2, 1)
    with safe_open(str(end / "model.safetensors"), framework="pt") as handle:
        assert handle.metadata() == {"format": "pt", "own": "word"}


def test_names_without_their_prefix_and_other_shards_are_found(tiny_gpt2: Path, tmp_path: Path) -> None:
    """GPT-2 as it lies on the hub has no "transformer." before its names; the start may be split into files."""
    start, end = tmp_path / "start", tmp_path / "end"
    weights = load_file(tiny_gpt2 / "model.safetensors")
    shutil.copytree(tiny_gpt2, start)
    shutil.copytree(tiny_gpt2, end)
    bare = {name.removeprefix("transformer."): value for name, value in weights.items()}
    assert bare.keys() != weights.keys()
    (start / "model.safetensors").unlink()
    names = sorted(bare)
    shards = {"model-1.safetensors": names[::2], "model-2.safetensors": names[1::2]}
    for file, own in shards.items():
        save_file({name: bare[name] for name in own}, start / file)
    index = {"weight_map": {name: file for file, own in shards.items() for name in own}}
    (start / "model.safetensors.index.json").write_text(json.dumps(index))
    save_file({name: value + 1 for name, value in weights.items()}, end / "model.safetensors")
    apply(Recovery(a=0.0), end, start)
    found = load_file(end / "model.safetensors")
    assert all(torch.equal(found[name], weights[name]) for name in weights)


def sharded(folder: Path, shards: dict[str, dict[str, torch.Tensor]]) -> Path:
    folder.mkdir()
    for file, tensors in shards.items():
        save_file(tensors, folder / file)
    index = {"weight_map": {name: file for file, tensors in shards.items() for name in tensors}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


@pytest.mark.parametrize(
    ("last", "error", "message"),
    [
        (torch.zeros(3), IntegrityError, "shape"),
        (torch.full((2,), 60000.0).half(), NonFinite, "not finite"),
        (None, IntegrityError, "no tensor"),
    ],
)
def test_what_fails_in_a_later_file_changes_no_earlier_one(
    tmp_path: Path, last: torch.Tensor | None, error: type[Exception], message: str
) -> None:
    start = sharded(
        tmp_path / "start", {"a.safetensors": {"a": torch.zeros(2)}, "b.safetensors": {"b": torch.zeros(2)}}
    )
    name = "other" if last is None else "b"
    end = {"a.safetensors": {"a": torch.ones(2)}, "b.safetensors": {name: torch.ones(2) if last is None else last}}
    folder = sharded(tmp_path / "end", end)
    before = raw(folder)
    with pytest.raises(error, match=message):
        apply(Recovery(a=5.0), folder, start)
    assert raw(folder) == before


def test_a_is_a_finite_number() -> None:
    assert registry.build("after_training", {"kind": "recovery", "a": 0.3}) == Recovery(a=0.3)
    for wrong in (math.nan, math.inf):
        with pytest.raises(ConfigError, match="finite"):
            registry.build("after_training", {"kind": "recovery", "a": wrong})


def test_recovery_stands_in_an_experiment_and_takes_the_step_back(tmp_path: Path) -> None:
    folder = small.materials(tmp_path)
    arms = {
        "back": {"synthetic_fraction": 0.0, "after_training": [{"kind": "recovery", "a": 0.0}]},
        "end": {"synthetic_fraction": 0.0, "after_training": [{"kind": "recovery", "a": -1.0}]},
    }
    experiment = small.experiment(folder, experiment={"generations": 1}, arms=arms, evaluation={"generations": [0]})
    store.create_experiment(tmp_path / "run", toml=to_toml(experiment), environment={})
    for arm in arms:
        loop.run_arm(experiment, arm, 0, tmp_path / "run", progress=Silent())
    run = store.open_experiment(tmp_path / "run")
    weights = {arm: run.run(arm, 0).generation(1) / "checkpoint" for arm in arms}
    start = folder / "model"
    assert checkpoint_identity(weights["back"]) == checkpoint_identity(start) != checkpoint_identity(weights["end"])
    manifest = json.loads((run.run("back", 0).generation(1) / "train.json").read_text())
    (record,) = manifest["record"]["after_training"]
    assert record["a"] == 0.0
    assert record["start"] == record["result"] == manifest["record"]["identity"]
    assert record["step_norm"] > 0.0 == record["moved_norm"]
