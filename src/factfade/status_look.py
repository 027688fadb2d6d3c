"""What lies in a sweep's folder: every generation of every run with its state, and what belongs to nobody.

Manifests are read and files are compared by size; nothing is hashed, written or locked.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from factfade import session, store
from factfade.config import Experiment
from factfade.errors import FactfadeError, IntegrityError
from factfade.manifest import Manifest, read_manifest
from factfade.paths import inside
from factfade.session import Failure, Task
from factfade.steps import INCOMPLETE, SHARDS
from factfade.store import ENVIRONMENT, EXPERIMENT, ExperimentFolder, RunFolder

State = Literal["done", "running", "failed", "damaged", "partial", "missing"]
OURS = frozenset({EXPERIMENT, ENVIRONMENT, session.SESSION, "stages.json", "report.html", "logs", "generation-000"})
_RUN = re.compile(r"seed-[0-9]{1,19}")
_GENERATION = re.compile(r"generation-[0-9]{3,9}")


@dataclass(frozen=True, kw_only=True)
class Generation:
    """One generation of one run. `wanted` are its steps, `seconds` those of the committed ones, `said` what is wrong
    or how far an unfinished step is."""

    number: int
    state: State
    wanted: tuple[str, ...]
    seconds: Mapping[str, float] = field(default_factory=dict[str, float])
    said: str = ""

    @property
    def missing(self) -> tuple[str, ...]:
        """The steps that are not committed."""
        return tuple(name for name in self.wanted if name not in self.seconds)


@dataclass(frozen=True, kw_only=True)
class Run:
    """One arm with one seed (the arm "" is the start model's evaluation), its generations in order."""

    arm: str
    seed: int
    generations: tuple[Generation, ...]
    failure: Failure | None = None

    @property
    def label(self) -> str:
        """How the run is called where people read."""
        return f"{self.arm} seed {self.seed}" if self.arm else "start model"

    @property
    def counts(self) -> Counter[State]:
        """How many generations are in each state."""
        return Counter(one.state for one in self.generations)

    @property
    def complete(self) -> bool:
        """Whether every generation is done."""
        return self.counts["done"] == len(self.generations)

    @property
    def next(self) -> int:
        """The first generation that is not done; the last one where all are."""
        return next((g.number for g in self.generations if g.state != "done"), self.generations[-1].number)


@dataclass(frozen=True, kw_only=True)
class Look:
    """One look at a folder. `libraries` gathers the versions that steps were committed with."""

    experiment: Experiment
    folder: ExperimentFolder
    running: frozenset[Task]
    libraries: dict[str, set[str]] = field(default_factory=dict[str, set[str]])

    def start(self) -> Run:
        """The evaluation of the start model."""
        one = self._generation(self.folder.start, ("", 0, 0), ("evaluate",))
        return Run(arm="", seed=0, generations=(one,))

    def run(self, arm: str, seed: int) -> Run:
        """One run."""
        place: RunFolder = self.folder.run(arm, seed)
        evaluated = self.experiment.evaluated()
        found: list[Generation] = []
        for number in range(1, self.experiment.experiment.generations + 1):
            wanted = ("synthesize", "train", *(("evaluate",) if number in evaluated else ()))
            found.append(self._generation(place.generation(number), (arm, seed, number), wanted))
        if any(one.state != "done" for one in found):
            found = [self._with_weights(place, one) for one in found]
        return Run(arm=arm, seed=seed, generations=tuple(found))

    def _generation(self, place: Path, task: Task, wanted: tuple[str, ...]) -> Generation:
        seconds: dict[str, float] = {}
        said = ""
        for name in wanted:
            try:
                manifest = read_manifest(inside(place, f"{name}.json"))
                if manifest is None:
                    continue
                _check_files(manifest)
            except (FactfadeError, OSError) as error:
                said = error.message if isinstance(error, FactfadeError) else f"{place}: {error.strerror}"
                return Generation(number=task[2], state="damaged", wanted=wanted, seconds=seconds, said=said)
            spent = manifest.times.get("seconds")
            seconds[name] = float(spent) if isinstance(spent, (int, float)) else 0.0
            for library, version in {**manifest.libraries, "factfade": str(manifest.key.get("package", ""))}.items():
                self.libraries.setdefault(library, set()).add(version)
        state: State = "done" if len(seconds) == len(wanted) else "running" if task in self.running else "missing"
        if state != "done":
            said = _progress(place, next(name for name in wanted if name not in seconds))
            if state == "missing" and (seconds or said):
                state = "partial"
        return Generation(number=task[2], state=state, wanted=wanted, seconds=seconds, said=said)

    @staticmethod
    def _with_weights(place: RunFolder, one: Generation) -> Generation:
        """Weights that were removed are missed where the run has to go on."""
        if "train" not in one.seconds or any((place.generation(one.number) / "checkpoint").glob("*.safetensors")):
            return one
        said = f"the weights of {place.generation(one.number)} were removed"
        return Generation(number=one.number, state="damaged", wanted=one.wanted, seconds=one.seconds, said=said)


def _check_files(manifest: Manifest) -> None:
    """IntegrityError where a published file is missing or has another size. Weights may have been removed as a whole:
    who still needs them asks for them."""
    weights = {n for n in manifest.files if n.startswith("checkpoint/") and n.endswith(".safetensors")}
    removed = bool(weights) and not any((manifest.folder / name).exists() for name in weights)
    for name, entry in manifest.files.items():
        if removed and name.startswith("checkpoint/"):
            continue
        path = inside(manifest.folder, name)
        if not path.is_file():
            raise IntegrityError(f"{path} is missing (committed by {manifest.step})", path=path)
        size = path.stat().st_size
        if size != entry.bytes:
            said = f"{path} has {size:,} bytes where {entry.bytes:,} are expected (committed by {manifest.step})"
            raise IntegrityError(said, path=path)


def _progress(place: Path, step: str) -> str:
    """How far an unfinished step is: its committed shards, or that it was begun."""
    shards = sum(1 for _ in (place / f".{step}{SHARDS}").rglob("*.json"))
    if shards:
        return f"{step}: {shards} {'part' if shards == 1 else 'parts'} committed"
    return f"{step} begun" if (place / f".{step}.writing").is_dir() else ""


def foreign(root: Path, experiment: Experiment) -> Iterator[str]:
    """Entries that the experiment knows nothing of: other arms, seeds, generations, and files of nobody."""
    for path in _entries(root):
        if path.name in OURS or path.name.startswith("."):
            continue
        if path.name not in experiment.arms or not path.is_dir():
            yield path.name
            continue
        for run in _entries(path):
            if run.name in (store.generation_name(0), INCOMPLETE) or run.name.startswith("."):
                continue
            if not _RUN.fullmatch(run.name) or int(run.name[5:]) not in experiment.experiment.seeds:
                yield f"{path.name}/{run.name}"
                continue
            for one in _entries(run):
                number = int(one.name[11:]) if _GENERATION.fullmatch(one.name) else None
                if not one.name.startswith(".") and not (
                    number is not None and 1 <= number <= experiment.experiment.generations
                ):
                    yield f"{path.name}/{run.name}/{one.name}"


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:  # gone, or not ours to read
        return []


def size(root: Path) -> int:
    """Bytes of every file below a folder; what goes while it is looked at counts as nothing."""
    total = 0
    for parent, _, names in os.walk(root):
        for name in names:
            try:
                total += Path(parent, name).lstat().st_size
            except OSError:
                continue
    return total
