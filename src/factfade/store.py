"""The folder of an experiment: its layout, its names, its settings, its lock. The front door of the store.

    runs/demo/experiment.toml  environment.json            the resolved experiment; where it ran
      generation-000/                                      the start model, shared by the arms and seeds that share it
        evaluate.json  evidence/  fluency.parquet
      general/seed-0/generation-001/                       one run: one arm with one seed
        synthesize.json  completions.parquet
        train.json  checkpoint/
        evaluate.json  evidence/  fluency.parquet

A step's manifest (`train.json`) is written last: where it is, the step is complete. `steps.py` writes steps,
`reading.py` reads tables, `upkeep.py` finds what interrupted attempts left. Order comes from generation numbers and
names, never from the clock or the file system.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from factfade import durable
from factfade.errors import ConfigError, IntegrityError, NotFound, RunFailed, UsageError
from factfade.keys import ABSENT, Difference, StepKey, check_settings, normalised, refuse
from factfade.manifest import Manifest, read_manifest
from factfade.paths import checked_name, inside, is_name, slug
from factfade.steps import Draft, Shard, Step, committed_steps

__all__ = [
    "Difference",
    "Draft",
    "ExperimentFolder",
    "Manifest",
    "RunFolder",
    "Shard",
    "Step",
    "StepKey",
    "check_settings",
    "checked_name",
    "committed_steps",
    "create_experiment",
    "generation_name",
    "open_experiment",
    "read_manifest",
    "refuse_changes",
    "slug",
    "start_lock",
    "step",
    "step_identity",
]

EXPERIMENT = "experiment.toml"
ENVIRONMENT = "environment.json"
LOCK = ".lock"
MAX_TOML = 2**20
_GENERATION = re.compile(r"generation-([0-9]{3,9})")
_SEED = re.compile(r"seed-([0-9]{1,19})")


def generation_name(generation: int) -> str:
    """`generation-003`: the folder of a generation."""
    if generation < 0:
        raise ValueError("generations are counted from 0")
    return f"generation-{generation:03d}"


def step(folder: Path, name: str, key: StepKey, *, allow: Collection[str] = ()) -> Step:
    """The step `name` in a generation's folder under a key; `allow` names libraries whose version may differ."""
    return Step(folder, name, key, allow)


@dataclass(frozen=True, kw_only=True)
class RunFolder:
    """One arm with one seed. `own_start` gives the arm a generation 0 of its own, shared by its seeds."""

    root: Path
    arm: str
    seed: int
    own_start: bool = False

    @property
    def path(self) -> Path:
        """`<root>/<arm>/seed-<n>`."""
        return inside(self.root, self.arm, f"seed-{self.seed}")

    def generation(self, generation: int) -> Path:
        """The folder of a generation (made by the first step that writes into it); 0 is the start model's."""
        if generation == 0:
            return self.start
        return inside(self.root, self.arm, f"seed-{self.seed}", generation_name(generation))

    @property
    def start(self) -> Path:
        """The folder of generation 0: the arm's own where there is one (or `own_start`), else the experiment's."""
        own = inside(self.root, self.arm, generation_name(0))
        return own if self.own_start or own.is_dir() else inside(self.root, generation_name(0))

    def committed(self) -> dict[int, dict[str, Manifest]]:
        """The committed steps of every generation that has one, in order; those of the start model under 0."""
        found = {0: committed_steps(self.start)}
        if self.path.is_dir():
            for folder in self.path.iterdir():
                match = _GENERATION.fullmatch(folder.name)
                if match and int(match[1]) > 0 and generation_name(int(match[1])) == folder.name:
                    found[int(match[1])] = committed_steps(self.generation(int(match[1])))
        return {generation: steps for generation, steps in sorted(found.items()) if steps}

    def generations(self) -> list[int]:
        """The generations that have a committed step, in order; 0 included when the start model has one."""
        return list(self.committed())

    def lock(self, *, wait: float = 0.0) -> AbstractContextManager[dict[str, Any]]:
        """Hold the run as its one writer; Locked says who holds it."""
        return durable.lock(inside(self.root, self.arm, f"seed-{self.seed}", LOCK), wait=wait)


@dataclass(frozen=True, kw_only=True)
class ExperimentFolder:
    """An experiment's folder. `only` is the one run that was asked for by its path, else None."""

    root: Path
    only: RunFolder | None = field(default=None)

    def path(self, *names: str) -> Path:
        """A path inside the folder; UnsafePath for one that leads out."""
        return inside(self.root, *names)

    @property
    def start(self) -> Path:
        """The folder of the generation 0 that the runs share."""
        return self.path(generation_name(0))

    def settings(self) -> dict[str, Any]:
        """The resolved experiment as it stands in experiment.toml."""
        return _parsed(_read(self.path(EXPERIMENT), MAX_TOML), self.path(EXPERIMENT))

    def environment(self) -> dict[str, Any]:
        """What environment.json says: the first session's record, later differing ones under "resumed"."""
        path = self.path(ENVIRONMENT)
        try:
            return json.loads(_read(path, 64 * MAX_TOML))
        except ValueError:
            raise IntegrityError(f"{path} is damaged: it is not JSON", path=path) from None

    def run(self, arm: str, seed: int, *, own_start: bool = False) -> RunFolder:
        """The folder of one arm with one seed; nothing is made."""
        if seed < 0:
            raise ConfigError(f"{seed} is not a seed", field="experiment.seeds", hint="seeds are 0 or more")
        return RunFolder(root=self.root, arm=checked_name(arm, what="arm"), seed=seed, own_start=own_start)

    def runs(self) -> list[RunFolder]:
        """The runs that have a folder (or the one asked for): arms as in experiment.toml, then by name and seed."""
        if self.only is not None:
            return [self.only]
        order = list(self.settings().get("arms", {}))
        found: list[RunFolder] = []
        for arm in self.root.iterdir():
            if is_name(arm.name) and inside(self.root, arm.name).is_dir():
                for folder in arm.iterdir():
                    match = _SEED.fullmatch(folder.name)
                    if match and folder.name == f"seed-{int(match[1])}" and folder.is_dir():
                        found.append(self.run(arm.name, int(match[1])))
        place = {arm: index for index, arm in enumerate(order)}
        return sorted(found, key=lambda run: (place.get(run.arm, len(order)), run.arm, run.seed))

    def lock(self, *, wait: float = 0.0) -> AbstractContextManager[dict[str, Any]]:
        """Hold the experiment's own files (experiment.toml, environment.json, stages.json, report.html)."""
        return durable.lock(self.path(LOCK), wait=wait)


