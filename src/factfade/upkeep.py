"""What interrupted attempts left in an experiment's folder: found, and removed when asked.

Nothing here is ever read as a result. Drafts and temporary files are of no use to anybody; shards of an unfinished
step are its progress and are kept; what lies in `.incomplete/` was set aside for a look.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from factfade import durable
from factfade.manifest import Manifest
from factfade.steps import INCOMPLETE, SHARDS, WRITING, committed_steps
from factfade.store import EXPERIMENT, LOCK, ExperimentFolder, open_experiment

Kind = Literal["temporary", "draft", "set_aside", "progress", "unlisted"]
REMOVABLE: frozenset[Kind] = frozenset({"temporary", "draft", "set_aside"})


@dataclass(frozen=True, kw_only=True)
class Leftover:
    """Something no manifest lists: `temporary` (a file that was being written), `draft` (a step that was being
    written), `set_aside` (`.incomplete/`), `progress` (shards of an unfinished step), `unlisted` (anything else
    in a generation's folder). `bytes` is its size with everything below it."""

    path: Path
    kind: Kind
    bytes: int


def leftovers(root: str | Path) -> list[Leftover]:
    """Everything in an experiment's folder that no manifest lists, in path order."""
    experiment = open_experiment(root)
    found = list(_top(experiment))
    for folder in sorted(_generation_folders(experiment)):
        found += _below(folder, committed_steps(folder))
    return sorted(found, key=lambda leftover: leftover.path)


def clean(root: str | Path, *, kinds: Collection[Kind] = REMOVABLE) -> list[Leftover]:
    """Remove leftovers of the kinds given (`progress` and `unlisted` only when named) and return them.

    Locked when a process is writing the experiment or one of its runs.
    """
    experiment = open_experiment(root)
    locks = [experiment.lock(), *(run.lock() for run in ExperimentFolder(root=experiment.root).runs())]
    from contextlib import ExitStack

    with ExitStack() as held:
        for lock in locks:
            held.enter_context(lock)
        removed = [leftover for leftover in leftovers(root) if leftover.kind in kinds]
        for leftover in removed:
            durable.remove_tree(leftover.path)
    return removed


def _generation_folders(experiment: ExperimentFolder) -> set[Path]:
    folders = {experiment.path("generation-000")}
    for run in ExperimentFolder(root=experiment.root).runs():
        folders |= {run.start, *run.path.glob("generation-*")}
    return {folder for folder in folders if folder.is_dir()}


def _top(experiment: ExperimentFolder) -> Iterator[Leftover]:
    places = {experiment.root, *(run.path for run in ExperimentFolder(root=experiment.root).runs())}
    for place in places:
        for path in place.iterdir():
            if _is_temporary(path):
                yield Leftover(path=path, kind="temporary", bytes=_size(path))


def _below(folder: Path, steps: dict[str, Manifest]) -> Iterator[Leftover]:
    listed = {f"{name}.json" for name in steps} | {file for m in steps.values() for file in m.files}
    parents = {parent.as_posix() for file in listed for parent in Path(file).parents}
    for path in sorted(folder.iterdir()):
        name = path.name
        if name in (LOCK, EXPERIMENT):
            continue
        if name == INCOMPLETE:
            yield Leftover(path=path, kind="set_aside", bytes=_size(path))
        elif name.startswith(".") and name.endswith(WRITING):
            yield Leftover(path=path, kind="draft", bytes=_size(path))
        elif name.startswith(".") and name.endswith(SHARDS):
            finished = name.removeprefix(".").removesuffix(SHARDS) in steps
            yield Leftover(path=path, kind="draft" if finished else "progress", bytes=_size(path))
        elif path.is_dir() and not path.is_symlink():
            yield from _unlisted(folder, path, listed, parents, _shards_in_progress(folder, steps))
        elif _is_temporary(path):
            yield Leftover(path=path, kind="temporary", bytes=_size(path))
        elif name not in listed:
            yield Leftover(path=path, kind="unlisted", bytes=_size(path))


def _unlisted(folder: Path, below: Path, listed: set[str], parents: set[str], progress: set[str]) -> Iterator[Leftover]:
    for parent, folders, files in os.walk(below):
        for name in sorted([*folders, *files]):
            path = Path(parent, name)
            relative = path.relative_to(folder).as_posix()
            if relative in listed or relative in parents or (path.is_dir() and not path.is_symlink()):
                continue
            kind: Kind = "temporary" if _is_temporary(path) else "progress" if relative in progress else "unlisted"
            yield Leftover(path=path, kind=kind, bytes=_size(path))


def _shards_in_progress(folder: Path, steps: dict[str, Manifest]) -> set[str]:
    """Published shards (`evidence/x.parquet`) of steps that are not committed yet."""
    found: set[str] = set()
    for place in folder.glob(f".*{SHARDS}"):
        if place.name.removeprefix(".").removesuffix(SHARDS) not in steps:
            found |= {m.relative_to(place).as_posix().removesuffix(".json") for m in place.rglob("*.json")}
    return found


def _is_temporary(path: Path) -> bool:
    return path.name.startswith(".") and path.name.endswith(durable.TEMPORARY_SUFFIX)


def _size(path: Path) -> int:
    if path.is_symlink() or not path.is_dir():
        return path.lstat().st_size
    return sum(Path(p, name).lstat().st_size for p, _, names in os.walk(path) for name in names)
