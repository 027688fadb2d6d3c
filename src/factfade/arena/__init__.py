"""The arena: many arms, compared with one of them at equal budget, paired by run seed.

    found = arena.arena("runs/arena")

What is compared is declared in the experiment's [contrast] before any result: each arm against the baseline, on the
share of questions right by choice in the last evaluated generation (the mean over formats); paired t over run seeds,
Holm's correction over the declared family. Everything else in the table stands beside it and is not tested.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from factfade import auditfolder, judging
from factfade.arena.rows import COSTS, Arena, Contrast, Row, clock
from factfade.arena.runs import RunSummary, summarise
from factfade.arena.words import sentences
from factfade.config import Experiment
from factfade.errors import Inconclusive, NotFound
from factfade.judging import Case
from factfade.stage_panel import EVIDENCE_READ
from factfade.stats.intervals import Interval, mean
from factfade.stats.multiplicity import holm
from factfade.stats.seeds import detectable_with_seeds, paired_difference
from factfade.store import ExperimentFolder
from factfade.verdicts import StageReport

__all__ = ["Arena", "Contrast", "Row", "RunSummary", "arena", "budgets", "compare", "front"]


def arena(
    path: str | Path, *, baseline: str | None = None, case: Case | None = None, report: StageReport | None = None
) -> Arena:
    """The arena of an experiment's folder. `baseline` takes the place of the declared one, which the result then says.
    `case` and its `report` of stages are the folder's, where they were read and judged already.

    Raises NotFound where there is no experiment or no such arm, Inconclusive where nothing can be compared yet.
    """
    folder = ExperimentFolder(root=auditfolder.open_folder(path).root)
    experiment = Experiment.model_validate(folder.settings())
    declared = experiment.contrast
    chosen = baseline or (declared.baseline if declared else None)
    if chosen is None:
        raise NotFound(
            f"{folder.root} declares no [contrast]",
            hint=f"name the arm to compare with: --baseline, one of {', '.join(experiment.arms)}",
        )
    if chosen not in experiment.arms:
        raise NotFound(f"there is no arm {chosen!r}", hint=f"one of {', '.join(experiment.arms)}")
    last = experiment.experiment.generations
    case = case or judging.experiment_case(folder, columns=(*EVIDENCE_READ, "domain"))
    wanted = declared.formats if declared and declared.formats else None
    runs = summarise(case, report or case.stages(draws=0), folder, generation=last, formats=wanted)
    done = {(run.arm, run.seed) for run in runs}
    missing = [
        (arm, seed) for arm in experiment.arms for seed in experiment.experiment.seeds if (arm, seed) not in done
    ]
    if not any(run.arm == chosen for run in runs):
        raise Inconclusive(
            f"no run of the baseline {chosen!r} has reached generation {last}",
            hint=f"factfade run {folder.root / 'experiment.toml'} --out {folder.root.parent}",
        )
    as_declared = declared is not None and declared.baseline == chosen
    alpha = declared.alpha if declared else 0.05
    common = budgets(experiment, chosen)
    named = declared.arms if declared and as_declared else ()
    family = named or [arm for arm, of in common.items() if of == "equal" and arm != experiment.control_of(chosen)]
    rows = compare(runs, chosen, family=family, alpha=alpha, budgets=common)
    first = next(run for run in runs if run.arm == chosen)
    whole = Arena(
        name=experiment.experiment.name,
        baseline=chosen,
        generation=last,
        formats=tuple(first.formats),
        domains=tuple(sorted({domain for run in runs for domain in run.domains})),
        start=first.start,
        start_domains=first.start_domains,
        items=first.items,
        alpha=alpha,
        rows=tuple(rows),
        runs=tuple(runs),
        missing=tuple(missing),
        declared=as_declared,
    )
    return replace(whole, sentences=tuple(sentences(whole)))


def budgets(experiment: Experiment, baseline: str) -> dict[str, str]:
    """By arm "equal" where its training is the baseline's in steps, batch and chunk, else "its own"."""
    base = _budget(experiment, baseline)
    return {arm: "equal" if _budget(experiment, arm) == base else "its own" for arm in experiment.arms}


def _budget(experiment: Experiment, arm: str) -> tuple[float, ...]:
    training = experiment.arm(arm).training
    passes = (training.steps, 0.0) if training.steps else (0, training.epochs)
    return (*passes, training.batch, training.accumulation, training.chunk_tokens)


