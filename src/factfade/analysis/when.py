"""When did these checkpoints fall? The step of each format, and the generations shown lower than generation 0."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from factfade.analysis.stacked import Stack, level_words, list_words, p_words, points, span_words
from factfade.analysis.study import Study
from factfade.stats.changepoint import ChangePoint, change_point
from factfade.stats.multiplicity import holm
from factfade.stats.paired import mcnemar_mid_p, paired_loss
from factfade.stats.trend import items_trend
from factfade.verdicts import Finding

SET_LEVEL = 0.95


def steps(study: Study, lineage: str, seed: int, stacks: Sequence[Stack]) -> list[Finding]:
    """The change point of each format, Holm over formats. `value` is the first generation at the lower level."""
    points_found = [
        change_point(stack.values, stack.generations, stack.clusters, items=stack.items, level=SET_LEVEL)
        for stack in stacks
    ]
    adjusted = holm([np.nan if point.p is None else point.p for point in points_found])
    found: list[Finding] = []
    for stack, point, p in zip(stacks, points_found, adjusted, strict=True):
        dropped = point.p is not None and bool(p <= study.alpha)
        reason = point.reason
        if point.p is not None and not dropped:
            reason = "no drop is shown"
        elif dropped and not point.candidates:
            reason = "no single step fits"
        placed = dropped and bool(point.candidates)
        found.append(
            Finding(
                analysis="trend",
                name="change_point",
                estimand="checkpoints",
                lineage=lineage,
                seed=seed,
                format=stack.formats[0],
                value=float(point.generation) if placed and point.generation is not None else None,
                low=float(min(point.candidates)) if placed else None,
                high=float(max(point.candidates)) if placed else None,
                level=SET_LEVEL,
                p=point.p,
                n=point.n,
                unit="generation",
                method="largest standardised drop, calibrated by reading clusters backwards",
                sentence=_step_words(lineage, seed, stack, point, float(p), dropped, len(stacks)),
                reason=reason,
                extra={
                    "p_holm": None if point.p is None else float(p),
                    "shown": dropped,
                    "best": point.generation,
                    "drop": point.drop,
                    "candidates": list(point.candidates),
                    "draws": point.draws,
                    "clusters": point.clusters,
                },
            )
        )
    return found


def _step_words(lineage: str, seed: int, stack: Stack, point: ChangePoint, p: float, dropped: bool, family: int) -> str:
    place = f"({lineage}, seed {seed}, {stack.formats[0]})"
    if point.p is None or point.generation is None or point.drop is None:
        return f"When these checkpoints fell cannot be said {place}: {point.reason}."
    corrected = f"; over {family} formats (Holm) {p_words(p)}" if family > 1 else ""
    numbers = f"({point.n:,} items, {span_words(stack.generations)}; {p_words(point.p)}{corrected})"
    if not dropped:
        return f"No generation is shown at which the level of these checkpoints drops {place} {numbers}."
    if not point.candidates:
        return (
            f"The level of these checkpoints drops, but no single step fits {place}: the loss is gradual or comes in "
            f"several steps; the best single one is at generation {point.generation} {numbers}."
        )
    return (
        f"The level of these checkpoints drops at generation {point.generation} {place}: before and after differ by "
        f"{points(point.drop)} points {numbers}. "
        f"The {level_words(SET_LEVEL)} set of generations at which one step fits: {list_words(point.candidates)}."
    )


def drops(study: Study, lineage: str, seed: int, stacks: Sequence[Stack]) -> list[Finding]:
    """Of each format the loss since generation 0, generation by generation, Holm over generations.

    `value` is the loss in the last generation (positive = lower than generation 0).
    """
    return [_drops(study, lineage, seed, stack) for stack in stacks]


def _drops(study: Study, lineage: str, seed: int, stack: Stack) -> Finding:
    place = f"({lineage}, seed {seed}, {stack.formats[0]})"
    table = _table(study, stack)
    tested = [row for row in table if row["p"] is not None]
    method = "loss since generation 0: Tango's interval; one-sided t of the paired differences, Holm over generations"
    last = tested[-1] if tested else None
    if last is None:
        reason = "there is no generation after generation 0 with the same questions"
        if 0 not in stack.generations:
            reason = "generation 0 is not there"
        elif table:
            reason = "the items are too few or one cluster"
        sentence = f"Which generations are lower than generation 0 cannot be said {place}: {reason}."
    else:
        reason = ""
        shown = [int(row["generation"]) for row in table if row["shown"]]
        family = f"Holm over {len(tested)} generation{'' if len(tested) == 1 else 's'}"
        if shown:
            many = "generations" if len(shown) > 1 else "generation"
            sentence = f"Shown lower than generation 0 {place}: {many} {list_words(shown)} ({family})."
        else:
            sentence = f"In no generation are these checkpoints shown lower than in generation 0 {place} ({family})."
        sentence += (
            f" In generation {last['generation']} the loss is {points(last['loss'], signed=True)} points, "
            f"{level_words(1 - 2 * study.alpha)} interval {points(last['low'], signed=True)} to "
            f"{points(last['high'], signed=True)} ({last['n']:,} questions, {last['lost']:,} lost and "
            f"{last['gained']:,} gained; Holm {p_words(last['p_holm'])})."
        )
    return Finding(
        analysis="trend",
        name="generations_lower",
        estimand="checkpoints",
        lineage=lineage,
        seed=seed,
        format=stack.formats[0],
        value=None if last is None else last["loss"],
        low=None if last is None else last["low"],
        high=None if last is None else last["high"],
        level=1 - 2 * study.alpha,
        p=None if last is None else last["p_holm"],
        n=0 if last is None else last["n"],
        units="questions",
        method=method,
        sentence=sentence,
        reason=reason,
        extra={"generations": table, "shown": [row["generation"] for row in table if row["shown"]]},
    )


def _table(study: Study, stack: Stack) -> list[dict[str, Any]]:
    """One line for each generation after 0; `p` is None where it carries no test."""
    if 0 not in stack.generations:
        return []
    start = stack.values[:, stack.generations.index(0)]
    table: list[dict[str, Any]] = []
    for j, generation in enumerate(stack.generations):
        if generation == 0:
            continue
        now = stack.values[:, j]
        both = ~np.isnan(start) & ~np.isnan(now)
        if not both.any():
            continue
        pairs = np.column_stack([start[both], now[both]])
        clusters, items = stack.clusters[both], stack.items[both]
        loss = paired_loss(pairs[:, 0], pairs[:, 1], clusters, level=1 - 2 * study.alpha)
        trend = items_trend(pairs, [0, generation], clusters, items=items)
        table.append(
            {
                "generation": generation,
                "loss": loss.interval.value,
                "low": loss.interval.low,
                "high": loss.interval.high,
                "n": loss.interval.n,
                "lost": loss.lost,
                "gained": loss.gained,
                "p": trend.p,
                "mcnemar_mid_p": mcnemar_mid_p(loss.lost, loss.gained),
            }
        )
    adjusted = holm([np.nan if row["p"] is None else row["p"] for row in table])
    for row, p in zip(table, adjusted, strict=True):
        row["p_holm"] = None if row["p"] is None else float(p)
        row["shown"] = row["p"] is not None and bool(p <= study.alpha)
    return table
