"""Do the formats of a lineage fall at different rates? A permutation test, and the published analysis of variance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from factfade.analysis.stacked import POINTS, p_words, panels_of, points, span_words, stacked
from factfade.analysis.study import Study
from factfade.columns import Codes, Floats
from factfade.stats.anova import TwoWay, interaction, two_way
from factfade.stats.ratios import slope_parts
from factfade.verdicts import Finding

NOT_CALIBRATED = (
    "Its cells ask the same questions of checkpoints that follow from each other, so F does not have the distribution "
    "that it is compared with; the permutation test answers the question."
)


@dataclass(frozen=True, kw_only=True)
class _Table:
    """The answers of a lineage on the generations that all its formats and seeds have: (format, seed) -> matrix."""

    lineage: str
    formats: tuple[str, ...]
    seeds: tuple[int, ...]
    generations: tuple[int, ...]
    values: Mapping[tuple[str, int], Floats]
    clusters: Mapping[tuple[str, int], Codes]

    @property
    def place(self) -> str:
        seeds = f"seed {self.seeds[0]}" if len(self.seeds) == 1 else f"{len(self.seeds)} seeds"
        return f"{self.lineage}, {seeds}, {span_words(self.generations)}"


def findings(study: Study, lineage: str) -> list[Finding]:
    """The permutation test and the analysis of variance of one lineage; nothing where it has one format only."""
    stacks = {
        (panel.format, seed): stacked(study, [panel])
        for seed in study.seeds(lineage)
        for panel in panels_of(study, lineage, seed)
    }
    formats = sorted({format for format, _ in stacks})
    seeds = sorted({seed for _, seed in stacks if all((format, seed) in stacks for format in formats)})
    if len(formats) < 2 or not seeds:
        return []
    kept = {(format, seed): stacks[format, seed] for format in formats for seed in seeds}
    shared = sorted(set.intersection(*(set(stack.generations) for stack in kept.values())))
    table = _Table(
        lineage=lineage,
        formats=tuple(formats),
        seeds=tuple(seeds),
        generations=tuple(shared),
        values={at: stack.values[:, np.isin(stack.generations, shared)] for at, stack in kept.items()},
        clusters={at: stack.clusters for at, stack in kept.items()},
    )
    return [_permuted(table), _published(table)]


def _permuted(table: _Table) -> Finding:
    labels = np.unique(np.concatenate(list(table.clusters.values())))
    numerators, weights = np.zeros((len(labels), len(table.formats))), np.zeros((len(labels), len(table.formats)))
    for (format, seed), values in table.values.items():
        column = table.formats.index(format)
        at = np.searchsorted(labels, table.clusters[format, seed])
        for total, part in zip((numerators, weights), slope_parts(values, table.generations), strict=True):
            np.add.at(total[:, column], at, part)
    found = interaction(numerators, weights)
    slopes = dict(zip(table.formats, found.slopes, strict=True))
    if found.p is None or found.spread is None:
        sentence = f"Whether formats change at different rates cannot be said ({table.place}): {found.reason}."
    else:
        known = sorted((slope, name) for name, slope in slopes.items() if slope is not None)
        (low, first), (high, last) = known[0], known[-1]
        verb = "change" if found.p <= 0.05 else "are not shown to change"
        sentence = (
            f"Formats {verb} at different rates ({table.place}): slopes lie between {points(low, signed=True)} "
            f"({first}) and {points(high, signed=True)} {POINTS} ({last}); permutation {p_words(found.p)} on "
            f"{found.units:,} clusters of questions. This speaks of these checkpoints."
        )
    return Finding(
        analysis="slope",
        name="format_interaction",
        estimand="checkpoints",
        lineage=table.lineage,
        seed=table.seeds[0] if len(table.seeds) == 1 else None,
        value=found.spread,
        p=found.p,
        n=found.units,
        units="clusters",
        unit="share per generation",
        method=found.method,
        sentence=sentence,
        reason=found.reason,
        extra={
            "slopes": slopes,
            "seeds": list(table.seeds),
            "generations": list(table.generations),
            "left_out": found.left_out,
            "permutations": found.permutations,
            "no_interval": "a permutation test has a p and no interval",
        },
    )


def _published(table: _Table) -> Finding:
    cells = [
        (format, g, seed, float(np.mean(answered)))
        for (format, seed), values in table.values.items()
        for g, column in zip(table.generations, values.T, strict=True)
        if len(answered := column[~np.isnan(column)])
    ]
    found = two_way([c[3] for c in cells], [c[0] for c in cells], [c[1] for c in cells]) if cells else None
    effect = None if found is None else found.effect("interaction")
    blank = Finding(
        analysis="slope",
        name="published_anova",
        estimand="checkpoints" if len(table.seeds) == 1 else "recipe",
        lineage=table.lineage,
        seed=table.seeds[0] if len(table.seeds) == 1 else None,
        n=len(cells),
        units="cells",
        unit="F",
        method="two-way analysis of variance, type II",
    )
    if found is None:
        reason = "a cell of the format by generation table is empty, or there is one generation"
        said = f"The published analysis of variance has no answer ({table.place}): {reason}."
        return replace(blank, reason=reason, sentence=said)
    reason = ""
    if effect is None:
        reason = "one value a cell: what an interaction would explain is the residual"
    elif effect.f is None:
        reason = "the cells leave no residual to compare with"
    return replace(
        blank,
        value=None if effect is None else effect.f,
        p=None if effect is None else effect.p,
        reason=reason,
        sentence=_anova_words(table, found, reason),
        extra={"effects": _plain(found), "replicated": found.replicated, "no_interval": "an F has none"},
    )


NAMES = {"first": "format", "second": "generation", "interaction": "format x generation", "residual": "residual"}


def _plain(found: TwoWay) -> dict[str, dict[str, Any]]:
    return {
        NAMES[line.source]: {"df": line.df, "sum_squares": line.sum_squares, "f": line.f, "p": line.p}
        for line in found.effects
    }


def _anova_words(table: _Table, found: TwoWay, reason: str) -> str:
    rest = found.effect("residual")
    parts = [
        f"{NAMES[line.source]} F({line.df}, {rest.df}) = {line.f:.2f}, {p_words(line.p)}"
        for line in reversed(found.effects)
        if rest is not None and line.f is not None and line.p is not None
    ]
    design = f"{len(table.formats)} formats x {len(table.generations)} generations"
    seeds = f" x {len(table.seeds)} seeds" if len(table.seeds) > 1 else ""
    shown = "; ".join(parts) if parts else "no F"
    why = f" The interaction has no F ({reason})." if reason else ""
    return (
        f"For comparison with the published table only ({table.place}): two-way analysis of variance of {found.n:,} "
        f"accuracies, {design}{seeds}: {shown}.{why} {NOT_CALIBRATED}"
    )
