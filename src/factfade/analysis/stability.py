"""Recursive stability: how far do a chain's answers move when a part of its first human text is another?

Two chains of one recipe and one run seed differ in one shard of the human text of generation 1 (prompts of the kind
`shard_changed`). Their answers to the same questions are compared in every generation: total variation and
Jensen-Shannon divergence of the distributions over the options, and the share of questions with another choice. The
measure is ours after the recursive stability of arXiv 2502.18865, which bounds how the last model's outputs change with
one sample of the first data; identical chains have 0.

Beside it stands the same distance between chains of the recipe under different run seeds: what chance alone moves.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from factfade.analysis.saying import finding, plain, said
from factfade.analysis.sensitivity import Rows, scored_rows
from factfade.columns import Codes, Floats
from factfade.stats.information import jensen_shannon, total_variation
from factfade.stats.intervals import Interval, mean

if TYPE_CHECKING:
    from factfade.analysis.study import Study
    from factfade.verdicts import Finding

Run = tuple[str, int]


@dataclass(frozen=True, kw_only=True)
class Apart:
    """How far two chains are apart in one generation, one number per question put (item, format, wording)."""

    variation: Floats
    divergence: Floats
    moved: Floats
    clusters: Codes


def findings(study: Study) -> list[Finding]:
    """Per pair and seed the distance in the last generation that both have, and per pair the mean over seeds."""
    if not study.twins:
        return []
    rows = scored_rows(study.evidence)
    level = 1 - 2 * study.alpha
    found: list[Finding] = []
    for changed, original in sorted(study.twins.items()):
        last: list[float] = []
        for seed in sorted({s for name, s in rows.runs if name == changed}):
            by_generation = distances(rows, (changed, seed), (original, seed))
            later = [generation for generation in by_generation if generation > 0]
            if not later:
                continue
            at = max(later)
            one = _finding((changed, seed, ""), original, at, by_generation, _floor(rows, original, at), level)
            found.append(one)
            if one.value is not None:
                last.append(one.value)
        found.append(_recipe(changed, original, last, level))
    return found


def distances(rows: Rows, one: Run, other: Run) -> dict[int, Apart]:
    """By generation the distance of two runs over the questions that both were asked, options matched by name."""
    index = {_place(rows, r): r for r in rows.of(other)}
    pairs = [(r, index[_place(rows, r)]) for r in rows.of(one) if _place(rows, r) in index]
    found: dict[int, Apart] = {}
    for generation in sorted({int(rows.generation[r]) for r, _ in pairs}):
        here = [(a, b) for a, b in pairs if rows.generation[a] == generation and set(rows.keys[a]) == set(rows.keys[b])]
        if not here:
            continue
        width = max(len(rows.values[a]) for a, _ in here)
        first, second = np.full((len(here), width), np.nan), np.full((len(here), width), np.nan)
        for at, (a, b) in enumerate(here):
            order = {key: place for place, key in enumerate(rows.keys[b])}
            first[at, : len(rows.values[a])] = rows.values[a]
            second[at, : len(rows.values[a])] = rows.values[b][[order[key] for key in rows.keys[a]]]
        found[generation] = Apart(
            variation=total_variation(first, second),
            divergence=jensen_shannon(first, second),
            moved=(np.nanargmax(first, axis=1) != np.nanargmax(second, axis=1)).astype(np.float64),
            clusters=rows.cluster[np.array([a for a, _ in here], dtype=np.intp)],
        )
    return found


def _place(rows: Rows, row: int) -> tuple[int, int, tuple[str, str]]:
    return int(rows.generation[row]), int(rows.item[row]), rows.view[row]


def _floor(rows: Rows, lineage: str, generation: int) -> float | None:
    """The mean distance between chains of the original recipe under different run seeds; None with one seed."""
    seeds = sorted(seed for name, seed in rows.runs if name == lineage)
    seen = [
        float(np.nanmean(apart[generation].variation))
        for a, b in combinations(seeds, 2)
        if generation in (apart := distances(rows, (lineage, a), (lineage, b)))
    ]
    return float(np.mean(seen)) if seen else None


def _finding(
    place: tuple[str, int, str],
    original: str,
    generation: int,
    by_generation: Mapping[int, Apart],
    floor: float | None,
    level: float,
) -> Finding:
    curve = {
        str(g): {
            "total_variation": plain(mean(apart.variation, apart.clusters, level=level)),
            "jensen_shannon": plain(mean(apart.divergence, apart.clusters, level=level)),
            "other_choice": plain(mean(apart.moved, apart.clusters, level=level)),
        }
        for g, apart in by_generation.items()
    }
    headline = mean(by_generation[generation].variation, by_generation[generation].clusters, level=level)
    moved = mean(by_generation[generation].moved, by_generation[generation].clusters, level=level)
    return finding(
        "stability",
        "recursive_stability",
        place,
        headline,
        _sentence(place, original, generation, headline, moved, floor),
        reason="" if headline.value is not None else "no question has scored options in both chains",
        unit="share",
        units="questions",
        original=original,
        generation=generation,
        by_generation=curve,
        between_seeds=floor,
    )


def _sentence(
    place: tuple[str, int, str],
    original: str,
    generation: int,
    headline: Interval,
    moved: Interval,
    floor: float | None,
) -> str:
    text = (
        f"{place[0]} seed {place[1]}: with one shard of its first human text changed, the answers of generation "
        f"{generation} move by {said(headline, 'share', units='questions')} of total variation against {original}; "
        f"{said(moved, 'share', units='questions')} of the questions get another choice."
    )
    if floor is None:
        return text + " What another run seed moves is not known with one seed."
    return text + f" Another run seed moves the answers of {original} by {100 * floor:.1f}%."


def _recipe(changed: str, original: str, last: Sequence[float], level: float) -> Finding:
    """The mean over run seeds, a t interval where there are two or more."""
    found = mean(last, level=level)
    few = len(last) < 2
    reason = "" if last else "no seed has both chains evaluated after generation 0"
    text = f"Over {len(last)} run seed{'' if len(last) == 1 else 's'}, changing the shard moves the answers by "
    text += f"{said(found, 'share', units='seeds')} of total variation."
    return finding(
        "stability",
        "recursive_stability",
        (changed, None, ""),
        found,
        text if last else f"How stable {original} is cannot be said: {reason}.",
        reason=reason,
        estimand="recipe",
        unit="share",
        units="seeds",
        original=original,
        exploratory=few,
    )
