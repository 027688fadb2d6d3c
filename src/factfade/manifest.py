"""The manifest of a step: what it was made from, every file it published with size and SHA-256, and its record.

A manifest is written after everything it lists, so its presence means "complete". It carries a hash of itself and
has one byte form, so that a single flipped bit in it is found. Readers trust what a manifest lists and nothing else.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from factfade import durable
from factfade.errors import IntegrityError, RunFailed, UnsafeArtifact, UnsafePath, UsageError
from factfade.keys import StepKey, normalised, sha256_of
from factfade.paths import checked_relative, inside
from factfade.text import safe_text

MANIFEST_VERSION = 1
MAX_BYTES = 64 * 2**20
# What torch, numpy and trainers pickle into. Nothing that is published here may need unpickling to be read.
PICKLES = frozenset({".bin", ".ckpt", ".joblib", ".pickle", ".pkl", ".pt", ".pth"})


@dataclass(frozen=True, kw_only=True)
class FileEntry:
    """Size and hex SHA-256 of one published file."""

    bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """A committed step (or shard). `files` maps paths relative to `folder` to their entries.

    `record` is what the step counted and resolved: equal for equal runs. `times` is everything that differs
    between equal runs (seconds, peak memory, the date); comparisons leave it out.
    """

    folder: Path
    step: str
    key: Mapping[str, Any]
    key_sha256: str
    files: Mapping[str, FileEntry]
    libraries: Mapping[str, str] = field(default_factory=dict)
    record: Mapping[str, Any] = field(default_factory=dict)
    times: Mapping[str, Any] = field(default_factory=dict)

    @property
    def identity(self) -> str:
        """Hash of the published contents (names and SHA-256), to be an input identity of later steps."""
        return sha256_of({name: entry.sha256 for name, entry in self.files.items()})

    @property
    def bytes(self) -> int:
        """Size of all published files together."""
        return sum(entry.bytes for entry in self.files.values())

    def path(self, name: str) -> Path:
        """A published file, or a folder that holds published files; KeyError for anything else."""
        if name not in self.files and not any(file.startswith(f"{name}/") for file in self.files):
            raise KeyError(f"{self.step} has published no {name}")
        return inside(self.folder, name)

    def verify(self) -> None:
        """Read every file again; IntegrityError names the first one that is missing, short, long or changed."""
        for name in self.files:
            self.verify_file(name)

    def verify_file(self, name: str) -> Path:
        """Check one published file and return its path."""
        entry, path = self.files[name], inside(self.folder, name)
        try:
            size = path.stat().st_size
            digest = durable.sha256_file(path)[0] if size == entry.bytes else ""
        except (FileNotFoundError, NotADirectoryError):
            raise _damaged(path, self, "is missing") from None
        self._compare(path, entry, size, digest)
        return path

    def read_file(self, name: str) -> bytes:
        """The bytes of a published file, checked: what is returned is what was hashed."""
        entry, path = self.files[name], inside(self.folder, name)
        try:
            data = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            raise _damaged(path, self, "is missing") from None
        self._compare(path, entry, len(data), hashlib.sha256(data).hexdigest())
        return data

    def _compare(self, path: Path, entry: FileEntry, size: int, digest: str) -> None:
        if size != entry.bytes:
            raise _damaged(path, self, f"has {size:,} bytes where {entry.bytes:,} are expected")
        if digest != entry.sha256:
            raise _damaged(path, self, "has other content than was written")


def _damaged(path: Path, manifest: Manifest, what: str) -> IntegrityError:
    return IntegrityError(
        f"{safe_text(path, keep='')} {what} (committed by {manifest.step})",
        path=path,
        hint=f"restore it from a copy, or remove {manifest.folder} and the later generations to compute them again",
    )


def manifest_bytes(manifest: Manifest) -> bytes:
    """The one byte form of a manifest."""
    body: dict[str, Any] = {
        "manifest_version": MANIFEST_VERSION,
        "step": manifest.step,
        "key": dict(manifest.key),
        "key_sha256": manifest.key_sha256,
        "libraries": dict(manifest.libraries),
        "files": {n: {"bytes": e.bytes, "sha256": e.sha256} for n, e in manifest.files.items()},
        "record": dict(manifest.record),
        "times": dict(manifest.times),
    }
    return durable.json_bytes({**body, "manifest_sha256": sha256_of(body)})


def read_manifest(path: Path, *, folder: Path | None = None) -> Manifest | None:
    """The manifest in a file; None when there is no file. IntegrityError when it is damaged.

    The paths it lists are relative to `folder`: where the manifest lies, unless another one is given.
    Files it lists are not looked at: `Manifest.verify` does that.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise IntegrityError(f"{path} is too large for a manifest", path=path)
        raw = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    hint = f"restore it from a copy, or remove it to compute {path.stem} again"
    try:
        body = json.loads(raw)
        version = body["manifest_version"]
        intact = durable.json_bytes(body) == raw
        claimed = body.pop("manifest_sha256")
        intact = intact and claimed == sha256_of(body)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise IntegrityError(f"{path} is damaged: it is not a manifest", path=path, hint=hint) from None
    if not intact:
        raise IntegrityError(f"{path} is damaged: its own hash does not match", path=path, hint=hint)
    if version != MANIFEST_VERSION:
        raise UsageError(
            f"{path} has manifest version {version}; this factfade reads version {MANIFEST_VERSION}",
            hint="read it with the factfade version that made it",
        )
    try:
        for name in body["files"]:
            checked_relative(name)
        files = {
            name: FileEntry(bytes=int(entry["bytes"]), sha256=str(entry["sha256"]))
            for name, entry in body["files"].items()
        }
        return Manifest(
            folder=folder or path.parent,
            step=body["step"],
            key=body["key"],
            key_sha256=body["key_sha256"],
            files=files,
            libraries=body["libraries"],
            record=body["record"],
            times=body["times"],
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise IntegrityError(f"{path} is not a manifest: {error}", path=path, hint=hint) from None


def new_manifest(
    folder: Path,
    step: str,
    key: StepKey,
    files: Mapping[str, FileEntry],
    *,
    record: Mapping[str, Any],
    times: Mapping[str, Any],
) -> Manifest:
    """A manifest as it is about to be written: key resolved, record normalised, the date added to the times."""
    stamp = {"finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
    try:
        plain = normalised({"record": record, "times": {**stamp, **times}})
    except (TypeError, ValueError) as error:
        raise RunFailed(f"the record of {step} in {folder} cannot be stored: {error}") from error
    return Manifest(
        folder=folder,
        step=step,
        key=key.fields(),
        key_sha256=key.sha256,
        files=dict(sorted(files.items())),
        libraries=dict(key.libraries),
        record=plain["record"],
        times=plain["times"],
    )


def files_below(folder: Path) -> Iterator[str]:
    """Relative paths of the regular files below a folder, sorted; UnsafePath for a link or a special file."""
    found: list[str] = []
    for parent, folders, names in os.walk(folder):
        for name in [*folders, *names]:
            path = Path(parent, name)
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                raise UnsafePath(f"{safe_text(path, keep='')} is a link or a special file: a step publishes neither")
        found += (Path(parent, name).relative_to(folder).as_posix() for name in names)
    yield from sorted(found)


def hashed(folder: Path) -> dict[str, FileEntry]:
    """Entries of all files below a folder that is about to be published; refuses pickles."""
    entries: dict[str, FileEntry] = {}
    for name in files_below(folder):
        if Path(name).suffix.lower() in PICKLES:
            raise UnsafeArtifact(
                f"{name} is a pickle: a step publishes none",
                path=folder / name,
                hint="save weights as safetensors and state as JSON",
            )
        digest, size = durable.sha256_file(folder / checked_relative(name))
        entries[name] = FileEntry(bytes=size, sha256=digest)
    return entries
