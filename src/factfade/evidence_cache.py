"""Evidence by content: when a stored evaluation may stand for another one, and how it is taken over.

An evaluation's key (`assembly.Parts.evaluate_key`) holds everything that its answers depend on. Here the key is made
of contents alone: weights, configuration, tokenizer and chat template of the checkpoint and of the base, the question
sets and the corpus by their hashes, formats, decoding, seeds, dtype and the kind of device, the version of the scoring
code. So a folder that moved is recognised, and one flipped byte is another key. Nothing is loaded to make one.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from factfade import tables
from factfade.assembly import Parts
from factfade.auditfolder import BASE, CHECKPOINTS, EARLIER, is_audit
from factfade.durable import sha256_file
from factfade.errors import FactfadeError
from factfade.evaluate import FLUENCY_FILE, OWN_FILE
from factfade.identity import ADAPTER_CONFIG, checkpoint_identity
from factfade.keys import StepKey, sha256_of
from factfade.manifest import Manifest, read_manifest
from factfade.models import loading
from factfade.models.loading import read_json
from factfade.steps import Step

STEP = "evaluate"
# A configuration's words on where it came from, which nothing is computed from.
PLACE = ("_name_or_path", "transformers_version")
CONFIGS = ("config.json", "generation_config.json")
TOKENIZER = (
    "tokenizer.json", "special_tokens_map.json", "added_tokens.json", "vocab.json", "vocab.txt", "merges.txt",
    "tokenizer.model", "spiece.model", "sentencepiece.bpe.model",
)  # fmt: skip
TOKENIZER_CONFIG = "tokenizer_config.json"
TEMPLATES = ("chat_template.jinja", "chat_template.json")
# Audits beside an audit are looked through for evidence, at most so many.
MAX_BESIDE = 200


@dataclass(frozen=True, kw_only=True)
class Content:
    """The identity of a checkpoint, field by field, in hex SHA-256."""

    weights: str
    config: str
    tokenizer: str
    template: str

    def inputs(self, prefix: str = "") -> dict[str, str]:
        """As the inputs of a step's key; the weights are the "checkpoint" (or the "reference") itself."""
        return {
            prefix or "checkpoint": self.weights,
            **{f"{prefix or 'checkpoint'}_{name}": getattr(self, name) for name in ("config", "tokenizer", "template")},
        }


def content_of(folder: Path, *, base: Path | None = None, base_content: Content | None = None) -> Content:
    """The content of a model's folder, or of an adapter's on its base. Reads every byte of the weights.

    An adapter without a tokenizer of its own has its base's. Raises what `checkpoint_identity` raises.
    """
    adapter = (folder / ADAPTER_CONFIG).is_file()
    weights = checkpoint_identity(folder, base=base_content.weights if adapter and base_content else None)
    text = folder if base is None or has_tokenizer(folder) or not adapter else base
    return Content(
        weights=weights,
        config=base_content.config if adapter and base_content else _config(folder),
        tokenizer=tokenizer_files_sha256(text),
        template=_template(text),
    )


def has_tokenizer(folder: Path) -> bool:
    """Whether a folder brings a tokenizer."""
    return any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt"))


def tokenizer_files_sha256(folder: Path) -> str:
    """Hash of a tokenizer's files, without its chat template; saved in other words it is another one."""
    found: dict[str, Any] = {name: sha256_file(folder / name)[0] for name in TOKENIZER if (folder / name).is_file()}
    if (folder / TOKENIZER_CONFIG).is_file():
        settings = read_json(folder / TOKENIZER_CONFIG)
        found[TOKENIZER_CONFIG] = _hash({k: v for k, v in settings.items() if k != "chat_template"})
    return sha256_of(found)


def same_tokenizer(one: Path, other: Path) -> bool:
    """Whether two folders hold one tokenizer: equal in its pipeline, less the state of padding and truncation."""
    found = [_pipeline(folder / "tokenizer.json") for folder in (one, other)]
    return None not in found and found[0] == found[1]


def _pipeline(file: Path) -> str | None:
    if not file.is_file():
        return None
    try:
        return _hash({k: v for k, v in read_json(file).items() if k not in ("padding", "truncation")})
    except FactfadeError:
        return None


def _config(folder: Path) -> str:
    files = {name: read_json(folder / name) for name in CONFIGS if (folder / name).is_file()}
    return _hash({name: {k: v for k, v in file.items() if k not in PLACE} for name, file in files.items()})


