"""Choices against right answers: raw and balanced accuracy, Cohen's kappa, the majority baseline and skill over it.

Categories are codes. A choice of -1 is "no answer": a category of its own that no right answer has. `strata` (the
relation of an open question) make categories comparable only within a stratum: the majority baseline and the
agreement expected from the margins are then taken per stratum and averaged over items.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from factfade.stats.intervals import Codes, Floats, Interval, linearised, share

NO_ANSWER = -1


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """The scores of one set of choices. `majority` and `expected` are properties of the items and of the margins."""

    accuracy: Interval
    balanced: Interval
    kappa: Interval
    skill: Interval
    majority: float | None
    expected: float | None

    @property
    def chance(self) -> float | None:
        """The larger of the majority baseline and the expectation that matches the margins."""
        known = [c for c in (self.majority, self.expected) if c is not None]
        return max(known, default=None)


def _dense(values: ArrayLike) -> Codes:
    return np.unique(np.asarray(values), return_inverse=True)[1]


def _joint(strata: Codes, categories: Codes) -> Codes:
    """One code per (stratum, category); NO_ANSWER stays what it is."""
    width = int(categories.max(initial=0)) + 1
    return np.where(categories < 0, NO_ANSWER, strata * width + categories)


def majority_baseline(gold: ArrayLike, strata: ArrayLike | None = None) -> float | None:
    """Share that is right when each stratum's most frequent right answer is always given; None without items."""
    right = np.asarray(gold, dtype=np.intp)
    if len(right) == 0:
        return None
    groups = np.zeros(len(right), dtype=np.intp) if strata is None else _dense(strata)
    joint = _dense(_joint(groups, right))
    counts = np.bincount(joint)
    owner = np.zeros(len(counts), dtype=np.intp)
    owner[joint] = groups
    best = np.zeros(int(groups.max()) + 1)
    np.maximum.at(best, owner, counts)
    return float(best.sum() / len(right))


def agreement(
    gold: ArrayLike,
    choice: ArrayLike,
    *,
    strata: ArrayLike | None = None,
    clusters: ArrayLike | None = None,
    level: float = 0.95,
) -> Agreement:
    """All scores of choices against right answers; intervals are Wilson's for accuracy, linearised for the others.

    Skill is (accuracy - majority) / (1 - majority) with the baseline taken as given (it belongs to the items);
    it and kappa are None where the baseline or the expectation is 1.
    """
    right, chosen = np.asarray(gold, dtype=np.intp), np.asarray(choice, dtype=np.intp)
    if right.shape != chosen.shape:
        raise ValueError("agreement needs as many choices as right answers")
    n = len(right)
    groups = np.zeros(n, dtype=np.intp) if strata is None else _dense(strata)
    correct = (right == chosen).astype(np.float64)
    accuracy = share(correct, clusters, level=level)
    majority = majority_baseline(right, groups)
    if majority is None:
        return Agreement(
            accuracy=accuracy, balanced=accuracy, kappa=accuracy, skill=accuracy, majority=None, expected=None
        )
    if right.min() < 0:
        raise ValueError("every question of an agreement has a right answer: leave out those without")
    dense = _joint(np.concatenate([groups, groups]), np.concatenate([right, chosen]))
    gold_codes, choice_codes = dense[:n], dense[n:]
    expected, terms = _expected(gold_codes, choice_codes, groups)
    return Agreement(
        accuracy=accuracy,
        balanced=_balanced(correct, gold_codes, accuracy, clusters, level),
        kappa=_kappa(correct, expected, terms, accuracy, clusters, level),
        skill=_rescaled(accuracy, majority, "skill from the accuracy's interval"),
        majority=majority,
        expected=expected,
    )


def _expected(gold: Codes, choice: Codes, groups: Codes) -> tuple[float, Floats]:
    """Agreement expected when choices are dealt out at random within each stratum, and each item's influence on it."""
    n = len(gold)
    size = int(max(gold.max(), choice.max(initial=0))) + 1
    in_group = np.bincount(groups).astype(np.float64)[groups]
    gold_counts = np.bincount(gold, minlength=size)
    choice_counts = np.bincount(choice[choice >= 0], minlength=size)
    of_choice = np.where(choice >= 0, gold_counts[np.maximum(choice, 0)], 0) / in_group
    of_gold = choice_counts[gold] / in_group
    per_group = np.bincount(groups, weights=of_gold) / np.bincount(groups)
    expected = float(of_gold.sum() / n)
    return expected, of_choice + of_gold - per_group[groups] - expected


