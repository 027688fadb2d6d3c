"""The identity of a checkpoint: its tensors and nothing else; damaged, foreign and unsafe files are refused."""

from __future__ import annotations

import json
import os
import random
import struct
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from factfade.errors import IntegrityError, NotFound, UnsafeArtifact, UnsafePath
from factfade.identity import checkpoint_identity, read_header
from tests.fakerun import safetensors_bytes

Arrays = dict[str, "np.ndarray"]


def arrays() -> Arrays:
    dice = np.random.default_rng(0)
    return {
        "model.embed_tokens.weight": dice.normal(size=(8, 4)).astype(np.float32),
        "model.layers.0.weight": dice.normal(size=(4, 4)).astype(np.float32),
        "model.norm.weight": np.ones(4, np.float32),
        "model.bias": np.ones(4, np.float32),
        "model.half": dice.normal(size=(3,)).astype(np.float16),
        "model.empty": np.zeros((0, 3), np.float32),
    }


def save(folder: Path, *shards: Arrays, name: str = "model.safetensors") -> Path:
    """One file, or several with an index."""
    folder.mkdir(parents=True, exist_ok=True)
    if len(shards) == 1:
        save_file(shards[0], folder / name)
        return folder
    places = {}
    for number, shard in enumerate(shards):
        file = f"model-{number + 1:05d}-of-{len(shards):05d}.safetensors"
        save_file(shard, folder / file)
        places |= dict.fromkeys(shard, file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
    return folder


def parts(whole: Arrays, count: int) -> list[Arrays]:
    names = sorted(whole, reverse=True)
    return [{name: whole[name] for name in names[i::count]} for i in range(count)]


def test_sharding_file_names_and_order_do_not_count(tmp_path: Path) -> None:
    whole = arrays()
    identity = checkpoint_identity(save(tmp_path / "one", whole))
    assert len(identity) == 64
    assert checkpoint_identity(save(tmp_path / "renamed", whole, name="weights.safetensors")) == identity
    assert checkpoint_identity(save(tmp_path / "two", *parts(whole, 2))) == identity
    assert checkpoint_identity(save(tmp_path / "three", *parts(whole, 3))) == identity
    assert checkpoint_identity(tmp_path / "one" / "model.safetensors") == identity
    by_hand = {n: ({"float32": "F32", "float16": "F16"}[a.dtype.name], a.shape, a.tobytes()) for n, a in whole.items()}
    (tmp_path / "hand.safetensors").write_bytes(safetensors_bytes(by_hand))
    assert checkpoint_identity(tmp_path / "hand.safetensors") == identity


def test_time_metadata_and_other_files_do_not_count(tmp_path: Path) -> None:
    folder = save(tmp_path / "a", arrays())
    identity = checkpoint_identity(folder)
    save_file(arrays(), folder / "model.safetensors", metadata={"format": "pt", "made": "later"})
    (folder / "config.json").write_text("{}")
    os.utime(folder / "model.safetensors", (0, 0))
    assert checkpoint_identity(folder) == identity


def test_every_property_of_a_tensor_counts(tmp_path: Path) -> None:
    whole = arrays()
    name = "model.layers.0.weight"
    changed = whole[name].copy()
    changed.view(np.uint32)[0, 0] ^= 1
    variants: list[Arrays] = [
        whole,
        {**whole, name: changed},
        {**whole, name: whole[name].reshape(2, 8)},
        {**whole, name: whole[name].view(np.int32)},
        {("renamed" if n == name else n): a for n, a in whole.items()},
        {n: a for n, a in whole.items() if n != "model.bias"},
        {**whole, "model.norm.weight": whole["model.norm.weight"] * 2},
    ]
    found = {checkpoint_identity(save(tmp_path / str(n), variant)) for n, variant in enumerate(variants)}
    assert len(found) == len(variants)


def test_a_tied_head_counts_once(tmp_path: Path) -> None:
    whole = arrays()
    tied = {**whole, "lm_head.weight": whole["model.embed_tokens.weight"].copy()}
    untied = {**whole, "lm_head.weight": whole["model.embed_tokens.weight"] + 1}
    identity = checkpoint_identity(save(tmp_path / "left-out", whole))
    assert checkpoint_identity(save(tmp_path / "tied", tied)) == identity
    assert checkpoint_identity(save(tmp_path / "untied", untied)) != identity


@pytest.mark.slow  # for the import of transformers
def test_a_saved_transformers_model_has_one_identity_however_it_is_sharded(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    import torch

    torch.manual_seed(0)
    for tied in (True, False):
        config = transformers.LlamaConfig(
            vocab_size=64, hidden_size=32, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
            num_key_value_heads=2, tie_word_embeddings=tied,
        )  # fmt: skip
        model = transformers.LlamaForCausalLM(config)
        model.save_pretrained(tmp_path / f"{tied}-one")
        model.save_pretrained(tmp_path / f"{tied}-many", max_shard_size="10KB")
        assert len(list((tmp_path / f"{tied}-many").glob("*.safetensors"))) > 2
        assert checkpoint_identity(tmp_path / f"{tied}-one") == checkpoint_identity(tmp_path / f"{tied}-many")
    assert checkpoint_identity(tmp_path / "True-one") != checkpoint_identity(tmp_path / "False-one")


def test_an_adapters_identity_holds_its_bases_and_its_settings(tmp_path: Path) -> None:
    folder = save(tmp_path / "a", {"lora_A.weight": np.ones((2, 2), np.float32)}, name="adapter_model.safetensors")
    config = {"r": 2, "lora_alpha": 4, "base_model_name_or_path": "/somewhere"}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(NotFound, match="adapter"):
        checkpoint_identity(folder)
    identity = checkpoint_identity(folder, base="a" * 64)
    assert checkpoint_identity(folder, base="b" * 64) != identity
    (folder / "adapter_config.json").write_text(json.dumps({**config, "base_model_name_or_path": "/elsewhere"}))
    assert checkpoint_identity(folder, base="a" * 64) == identity
    (folder / "adapter_config.json").write_text(json.dumps({**config, "lora_alpha": 8}))
    assert checkpoint_identity(folder, base="a" * 64) != identity


# ---------------------------------------------------------------------------------------------------------------
# Damage and danger


@pytest.mark.parametrize("keep", [0, 1, 7, 8, 9, 60, -1])
def test_truncated_files_are_named(tmp_path: Path, keep: int) -> None:
    file = save(tmp_path / "a", arrays()) / "model.safetensors"
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(IntegrityError, match=r"corrupt: .*model\.safetensors") as raised:
        checkpoint_identity(file.parent)
    assert raised.value.exit_code == 5


def test_a_hundred_bit_flips_change_the_identity_or_are_refused(tmp_path: Path) -> None:
    file = save(tmp_path / "a", arrays()) / "model.safetensors"
    whole, identity, dice = file.read_bytes(), checkpoint_identity(file), random.Random(0)
    start = 8 + int.from_bytes(whole[:8], "little")
    for _ in range(100):
        data = bytearray(whole)
        data[dice.randrange(start, len(data))] ^= 1 << dice.randrange(8)
        file.write_bytes(data)
        assert checkpoint_identity(file) != identity
    for _ in range(100):  # the header: a flip in the format's free-form metadata or in blanks may mean nothing
        data = bytearray(whole)
        data[dice.randrange(8)] ^= 1 << dice.randrange(8)
        file.write_bytes(data)
        with pytest.raises(IntegrityError):
            checkpoint_identity(file)


def test_extra_bytes_gaps_and_overlaps_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "x.safetensors"
    file.write_bytes(safetensors_bytes({"a": ("U8", (2,), b"ab")}) + b"x")
    with pytest.raises(IntegrityError, match="are expected"):
        read_header(file)
    for offsets in ([[0, 2], [3, 5]], [[0, 2], [1, 3]], [[2, 4], [2, 4]], [[0, 2], [-2, 0]]):
        entries = {n: {"dtype": "U8", "shape": [2], "data_offsets": o} for n, o in zip("ab", offsets, strict=True)}
        header = json.dumps(entries).encode()
        file.write_bytes(struct.pack("<Q", len(header)) + header + b"x" * max(o[1] for o in offsets))
        with pytest.raises(IntegrityError):
            read_header(file)


@pytest.mark.parametrize(
    "header",
    [
        b"", b"[]", b"{", b'{"a": 1}', b'{"a": {"dtype": "F99", "shape": [1], "data_offsets": [0, 4]}}',
        b'{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}',
        b'{"a": {"dtype": "F32", "shape": [1.0], "data_offsets": [0, 4]}}',
        b'{"a": {"dtype": "F32", "shape": [-1, -1], "data_offsets": [0, 4]}}',
        b'{"a": {"dtype": "F32", "shape": "1", "data_offsets": [0, 4]}}', b"[" * 100_000,
    ],
)  # fmt: skip
def test_damaged_headers_are_refused(tmp_path: Path, header: bytes) -> None:
    file = tmp_path / "x.safetensors"
    file.write_bytes(struct.pack("<Q", len(header)) + header + b"\x00" * 4)
    with pytest.raises(IntegrityError, match=r"corrupt: .*x\.safetensors"):
        read_header(file)


def test_a_huge_header_is_refused_before_it_is_read(tmp_path: Path) -> None:
    file = tmp_path / "x.safetensors"
    file.write_bytes(struct.pack("<Q", 100 * 2**30) + b"{}")
    with pytest.raises(IntegrityError):
        read_header(file)


def test_a_missing_shard_and_a_tensor_twice_are_named(tmp_path: Path) -> None:
    folder = save(tmp_path / "a", *parts(arrays(), 2))
    (folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(IntegrityError, match="model-00002-of-00002"):
        checkpoint_identity(folder)
    twice = save(tmp_path / "b", arrays())
    save_file(arrays(), twice / "copy.safetensors")
    with pytest.raises(IntegrityError, match="holds tensor"):
        checkpoint_identity(twice)


@pytest.mark.parametrize("index", [b"{", b"[]", b"{}", b'{"weight_map": {"a": 1}}'])
def test_a_damaged_index_is_refused(tmp_path: Path, index: bytes) -> None:
    (tmp_path / "model.safetensors.index.json").write_bytes(index)
    with pytest.raises(IntegrityError):
        checkpoint_identity(tmp_path)


@pytest.mark.parametrize("name", ["../secret.safetensors", "/etc/passwd", "a/../../x"])
def test_an_index_cannot_lead_out(tmp_path: Path, name: str) -> None:
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": name}}))
    with pytest.raises(UnsafePath):
        checkpoint_identity(tmp_path)


def test_pickles_are_refused_and_not_opened(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    payload = b"cposix\nsystem\n(S'touch " + str(canary).encode() + b"'\ntR."
    folder = tmp_path / "a"
    folder.mkdir()
    for name in ("pytorch_model.bin", "training_args.bin", "model.pt"):
        (folder / name).write_bytes(payload)
    with pytest.raises(UnsafeArtifact, match="pickles") as raised:
        checkpoint_identity(folder)
    assert raised.value.exit_code == 5
    (folder / "model.safetensors").write_bytes(payload)
    with pytest.raises(IntegrityError):
        checkpoint_identity(folder)
    assert not canary.exists()


def test_no_checkpoint_is_said(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(NotFound):
            checkpoint_identity(path)
