"""Confidence of right and of wrong choices and free answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from factfade.columns import Codes, Floats, as_float, as_text, clusters_of
from factfade.metrics.shared import Group, groups, missing, score_of, unknown
from factfade.records import PARSEABLE
from factfade.stats.intervals import Interval, mean, share, zero_event_bound
from factfade.verdicts import Score, ScoreRow

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class Confidence:
    """Mean confidence of right and of wrong ones (t, cluster-robust), and the share that is wrong with confidence
    >= `tau` (Wilson, cluster-robust; where none is seen the exact one-sided bound 1 - 0.05^(1/n) over clusters).

    Choices are judged by choice_correct and choice_confidence, free answers (prefix `answer_`) by outcome among the
    parseable and answer_confidence.
    """

    tau: float = 0.8
    level: float = 0.95
    name: ClassVar[str] = "confidence"

    def __post_init__(self) -> None:
        if not 0.0 <= self.tau <= 1.0:
            raise ValueError(f"tau is a probability, not {self.tau}")

    def scores(self, evidence: pd.DataFrame, fluency: pd.DataFrame, completions: pd.DataFrame) -> Sequence[ScoreRow]:
        """confidence_right, confidence_wrong, wrong_and_confident and their answer_ twins by format and domain."""
        if not len(evidence):
            return []
        outcome, clusters = as_text(evidence, "outcome"), clusters_of(evidence)
        free = np.where(np.isin(outcome, list(PARSEABLE)), outcome == "correct", np.nan)
        sources = (
            ("", as_float(evidence, "choice_correct"), as_float(evidence, "choice_confidence"),
             missing(evidence, ["choice_correct", "choice_confidence"])),
            ("answer_", free, as_float(evidence, "answer_confidence"),
             missing(evidence, ["outcome", "answer_confidence"])),
        )  # fmt: skip
        return [
            group.row(score, format=group.within)
            for group in groups(evidence, "format")
            for prefix, right, confidence, reason in sources
            for score in self._group(group, prefix, right, confidence, clusters, reason)
        ]

    def _group(
        self, group: Group, prefix: str, right: Floats, confidence: Floats, clusters: Codes, reason: str
    ) -> Iterator[Score]:
        rows = group.rows[~np.isnan(right[group.rows]) & ~np.isnan(confidence[group.rows])]
        for name, wanted in (("confidence_right", 1.0), ("confidence_wrong", 0.0)):
            some = rows[right[rows] == wanted]
            if reason or not len(some):
                why = reason or f"none is {'right' if wanted else 'wrong'}"
                yield unknown(prefix + name, why, unit="probability")
            else:
                found = mean(confidence[some], clusters[some], level=self.level)
                yield score_of(prefix + name, found, unit="probability")
        if reason or not len(rows):
            yield unknown(f"{prefix}wrong_and_confident", reason or "none has a confidence", unit="share")
            return
        sure = (right[rows] == 0.0) & (confidence[rows] >= self.tau)
        found = share(sure, clusters[rows], level=self.level)
        if not sure.any():
            found = self._none_seen(found)
        yield score_of(f"{prefix}wrong_and_confident", found, unit="share", note=f"confidence of {self.tau:g} or more")

    def _none_seen(self, found: Interval) -> Interval:
        """No event among `found.clusters` independent units: 0 with the exact one-sided bound."""
        return Interval(
            value=0.0,
            low=0.0,
            high=zero_event_bound(found.clusters, 0.05),
            n=found.n,
            clusters=found.clusters,
            level=0.95,
            method="none seen: one-sided bound 1 - 0.05^(1/n)",
        )
