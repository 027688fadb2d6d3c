"""Metrics: pure functions from the stored tables to scores. No metric touches a model.

`compute` runs them through the registry; `frame` makes the long table of scores.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from factfade import registry
from factfade.protocols import Metric
from factfade.records import PROBES
from factfade.verdicts import ScoreRow

if TYPE_CHECKING:
    import pandas as pd


def compute(
    evidence: pd.DataFrame, fluency: pd.DataFrame, completions: pd.DataFrame, kinds: Sequence[str] | None = None
) -> list[ScoreRow]:
    """The scores of every metric of the registry, or of the kinds that are named, in the registry's order.

    The tables are those of docs/evidence.md; an empty one (no rows) yields no scores. What optional columns would
    have been needed for has the value None and a reason. Raises ConfigError for a kind that does not exist.
    """
    if "format" in evidence.columns:
        # A probe asks one question from several sides: its diagnosis reads it; a share over its sides means nothing.
        evidence = evidence[~evidence["format"].isin(PROBES)]
    rows: list[ScoreRow] = []
    for kind in registry.kinds("metric") if kinds is None else kinds:
        metric: Metric = registry.build("metric", kind)
        rows.extend(metric.scores(evidence, fluency, completions))
    return rows


def frame(rows: Iterable[ScoreRow]) -> pd.DataFrame:
    """The long table: one line per score, with its place, n, interval, method, unit and reason."""
    import pandas as pd

    columns = ["lineage", "seed", "generation", "format", "domain", "name", "value", "n", "low", "high"]
    columns += ["level", "method", "unit", "reason"]
    place, rest = columns[:5], columns[5:]
    lines = [[getattr(r, c) for c in place] + [getattr(r.score, c) for c in rest] for r in rows]
    table = pd.DataFrame(lines, columns=columns)
    return table.astype(dict.fromkeys(("value", "low", "high"), "float64"))


def records(rows: Iterable[ScoreRow]) -> list[dict[str, Any]]:
    """The scores as plain data: the place, and every field of the score."""
    return [
        {
            "lineage": row.lineage,
            "seed": row.seed,
            "generation": row.generation,
            "format": row.format,
            "domain": row.domain,
            **asdict(row.score),
        }
        for row in rows
    ]


def lines(rows: Iterable[ScoreRow]) -> list[str]:
    """One line per score: its place, its value with interval and n, or the reason why there is none."""
    found: list[str] = []
    for row in rows:
        score = row.score
        parts = [row.lineage, f"seed {row.seed}", f"generation {row.generation}", row.format, row.domain]
        place = ", ".join(part for part in parts if part)
        if score.value is None:
            text = f"- ({score.reason})"
        else:
            ends = "" if score.low is None or score.high is None else f" [{score.low:.4g}, {score.high:.4g}]"
            text = f"{score.value:.4g}{ends} (n = {score.n:,}{'; ' + score.method if score.method else ''})"
        found.append(f"{place:<60} {score.name:<28} {text}")
    return found
