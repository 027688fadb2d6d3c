"""What became of the free answers: every outcome's share, the parse rate, and accuracy with and without parsing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from factfade.columns import Codes, as_text, clusters_of
from factfade.metrics.shared import Group, groups, score_of, unknown
from factfade.records import OUTCOMES, PARSEABLE
from factfade.stats.intervals import share
from factfade.verdicts import Score, ScoreRow

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class Outcomes:
    """Shares of the outcomes of free answers, never folded together. Wilson, cluster-robust (entity, else item).

    Six outcomes are shares of the questions asked and sum to 1; `outcome_not_asked` is a share of all questions
    put, and outside every other n. An outcome that the schema does not name is counted as `outcome_unknown`.
    """

    level: float = 0.95
    name: ClassVar[str] = "outcomes"

    def scores(self, evidence: pd.DataFrame, fluency: pd.DataFrame, completions: pd.DataFrame) -> Sequence[ScoreRow]:
        """parse_rate, free_accuracy (among parseable), free_accuracy_asked, outcome_* by format and domain."""
        if not len(evidence):
            return []
        outcome, clusters = as_text(evidence, "outcome"), clusters_of(evidence)
        reason = "no free answer has an outcome" if "outcome" in evidence.columns else "the table has no column outcome"
        return [
            group.row(score, format=group.within)
            for group in groups(evidence, "format")
            for score in self._group(group, outcome, clusters, reason)
        ]

    def _group(self, group: Group, outcome: NDArray[Any], clusters: Codes, reason: str) -> Iterator[Score]:
        put = group.rows[outcome[group.rows] != ""]
        asked = put[outcome[put] != "not_asked"]
        parseable = asked[np.isin(outcome[asked], list(PARSEABLE))]

        def rate(name: str, hits: NDArray[np.bool_], rows: Codes, note: str) -> Score:
            if not len(rows):
                return unknown(name, reason, unit="share")
            return score_of(name, share(hits, clusters[rows], level=self.level), unit="share", note=note)

        yield rate("parse_rate", np.isin(outcome[asked], list(PARSEABLE)), asked, "of questions asked")
        yield rate("free_accuracy", outcome[parseable] == "correct", parseable, "of parseable answers")
        yield rate("free_accuracy_asked", outcome[asked] == "correct", asked, "of questions asked")
        for name in OUTCOMES:
            rows, of = (put, "of questions put") if name == "not_asked" else (asked, "of questions asked")
            yield rate(f"outcome_{name}", outcome[rows] == name, rows, of)
        unnamed = ~np.isin(outcome[asked], OUTCOMES)
        if unnamed.any():
            yield rate("outcome_unknown", unnamed, asked, "of questions asked")