def start_lock(place: ExperimentFolder | RunFolder, *, wait: float = 0.0) -> AbstractContextManager[dict[str, Any]]:
    """Hold generation 0, which parallel runs share: wait, then see whether another one has committed it."""
    return durable.lock(place.start / LOCK, wait=wait)


def step_identity(folder: Path, name: str) -> str:
    """Content hash of what a committed step published, to be an input of a later step's key; RunFailed without it."""
    manifest = read_manifest(inside(folder, f"{name}.json"))
    if manifest is None:
        raise RunFailed(f"{name} in {folder} is not complete", hint="type the same command again to complete it")
    return manifest.identity


def open_experiment(path: str | Path) -> ExperimentFolder:
    """The experiment at `path`: its folder, or one run in it (`<folder>/<arm>/seed-<n>`, or below it)."""
    given = Path(path)
    if (given / EXPERIMENT).is_file():
        return ExperimentFolder(root=given)
    full = given.resolve()
    for folder in (full, *full.parents):
        match = _SEED.fullmatch(folder.name)
        root = folder.parent.parent
        if match and is_name(folder.parent.name) and folder.is_dir() and (root / EXPERIMENT).is_file():
            experiment = ExperimentFolder(root=root)
            return ExperimentFolder(root=root, only=experiment.run(folder.parent.name, int(match[1])))
    raise NotFound(
        f"{given} is neither an experiment's folder nor a run in one",
        hint=f"give a folder that holds {EXPERIMENT}: `factfade run FILE.toml` makes one",
    )


def create_experiment(root: str | Path, *, toml: str, environment: Mapping[str, Any] | None = None) -> ExperimentFolder:
    """Make an experiment's folder, or open it again under the same settings.

    `toml` is the resolved experiment (defaults filled in). In an existing folder more generations, more seeds and
    more arms are taken up; any other change is refused with its field (SettingsChanged). A folder that holds
    something else is refused (UsageError). An environment that differs from all recorded ones is added.
    """
    experiment = ExperimentFolder(root=Path(root))
    path = experiment.path(EXPERIMENT)
    durable.make_folder(experiment.root)
    new = _parsed(toml, path)
    with experiment.lock(wait=10.0):
        if not path.exists():
            _refuse_foreign(experiment.root)
        else:
            refuse_changes(experiment, new)
        _record_environment(experiment, environment or {})
        if not path.exists() or check_settings(experiment.settings(), new):
            durable.write_text(path, toml)
    return experiment


def refuse_changes(experiment: ExperimentFolder, settings: Mapping[str, Any]) -> None:
    """SettingsChanged naming the fields, unless the settings are the stored ones, or more generations, seeds, arms."""
    differences = [d for d in check_settings(experiment.settings(), settings) if not _growth(d)]
    refuse(differences, what=str(experiment.root), hint="set it back, or give another folder with --out")


def _refuse_foreign(root: Path) -> None:
    strange = sorted(p.name for p in root.iterdir() if p.name != ENVIRONMENT and not p.name.startswith("."))
    if strange:
        raise UsageError(
            f"{root} holds {strange[0]} and no {EXPERIMENT}: it is not an experiment's folder",
            hint="give an empty or a new folder with --out",
        )


def _growth(difference: Difference) -> bool:
    """Whether the change only adds to the experiment: no stored number becomes another one by it."""
    path, old, new = difference.path, difference.old, difference.new
    if path == "experiment.generations":
        return isinstance(old, int) and isinstance(new, int) and new > old
    if path == "experiment.seeds":
        return isinstance(old, list) and isinstance(new, list) and all(seed in new for seed in old)
    return old is ABSENT and re.fullmatch(r"arms\.[^.]+", path) is not None


def _record_environment(experiment: ExperimentFolder, environment: Mapping[str, Any]) -> None:
    now = normalised(environment)
    if not experiment.path(ENVIRONMENT).exists():
        durable.write_json(experiment.path(ENVIRONMENT), now)
        return
    stored = experiment.environment()
    later = stored.pop("resumed", [])
    if all(check_settings(known, now) for known in [stored, *later]):
        durable.write_json(experiment.path(ENVIRONMENT), {**stored, "resumed": [*later, now]})


def _read(path: Path, limit: int) -> str:
    try:
        if path.stat().st_size > limit:
            raise IntegrityError(f"{path} has more than {limit:,} bytes", path=path)
        return path.read_text("utf-8")
    except FileNotFoundError:
        raise NotFound(f"{path} does not exist") from None
    except UnicodeDecodeError:
        raise IntegrityError(f"{path} is damaged: it is not UTF-8", path=path) from None


def _parsed(toml: str, path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(toml)
    except tomllib.TOMLDecodeError as error:
        raise IntegrityError(f"{path} is damaged: {error}", path=path) from None
