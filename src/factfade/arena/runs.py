"""One run, as the arena reads it: what the last generation knows, when stages began, and what the run cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from factfade.columns import Place
from factfade.judging import Case
from factfade.records import COSTS as PART_COSTS
from factfade.records import PROBES
from factfade.report.measures import own_cells
from factfade.stage_panel import Panel, Run
from factfade.steps import committed_steps
from factfade.store import ExperimentFolder
from factfade.verdicts import StageReport

if TYPE_CHECKING:
    import pandas as pd

#: Seconds by a clock, and those of the processor: the first grow when other work shares the machine.
TIMES = ("seconds", "processor_seconds")


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """Shares of a run's last generation, over the questions asked; costs over all its generations.

    `knowledge` is the mean over formats of the share right by choice; `start` is that of generation 0 by format,
    `start_domains` by domain.
    `onsets` is by stage the first generation with an onset in any format.
    """

    arm: str
    seed: int
    items: int
    knowledge: float
    formats: Mapping[str, float]
    domains: Mapping[str, float]
    start: Mapping[str, float]
    start_domains: Mapping[str, float]
    parseable: float | None
    nats: float | None
    onsets: Mapping[str, int]
    costs: Mapping[str, float]


def summarise(
    case: Case, report: StageReport, folder: ExperimentFolder, *, generation: int, formats: Sequence[str] | None = None
) -> list[RunSummary]:
    """The summary of every run that has `generation` evaluated. `report` are the case's calls; `formats` None: all."""
    runs: dict[Run, dict[str, Panel]] = {}
    for (arm, seed, name), panel in sorted(case.panels.formats.items()):
        if name not in PROBES and (formats is None or name in formats) and generation in panel.generations:
            runs.setdefault((arm, seed), {})[name] = panel
    texts = {(cell.lineage, cell.seed, cell.generation): cell.score.value for cell in own_cells(case.panels)}
    return [
        _summary(case.evidence, run, own, generation, texts, _onsets(report, run), costs(folder, *run, generation))
        for run, own in runs.items()
    ]


def _summary(
    evidence: pd.DataFrame,
    run: Run,
    own: Mapping[str, Panel],
    generation: int,
    texts: Mapping[Place, float | None],
    onsets: Mapping[str, int],
    paid: Mapping[str, float],
) -> RunSummary:
    right = {name: _share(panel, panel.knowledge, generation) for name, panel in own.items()}
    start, end = texts.get((*run, 0)), texts.get((*run, generation))
    return RunSummary(
        arm=run[0],
        seed=run[1],
        items=len(np.unique(next(iter(own.values())).items)),
        knowledge=float(np.mean(list(right.values()))),
        formats=right,
        domains=_domains(evidence, own.values(), generation),
        start={name: _share(panel, panel.knowledge, 0) for name, panel in own.items()},
        start_domains=_domains(evidence, own.values(), 0),
        parseable=_mean([_share(panel, panel.parseable, generation) for panel in own.values()]),
        nats=None if start is None or end is None else end - start,
        onsets=onsets,
        costs=paid,
    )


def _share(panel: Panel, values: Any, generation: int) -> float:
    column = values[:, panel.generations.index(generation)]
    return float(np.nanmean(column)) if np.any(~np.isnan(column)) else math.nan


def _mean(values: Sequence[float]) -> float | None:
    known = [value for value in values if not math.isnan(value)]
    return float(np.mean(known)) if known else None


def _domains(evidence: pd.DataFrame, panels: Any, generation: int) -> dict[str, float]:
    """By domain the mean over formats of the share right by choice."""
    if "domain" not in evidence.columns:
        return {}
    names = evidence["domain"].fillna("").to_numpy(dtype=object)
    found: dict[str, list[float]] = {}
    for panel in panels:
        at = panel.generations.index(generation)
        rows, values = panel.rows[:, at], panel.knowledge[:, at]
        there = (rows >= 0) & ~np.isnan(values)
        of, right = names[rows[there]], values[there]
        for domain in sorted({str(name) for name in of}):
            found.setdefault(domain, []).append(float(right[of == domain].mean()))
    return {domain: float(np.mean(shares)) for domain, shares in sorted(found.items())}


def _onsets(report: StageReport, run: Run) -> dict[str, int]:
    found: dict[str, int] = {}
    for onset in report.onsets:
        if (onset.lineage, onset.seed) == run and onset.stage in ("B", "C"):
            found[onset.stage] = min(onset.generation, found.get(onset.stage, onset.generation))
    return found


def costs(folder: ExperimentFolder, arm: str, seed: int, generations: int) -> dict[str, float]:
    """What the generations up to the last one cost: tokens, calls, seconds of synthesis, pool and training, memory.

    `processor_seconds` are NaN where a step's were not recorded, or an accelerator did the work.
    """
    total: dict[str, float] = dict.fromkeys(
        ("trained_tokens", "optimizer_steps", "synthesized_tokens", *TIMES, *PART_COSTS), 0.0
    )
    human = read = repeats = peak = 0.0
    run = folder.run(arm, seed)
    for generation in range(1, generations + 1):
        steps = committed_steps(run.generation(generation))
        train, synthesize = steps["train"], steps["synthesize"]
        training = train.record["training"]
        total["trained_tokens"] += training["achieved"]["tokens"]
        total["optimizer_steps"] += train.record["steps"]
        total["synthesized_tokens"] += synthesize.record["completions"]["achieved"]["tokens"]
        # A step that another arm shares was paid there; its time is this arm's cost all the same.
        for name in TIMES:
            total[name] += sum(
                _time(step.times, name, str(training.get("device", "cpu"))) for step in (train, synthesize)
            )
        for part in train.record["pool"]:
            for name, value in part.get("costs", {}).items():
                total[name] = total.get(name, 0.0) + float(value)
        documents = training["documents"]
        share = documents["human_tokens"] / max(documents["human_tokens"] + documents["synthetic_tokens"], 1)
        human += share * training["achieved"]["tokens"]
        read += training["achieved"]["tokens"]
        repeats += training["achieved"]["epochs"]
        peak = max(peak, float(train.times.get("peak_memory_bytes", 0.0)))
    return {
        **total,
        "human_share": human / read if read else 0.0,
        "repeats": repeats / generations,
        "peak_memory_bytes": peak,
    }


def _time(times: Mapping[str, Any], name: str, device: str) -> float:
    if name == "processor_seconds" and (name not in times or device != "cpu"):
        return math.nan
    return float(times.get(name, 0.0))
