"""Panels of several formats as one matrix, and the words that the trends share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from factfade.analysis.study import Study
from factfade.columns import Codes, Floats, as_text
from factfade.records import PROBES
from factfade.stage_panel import Panel, pair

POINTS = "points a generation"


@dataclass(frozen=True, kw_only=True)
class Stack:
    """Questions of one or several formats of a run: `values` is (rows, generations), 1 right, 0 wrong, NaN a gap."""

    formats: tuple[str, ...]
    generations: tuple[int, ...]
    values: Floats
    items: Codes
    clusters: Codes
    domains: NDArray[Any]

    def within(self, domain: str) -> Stack:
        """The rows of one domain."""
        at = self.domains == domain
        return replace(
            self, values=self.values[at], items=self.items[at], clusters=self.clusters[at], domains=self.domains[at]
        )


def panels_of(study: Study, lineage: str, seed: int) -> list[Panel]:
    """The panels of a run that ask for knowledge: every format that is no probe."""
    return [panel for panel in study.of(lineage, seed) if panel.format not in PROBES]


def stacked(study: Study, panels: Sequence[Panel], values: Sequence[Floats] | None = None) -> Stack:
    """One matrix of all panels over the union of their generations; `values` take the place of their knowledge."""
    domain = as_text(study.evidence, "domain")
    generations = sorted({g for panel in panels for g in panel.generations})
    blocks: list[Floats] = []
    for i, panel in enumerate(panels):
        block = np.full((len(panel.keys), len(generations)), np.nan)
        block[:, np.searchsorted(generations, panel.generations)] = panel.knowledge if values is None else values[i]
        blocks.append(block)
    none = np.zeros(0, dtype=np.intp)
    return Stack(
        formats=tuple(panel.format for panel in panels),
        generations=tuple(generations),
        values=np.vstack(blocks) if blocks else np.zeros((0, 0)),
        items=np.concatenate([none, *(panel.items for panel in panels)]),
        clusters=np.concatenate([none, *(panel.clusters for panel in panels)]),
        domains=np.concatenate(
            [np.zeros(0, dtype=object), *(domain[panel.rows.max(axis=1, initial=0)] for panel in panels)]
        ),
    )


def paired_stacks(study: Study, arm: Sequence[Panel], control: Sequence[Panel]) -> tuple[Stack, Stack] | None:
    """The same questions and generations of two runs, each cell seen in both or a gap in both; None without any."""
    others = {panel.format: panel for panel in control}
    kept: list[Panel] = []
    mine: list[Floats] = []
    theirs: list[Floats] = []
    for panel in arm:
        other = others.get(panel.format)
        if other is None:
            continue
        rows, rows_other = pair(panel.keys, other.keys)
        at = np.isin(panel.generations, other.generations)
        at_other = np.isin(other.generations, panel.generations)
        if not len(rows) or not at.any():
            continue
        x = panel.knowledge[np.ix_(rows, at)]
        y = other.knowledge[np.ix_(rows_other, at_other)]
        hidden = np.isnan(x) | np.isnan(y)
        mine.append(np.where(hidden, np.nan, x))
        theirs.append(np.where(hidden, np.nan, y))
        kept.append(
            replace(
                panel,
                generations=tuple(int(g) for g in np.asarray(panel.generations)[at]),
                keys=panel.keys[rows],
                items=panel.items[rows],
                clusters=panel.clusters[rows],
                rows=panel.rows[rows],
            )
        )
    if not kept:
        return None
    return stacked(study, kept, mine), stacked(study, kept, theirs)


def points(share: float, *, signed: bool = False) -> str:
    """A share in points: 0.0123 is "1.23"."""
    return f"{100 * share:+.2f}" if signed else f"{100 * share:.2f}"


def p_words(p: float) -> str:
    """ "p < .001" or "p = .023"."""
    return "p < .001" if p < 0.001 else "p = " + f"{p:.3f}".lstrip("0")


def level_words(level: float) -> str:
    """ "90%" of .90."""
    return f"{100 * level:g}%"


def span_words(generations: Sequence[int]) -> str:
    """ "generations 0 to 6"."""
    if not generations:
        return "no generation"
    first, last = generations[0], generations[-1]
    return f"generation {first}" if first == last else f"generations {first} to {last}"


def list_words(generations: Sequence[int]) -> str:
    """ "3", "3 to 6", "1, 3 to 6"."""
    parts: list[list[int]] = []
    for g in generations:
        if parts and g == parts[-1][-1] + 1:
            parts[-1].append(g)
        else:
            parts.append([g])
    return ", ".join(f"{part[0]} to {part[-1]}" if len(part) > 2 else ", ".join(str(g) for g in part) for part in parts)


def formats_words(formats: Sequence[str]) -> str:
    """The format's name, or "5 formats"."""
    return formats[0] if len(formats) == 1 else f"{len(formats)} formats"
