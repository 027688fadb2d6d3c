"""Confidence of right and of wrong choices and free answers, and how well it is calibrated."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from factfade.columns import Codes, Floats, as_float, as_text, clusters_of
from factfade.metrics.shared import Group, groups, missing, score_of, unknown
from factfade.records import PARSEABLE
from factfade.stats.calibration import Binning, CalibrationError, brier, calibration_error
from factfade.stats.discrimination import auroc
from factfade.stats.intervals import Interval, mean, share, zero_event_bound
from factfade.verdicts import Score, ScoreRow

if TYPE_CHECKING:
    import pandas as pd

CALIBRATION = (
    *("brier", "brier_reliability", "brier_resolution", "brier_uncertainty", "brier_within"),
    *("ece", "ece_null", "ece_mass", "ece_mass_null", "auroc"),
)


def _sources(evidence: pd.DataFrame) -> tuple[tuple[str, Floats, Floats, str], ...]:
    """Prefix, right or wrong (NaN where neither), confidence, and the reason why there is none: choices, then free
    answers among the parseable."""
    outcome = as_text(evidence, "outcome")
    asked = outcome != "not_asked"
    chosen = np.where(asked, as_float(evidence, "choice_correct"), np.nan)
    free = np.where(np.isin(outcome, list(PARSEABLE)), outcome == "correct", np.nan)
    choices, answers = ["choice_correct", "choice_confidence"], ["outcome", "answer_confidence"]
    return (
        ("", chosen, as_float(evidence, choices[1]), missing(evidence, choices)),
        ("answer_", free, as_float(evidence, answers[1]), missing(evidence, answers)),
    )


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
        sources, clusters = _sources(evidence), clusters_of(evidence)
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


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Brier score with its parts, expected calibration error with its null band, AUROC of the confidence.

    Confidence is the largest normalised option probability (free answers, prefix `answer_`: the geometric-mean token
    probability, among the parseable). `bins` are of equal `width` for the Brier parts and `ece`, of equal mass for
    `ece_mass`. `ece_null` and `ece_mass_null` are the mean and the band of what a calibrated model of the same
    confidences shows, simulated `draws` times; the errors have no interval of their own.
    """

    bins: int = 10
    draws: int = 400
    level: float = 0.95
    name: ClassVar[str] = "calibration"

    def __post_init__(self) -> None:
        if self.bins < 1 or self.draws < 40:
            raise ValueError("calibration takes at least 1 bin and 40 draws")

    def scores(self, evidence: pd.DataFrame, fluency: pd.DataFrame, completions: pd.DataFrame) -> Sequence[ScoreRow]:
        """brier and its parts, ece, ece_null, ece_mass, ece_mass_null, auroc and their answer_ twins by format and
        domain."""
        if not len(evidence):
            return []
        sources, clusters = _sources(evidence), clusters_of(evidence)
        return [
            group.row(score, format=group.within)
            for group in groups(evidence, "format")
            for prefix, right, confidence, reason in sources
            for score in self._group(group, prefix, right, confidence, clusters, reason)
        ]

    def _group(
        self, group: Group, prefix: str, right: Floats, confidence: Floats, clusters: Codes, reason: str
    ) -> Iterator[Score]:
        rows = group.rows[~np.isnan(right[group.rows])]
        rows = rows[(confidence[rows] >= 0.0) & (confidence[rows] <= 1.0)]
        if reason or not len(rows):
            why = reason or "none has a confidence from 0 to 1"
            yield from (unknown(prefix + name, why) for name in CALIBRATION)
            return
        y, c, owner = right[rows], confidence[rows], clusters[rows]
        parts = brier(c, y, owner, bins=self.bins, level=self.level)
        note = f"{self.bins} bins of equal width"
        yield score_of(f"{prefix}brier", parts.score, unit="")
        for name in ("reliability", "resolution", "uncertainty", "within"):
            yield score_of(f"{prefix}brier_{name}", getattr(parts, name), unit="", note=note)
        shapes: tuple[tuple[str, Binning], ...] = (("ece", "width"), ("ece_mass", "mass"))
        for name, binning in shapes:
            found = calibration_error(c, y, owner, bins=self.bins, binning=binning, draws=self.draws, level=self.level)
            yield from self._error(prefix + name, found)
        ranks = auroc(c, y, owner, level=self.level).interval
        yield score_of(f"{prefix}auroc", ranks, unit="probability", reason="all are right, or all are wrong")

    def _error(self, name: str, found: CalibrationError) -> Iterator[Score]:
        shape = f"{self.bins} bins of equal {found.binning}"
        yield Score(
            name=name,
            value=found.value,
            n=found.n,
            method=f"ece, {shape}",
            unit="probability",
            reason=f"no interval of its own: compare with {name}_null",
        )
        yield Score(
            name=f"{name}_null",
            value=found.expected,
            n=found.n,
            low=found.low,
            high=found.high,
            level=found.level,
            method=f"band of a calibrated model, {shape}, {found.draws} draws",
            unit="probability",
        )
