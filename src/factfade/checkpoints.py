"""Which checkpoints there are at a path, and in which order: by their step, never by time.

A path is a model's folder, a LoRA adapter's, a folder of checkpoints (a Trainer's output, with `checkpoint-500` and so
on), a run of factfade, a glob, or a model on the hub (`owner/name`, `owner/name@revision`). Everything in them is
untrusted: only names and small JSON files are read here, and nothing is loaded. A folder that looks like a checkpoint
and is none is found too, so that it is reported.
"""

from __future__ import annotations

import glob
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from factfade.auditfolder import is_audit
from factfade.errors import DataError, NotFound, UsageError
from factfade.identity import ADAPTER_CONFIG
from factfade.models.loading import PICKLES, is_hub_name, locate, read_json
from factfade.paths import hub_repository
from factfade.store import EXPERIMENT
from factfade.text import safe_text

Kind = Literal["model", "adapter", "broken"]
TRAINER_STATE = "trainer_state.json"
# A folder of runs of checkpoints is 2 deep, and factfade's own generation-001/checkpoint is one more.
DEPTH = 3
MAX_FOUND = 10_000
_STEP = re.compile(
    r"(?:^|[-_.])(?:checkpoint|ckpt|global[-_]?step|steps?|iter(?:ation)?|epoch|ep|update|generation)[-_=]?(\d{1,15})"
    r"(?=$|[-_.])",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"\d{1,15}")
# Folders that trainers leave beside their checkpoints or write while saving one.
_PASSED_OVER = ("tmp-checkpoint", "runs", "logs", "wandb")


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """One checkpoint as it was found. `name` is short and unique among those found together; `step` None where
    neither a trainer's state nor the name tells it. `kind` "broken" is a folder that should have been one."""

    path: Path
    kind: Kind
    name: str
    step: int | None

    @property
    def label(self) -> str:
        """The name, fit for a terminal."""
        return safe_text(self.name, limit=120, keep="")


def discover(paths: Iterable[str | Path], *, skip: Sequence[Path] = ()) -> tuple[Checkpoint, ...]:
    """Every checkpoint at the paths, each once, in step order: 9 before 10 before 100.

    Those of equal step stand in the order of the paths, then of their names; those without a step come last, in the
    same order. Folders in `skip` are passed over. A hub name is fetched where the cache does not hold it: the one use
    of a network. Raises NotFound for a path where nothing is and for one without a checkpoint, UsageError for an
    experiment of several runs and for a hub name that cannot be fetched.
    """
    found: dict[Path, Checkpoint] = {}
    hidden = {folder.resolve() for folder in skip}
    for given in paths:
        own = _on_hub(str(given)) or [one for folder in _expanded(given) for one in _at(folder, hidden)]
        if not own:
            raise NotFound(
                f"there is no checkpoint at {safe_text(given, limit=200, keep='')}",
                hint="give a folder that holds config.json and *.safetensors, an adapter's, or a folder of those",
            )
        for one in own:
            found.setdefault(one.path.resolve(), one)
    ordered = sorted(found.values(), key=lambda one: (one.step is None, one.step or 0))
    return _named(ordered)


def single(path: str | Path) -> Path:
    """The folder of the one model at a path: a folder, a hub name, or "world"; NotFound or UsageError for others."""
    name, revision = _hub(str(path)) or (str(path), None)
    folder = locate(name, revision)
    if (folder / ADAPTER_CONFIG).is_file() and not (folder / "config.json").is_file():
        raise UsageError(
            f"{safe_text(folder, limit=200, keep='')} is an adapter",
            hint="give the model that it was trained on with --against",
        )
    return folder


def _hub(text: str) -> tuple[str, str | None] | None:
    """Name and revision where a text names a model on the hub; None where it is a path."""
    name, at, revision = text.partition("@")
    return (name, revision if at else None) if is_hub_name(name) and not os.path.lexists(text) else None


def _on_hub(text: str) -> list[Checkpoint]:
    """The model that a hub name stands for, under that name; none where the text is a path."""
    hub = None if text == "world" else _hub(text)
    if hub is None:
        return []
    folder = locate(*hub)
    step = _STEP.search(hub[1] or hub[0].rpartition("/")[2])
    return [Checkpoint(path=folder, kind=_kind(folder) or "broken", name=text, step=int(step[1]) if step else None)]


def _expanded(given: str | Path) -> list[Path]:
    text = os.path.expanduser(str(given))
    if text == "world":
        return [locate(text)]
    if os.path.lexists(text) or not glob.has_magic(text):
        path = Path(text)
        if not path.is_dir():
            if path.exists():
                raise UsageError(f"{safe_text(path, limit=200)} is a file", hint="give the folder that holds it")
            raise NotFound(
                f"there is nothing at {safe_text(path, limit=200)}", hint="give a folder, or a glob in quotes"
            )
        return [path]
    matches = sorted((Path(match) for match in glob.iglob(text)), key=lambda path: _natural(str(path)))
    folders = [path for path in matches if path.is_dir()]
    if not folders:
        raise NotFound(f"no folder matches {safe_text(text, limit=200)}", hint="look at the pattern: ls -d PATTERN")
    return folders


