"""The folder of an audit: an experiment's folder of one lineage whose generations are checkpoints that exist already.

    audits/mine/audit.toml  environment.json            what was asked, by which rule, where it ran
      base/evaluate.json  evidence/  fluency.parquet    generation 0: the model that the others are compared with
      checkpoints/001-checkpoint-500/                   generation 1: the first in step order; the same files
      audit.json                                        the record: every checkpoint, its identity, what failed
      stages.json  report.html

It reads like a run folder (`ExperimentFolder`, `RunFolder`), so the readers, the stages and the page take it as it is.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from factfade.errors import IntegrityError, NotFound
from factfade.manifest import Manifest
from factfade.paths import inside, is_name, slug
from factfade.steps import committed_steps
from factfade.store import ENVIRONMENT, MAX_TOML, ExperimentFolder, RunFolder, open_experiment

AUDIT = "audit.toml"
RECORD = "audit.json"
BASE = "base"
CHECKPOINTS = "checkpoints"
EARLIER = ".earlier"
SERIES = "checkpoints"
MAX_GENERATIONS = 1000
MAX_RECORD = 64 * 2**20
_PLACE = re.compile(r"([0-9]{3,9})-.+")


def place_name(position: int, name: str) -> str:
    """`001-checkpoint-500`: the folder of the checkpoint at a position of the step order (1 is the first)."""
    return slug(f"{position:03d}-{name}") if is_name(f"{position:03d}-{name}") else f"{position:03d}-{slug(name)}"


@dataclass(frozen=True, kw_only=True)
class Series(RunFolder):
    """The one lineage of an audit: generation 0 is the base, the others are the checkpoints by their position."""

    @property
    def path(self) -> Path:
        """The audit's folder."""
        return self.root

    @property
    def start(self) -> Path:
        """The base's evaluation."""
        return inside(self.root, BASE)

    def generation(self, generation: int) -> Path:
        """The folder of a checkpoint; NotFound where no checkpoint of that position was evaluated."""
        if generation == 0:
            return self.start
        found = self._places().get(generation)
        if found is None:
            raise NotFound(f"{self.root} holds no checkpoint at position {generation}")
        return found

    def committed(self) -> dict[int, dict[str, Manifest]]:
        """The committed steps of every position that has an evaluation, in order; 0 is the base."""
        folders = {0: self.start, **dict(sorted(self._places().items()))}
        found = {position: committed_steps(folder) for position, folder in folders.items()}
        return {position: steps for position, steps in found.items() if steps}

    def _places(self) -> dict[int, Path]:
        root = inside(self.root, CHECKPOINTS)
        found: dict[int, Path] = {}
        for folder in sorted(root.iterdir()) if root.is_dir() else []:
            match = _PLACE.fullmatch(folder.name)
            if match and folder.is_dir():
                if int(match[1]) in found:
                    raise IntegrityError(f"{root} holds position {int(match[1])} twice", path=folder)
                found[int(match[1])] = inside(self.root, CHECKPOINTS, folder.name)
        return found


@dataclass(frozen=True, kw_only=True)
class AuditFolder(ExperimentFolder):
    """An audit's folder, read like an experiment's: its settings have one arm, the series."""

    @property
    def start(self) -> Path:
        """The base's evaluation."""
        return self.path(BASE)

    def stored(self) -> dict[str, Any]:
        """audit.toml as it stands."""
        path = self.path(AUDIT)
        try:
            return tomllib.loads(_bounded(path, MAX_TOML).decode("utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
            raise IntegrityError(f"{path} is damaged: {error}", path=path) from None

    def settings(self) -> dict[str, Any]:
        """audit.toml in the shape of an experiment: the series is its one arm, its positions the generations."""
        stored = self.stored()
        audit = stored.pop("audit", {})
        count = max(self.run(SERIES, 0).generations(), default=0)
        return {
            **stored,
            "experiment": {
                "name": slug(str(audit.get("name", "audit"))),
                "seeds": [0],
                "generations": min(max(count, 1), MAX_GENERATIONS),
            },
            "arms": {SERIES: {"synthetic_fraction": 1.0}},
        }

    def record(self) -> dict[str, Any]:
        """audit.json, what the last audit of this folder came to; empty where none has come to its end."""
        path = self.path(RECORD)
        if not path.is_file():
            return {}
        return _json(path)

    def run(self, arm: str = SERIES, seed: int = 0, *, own_start: bool = False) -> RunFolder:
        """The series; NotFound for any other lineage."""
        if (arm, seed) != (SERIES, 0):
            raise NotFound(f"an audit has one lineage, {SERIES!r}, and no {arm!r} with seed {seed}")
        return Series(root=self.root, arm=arm, seed=seed, own_start=own_start)

    def runs(self) -> list[RunFolder]:
        """The one series."""
        return [self.run()]

    def environment(self) -> dict[str, Any]:
        """environment.json; empty where it is not written yet."""
        path = self.path(ENVIRONMENT)
        return _json(path) if path.is_file() else {}


def open_folder(path: str | Path) -> ExperimentFolder:
    """The audit or the experiment at `path`; NotFound for anything else."""
    return AuditFolder(root=Path(path)) if is_audit(path) else open_experiment(path)


def open_audit(path: str | Path) -> AuditFolder:
    """The audit at `path`: its folder or its audit.json. NotFound for anything else."""
    given = Path(path)
    root = given.parent if given.name == RECORD and given.is_file() else given
    if not is_audit(root):
        raise NotFound(f"{given} is no audit's folder", hint="`factfade audit ... --out DIR` makes one")
    return AuditFolder(root=root)


def is_audit(path: str | Path) -> bool:
    """Whether a folder is an audit's."""
    return (Path(path) / AUDIT).is_file()


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(_bounded(path, MAX_RECORD))
    except (ValueError, RecursionError):
        raise IntegrityError(f"{path} is damaged: it is not JSON", path=path) from None
    if not isinstance(value, Mapping):
        raise IntegrityError(f"{path} is damaged: it is no JSON object", path=path)
    return dict(value)  # pyright: ignore[reportUnknownArgumentType]


def _bounded(path: Path, limit: int) -> bytes:
    if path.stat().st_size > limit:
        raise IntegrityError(f"{path} has more than {limit:,} bytes", path=path)
    return path.read_bytes()
