"""Steps and shards: committed or absent.

    step = store.step(folder, "train", key)
    if not step.committed:
        with step.writing() as draft:
            model.save_pretrained(draft.path / "checkpoint")
            draft.record["tokens"] = tokens

A step writes into a draft folder beside its place. When the block ends without an exception the files are hashed,
fsynced and renamed into place, and the manifest `train.json` is written last. Whatever happens before that leaves the
step absent: the next attempt removes the draft and moves what was renamed already into `.incomplete/`.

Long evaluations commit shard by shard (`step.shard`), so that an interrupted one repeats at most one shard.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Collection, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from factfade import durable
from factfade.errors import IntegrityError, OutOfSpace, RunFailed, StorageFailed
from factfade.keys import StepKey, refuse
from factfade.manifest import FileEntry, Manifest, files_below, hashed, manifest_bytes, new_manifest, read_manifest
from factfade.paths import inside, is_name

if TYPE_CHECKING:
    import pandas as pd

    from factfade.tableschema import Table

INCOMPLETE = ".incomplete"
WRITING = ".writing"
SHARDS = ".shards"


@dataclass(frozen=True, kw_only=True)
class Draft:
    """A step that is being written. Files go below `path`; `record` and `times` go into the manifest.

    `record` holds what is equal in equal runs (counts, requested and achieved, resolved facts), `times` what is
    not (seconds, peak memory). Both hold plain data only.
    """

    path: Path
    record: dict[str, Any] = field(default_factory=dict)
    times: dict[str, Any] = field(default_factory=dict)


class Step:
    """One step in a generation's folder. Made by `store.step`; the caller holds the run's lock while writing."""

    def __init__(self, folder: Path, name: str, key: StepKey, allow: Collection[str] = ()) -> None:
        if not is_name(name):
            raise ValueError(f"{name!r} is no name for a step")
        self.folder = folder
        self.name = name
        self.key = key
        self.allow = frozenset(allow)
        self._manifest: Manifest | None = None
        self._shards: dict[str, Shard] = {}

    @property
    def manifest_path(self) -> Path:
        """Where the manifest is, or will be."""
        return self.folder / f"{self.name}.json"

    @property
    def committed(self) -> bool:
        """Whether the step is complete under this key, with every file as it was written.

        SettingsChanged names the fields when it was made under another key; IntegrityError names a damaged file.
        """
        if self._manifest is None:
            manifest = read_manifest(inside(self.folder, f"{self.name}.json"))
            if manifest is None:
                return False
            self.check_key(manifest, f"{self.name} in {self.folder}")
            manifest.verify()
            self._manifest = manifest
        return True

    @property
    def manifest(self) -> Manifest:
        """The manifest of the committed step; RunFailed when it is not committed."""
        if not self.committed or self._manifest is None:
            raise RunFailed(f"{self.name} in {self.folder} is not complete")
        return self._manifest

    def path(self, name: str) -> Path:
        """A file or folder that the committed step published."""
        return self.manifest.path(name)

    def check_key(self, manifest: Manifest, what: str) -> None:
        """SettingsChanged naming the fields when the manifest was made under another key than this step's."""
        refuse(self.key.differences(manifest.key, manifest.libraries, allow=self.allow), what=what)

    def shard(self, name: str, *, folder: str = "evidence", suffix: str = ".parquet") -> Shard:
        """A part of the step's output that is committed alone, as `<folder>/<name><suffix>`.

        All shards asked for by this object are listed in the step's manifest when it commits.
        """
        return self._part(name, folder, suffix, published=True)

    def scratch(self, name: str, *, suffix: str = ".parquet") -> Shard:
        """A shard that is not published: it survives an interruption and goes when the step is committed.

        For output that is assembled into one file at the end (batches of completions).
        """
        return self._part(name, f".{self.name}{SHARDS}/scratch", suffix, published=False)

    def _part(self, name: str, folder: str, suffix: str, *, published: bool) -> Shard:
        if not is_name(name) or (published and not is_name(folder)):
            raise ValueError(f"{folder}/{name} is no name for a shard")
        shard = Shard(self, f"{folder}/{name}{suffix}", published=published)
        return self._shards.setdefault(shard.place, shard)

    @contextlib.contextmanager
    def writing(self) -> Generator[Draft]:
        """Write the step: a `Draft` with an empty folder; committed when the block ends, absent when it raises."""
        draft = Draft(path=self.folder / f".{self.name}{WRITING}")
        durable.make_folder(self.folder)
        durable.remove_tree(draft.path)
        durable.make_folder(draft.path)
        durable.reach(f"{self.name}.begin")
        started, used = time.monotonic(), time.process_time()
        try:
            yield draft
            draft.times.setdefault("seconds", round(time.monotonic() - started, 3))
            # What the step cost on a machine that others use too: this process's, all of its threads.
            draft.times.setdefault("processor_seconds", round(time.process_time() - used, 3))
            self._manifest = self._commit(draft)
        except Exception as error:
            full = error if isinstance(error, OutOfSpace) else durable.out_of_space(error, draft.path)
            if full is None:
                raise
            # The draft is what fills the disk: give it back, so that freeing what is missing is enough.
            with contextlib.suppress(OSError, StorageFailed):
                durable.remove_tree(draft.path)
            if full is error:
                raise
            raise full from error

    def _commit(self, draft: Draft) -> Manifest:
        files = hashed(draft.path)
        entries = sorted(path.name for path in draft.path.iterdir())
        others = self._published_by_others()
        kept = [shard for shard in self._shards.values() if shard.published]
        others |= {self.manifest_path.name, *(shard.folder for shard in kept)}
        wrong = [entry for entry in entries if entry.startswith(".") or entry in others]
        if wrong:
            raise RunFailed(f"{self.name} in {self.folder} writes {wrong[0]}, which is not its own")
        for shard in kept:
            files[shard.place] = shard.entry
        durable.sync_tree(draft.path)
        for name in entries:
            if (self.folder / name).exists() or (self.folder / name).is_symlink():
                self.set_aside(name)
            durable.move(draft.path / name, self.folder / name)
        self._set_aside_foreign_shards(kept)
        durable.reach(f"{self.name}.moved")
        durable.remove_tree(draft.path)
        manifest = new_manifest(self.folder, self.name, self.key, files, record=draft.record, times=draft.times)
        durable.write_bytes(self.manifest_path, manifest_bytes(manifest))
        durable.reach(f"{self.name}.committed")
        if self._shards:
            durable.remove_tree(self.folder / f".{self.name}{SHARDS}")
        return manifest

    def _published_by_others(self) -> set[str]:
        taken: set[str] = set()
        for name, manifest in committed_steps(self.folder).items():
            if name != self.name:
                taken |= {file.split("/")[0] for file in manifest.files}
        return taken

    def set_aside(self, name: str) -> None:
        """Move something that no manifest lists into `.incomplete/`, in place of what an earlier attempt left."""
        target = self.folder / INCOMPLETE / self.name / name
        durable.make_folder(target.parent)
        durable.remove_tree(target)
        durable.move(self.folder / name, target)

    def _set_aside_foreign_shards(self, kept: Sequence[Shard]) -> None:
        ours = {shard.place for shard in kept}
        for folder in sorted({shard.folder for shard in kept}):
            for name in files_below(self.folder / folder):
                if f"{folder}/{name}" not in ours:
                    self.set_aside(f"{folder}/{name}")


