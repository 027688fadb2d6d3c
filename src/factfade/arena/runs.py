"""One run, as the arena reads it: what the last generation knows, when stages began, and what the run cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from factfade import reading, stages
from factfade.config import Experiment
from factfade.records import COSTS as PART_COSTS
from factfade.records import PROBES
from factfade.stage_panel import Panel, Panels, build_panels
from factfade.stages import call_panels
from factfade.steps import committed_steps
from factfade.store import ExperimentFolder

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """Shares of a run's last generation, over the questions asked; costs over all its generations.

    `knowledge` is the mean over formats of the share right by choice; `start` is that of generation 0 by format.
    `onsets` is by stage the first generation with an onset in any format.
    """

    arm: str
    seed: int
    items: int
    knowledge: float
    formats: Mapping[str, float]
    domains: Mapping[str, float]
    start: Mapping[str, float]
    parseable: float | None
    nats: float | None
    onsets: Mapping[str, int]
    costs: Mapping[str, float]


def summarise(
    folder: ExperimentFolder,
    experiment: Experiment,
    arm: str,
    seed: int,
    *,
    generation: int,
    formats: Sequence[str] | None = None,
) -> RunSummary | None:
    """The summary of a run; None where its last generation is not evaluated yet. One run is read at a time."""
    run = folder.run(arm, seed)
    if "evaluate" not in committed_steps(run.generation(generation)):
        return None
    only = {(arm, seed)}
    evidence = reading.load_evidence(folder, lineages=only)
    panels = build_panels(
        evidence, reading.load_fluency(folder, lineages=only), reading.load_own(folder, lineages=only)
    )
    own = {
        name: panel
        for (_, _, name), panel in sorted(panels.formats.items())
        if name not in PROBES and (formats is None or name in formats)
    }
    right = {name: _share(panel, panel.knowledge, generation) for name, panel in own.items()}
    parsed = [_share(panel, panel.parseable, generation) for panel in own.values()]
    first = next(iter(own.values()))
    return RunSummary(
        arm=arm,
        seed=seed,
        items=len(np.unique(first.items)),
        knowledge=float(np.mean(list(right.values()))),
        formats=right,
        domains=_domains(evidence, own.values(), generation),
        start={name: _share(panel, panel.knowledge, 0) for name, panel in own.items()},
        parseable=_mean(parsed),
        nats=_nats(panels, (arm, seed), generation),
        onsets=_onsets(panels, stages.Rule.from_section(experiment.stages)),
        costs=costs(folder, arm, seed, generation),
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


def _nats(panels: Panels, run: tuple[str, int], generation: int) -> float | None:
    """Rise of the surprisal of own text under the start model, generation 0 to the last, in nats per token."""
    panel = panels.nats.get(run)
    if panel is None or generation not in panel.generations or 0 not in panel.generations:
        return None
    nll, tokens = panel.values["nll"], panel.values["tokens"]
    levels = [
        float(np.nansum(nll[:, at]) / np.nansum(tokens[:, at]))
        for at in (panel.generations.index(0), panel.generations.index(generation))
        if np.nansum(tokens[:, at]) > 0
    ]
    return levels[1] - levels[0] if len(levels) == 2 else None


def _onsets(panels: Panels, rule: stages.Rule) -> dict[str, int]:
    report = call_panels(panels, rule, controls={}, draws=0)
    found: dict[str, int] = {}
    for onset in report.onsets:
        if onset.stage in ("B", "C"):
            found[onset.stage] = min(onset.generation, found.get(onset.stage, onset.generation))
    return found


def costs(folder: ExperimentFolder, arm: str, seed: int, generations: int) -> dict[str, float]:
    """What the generations up to the last one cost: tokens, calls, seconds of synthesis, pool and training, memory."""
    total: dict[str, float] = dict.fromkeys(
        ("trained_tokens", "optimizer_steps", "synthesized_tokens", "seconds", *PART_COSTS), 0.0
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
        total["seconds"] += float(train.times.get("seconds", 0.0)) + float(synthesize.times.get("seconds", 0.0))
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
