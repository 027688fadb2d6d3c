"""The identity of a checkpoint: a SHA-256 over its tensors, however they are split into files.

Hashed are, in the order of the tensors' names, each name, dtype, shape and bytes. An output head whose bytes equal
the input embedding's is a tied tensor and counts once, as it does in checkpoints that leave it out. Headers are read
and bytes hashed from the safetensors files themselves: nothing is loaded, nothing is executed, torch is not needed.
Source: the safetensors format (8 bytes header length, JSON header, data).
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from factfade.errors import IntegrityError, NotFound, UnsafeArtifact
from factfade.keys import sha256_of
from factfade.manifest import PICKLES
from factfade.paths import inside_model
from factfade.text import safe_text

MAX_HEADER = 100 * 2**20  # the format's own cap
BITS = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("I16", "U16", "F16", "BF16"), 16),
    **dict.fromkeys(("I32", "U32", "F32"), 32),
    **dict.fromkeys(("I64", "U64", "F64", "C64"), 64),
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
}
ADAPTER_CONFIG = "adapter_config.json"
# Where the base lies and how the adapter was saved: no part of what it computes.
ADAPTER_PLACE = ("base_model_name_or_path", "revision", "inference_mode", "peft_version", "auto_mapping")
# Output heads that transformers ties to the input embedding, and the embeddings' names.
HEADS = ("lm_head.weight", "embed_out.weight", "output.weight", "cls.predictions.decoder.weight")
EMBEDDINGS = ("embed_tokens.weight", "wte.weight", "embed_in.weight", "word_embeddings.weight", "tok_embeddings.weight")


class Hashable(Protocol):
    """A tensor as its identity needs it: dtype in the words of safetensors, the hash of its bytes."""

    @property
    def name(self) -> str: ...
    @property
    def dtype(self) -> str: ...
    @property
    def shape(self) -> tuple[int, ...]: ...
    def sha256(self) -> str: ...


@dataclass(frozen=True, kw_only=True)
class Tensor:
    """Where one tensor's bytes lie: `begin` and `end` are positions in `file`."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    file: Path
    begin: int
    end: int

    def sha256(self) -> str:
        """Hex SHA-256 of the bytes, read in blocks."""
        digest = hashlib.sha256()
        with self.file.open("rb", buffering=0) as handle:
            handle.seek(self.begin)
            left = self.end - self.begin
            while left and (block := handle.read(min(left, 1 << 20))):
                digest.update(block)
                left -= len(block)
        if left:
            raise _corrupt(self.file, f"ends inside tensor {self.name}")
        return digest.hexdigest()


def checkpoint_identity(folder: str | Path, *, base: str | None = None) -> str:
    """Hex identity of the checkpoint in a folder (or of one safetensors file).

    An adapter's identity needs its base's and holds it, with the adapter's own settings. UnsafeArtifact when there
    are only pickles, IntegrityError naming the file when one is damaged, NotFound when there are no weights.
    """
    path = Path(folder)
    identity = identity_of(tensors(path))
    adapter = path / ADAPTER_CONFIG
    if path.is_dir() and adapter.is_file():
        if base is None:
            raise NotFound(f"{path} is an adapter", hint="name the base model it belongs to")
        settings = {k: v for k, v in _json(adapter, MAX_HEADER).items() if k not in ADAPTER_PLACE}
        identity = sha256_of({"adapter": identity, "base": base, "settings": settings})
    return identity


def identity_of(found: Iterable[Hashable]) -> str:
    """Hex identity of tensors, wherever they lie: on disk, or in memory."""
    return sha256_of([[t.name, t.dtype, list(t.shape), digest] for t, digest in _distinct(found)])


def _distinct(found: Iterable[Hashable]) -> list[tuple[Hashable, str]]:
    """Tensors in name order with their hashes, without heads that repeat an embedding."""
    hashed = [(tensor, tensor.sha256()) for tensor in sorted(found, key=lambda tensor: tensor.name)]
    embeddings = {(t.dtype, t.shape, digest) for t, digest in hashed if t.name.endswith(EMBEDDINGS)}
    return [
        (t, digest) for t, digest in hashed if not (t.name.endswith(HEADS) and (t.dtype, t.shape, digest) in embeddings)
    ]