def _balanced(correct: Floats, gold: Codes, accuracy: Interval, clusters: ArrayLike | None, level: float) -> Interval:
    """Mean over right answers of the share right among the items that have it, weighing rare and common ones alike."""
    codes = _dense(gold)
    counts = np.bincount(codes)
    recalls = np.bincount(codes, weights=correct) / counts
    value = float(recalls.mean())
    phi = (correct - recalls[codes]) * (len(gold) / (len(counts) * counts[codes]))
    if not np.any(phi):
        return _borrowed(accuracy, value, "balanced: the accuracy's interval, nothing varies")
    found = linearised(value, phi, clusters, level=level, method="linearised t")
    return _clipped(found, 0.0, 1.0)


def _kappa(
    correct: Floats, expected: float, terms: Floats, accuracy: Interval, clusters: ArrayLike | None, level: float
) -> Interval:
    """Cohen's kappa with its asymptotic variance (Fleiss, Cohen and Everitt 1969), here from influences."""
    if expected >= 1.0:
        return _rescaled(accuracy, 1.0, "linearised t")
    observed = float(correct.mean())
    value = (observed - expected) / (1 - expected)
    phi = ((correct - observed) * (1 - expected) - (1 - observed) * terms) / (1 - expected) ** 2
    if not np.any(np.abs(phi) > 1e-15):
        return _rescaled(accuracy, expected, "kappa from the accuracy's interval, nothing varies")
    return _clipped(linearised(value, phi, clusters, level=level, method="linearised t"), -1.0, 1.0)


def _rescaled(accuracy: Interval, base: float, method: str) -> Interval:
    """(x - base) / (1 - base) of an accuracy and its bounds; None where the base is 1."""
    if base >= 1.0:
        low = high = value = None
    else:
        value, low, high = (
            None if x is None else (x - base) / (1 - base) for x in (accuracy.value, accuracy.low, accuracy.high)
        )
    return Interval(
        value=value, low=low, high=high, n=accuracy.n, clusters=accuracy.clusters, level=accuracy.level, method=method
    )


def _borrowed(accuracy: Interval, value: float, method: str) -> Interval:
    low = None if accuracy.low is None else min(accuracy.low, value)
    high = None if accuracy.high is None else max(accuracy.high, value)
    return Interval(
        value=value, low=low, high=high, n=accuracy.n, clusters=accuracy.clusters, level=accuracy.level, method=method
    )


def _clipped(found: Interval, lowest: float, highest: float) -> Interval:
    return Interval(
        value=found.value,
        low=None if found.low is None else max(lowest, found.low),
        high=None if found.high is None else min(highest, found.high),
        n=found.n,
        clusters=found.clusters,
        level=found.level,
        method=found.method,
        deviation=found.deviation,
    )


@dataclass(frozen=True, kw_only=True)
class AnswerCodes:
    """Right answers and choices as categories: positions where every question shows as many options, else texts.

    `strata` is None for positions; for texts it is the relation (template) of each question.
    `positional` says which it is.
    """

    gold: Codes
    choice: Codes
    strata: Codes | None
    positional: bool


def answer_codes(
    options: Sequence[Sequence[str] | None] | NDArray[Any],
    gold: Sequence[int | None],
    choice: Sequence[int | None],
    accepted: Sequence[Sequence[str] | None] | NDArray[Any],
    templates: Sequence[str] | NDArray[Any],
) -> AnswerCodes:
    """Codes of right answers and choices out of the stored columns, one entry per question.

    Questions that all show the same number of options (two or more) are coded by position: a constant letter then
    has no skill. Others (open questions with the relation's answer set) are coded by text within their relation.
    A question without options is coded by its first accepted answer, its choice as NO_ANSWER.
    """
    sizes = {len(o) if o is not None else 0 for o in options}
    if len(sizes) == 1 and min(sizes) >= 2:
        return AnswerCodes(
            gold=np.array([NO_ANSWER if g is None else g for g in gold], dtype=np.intp),
            choice=np.array([NO_ANSWER if c is None else c for c in choice], dtype=np.intp),
            strata=None,
            positional=True,
        )
    texts: dict[str, int] = {}

    def code(shown: Sequence[str] | None, index: int | None) -> int:
        if shown is None or index is None or not 0 <= index < len(shown):
            return NO_ANSWER
        return texts.setdefault(str(shown[index]), len(texts))

    right = [
        code(o, g) if g is not None and o is not None and len(o) else code(a, 0)
        for o, g, a in zip(options, gold, accepted, strict=True)
    ]
    chosen = [code(o, c) for o, c in zip(options, choice, strict=True)]
    return AnswerCodes(
        gold=np.array(right, dtype=np.intp),
        choice=np.array(chosen, dtype=np.intp),
        strata=_dense(np.array(templates, dtype=str)),
        positional=False,
    )
