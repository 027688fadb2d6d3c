"""Weights and tokenizer from a folder or a hub name: safetensors only, no code of the artefact's own, nothing silent.

Everything in the folder is untrusted. It is looked through before any of it is loaded, and what cannot be used is
refused with what to do instead.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from factfade.errors import ConfigError, DataError, IntegrityError, NotFound, UnsafeArtifact, UsageError
from factfade.text import safe_text

WORLD = "world"
PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt")
# What a hub snapshot may bring: weights as safetensors, and the texts that describe them.
FETCHED = ("*.safetensors", "*.json", "*.txt", "*.model", "*.jinja")
MAX_JSON_BYTES = 10_000_000
# A model may have more rows than its tokenizer has tokens (rows are padded to round numbers), but not many more:
# then the tokenizer belongs to another model. The widest gaps of published models are a few hundred rows.
MAX_SPARE_ROWS = 1024
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")


def locate(path: str, revision: str | None = None) -> Path:
    """The folder of the weights. "world" is the shipped model. A hub name is fetched: the one use of a network.

    Raises NotFound where there is no such folder, and UsageError where a hub name cannot be fetched.
    """
    if path == WORLD:
        from factfade.world import model_path

        return model_path()
    folder = Path(path).expanduser()
    if folder.is_dir():
        return folder
    if folder.is_file():
        raise UsageError(
            f"{safe_text(path)} is a file", hint="give the folder that holds config.json and *.safetensors"
        )
    looks_local = path.startswith((".", "~", os.sep)) or path.count("/") > 1 or not _HUB_NAME.fullmatch(path)
    if looks_local:
        raise NotFound(
            f"there is no model folder {safe_text(path)}",
            hint='set model.path to a folder that save_pretrained wrote, to a hub name ("owner/name"), or to "world"',
        )
    return _fetch(path, revision)


def is_hub_name(text: str) -> bool:
    """Whether a text names a model on the hub ("owner/name") and nothing on this disk.

    "runs/chekpoint-5" beside a folder "runs" is a misspelt path: nobody asked for a network.
    """
    owner, _, name = text.partition("/")
    local = os.path.lexists(text) or os.path.lexists(owner)
    return bool(name) and not local and not owner.startswith(".") and _HUB_NAME.fullmatch(text) is not None


def _fetch(name: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=list(FETCHED)))
    except Exception as error:  # the client passes on what its transport raises, of whatever class
        shown = safe_text(name, limit=120, keep="")
        raise UsageError(
            f"the model {shown} is no folder here and could not be fetched: {safe_text(error, limit=300)}",
            hint=f"check the name and the network; without one, run `hf download {shown}` on a machine that has it and "
            "give the folder that it prints",
        ) from error


def look_through(folder: Path) -> Mapping[str, Any]:
    """The model's config.json as plain data, once the folder has passed: no code, no pickles alone, no bare adapter.

    Raises UnsafeArtifact for what would execute something, UsageError for what is no whole model.
    """
    files = {file.name for file in folder.iterdir()}
    if "config.json" not in files and "adapter_config.json" in files:
        raise UsageError(
            f"{folder} holds an adapter without its base model",
            hint="merge it first: PeftModel.from_pretrained(base, folder).merge_and_unload().save_pretrained(merged)",
        )
    if "config.json" not in files:
        raise UsageError(f"{folder} holds no config.json", hint="give a folder that save_pretrained wrote")
    for name in ("config.json", "tokenizer_config.json", "generation_config.json"):
        if name in files and "auto_map" in read_json(folder / name):
            raise UnsafeArtifact(
                f"{folder / name} asks for code of its own (auto_map), which is never run",
                path=folder / name,
                hint="use a model that transformers itself knows; if it knows this one, remove auto_map from a copy",
            )
    if not any(name.endswith(".safetensors") for name in files):
        pickles = sorted(name for name in files if name.endswith(PICKLES))
        if pickles:
            raise UnsafeArtifact(
                f"{folder} holds weights as pickles alone ({safe_text(pickles[0])}), which can execute anything",
                path=folder / pickles[0],
                hint="convert them where you trust them: model.save_pretrained(folder) writes safetensors",
            )
        raise UsageError(f"{folder} holds no *.safetensors", hint="give a folder that save_pretrained wrote")
    return read_json(folder / "config.json")


def read_json(file: Path) -> dict[str, Any]:
    """A JSON object of the artefact, of bounded size. DataError when it is none."""
    try:
        if file.stat().st_size > MAX_JSON_BYTES:
            raise DataError(f"larger than {MAX_JSON_BYTES} bytes", file=file, hint="this is no model's configuration")
        value = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise DataError(
            f"cannot be read as JSON: {safe_text(error)}", file=file, hint="download the model again"
        ) from error
    if not isinstance(value, dict):
        raise DataError("is no JSON object", file=file, hint="download the model again")
    return value


def pick_device(wanted: str) -> str:
    """ "auto" is CUDA where there is some; ConfigError where CUDA is asked for and absent."""
    import torch

    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if wanted == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            "cuda is asked for, and torch sees no CUDA device", field="model.device", hint='use "auto" or "cpu"'
        )
    return wanted


def load_tokenizer(folder: Path) -> Any:
    """The folder's own tokenizer. UsageError where transformers cannot build it."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except (OSError, ValueError, KeyError, TypeError, ImportError, AttributeError) as error:
        raise UsageError(
            f"{folder}: no tokenizer can be loaded: {safe_text(error, limit=300)}",
            hint="the folder must hold tokenizer.json (save it with tokenizer.save_pretrained)",
        ) from error


