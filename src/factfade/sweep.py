"""An experiment's arms x seeds -> runs, its stage calls and its page. A single run is a sweep of one."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from factfade import config, durable, judging, keys, registry, stages, status, store, versions
from factfade.assembly import assemble
from factfade.config import Experiment
from factfade.errors import Inconclusive, OutOfSpace, RunFailed
from factfade.verdicts import StageReport

STAGES_FILE = "stages.json"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a sweep came to: its folder, the stage calls over what is there, and the runs that failed.

    `stopped` when the time limit ended it: it may go on, and no stages are called.
    """

    path: Path
    stages: StageReport | None
    failures: tuple[Mapping[str, Any], ...] = ()
    stopped: bool = False


def run(
    experiment: Experiment,
    out: str | Path = "runs",
    *,
    workers: int | None = None,
    allow: Sequence[str] = (),
    force: bool = False,
    arms: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
    time_limit: float | None = None,
) -> Outcome:
    """Runs every arm and seed of an experiment into `out`/<name>; what is committed there already is not repeated.

    Writes experiment.toml, environment.json, the runs and stages.json. The stage rule is stored with the
    experiment before generation 1. Raises SettingsChanged when the folder was made with other settings, RunFailed when
    the start model could not be evaluated, and when every run failed with nothing to call. Else the runs that failed
    are in the Outcome, beside the calls of what they and the others had committed. `force` goes on where the disk looks
    too small. `arms` and `seeds` run a part of the sweep (None: all of it); the folder is the whole sweep's, so that
    other calls run the rest. `time_limit` are seconds from the call on, after which it has ended, resumable.
    """
    began = time.monotonic()
    root = Path(out) / experiment.experiment.name
    runs = status.experiment_runs(experiment, arms, seeds)
    experiment.check_parts()
    inputs = check_inputs(experiment)
    check_disk(experiment, Path(out), force=force)
    folder = store.create_experiment(root, toml=to_toml(experiment), environment=record(experiment, inputs))
    with folder.lock():
        left = None if time_limit is None else max(time_limit - _reserve(time_limit) - (time.monotonic() - began), 0.0)
        threads = experiment.model.threads
        launcher = registry.build("launcher", "local", workers=workers, threads=threads, time_limit=left)
        failures = launcher.launch(root, runs, generations=experiment.experiment.generations, allow=allow)
        # Without generation 0 there is nothing to compare any run with.
        for failure in failures:
            if failure["arm"] == "":
                raise RunFailed(f"the start model could not be evaluated: {failure['message']}", hint=failure["hint"])
        if left is not None and not _complete(folder, experiment, runs, failures):
            return Outcome(path=root, stages=None, failures=tuple(failures), stopped=True)
        try:
            report = call(root)
        except Inconclusive:
            if not failures:
                raise
            first = failures[0]
            raise RunFailed(f"every run failed; {first['label']}: {first['message']}", hint=first["hint"]) from None
    return Outcome(path=root, stages=report, failures=tuple(failures))


def _reserve(limit: float) -> float:
    """Seconds that are kept back of a time limit, to end the workers and leave."""
    return min(15.0, 0.1 * limit)


def _complete(
    folder: store.ExperimentFolder,
    experiment: Experiment,
    runs: Sequence[tuple[str, int]],
    failures: Sequence[Mapping[str, Any]],
) -> bool:
    """Whether the start model and every run is complete, or has failed."""
    over = {(failure["arm"], failure["seed"]) for failure in failures}
    asked = {("", 0), *runs} - over
    return all(run.complete for run in status.status(folder, experiment).runs if (run.arm, run.seed) in asked)


def record(experiment: Experiment, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """What environment.json says of a session: hashes of settings and rule, versions, inputs; with its own hash."""
    return keys.sealed(
        {
            "experiment_sha256": experiment.sha256,
            "stage_rule": experiment.stages.model_dump(mode="json"),
            "stage_rule_sha256": stages.Rule.from_section(experiment.stages).sha256,
            "versions": versions.recorded(),
            "threads": experiment.model.threads,
            **inputs,
        }
    )


def call(root: Path) -> StageReport:
    """The stage calls of everything that is stored below `root` by its own rule, written to stages.json."""
    folder = store.open_experiment(root)
    report = judging.experiment_case(folder).stages()
    if folder.only is None:
        durable.write_json(folder.path(STAGES_FILE), stages.to_json(report))
    return report


def check_inputs(experiment: Experiment) -> dict[str, Any]:
    """Reads every corpus and question set once, so that a malformed file is refused before any model is loaded.

    Returns what they say of themselves, for the record: by arm its corpus (with the fact density of the text that the
    arm's prompts come from, where the corpus can tell), and the question sets.
    """
    corpora: dict[str, Any] = {}
    questions: list[Any] = []
    for arm in experiment.arms:
        parts = assemble(experiment, arm)
        corpora[arm] = dict(parts.corpus.check())
        describe = getattr(parts.corpus, "describe", None)
        if describe is not None:
            corpora[arm] |= dict(describe(getattr(parts.prompts, "domain", None)))
        questions = questions or [dict(part.check()) for part in parts.questions]
    return {"corpora": corpora, "questions": questions}


def check_disk(experiment: Experiment, out: Path, *, force: bool) -> None:
    """Refuses to begin where the checkpoints cannot fit: every generation of every run keeps its weights."""
    start = assemble(experiment, next(iter(experiment.arms))).start()
    weights = sum(f.stat().st_size for f in start.glob("*.safetensors"))
    needed = weights * experiment.experiment.generations * len(experiment.arms) * len(experiment.experiment.seeds)
    place = next(p for p in (out, *out.absolute().parents) if p.exists())
    free = shutil.disk_usage(place).free
    if needed > free and not force:
        raise OutOfSpace(
            f"the checkpoints of this experiment need about {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free",
            hint="choose another --out, fewer generations or arms, or --force",
        )


def to_toml(experiment: Experiment) -> str:
    """The resolved experiment as TOML, defaults filled in: `load` of it gives the same experiment."""
    return config.to_toml(experiment.resolved())
