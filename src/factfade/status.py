"""How far a sweep is, read from its folder alone: which generations are done, running, failed, missing or damaged.

No lock is taken and nothing is written, so it may be asked at any time, also while the sweep goes on. A step counts as
done when its manifest is whole and every file it lists is there in its size; hashes are `factfade verify`'s work.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import median

from factfade import keys, versions
from factfade import session as sessions
from factfade.config import Experiment
from factfade.errors import EXIT_FAILED, EXIT_PASS, EXIT_REFUSED, EXIT_STOPPED, ConfigError, FactfadeError, UsageError
from factfade.registry import nearest
from factfade.session import Failure, Session
from factfade.status_look import Generation, Look, Run, State, foreign, size
from factfade.store import EXPERIMENT, ExperimentFolder


@dataclass(frozen=True, kw_only=True)
class Status:
    """A sweep's state. `foreign` are entries of the folder that the experiment knows nothing of, `bytes` its size,
    `workers` how many the estimate counts on."""

    root: Path
    name: str
    runs: tuple[Run, ...]
    session: Session | None = None
    bytes: int = 0
    foreign: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    workers: int = 1

    @property
    def counts(self) -> Counter[State]:
        """How many generations of all runs are in each state; the start model counts as one."""
        return sum((run.counts for run in self.runs), Counter[State]())

    @property
    def failures(self) -> tuple[Failure, ...]:
        """What failed and is not done since."""
        return tuple(run.failure for run in self.runs if run.failure is not None)

    @property
    def live(self) -> bool:
        """Whether a session is at work here."""
        return self.session is not None and self.session.alive is not False

    @property
    def exit_code(self) -> int:
        """0 complete; 5 something is damaged; 4 something failed; 75 work is missing and can go on."""
        counts = self.counts
        if counts["damaged"]:
            return EXIT_REFUSED
        if self.failures:
            return EXIT_FAILED
        return EXIT_PASS if counts["done"] == counts.total() else EXIT_STOPPED

    @cached_property
    def seconds_left(self) -> float | None:
        """Seconds of work left at `workers` at once, by the recorded times of like steps; None where there are none.

        A missing step is taken to last as long as the same arm's at this generation (median over seeds), else at the
        latest generation before it, else at any, else the median of all arms. What lies between steps (loading,
        preparing) is not in it.
        """
        if self.exit_code == EXIT_PASS:
            return 0.0
        times = Times(self.runs)
        chains = [times.left(run) for run in self.runs]
        if any(math.isnan(chain) for chain in chains):
            return None
        # One run is a chain: no number of workers makes it shorter.
        return max(sum(chains) / max(self.workers, 1), *chains)


def status(
    folder: ExperimentFolder,
    experiment: Experiment,
    *,
    arms: Collection[str] | None = None,
    seeds: Collection[int] | None = None,
    workers: int | None = None,
) -> Status:
    """The state of an experiment's folder, which need not exist yet. `arms` and `seeds` bound what is looked at (None:
    all), a path to one run does so too. `workers` is what the estimate counts on where no session tells.

    Raises UsageError where the folder is something else, and ConfigError for an arm or seed that is none of the file's.
    """
    if folder.root.exists() and not (folder.root / EXPERIMENT).is_file() and any(folder.root.iterdir()):
        raise UsageError(
            f"{folder.root} holds no {EXPERIMENT}: it is not an experiment's folder",
            hint="give a folder that `factfade run` made, or an experiment's TOML file",
        )
    wanted = experiment_runs(experiment, arms, seeds)
    if folder.only is not None:
        wanted = [run for run in wanted if run == (folder.only.arm, folder.only.seed)]
    notes: list[str] = []
    try:
        session = sessions.read(folder.root)
    except FactfadeError as error:
        session = None
        notes.append(error.message)
    alive = session is not None and session.alive is not False
    running = session.running if session is not None and alive else {}
    look = Look(experiment=experiment, folder=folder, running=frozenset(running))
    runs = [look.start(), *(look.run(arm, seed) for arm, seed in wanted)]
    runs = [_with_failure(run, session, running) for run in runs]
    notes += _version_notes(look.libraries)
    if session is not None and session.alive is None and not session.ended:
        notes.append(f"whether the process {session.owner.get('pid')} on {session.owner.get('host')} still runs "
                     "cannot be told from here")  # fmt: skip
    default = max((os.cpu_count() or 1) // experiment.model.threads, 1)
    at_once = session.workers if session is not None and alive else workers or default
    return Status(
        root=folder.root,
        name=experiment.experiment.name,
        runs=tuple(runs),
        session=session,
        bytes=size(folder.root),
        foreign=tuple(foreign(folder.root, experiment)),
        notes=tuple(notes),
        workers=at_once,
    )


def experiment_runs(
    experiment: Experiment, arms: Collection[str] | None = None, seeds: Collection[int] | None = None
) -> list[tuple[str, int]]:
    """The (arm, seed) pairs of an experiment, or of a part of it. ConfigError for an arm or a seed it does not have."""
    for arm in arms or ():
        if arm not in experiment.arms:
            raise ConfigError(f"the experiment has no arm {arm!r}", hint=nearest(arm, experiment.arms))
    for seed in seeds or ():
        if seed not in experiment.experiment.seeds:
            known = ", ".join(map(str, experiment.experiment.seeds))
            raise ConfigError(f"the experiment has no seed {seed}", hint=f"its seeds: {known}")
    return [
        (arm, seed)
        for arm in experiment.arms
        if arms is None or arm in arms
        for seed in experiment.experiment.seeds
        if seeds is None or seed in seeds
    ]


def _with_failure(run: Run, session: Session | None, running: Collection[sessions.Task]) -> Run:
    """The run with what failed in it, where that is not done since."""
    failure = None if session is None else session.failures.get((run.arm, run.seed))
    one = None if failure is None else next((g for g in run.generations if g.number == failure.generation), None)
    if failure is None or one is None or one.state == "done":
        return run
    again = any(task[:2] == (run.arm, run.seed) for task in running)
    state = one.state if again or one.state == "damaged" else "failed"
    changed = Generation(
        number=one.number, state=state, wanted=one.wanted, seconds=one.seconds, said=one.said or failure.message
    )
    generations = tuple(changed if g.number == one.number else g for g in run.generations)
    return Run(arm=run.arm, seed=run.seed, generations=generations, failure=failure)


def _version_notes(found: Mapping[str, Collection[str]]) -> Iterator[str]:
    """What a resume would refuse: steps that were committed with other versions than those of now."""
    now = {**versions.relevant(), keys.PACKAGE: keys.StepKey(version=0, settings={}).package}
    for library in sorted(found):
        others = sorted(set(found[library]) - {now.get(library, "")})
        if others:
            yield (
                f"committed with {library} {', '.join(others)}; here is {now.get(library) or 'none'}: "
                f"going on needs that version, or --allow {library}"
            )


class Times:
    """Recorded seconds of steps, to say how long missing ones will take."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self._found: dict[tuple[str, str], dict[int, list[float]]] = {}
        for run in runs:
            for one in run.generations:
                for name, seconds in one.seconds.items():
                    # The start model is read by itself alone: its evaluation is shorter than any other.
                    self._found.setdefault((run.arm, name), {}).setdefault(one.number, []).append(seconds)

    def left(self, run: Run) -> float:
        """Seconds of a run's missing steps; NaN where one has no like."""
        return sum(self._step(run.arm, one.number, name) for one in run.generations for name in one.missing)

    def _step(self, arm: str, generation: int, name: str) -> float:
        own = self._found.get((arm, name), {})
        before = [g for g in own if g <= generation]
        if before:
            return median(own[max(before)])
        if own:
            return median(own[min(own)])
        like = [(other, g) for (other, step), g in self._found.items() if step == name]
        of_runs = [s for other, g in like if other for own in g.values() for s in own]
        values = of_runs or [s for _, g in like for own in g.values() for s in own]
        return median(values) if values else math.nan