def tensors(path: Path) -> Iterable[Tensor]:
    """All tensors of a checkpoint's folder or file, each name once."""
    found: dict[str, Tensor] = {}
    for file in weight_files(path):
        for tensor in read_header(file):
            if tensor.name in found:
                raise _corrupt(file, f"holds tensor {tensor.name}, as {found[tensor.name].file.name} does")
            found[tensor.name] = tensor
    return found.values()


def weight_files(path: Path) -> list[Path]:
    """The safetensors files that make up a checkpoint: those of the index where there is one, else all of them."""
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise NotFound(f"there is no checkpoint at {path}")
    index = path / "model.safetensors.index.json"
    if index.is_file():
        weights = _json(index, MAX_HEADER).get("weight_map")
        if not isinstance(weights, Mapping) or not all(isinstance(name, str) for name in weights.values()):
            raise _corrupt(index, "has no weight_map")
        files = [inside_model(path, name) for name in sorted(set(weights.values()))]
        for file in files:
            if not file.is_file():
                raise _corrupt(file, "is missing")
        return files
    files = sorted(path.glob("*.safetensors"))
    if files:
        return [inside_model(path, file.name) for file in files]
    pickles = sorted(file.name for file in path.iterdir() if file.suffix in PICKLES)
    if pickles:
        raise UnsafeArtifact(
            f"{path} has no safetensors, only pickles ({safe_text(pickles[0], limit=80, keep='')})",
            path=path / pickles[0],
            hint="convert it: AutoModelForCausalLM.from_pretrained(...).save_pretrained(...) writes safetensors",
        )
    raise NotFound(f"{path} holds no .safetensors file", hint="give the folder that holds model.safetensors")


def read_header(file: Path) -> list[Tensor]:
    """The tensors of one safetensors file; IntegrityError unless they fill the file exactly, without overlap."""
    size = file.stat().st_size
    with file.open("rb") as handle:
        length = int.from_bytes(handle.read(8), "little")
        if size < 8 or length > MAX_HEADER or 8 + length > size:
            raise _corrupt(file, f"has {size:,} bytes, too few for its header")
        raw = handle.read(length)
    try:
        header = json.loads(raw)
        entries = {name: entry for name, entry in header.items() if name != "__metadata__"}
        found = [_tensor(file, name, entry, 8 + length) for name, entry in entries.items()]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise _corrupt(file, "has a damaged header") from None
    end = 8 + length
    for tensor in sorted(found, key=lambda tensor: (tensor.begin, tensor.end)):
        if tensor.begin != end:
            raise _corrupt(file, f"has a gap or an overlap before tensor {tensor.name}")
        end = tensor.end
    if end != size:
        raise _corrupt(file, f"has {size:,} bytes where {end:,} are expected")
    return found


def _tensor(file: Path, name: str, entry: Mapping[str, Any], start: int) -> Tensor:
    shape = tuple(entry["shape"])
    begin, end = entry["data_offsets"]
    if not all(type(number) is int and number >= 0 for number in (*shape, begin, end)):
        raise ValueError(name)
    if (end - begin) * 8 != math.prod(shape) * BITS[entry["dtype"]]:
        raise ValueError(name)
    return Tensor(name=name, dtype=entry["dtype"], shape=shape, file=file, begin=start + begin, end=start + end)


def _json(path: Path, limit: int) -> dict[str, Any]:
    try:
        if path.stat().st_size > limit:
            raise _corrupt(path, "is too large")
        value = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        raise _corrupt(path, "is not JSON") from None
    if not isinstance(value, dict):
        raise _corrupt(path, "is not a JSON object")
    return value


def _corrupt(file: Path, what: str) -> IntegrityError:
    return IntegrityError(
        f"corrupt: {safe_text(file, keep='')} {safe_text(what, limit=200, keep='')}",
        path=file,
        hint="restore the file from a copy, or download it again",
    )
