"""Rows of one format aligned for a diagnosis: items by generations, for each wording, per run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from factfade.columns import Codes, Floats, as_lists, as_text, clusters_of, factorized
from factfade.records import OUTCOMES

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class Aligned:
    """One format of one run. `rows[wording]` are positions in the evidence, (items, generations), -1 where absent.

    `clusters` is the entity of each item, else the item itself, as codes.
    """

    lineage: str
    seed: int
    generations: tuple[int, ...]
    clusters: Codes
    rows: Mapping[str, Codes]

    def matrix(self, wording: str, values: Floats) -> Floats:
        """A column of the evidence as (items, generations), NaN where there is no row."""
        rows = self.rows.get(wording)
        if rows is None:
            return np.full((len(self.clusters), len(self.generations)), np.nan)
        return np.where(rows >= 0, values[np.maximum(rows, 0)], np.nan)

    @property
    def start(self) -> int | None:
        """Position of generation 0; None where it was not evaluated."""
        return self.generations.index(0) if 0 in self.generations else None


def aligned(evidence: pd.DataFrame, format: str) -> list[Aligned]:
    """The format's rows by run, runs sorted; nothing where the format was not asked."""
    if not len(evidence) or "format" not in evidence.columns:
        return []
    at = np.flatnonzero(as_text(evidence, "format") == format)
    if not len(at):
        return []
    table = evidence.iloc[at]
    item, wording = factorized(as_text(table, "item")), as_text(table, "wording")
    cluster = clusters_of(table)
    generation = table["generation"].to_numpy(dtype=np.int64)
    found: list[Aligned] = []
    for (lineage, seed), part in table.groupby(["lineage", "seed"], sort=True, observed=True).indices.items():
        items, first, row = np.unique(item[part], return_index=True, return_inverse=True)
        generations, column = np.unique(generation[part], return_inverse=True)
        rows: dict[str, Codes] = {}
        for name in sorted(set(wording[part])):
            here = wording[part] == name
            rows[name] = np.full((len(items), len(generations)), -1, dtype=np.intp)
            rows[name][row[here], column[here]] = at[part[here]]
        found.append(
            Aligned(
                lineage=str(lineage),
                seed=int(seed),
                generations=tuple(int(g) for g in generations),
                clusters=cluster[part[first]],
                rows=rows,
            )
        )
    return found


def right_answers(evidence: pd.DataFrame) -> Floats:
    """1 where the free answer is correct, 0 where it is anything else, NaN where none was asked."""
    outcome = as_text(evidence, "outcome")
    asked = np.isin(outcome, [name for name in OUTCOMES if name != "not_asked"])
    return np.where(asked, outcome == "correct", np.nan)


def option_values(evidence: pd.DataFrame) -> tuple[Sequence[Floats | None], Sequence[Floats | None]]:
    """Summed and mean log-probabilities of each row's options; None where they are absent, or not of one length."""
    sums: list[Floats | None] = []
    means: list[Floats | None] = []
    pairs = zip(as_lists(evidence, "option_logprob"), as_lists(evidence, "option_tokens"), strict=True)
    for logprobs, tokens in pairs:
        own = None if logprobs is None or not len(logprobs) else np.asarray(logprobs, dtype=np.float64)
        sums.append(own)
        if own is None or tokens is None or len(tokens) != len(own):
            means.append(None)
            continue
        counts = np.asarray(tokens, dtype=np.float64)
        means.append(own / np.where(counts > 0, counts, np.nan))
    return sums, means