def _at(folder: Path, hidden: set[Path]) -> list[Checkpoint]:
    """What a named folder holds: itself where it is a checkpoint, and the checkpoints below."""
    if (folder / EXPERIMENT).is_file():
        folder = _run(folder)
    below = list(_below(folder, DEPTH, hidden))
    own = _kind(folder)
    if own is None and not below and _looks_saved(folder):
        own = "broken"
    if own is None or (own == "broken" and below):
        return below
    # A trainer saves the last model beside its checkpoints: it has seen at least as many steps.
    itself = Checkpoint(path=folder, kind=own, name=folder.resolve().name, step=_step(folder, named=not below))
    return [*below, itself]


def _run(folder: Path) -> Path:
    """The one run of an experiment's folder."""
    runs = sorted(path for path in folder.glob("*/seed-*") if path.is_dir())
    if len(runs) != 1:
        names = ", ".join(path.relative_to(folder).as_posix() for path in runs[:6]) or "none yet"
        raise UsageError(
            f"{safe_text(folder, limit=200, keep='')} is an experiment of {len(runs)} runs: a series has one order",
            hint=f"give one of its runs: {safe_text(names, limit=300)}",
        )
    return runs[0]


def _below(folder: Path, depth: int, hidden: set[Path]) -> Iterator[Checkpoint]:
    children = sorted((path for path in folder.iterdir() if path.is_dir()), key=lambda path: _natural(path.name))
    for count, child in enumerate(children):
        if count >= MAX_FOUND:
            raise UsageError(f"{safe_text(folder, limit=200)} holds more than {MAX_FOUND:,} folders")
        if child.name.startswith((".", *_PASSED_OVER)) or child.resolve() in hidden or is_audit(child):
            continue
        kind = _kind(child)
        if kind is not None:
            yield Checkpoint(path=child, kind=kind, name=child.name, step=_step(child))
        elif depth > 1 and (inner := list(_below(child, depth - 1, hidden))):
            yield from inner
        elif _looks_saved(child):
            yield Checkpoint(path=child, kind="broken", name=child.name, step=_step(child))


def _kind(folder: Path) -> Kind | None:
    if (folder / ADAPTER_CONFIG).is_file():
        return "adapter"
    return "model" if (folder / "config.json").is_file() else None


def _looks_saved(folder: Path) -> bool:
    """Whether a folder without a configuration was meant to be a checkpoint: by its name, or by weights in it."""
    if _STEP.search(folder.name):
        return True
    names = (path.name for path in folder.iterdir())
    return any(name.endswith(".safetensors") or (name.endswith(PICKLES) and "model" in name) for name in names)


def _step(folder: Path, *, named: bool = True) -> int | None:
    """The step that a checkpoint was saved at: its trainer's state says it, else its name, else its folder's name."""
    state = folder / TRAINER_STATE
    if state.is_file():
        try:
            step = read_json(state).get("global_step")
        except DataError:  # the state of a run is no part of the model: the name will do
            step = None
        if isinstance(step, int) and not isinstance(step, bool) and step >= 0:
            return step
    if not named:
        return None
    for name in (folder.resolve().name, folder.resolve().parent.name):
        match = _STEP.search(name)
        if match:
            return int(match[1])
        if _NUMBER.fullmatch(name):
            return int(name)
        if name != "checkpoint":  # factfade's own: generation-003/checkpoint
            return None
    return None


def _named(found: Sequence[Checkpoint]) -> tuple[Checkpoint, ...]:
    """The checkpoints under the shortest names that are unique: the folder's, with as many parents as it takes.

    A snapshot of a hub cache, whose own folder is a hash, has the name that it was asked for by, else its repository's.
    """
    parts = [_hub_parts(one) or one.path.resolve().parts for one in found]
    own = [2 if part[-1] == "checkpoint" else 1 for part in parts]
    names = ["/".join(part[-size:]) for part, size in zip(parts, own, strict=True)]
    while True:
        twice = {name for name, count in Counter(names).items() if count > 1}
        grown = [
            min(size + 1, len(part)) if name in twice else size
            for name, size, part in zip(names, own, parts, strict=True)
        ]
        if grown == own:
            return tuple(replace(one, name=name) for one, name in zip(found, names, strict=True))
        own = grown
        names = ["/".join(part[-size:]) for part, size in zip(parts, own, strict=True)]


def _hub_parts(one: Checkpoint) -> tuple[str, ...]:
    """The name of a hub cache's snapshot as one part; none for any other folder."""
    repository = hub_repository(one.path)
    if repository is None:
        return ()
    revision = one.path.resolve().name
    if one.name != revision:
        return (one.name,)
    return (f"{repository.name.removeprefix('models--').replace('--', '/')}@{revision[:12]}",)


def _natural(text: str) -> list[tuple[int, int, str]]:
    """A key that sorts numbers in names by their value."""
    return [
        (0, int(part), "") if part.isdigit() and part.isascii() else (1, 0, part)
        for part in re.split(r"([0-9]{1,15})", text)
        if part
    ]