class Shard:
    """A part of a step's output that is committed alone. Made by `Step.shard` and `Step.scratch`.

    Its own manifest lies in `.<step>.shards/` until the step's manifest takes over.
    """

    def __init__(self, step: Step, place: str, *, published: bool) -> None:
        self._step = step
        self.place = place
        self.published = published
        self.folder = place.rsplit("/", 1)[0]
        self.rejected = False
        """Whether a damaged shard was found here and moved aside."""
        self._manifest: Manifest | None = None

    @property
    def path(self) -> Path:
        """Where the shard's file is, or will be."""
        return inside(self._step.folder, self.place)

    @property
    def manifest_path(self) -> Path:
        """Where the shard's own manifest is, or will be."""
        name = self.place if self.published else self.place.split("/", 1)[1]
        return inside(self._step.folder, f".{self._step.name}{SHARDS}/{name}.json")

    @property
    def committed(self) -> bool:
        """Whether the shard is complete under the step's key.

        A damaged shard of an unfinished step is moved aside, said in `rejected` and computed again;
        SettingsChanged names the fields when it was made under another key.
        """
        if self._manifest is None:
            try:
                manifest = read_manifest(self.manifest_path, folder=self._step.folder)
                if manifest is None:
                    return False
                self._step.check_key(manifest, f"{self.place} in {self._step.folder}")
                manifest.verify()
                if set(manifest.files) != {self.place}:
                    raise IntegrityError(f"{self.manifest_path} belongs to another shard")
            except IntegrityError:
                self._reject()
                return False
            self._manifest = manifest
        return True

    @property
    def manifest(self) -> Manifest:
        """The manifest of the committed shard (its `record` and `times`); RunFailed when it is not committed."""
        if not self.committed or self._manifest is None:
            raise RunFailed(f"{self.place} in {self._step.folder} is not complete")
        return self._manifest

    @property
    def entry(self) -> FileEntry:
        """Size and hash of the committed shard's file."""
        return self.manifest.files[self.place]

    def write(
        self, data: bytes, *, record: Mapping[str, Any] | None = None, times: Mapping[str, Any] | None = None
    ) -> None:
        """Commit the shard's bytes with its record."""
        durable.make_folder(self.path.parent)
        durable.make_folder(self.manifest_path.parent)
        durable.write_bytes(self.path, data)
        manifest = new_manifest(
            self._step.folder,
            f"{self._step.name}.shard",
            self._step.key,
            {self.place: FileEntry(bytes=len(data), sha256=hashlib.sha256(data).hexdigest())},
            record=record or {},
            times=times or {},
        )
        durable.write_bytes(self.manifest_path, manifest_bytes(manifest))
        self._manifest = manifest
        durable.reach(f"{self._step.name}.shard")

    def write_rows(
        self,
        rows: Sequence[Mapping[str, Any]] | pd.DataFrame,
        table: Table,
        *,
        record: Mapping[str, Any] | None = None,
        times: Mapping[str, Any] | None = None,
    ) -> None:
        """Commit rows of the table "evidence", "fluency" or "completions"."""
        from factfade import tables

        self.write(tables.to_bytes(rows, table), record=record, times=times)

    def read(self) -> bytes:
        """The committed shard's bytes, checked."""
        return self.manifest.read_file(self.place)

    def read_rows(self, table: Table) -> pd.DataFrame:
        """The committed shard's rows, as a table."""
        from factfade import tables

        return tables.from_bytes(self.read(), table, name=self.path)

    def _reject(self) -> None:
        self.rejected = True
        for path in (self.path, self.manifest_path):
            if path.exists():
                self._step.set_aside(path.relative_to(self._step.folder).as_posix())


def committed_steps(folder: Path) -> dict[str, Manifest]:
    """The manifests in a generation's folder by step, in name order: what a reader may trust.

    IntegrityError for a damaged manifest. The files they list are checked when they are read.
    """
    found: dict[str, Manifest] = {}
    if not folder.is_dir():
        return found
    for path in sorted(folder.glob("*.json")):
        if is_name(path.stem) and (manifest := read_manifest(inside(folder, path.name))) is not None:
            if manifest.step != path.stem:
                raise IntegrityError(f"{path} is the manifest of {manifest.step}", path=path)
            found[manifest.step] = manifest
    return found
