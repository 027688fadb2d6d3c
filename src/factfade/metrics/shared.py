"""What the metrics share: groups of a table's rows, and scores out of intervals."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from factfade.columns import Codes, as_text
from factfade.errors import DataError
from factfade.stats.intervals import Interval
from factfade.verdicts import Score, ScoreRow

if TYPE_CHECKING:
    import pandas as pd

KEY = ("lineage", "seed", "generation")


@dataclass(frozen=True, kw_only=True)
class Group:
    """Rows of a table that are scored together; domain "" is all domains, `within` the further key (format, kind)."""

    lineage: str
    seed: int
    generation: int
    within: str
    domain: str
    rows: Codes

    def row(self, score: Score, *, format: str = "") -> ScoreRow:
        """The score at this place."""
        return ScoreRow(
            lineage=self.lineage,
            seed=self.seed,
            generation=self.generation,
            format=format,
            domain=self.domain,
            score=score,
        )


def groups(table: pd.DataFrame, within: str | None = None, *, domains: bool = True) -> Iterator[Group]:
    """Groups by lineage, seed, generation and `within`, each as a whole and then by domain where there are any.

    An empty table has none. Raises DataError when a key column is missing.
    """
    if not len(table):
        return
    key = [*KEY, within] if within else list(KEY)
    for column in key:
        if column not in table.columns:
            raise DataError(f"the table has no column {column!r}", hint="see docs/evidence.md")
    domain = as_text(table, "domain")
    for place, found in table.groupby(key, sort=True, observed=True).indices.items():
        rows = np.asarray(found, dtype=np.intp)
        lineage, seed, generation = str(place[0]), int(place[1]), int(place[2])
        name = str(place[3]) if within else ""
        here = domain[rows]
        names = sorted(set(here) - {""}) if domains else []
        for part in ["", *names]:
            yield Group(
                lineage=lineage,
                seed=seed,
                generation=generation,
                within=name,
                domain=part,
                rows=rows if part == "" else rows[here == part],
            )


def score_of(name: str, found: Interval, *, unit: str, reason: str = "nothing was observed", note: str = "") -> Score:
    """An interval as a score; `reason` is kept where it has no value, `note` is added to the method's name.

    Bounds of shares and probabilities are cut at 0 and 1.
    """
    value = found.value
    if value is not None and not math.isfinite(value):
        value, reason = None, "the value is not a finite number"
    if value is None:
        return unknown(name, reason, n=found.n, unit=unit)
    low, high = (x if x is not None and math.isfinite(x) else None for x in (found.low, found.high))
    if unit in ("share", "probability"):
        low, high = None if low is None else max(0.0, low), None if high is None else min(1.0, high)
    return Score(
        name=name,
        value=value,
        n=found.n,
        low=low,
        high=high,
        level=found.level,
        method=f"{found.method}; {note}" if note else found.method,
        unit=unit,
        reason="" if low is not None else "a single unit carries no interval",
    )


def unknown(name: str, reason: str, *, n: int = 0, unit: str = "") -> Score:
    """A score that the evidence cannot carry, with the reason."""
    return Score(name=name, value=None, n=n, unit=unit, reason=reason)


def missing(table: pd.DataFrame, columns: Sequence[str]) -> str:
    """The reason that names the first absent column; "" when all are there."""
    absent = [c for c in columns if c not in table.columns]
    return f"the table has no column {absent[0]}" if absent else ""
