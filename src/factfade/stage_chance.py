"""Chance: what answers without knowledge would get, and whether a model is there."""

from __future__ import annotations

import numpy as np

from factfade.columns import Answers, Codes
from factfade.stage_conditions import Test
from factfade.stage_panel import Panel
from factfade.stats.agreement import NO_ANSWER, AnswerCodes, agreement, answer_codes, majority_baseline
from factfade.stats.intervals import Interval, share


def codes_at(answers: Answers, panel: Panel, column: int) -> tuple[AnswerCodes, Codes] | None:
    """Right answers and choices of the questions judged at one generation, and their rows in the panel.

    None where no question's right answer is stored.
    """
    at = np.flatnonzero(~np.isnan(panel.knowledge[:, column]) & (panel.rows[:, column] >= 0))
    rows = panel.rows[at, column]
    codes = answer_codes(
        answers.options[rows],
        [int(g) if g == g else None for g in answers.gold[rows]],
        [int(c) if c == c else None for c in answers.choice[rows]],
        answers.accepted[rows],
        answers.template[rows],
    )
    known = codes.gold != NO_ANSWER
    if not known.any():
        return None
    kept = AnswerCodes(
        gold=codes.gold[known],
        choice=codes.choice[known],
        strata=None if codes.strata is None else codes.strata[known],
        positional=codes.positional,
    )
    return kept, at[known]


def chance_level(codes: AnswerCodes) -> float:
    """The larger of the majority baseline and, where choices are stored, the expectation that matches the margins."""
    if np.all(codes.choice == NO_ANSWER):
        return majority_baseline(codes.gold, codes.strata) or 0.0
    return agreement(codes.gold, codes.choice, strata=codes.strata).chance or 0.0


def near_chance(answers: Answers, panel: Panel, column: int, test: Test) -> tuple[bool, Interval, float] | None:
    """Whether knowledge at a generation is equivalent to chance (both one-sided bounds within the margin of it)."""
    found = codes_at(answers, panel, column)
    if found is None:
        return None
    codes, at = found
    chance = chance_level(codes)
    accuracy = share(panel.knowledge[at, column], panel.clusters[at], level=test.level)
    enough = len(np.unique(panel.items[at])) >= test.minimum
    low, high = accuracy.low, accuracy.high
    if not enough or low is None or high is None:
        return False, accuracy, chance
    return low > chance - test.margin and high < chance + test.margin, accuracy, chance