def _template(folder: Path) -> str:
    found: dict[str, Any] = {name: sha256_file(folder / name)[0] for name in TEMPLATES if (folder / name).is_file()}
    if (folder / TOKENIZER_CONFIG).is_file():
        found["config"] = _hash(read_json(folder / TOKENIZER_CONFIG).get("chat_template"))
    return sha256_of(found)


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def key_of(parts: Parts, content: Content, base: Content) -> StepKey:
    """The key of an evaluation by content: the loop's own, without the words for where things lie.

    The device is the one that computes: what a GPU answered under "auto" is not what a CPU answers under "auto".
    Raises ConfigError where CUDA is asked for and absent.
    """
    key = parts.evaluate_key({**content.inputs(), **base.inputs("reference")})
    evaluation = {k: v for k, v in key.settings["evaluation"].items() if k != "questions"}  # by identity in the inputs
    model = {k: v for k, v in key.settings["model"].items() if k != "revision"}
    model["device"] = loading.pick_device(model["device"])
    return replace(key, settings={**key.settings, "evaluation": evaluation, "model": model})


class Evidence:
    """Stored evaluations by their key: those of the audit itself, of the audits beside it, and of named folders."""

    def __init__(self, root: Path, others: Iterable[Path] = ()) -> None:
        self._found: dict[str, list[Path]] = {}
        for audit in dict.fromkeys([root, *others, *_beside(root)]):
            if is_audit(audit) and _ours(audit):
                for folder in _folders(audit):
                    self.add(folder)

    def add(self, folder: Path) -> None:
        """Takes the evaluation in a folder up, if there is one."""
        manifest = _manifest(folder)
        if manifest is not None:
            self._found.setdefault(manifest.key_sha256, []).append(folder)

    def find(self, key: StepKey, *, allow: Collection[str] = ()) -> Manifest | None:
        """A committed evaluation under this key whose files are as they were written; None where there is none."""
        for folder in self._found.get(key.sha256, ()):
            manifest = _manifest(folder)
            if manifest is None or key.differences(manifest.key, manifest.libraries, allow=allow):
                continue
            try:
                manifest.verify()
            except FactfadeError:
                continue  # damaged: it is made again
            return manifest
        return None

    def moved(self, old: Path, new: Path) -> None:
        """A folder of evidence stands elsewhere now."""
        for folders in self._found.values():
            folders[:] = [new if folder == old else folder for folder in folders]


def _beside(root: Path) -> list[Path]:
    parent = root.absolute().parent
    if not parent.is_dir():
        return []
    return [path for path in sorted(parent.iterdir())[:MAX_BESIDE] if path.is_dir() and path != root]


def _ours(folder: Path) -> bool:
    """Whether nobody else can have written there: evidence is taken over without asking a model."""
    found = folder.stat()
    return found.st_uid == os.getuid() and not found.st_mode & 0o002


def _folders(audit: Path) -> list[Path]:
    found = [audit / BASE]
    for name in (CHECKPOINTS, EARLIER):
        if (audit / name).is_dir():
            found += sorted(path for path in (audit / name).iterdir() if path.is_dir() and not path.is_symlink())
    return found


def _manifest(folder: Path) -> Manifest | None:
    try:
        return read_manifest(folder / f"{STEP}.json")
    except FactfadeError:
        return None


def take_over(source: Manifest, step: Step, *, place: Mapping[str, Any], beside: Mapping[str, Any]) -> None:
    """Commits `step` with the rows of a stored evaluation, under the place that they have here.

    `place` are lineage, seed and generation, `beside` the further columns of the evidence (checkpoint and step).
    """
    for name in source.files:
        if name.startswith("evidence/"):
            frame = tables.from_bytes(source.read_file(name), "evidence", name=source.folder / name)
            stem = Path(name).stem
            record = source.record.get("evidence", {}).get(stem, {"rows": len(frame)})
            step.shard(stem).write_rows(frame.assign(**place, **beside), "evidence", record=record)
    with step.writing() as draft:
        files: dict[str, tables.Table] = {FLUENCY_FILE: "fluency", OWN_FILE: "completions"}
        for name, table in files.items():
            frame = tables.from_bytes(source.read_file(name), table, name=source.folder / name)
            tables.write(draft.path / name, frame.assign(**place), table)
        draft.record.update(source.record)
        draft.times.update({**source.times, "taken_over": True})