def compare(
    runs: Sequence[RunSummary],
    baseline: str,
    *,
    family: Sequence[str] = (),
    alpha: float = 0.05,
    budgets: Mapping[str, str] | None = None,
) -> list[Row]:
    """The rows of the table, the baseline first, then by knowledge. `family` are the arms that Holm's correction runs
    over (default: all others)."""
    arms = list(dict.fromkeys(run.arm for run in runs))
    of = {arm: [run for run in runs if run.arm == arm] for arm in arms}
    members = [arm for arm in (family or arms) if arm != baseline and arm in of]
    contrasts = {arm: _contrast(of[arm], of[baseline], alpha) for arm in arms if arm != baseline}
    adjusted = holm([_or_nan(contrasts[arm].p) for arm in members])
    corrected = {arm: None if math.isnan(p) else float(p) for arm, p in zip(members, adjusted, strict=True)}
    rows = [
        Row(
            arm=arm,
            seeds=tuple(run.seed for run in of[arm]),
            knowledge=_share([run.knowledge for run in of[arm]]),
            formats=_means(run.formats for run in of[arm]),
            domains=_means(run.domains for run in of[arm]),
            parseable=_share([_or_nan(run.parseable) for run in of[arm]]),
            nats=mean([_or_nan(run.nats) for run in of[arm]]),
            onsets={stage: tuple(run.onsets.get(stage) for run in of[arm]) for stage in ("B", "C")},
            costs={name: float(np.mean([run.costs.get(name, 0.0) for run in of[arm]])) for name in COSTS},
            contrast=_declared(contrasts[arm], corrected, arm, alpha) if arm in contrasts else None,
            budget=(budgets or {}).get(arm, "equal"),
        )
        for arm in arms
    ]
    ends = front([((row.costs[clock(runs)], row.costs["human_share"]), row.knowledge.value) for row in rows])
    rows = [replace(row, front=end) for row, end in zip(rows, ends, strict=True)]
    return sorted(rows, key=lambda row: (row.arm != baseline, -_or_nan(row.knowledge.value), row.arm))


def _means(runs: Iterable[Mapping[str, float]]) -> dict[str, Interval]:
    every = list(runs)
    names = dict.fromkeys(name for one in every for name in one)
    return {name: _share([one.get(name, math.nan) for one in every]) for name in names}


def _share(values: Sequence[float]) -> Interval:
    """Mean of shares with its t interval, cut to where a share can lie: few seeds reach beyond it."""
    found = mean(values)
    if found.low is None or found.high is None:
        return found
    return replace(found, low=max(found.low, 0.0), high=min(found.high, 1.0))


def _contrast(arm: Sequence[RunSummary], base: Sequence[RunSummary], alpha: float) -> Contrast:
    theirs = {run.seed: run.knowledge for run in base}
    pairs = [(run.knowledge, theirs[run.seed]) for run in arm if run.seed in theirs]
    found = paired_difference([x for x, _ in pairs], [y for _, y in pairs], level=1 - alpha)
    sd = found.interval.deviation
    seen = sd is not None and found.seeds > 1
    least = detectable_with_seeds(found.seeds, sd, alpha=alpha / 2) if seen and sd is not None else None
    return Contrast(
        difference=found.interval, p=found.p, p_holm=None, shown=False, declared=False, detectable=least,
        reason=found.reason,
    )  # fmt: skip


def _declared(contrast: Contrast, corrected: Mapping[str, float | None], arm: str, alpha: float) -> Contrast:
    p = corrected.get(arm)
    return replace(contrast, p_holm=p, shown=p is not None and p <= alpha, declared=arm in corrected)


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value


def front(points: Sequence[tuple[Sequence[float], float | None]]) -> list[bool]:
    """Which (costs, value) points no other one beats: none has every cost at most as high and a value at least as
    high, one of them strictly (Pareto). A point without a value is not on the front; equal points are all on it."""
    known = [(tuple(costs), value) for costs, value in points if value is not None]

    def beats(other: tuple[tuple[float, ...], float], costs: tuple[float, ...], value: float) -> bool:
        no_worse = other[1] >= value and all(theirs <= mine for theirs, mine in zip(other[0], costs, strict=True))
        return no_worse and other != (costs, value)

    return [
        value is not None and not any(beats(other, tuple(costs), value) for other in known) for costs, value in points
    ]
