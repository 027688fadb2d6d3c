"""Knowledge by choice: accuracy against its baselines, and how choices are made (arXiv 2509.04796)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from factfade.columns import Answers, Codes, Floats, answers_of, as_float, as_text, clusters_of
from factfade.metrics.shared import Group, groups, missing, score_of, unknown
from factfade.stats.agreement import NO_ANSWER, Agreement, AnswerCodes, agreement, answer_codes
from factfade.stats.intervals import share
from factfade.verdicts import Score, ScoreRow

if TYPE_CHECKING:
    import pandas as pd

BASELINES = ("balanced_accuracy", "kappa", "majority_baseline", "skill_over_majority")


@dataclass(frozen=True, kw_only=True)
class _Chosen:
    """The evidence's choices as arrays. `scored` marks the questions that a choice was asked of."""

    correct: Floats
    greedy: Floats
    scored: np.ndarray
    clusters: Codes
    answers: Answers

    def codes(self, rows: Codes) -> AnswerCodes:
        a = self.answers
        return answer_codes(
            a.options[rows],
            [int(g) if g == g else None for g in a.gold[rows]],
            [int(c) if c == c else None for c in a.choice[rows]],
            a.accepted[rows],
            a.template[rows],
        )


def _chosen(evidence: pd.DataFrame) -> _Chosen:
    answers, correct = answers_of(evidence), as_float(evidence, "choice_correct")
    # A question with options and a right answer whose choice is null had no usable score: "no answer", and wrong.
    offered = ~np.isnan(answers.gold) & np.array([o is not None and len(o) > 0 for o in answers.options], dtype=bool)
    asked = as_text(evidence, "outcome") != "not_asked"
    return _Chosen(
        correct=correct,
        greedy=as_float(evidence, "choice_greedy"),
        scored=asked & (~np.isnan(correct) | offered),
        clusters=clusters_of(evidence),
        answers=answers,
    )


@dataclass(frozen=True, kw_only=True)
class Accuracy:
    """Choice accuracy: raw, balanced over right answers, Cohen's kappa, and skill over the majority baseline.

    Categories are the option's position where all questions of the group show as many options, else the answer
    within its relation (template); an unusable choice is "no answer". The majority baseline is per relation for
    answers. Intervals: Wilson, cluster-robust (entity, else item); linearised t for balanced accuracy and kappa.
    `level` is two-sided.
    """

    level: float = 0.95
    name: ClassVar[str] = "accuracy"

    def scores(self, evidence: pd.DataFrame, fluency: pd.DataFrame, completions: pd.DataFrame) -> Sequence[ScoreRow]:
        """accuracy, balanced_accuracy, kappa, majority_baseline, skill_over_majority by format and domain."""
        chosen = _chosen(evidence) if len(evidence) else None
        reason = missing(evidence, ["choice_correct"])
        return [
            group.row(score, format=group.within)
            for group in groups(evidence, "format")
            if chosen is not None
            for score in self._group(group, chosen, reason)
        ]

    def _group(self, group: Group, chosen: _Chosen, reason: str) -> Iterator[Score]:
        rows = group.rows[chosen.scored[group.rows]]
        if np.isnan(chosen.correct[rows]).all():
            why = reason or "no question has a choice"
            yield from (unknown(name, why, unit=_unit(name)) for name in ("accuracy", *BASELINES))
            return
        right = np.nan_to_num(chosen.correct[rows])
        clusters = chosen.clusters[rows]
        yield score_of("accuracy", share(right, clusters, level=self.level), unit="share")
        codes = chosen.codes(rows)
        known = codes.gold != NO_ANSWER
        if not known.any():
            why = reason or "the evidence stores no right answers"
            yield from (unknown(name, why, n=len(rows), unit=_unit(name)) for name in BASELINES)
            return
        # Without stored choices right and wrong are still known; only what was chosen instead is not.
        stored = bool(np.any(codes.choice != NO_ANSWER))
        choice = codes.choice if stored else np.where(right == 1.0, codes.gold, NO_ANSWER)
        if np.any((codes.gold == choice)[known] != (right == 1.0)[known]):
            why = "choice_correct contradicts choice and gold"
            yield from (unknown(name, why, n=len(rows), unit=_unit(name)) for name in BASELINES)
            return
        found = agreement(
            codes.gold[known],
            choice[known],
            strata=None if codes.strata is None else codes.strata[known],
            clusters=clusters[known],
            level=self.level,
        )
        yield from self._baselines(found, "position" if codes.positional else "answer within its relation", stored)

    def _baselines(self, found: Agreement, categories: str, stored: bool) -> Iterator[Score]:
        note = f"categories: {categories}"
        yield score_of("balanced_accuracy", found.balanced, unit="share", note=note)
        if stored:
            certain = "agreement is certain by the margins alone"
            yield score_of("kappa", found.kappa, unit="", reason=certain, note=note)
        else:
            yield unknown("kappa", "the evidence stores no choices", n=found.kappa.n)
        # The baseline belongs to the items asked; it has no sampling error of the model's.
        yield Score(
            name="majority_baseline",
            value=found.majority,
            n=found.accuracy.n,
            low=found.majority,
            high=found.majority,
            level=self.level,
            method=f"known: a property of the items; {note}",
            unit="share",
        )
        yield score_of(
            "skill_over_majority", found.skill, unit="", reason="one answer is right for every item", note=note
        )


def _unit(name: str) -> str:
    return "" if name in ("kappa", "skill_over_majority") else "share"


@dataclass(frozen=True, kw_only=True)
class Choices:
    """Greedy rate (share of right choices that are the token-wise argmax path) and max frequency (share of the
    option position that is chosen most), after arXiv 2509.04796. Wilson, cluster-robust."""

    level: float = 0.95
    name: ClassVar[str] = "choices"

    def scores(self, evidence: pd.DataFrame, fluency: pd.DataFrame, completions: pd.DataFrame) -> Sequence[ScoreRow]:
        """greedy_rate and max_frequency by format and domain."""
        chosen = _chosen(evidence) if len(evidence) else None
        return [
            group.row(score, format=group.within)
            for group in groups(evidence, "format")
            if chosen is not None
            for score in (self._greedy(group, chosen, evidence), self._most(group, chosen, evidence))
        ]

    def _greedy(self, group: Group, chosen: _Chosen, evidence: pd.DataFrame) -> Score:
        reason = missing(evidence, ["choice_correct", "choice_greedy"])
        rows = group.rows[chosen.scored[group.rows]]
        rows = rows[(chosen.correct[rows] == 1.0) & ~np.isnan(chosen.greedy[rows])]
        if reason or not len(rows):
            return unknown("greedy_rate", reason or "no choice is right", unit="share")
        found = share(chosen.greedy[rows], chosen.clusters[rows], level=self.level)
        return score_of("greedy_rate", found, unit="share", note="among right choices")

    def _most(self, group: Group, chosen: _Chosen, evidence: pd.DataFrame) -> Score:
        reason = missing(evidence, ["options", "choice"])
        rows = group.rows[chosen.scored[group.rows]]
        rows = rows[~np.isnan(chosen.answers.choice[rows])]
        if reason or not len(rows):
            return unknown("max_frequency", reason or "no question has a choice", unit="share")
        codes = chosen.codes(rows)
        if not codes.positional:
            return unknown("max_frequency", "the questions show no options in positions", n=len(rows), unit="share")
        picked = codes.choice == int(np.argmax(np.bincount(codes.choice[codes.choice >= 0])))
        found = share(picked, chosen.clusters[rows], level=self.level)
        return score_of("max_frequency", found, unit="share", note="of the position found most frequent")