@dataclass(frozen=True, kw_only=True)
class Opened:
    """What a folder's weights are opened as: the class of transformers that does it, and what a refusal says.

    Missing weights whose name holds one of `unused` are not looked for: they are not read afterwards.
    """

    auto: str
    called: str
    refused: str
    lacking: str
    unused: tuple[str, ...] = ()


LANGUAGE_MODEL = Opened(
    auto="AutoModelForCausalLM",
    called="a causal language model",
    refused="give a causal language model in transformers format, of a type that this transformers knows",
    lacking="download or save the model again: its files and its config.json do not belong together",
)


def load_weights(folder: Path, *, dtype: str, device: str, kind: Opened = LANGUAGE_MODEL) -> Any:
    """The model in evaluation mode, with every weight read from safetensors.

    Raises UsageError when transformers cannot open the folder as `kind`, IntegrityError when the files lack weights,
    or hold them in other shapes, than config.json says: transformers would fill them at random. Draws nothing from
    the global random generators.
    """
    import torch
    import transformers

    devices = [torch.cuda.current_device()] if torch.cuda.is_available() else []
    with quiet(), torch.random.fork_rng(devices=devices):
        try:
            loaded: Any = getattr(transformers, kind.auto).from_pretrained(
                folder,
                dtype=getattr(torch, dtype),
                use_safetensors=True,
                trust_remote_code=False,
                local_files_only=True,
                output_loading_info=True,
            )
        except (OSError, ValueError, KeyError, TypeError, ImportError, RuntimeError, AttributeError) as error:
            raise UsageError(
                f"{folder} cannot be loaded as {kind.called}: {safe_text(error, limit=300)}", hint=kind.refused
            ) from error
    net, report = loaded
    lacked = [*report["missing_keys"], *(key[0] for key in report.get("mismatched_keys", ()))]
    missing = sorted(key for key in lacked if not any(name in key for name in kind.unused))
    if missing:
        raise IntegrityError(
            f"{folder} lacks {len(missing)} of its weights, or holds them in other shapes: {safe_text(missing[0])}",
            path=folder,
            hint=kind.lacking,
        )
    return net.to(device).eval()


@contextmanager
def quiet() -> Generator[None]:
    """Without transformers' progress bars and reports of loading, which are not ours to print."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def check_vocabulary(net: Any, tokenizer: Any, folder: Path) -> None:
    """UsageError where tokenizer and model cannot belong together. Nothing is ever resized."""
    rows = int(net.get_input_embeddings().weight.shape[0])
    tokens = max(tokenizer.get_vocab().values(), default=-1) + 1
    special = max(tokenizer.all_special_ids, default=-1) + 1
    if max(tokens, special) > rows or rows - tokens > max(MAX_SPARE_ROWS, rows // 20):
        raise UsageError(
            f"{folder}: the tokenizer has {max(tokens, special)} tokens and the model {rows} rows for them",
            hint="put the model's own tokenizer into the folder (tokenizer.json, tokenizer_config.json)",
        )


def positions(config: Any, tokenizer: Any) -> int:
    """How many positions the model has: its config's word, else the tokenizer's, else 2,048."""
    text = config.get_text_config()
    for name in ("max_position_embeddings", "n_positions", "n_ctx", "max_seq_len", "max_sequence_length", "seq_length"):
        value = getattr(text, name, None)
        if isinstance(value, int) and value > 0:
            return value
    stated = getattr(tokenizer, "model_max_length", None)
    return int(stated) if isinstance(stated, int) and 0 < stated < 10**9 else 2048
