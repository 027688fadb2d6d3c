"""The comparisons that stages are called from: loss, two one-sided bounds, margin, verdict and its sentence.

Each function compares two columns of aligned panels: generation 0 and a later one of a lineage, or a lineage and its
control at one generation. Losses are positive when the later (or the uncontrolled) one is worse.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from factfade.columns import Answers, Codes, Floats
from factfade.stage_panel import Panel, TextPanel, pair
from factfade.stats.agreement import NO_ANSWER, AnswerCodes, agreement, answer_codes, majority_baseline
from factfade.stats.intervals import Interval, share, zero_event_bound
from factfade.stats.paired import PairedLoss, paired_loss, paired_mean, paired_ratio
from factfade.stats.power import items_for_margin
from factfade.verdicts import Condition

MOST_ITEMS = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Test:
    """How a comparison is settled: the margin, the two-sided level (1 - 2 alpha) and the least units."""

    __test__ = False
    endpoint: str
    margin: float
    level: float
    minimum: int
    unit: str = "share"

    @property
    def alpha(self) -> float:
        return (1 - self.level) / 2


def amount(value: float, unit: str) -> str:
    """A loss as text: shares in points, the others in their unit."""
    return f"{100 * value:.1f}" if unit == "share" else f"{value:.2f}"


def amount_of(value: float, unit: str) -> str:
    """A loss or margin with its unit: "5 points", "0.25 nats"."""
    if unit == "share":
        return f"{round(100 * value, 6):g} points"
    return f"{value:g} {unit}".removesuffix(" probability")


def bounded(condition: Condition) -> str:
    """The loss with its bounds: "31.2 points [24.5, 37.9]"."""
    if condition.loss is None:
        return "unknown"
    name = {"share": " points", "probability": ""}.get(condition.unit, f" {condition.unit}")
    ends = ["unbounded" if x is None else amount(x, condition.unit) for x in (condition.low, condition.high)]
    return f"{amount(condition.loss, condition.unit)}{name} [{ends[0]}, {ends[1]}]"


def absent(test: Test, reason: str) -> Condition:
    """A comparison that the evidence cannot carry, with the reason as its sentence."""
    return Condition(
        endpoint=test.endpoint,
        loss=None,
        low=None,
        high=None,
        margin=test.margin,
        n=0,
        unit=test.unit,
        shown_not_worse=False,
        shown_worse=False,
        sentence=reason,
    )


def settle(test: Test, found: Interval, n: int, units: str, words: str) -> Condition:
    """The verdict on an interval: `n` independent `units` (items, prompts), `words` naming what was compared."""
    if found.value is None:
        return absent(test, f"{words}: nothing to compare")
    enough = n >= test.minimum and found.low is not None and found.high is not None
    worse = enough and found.low is not None and found.low > test.margin
    not_worse = enough and found.high is not None and found.high < test.margin
    condition = Condition(
        endpoint=test.endpoint,
        loss=found.value,
        low=found.low,
        high=found.high,
        margin=test.margin,
        n=n,
        unit=test.unit,
        shown_not_worse=not_worse,
        shown_worse=worse,
        sentence="",
        method=found.method,
    )
    margin = amount_of(test.margin, test.unit)
    if worse:
        verdict = f"shown beyond the margin of {margin}" if test.margin else "shown"
    elif not_worse:
        verdict = f"shown to be less than {margin}"
    else:
        verdict = f"not shown to be beyond or within {margin}: {_takes(test, found, n, units)}"
    text = f"{words}: {bounded(condition)} (n = {n:,} {units}); {verdict}"
    return replace(condition, sentence=text)


def _takes(test: Test, found: Interval, n: int, units: str) -> str:
    """What it would take: the least number of units, or the number after which 4 samples in 5 settle it."""
    if n < test.minimum:
        return f"at least {test.minimum:,} {units} are needed"
    if found.value is None or found.deviation is None or not found.clusters:
        return f"more independent {units} are needed"
    gap = abs(test.margin - found.value)
    needed = items_for_margin(gap, found.deviation, alpha=test.alpha) if gap > 1e-12 else None
    total = None if needed is None else math.ceil(needed * n / found.clusters)
    if total is None or total > MOST_ITEMS:
        return f"it lies at the margin, where more {units} hardly help"
    return f"about {max(total, n + 1):,} {units} would settle it if it is as large as it looks"


# ---------------------------------------------------------------------------------------------------------------
# The endpoints


@dataclass(frozen=True, kw_only=True)
class Side:
    """One column of a panel: the lineage's generation, by its position among the panel's generations."""

    panel: Panel
    column: int


def knowledge(test: Test, before: Side, after: Side) -> tuple[Condition, PairedLoss | None]:
    """Loss of knowledge on the questions that both sides have, each judged the same way on both."""
    a, b = pair(before.panel.keys, after.panel.keys)
    same = before.panel.by_choice[a] == after.panel.by_choice[b]
    x = np.where(same, before.panel.knowledge[a, before.column], np.nan)
    y = after.panel.knowledge[b, after.column]
    keep = ~np.isnan(x) & ~np.isnan(y)
    if not keep.any():
        return absent(test, "knowledge: no item has a choice, or a parseable free answer, at both"), None
    by_choice = before.panel.by_choice[a][keep]
    measure = "choice accuracy" if by_choice.all() else "accuracy among parseable free answers"
    if by_choice.any() and not by_choice.all():
        measure = f"accuracy, {int(by_choice.sum())} by choice and {int((~by_choice).sum())} by parseable free answer"
    return _paired(test, x[keep], y[keep], before.panel, a[keep], f"loss of knowledge ({measure})")


def parseable(test: Test, before: Side, after: Side) -> tuple[Condition, PairedLoss | None]:
    """Loss of parseable free answers among the questions asked of both sides."""
    a, b = pair(before.panel.keys, after.panel.keys)
    x, y = before.panel.parseable[a, before.column], after.panel.parseable[b, after.column]
    keep = ~np.isnan(x) & ~np.isnan(y)
    if not keep.any():
        return absent(test, "format: no item has a free answer with an outcome at both"), None
    return _paired(test, x[keep], y[keep], before.panel, a[keep], "loss of parseable answers")


def _paired(test: Test, x: Floats, y: Floats, panel: Panel, rows: Codes, words: str) -> tuple[Condition, PairedLoss]:
    found = paired_loss(x, y, panel.clusters[rows], level=test.level)
    n = len(np.unique(panel.items[rows]))
    answers = "" if len(x) == n else f", {len(x):,} answers"
    words = f"{words} from {100 * x.mean():.1f}% to {100 * y.mean():.1f}%"
    changes = f"{found.lost:,} lost, {found.gained:,} gained{answers}"
    condition = settle(test, found.interval, n, "items", f"{words} ({changes})")
    return condition, found


def nats(test: Test, before: tuple[TextPanel, int], after: tuple[TextPanel, int]) -> Condition:
    """Increase of the mean token negative log-likelihood of own completions under the start model, by prompt."""
    a, b = pair(before[0].keys, after[0].keys)
    first = [before[0].values[name][a, before[1]] for name in ("nll", "tokens")]
    second = [after[0].values[name][b, after[1]] for name in ("nll", "tokens")]
    keep = ~np.isnan(np.sum(first + second, axis=0))
    if not keep.any():
        return absent(test, "fluency: no prompt has its completion scored under the start model at both")
    x, y = [v[keep] for v in first], [v[keep] for v in second]
    found = paired_ratio((x[0], x[1]), (y[0], y[1]), level=test.level)
    if found.value is None:
        return absent(test, "fluency: the completions hold no token")
    words = (
        "rise of the completions' mean token surprise under the start model "
        f"from {x[0].sum() / x[1].sum():.2f} to {y[0].sum() / y[1].sum():.2f}"
    )
    return settle(test, found, int(keep.sum()), "prompts", words)


def junk(test: Test, before: tuple[TextPanel, int], after: tuple[TextPanel, int]) -> Condition:
    """Increase of the share of empty, near-constant and repetitive completions, by prompt."""
    a, b = pair(before[0].keys, after[0].keys)
    x, y = before[0].values["junk"][a, before[1]], after[0].values["junk"][b, after[1]]
    keep = ~np.isnan(x) & ~np.isnan(y)
    if not keep.any():
        return absent(test, "fluency: no prompt has a completion marked as junk or not at both")
    x, y = x[keep], y[keep]
    found = paired_loss(1 - x, 1 - y, level=test.level)
    words = f"rise of junk completions from {100 * x.mean():.1f}% to {100 * y.mean():.1f}%"
    return settle(test, found.interval, int(keep.sum()), "prompts", words)


def confidently_wrong(test: Test, before: Side, after: Side, tau: float) -> Condition:
    """Confidence of the items that were right and are wrong now against their own confidence when they were right.

    Beside it, in words, the share of all items that are wrong with confidence >= tau, with its bound.
    """
    panel = before.panel
    x, y = panel.knowledge[:, before.column], panel.knowledge[:, after.column]
    first, second = panel.confidence[:, before.column], panel.confidence[:, after.column]
    known = ~np.isnan(y) & ~np.isnan(second)
    if not known.any():
        return absent(test, "confidently wrong: no confidences are stored")
    sure = share((y[known] == 0.0) & (second[known] >= tau), panel.clusters[known], level=test.level)
    n_all = len(np.unique(panel.items[known]))
    hits = int(np.sum((y[known] == 0.0) & (second[known] >= tau)))
    if hits:
        of_all = (
            f"{hits:,} of {int(known.sum()):,} answers are wrong with confidence of {tau:g} or more "
            f"({100 * (sure.value or 0):.1f}% [{100 * (sure.low or 0):.1f}, {100 * (sure.high or 0):.1f}])"
        )
    else:
        bound = 100 * zero_event_bound(n_all, test.alpha)
        of_all = f"none of {n_all:,} items is wrong with confidence of {tau:g} or more (at most {bound:.1f}%)"
    newly = (x == 1.0) & (y == 0.0) & ~np.isnan(first) & ~np.isnan(second)
    n = len(np.unique(panel.items[newly]))
    if n == 0:
        return absent(test, f"confidently wrong: no item with a confidence went from right to wrong; {of_all}")
    found = paired_mean(first[newly], second[newly], panel.clusters[newly], level=test.level)
    words = (
        f"fall in confidence of the items that went from right to wrong, from {first[newly].mean():.2f} "
        f"to {second[newly].mean():.2f}"
    )
    condition = settle(test, found, n, "items", words)
    said = "; they are confidently wrong" if condition.shown_not_worse else ""
    return replace(condition, sentence=f"{condition.sentence}{said}; {of_all}")


# ---------------------------------------------------------------------------------------------------------------
# Chance


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
