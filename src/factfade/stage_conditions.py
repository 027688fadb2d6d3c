"""The comparisons that stages are called from: loss, two one-sided bounds, margin, verdict and its sentence.

Each function compares two columns of aligned panels: generation 0 and a later one of a lineage, or a lineage and its
control at one generation. Losses are positive when the later (or the uncontrolled) one is worse.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from factfade.columns import Codes, Floats
from factfade.stage_panel import Panel, TextPanel, pair
from factfade.stats.intervals import Interval, p_beyond, share, zero_event_bound
from factfade.stats.paired import paired_loss, paired_mean, paired_ratio
from factfade.stats.power import detectable_excess, items_for_margin
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


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """Pairs of 0/1 values that a loss is made of: before minus after, their clusters, and the design effect."""

    difference: Floats
    clusters: Codes
    effect: float


@dataclass(frozen=True, kw_only=True)
class Sums:
    """Numerators and denominators before and after of a rise of a ratio, one entry per prompt."""

    before: tuple[Floats, Floats]
    after: tuple[Floats, Floats]


@dataclass(frozen=True, kw_only=True)
class Look:
    """A comparison without its verdict: `n` independent `units` (items, prompts), `words` naming what was compared.

    `p` is one-sided, of "the loss is at most the margin"; None where the sample carries no test. `sample` is what it
    was computed from, for the bootstrap. `ends` are the values before and after, in the unit of the test.
    """

    test: Test
    found: Interval
    n: int
    units: str
    words: str
    p: float | None
    sample: Pairs | Sums
    ends: tuple[float, float]

    @property
    def tested(self) -> bool:
        """Whether it takes part in the family: enough units, and a bound."""
        return self.n >= self.test.minimum and self.p is not None


@dataclass(frozen=True, kw_only=True)
class Correction:
    """What the family of looks does to one of them: its adjusted p, the number of looks, and the error rate that is
    left to it given the others' outcomes (alpha without a family)."""

    p: float | None
    looks: int
    alpha: float


def settle(look: Look | Condition, correction: Correction | None = None) -> Condition:
    """The verdict. A worsening is shown at the family's error rate, "not worse" at the look's own (each of the tests
    that a stage asks for at once keeps its own). A Condition, of what could not be compared, stays what it is."""
    if isinstance(look, Condition):
        return look
    test, found = look.test, look.found
    fix = correction or Correction(p=look.p, looks=1, alpha=test.alpha)
    enough = look.n >= test.minimum and found.low is not None and found.high is not None
    alone = enough and found.low is not None and found.low > test.margin
    worse = alone and fix.p is not None and fix.p <= test.alpha
    not_worse = enough and found.high is not None and found.high < test.margin
    condition = Condition(
        endpoint=test.endpoint,
        loss=found.value,
        low=found.low,
        high=found.high,
        margin=test.margin,
        n=look.n,
        unit=test.unit,
        shown_not_worse=not_worse,
        shown_worse=worse,
        sentence="",
        method=found.method,
        p=look.p if enough else None,
        p_family=fix.p if enough else None,
    )
    margin = amount_of(test.margin, test.unit)
    over = f" (p = {probability(fix.p)} over {fix.looks} looks)" if fix.looks > 1 and fix.p is not None else ""
    if worse:
        verdict = (f"shown beyond the margin of {margin}" if test.margin else "shown") + over
    elif not_worse:
        verdict = f"shown to be less than {margin}"
    elif alone:
        verdict = f"beyond {margin} by itself, not after the correction{over}: {_takes(look, fix)}"
    else:
        verdict = f"not shown to be beyond or within {margin}: {_takes(look, fix)}"
    text = f"{look.words}: {bounded(condition)} (n = {look.n:,} {look.units}); {verdict}"
    return replace(condition, sentence=text)


def probability(p: float) -> str:
    """A p value as text."""
    return f"{p:.3f}" if p >= 0.001 else f"{p:.0e}" if p > 1e-99 else "0"


def _takes(look: Look, fix: Correction) -> str:
    """What it would take: the least number of units, or the number after which 4 samples in 5 settle it, and what a
    sample of this size can show."""
    test, found, n, units = look.test, look.found, look.n, look.units
    if n < test.minimum:
        return f"at least {test.minimum:,} {units} are needed"
    if found.value is None or found.deviation is None or not found.clusters:
        return f"more independent {units} are needed"
    total = units_needed(look, alpha=fix.alpha if found.value > test.margin else test.alpha)
    shown = test.margin + detectable_excess(found.clusters, found.deviation, alpha=fix.alpha)
    power = f"; with {n:,}, {amount_of(round(shown, 3), test.unit)} would be shown in 4 cases of 5"
    if total is None:
        return f"it lies at the margin, where more {units} hardly help{power}"
    return f"about {total:,} {units} would settle it if it is as large as it looks{power}"


def units_needed(look: Look, *, alpha: float) -> int | None:
    """Units (items, prompts) after which 4 samples in 5 settle the look, if the loss is as large as it looks.

    None where no number does: no spread is known, or the loss lies at the margin (more than MOST_ITEMS).
    """
    found = look.found
    if found.value is None or found.deviation is None or not found.clusters:
        return None
    gap = abs(look.test.margin - found.value)
    needed = items_for_margin(gap, found.deviation, alpha=alpha) if gap > 1e-12 else None
    if needed is None:
        return None
    total = math.ceil(needed * look.n / found.clusters)
    return None if total > MOST_ITEMS else max(total, look.n + 1)


# ---------------------------------------------------------------------------------------------------------------
# The endpoints


@dataclass(frozen=True, kw_only=True)
class Side:
    """One column of a panel: the lineage's generation, by its position among the panel's generations."""

    panel: Panel
    column: int


def knowledge(test: Test, before: Side, after: Side) -> Look | Condition:
    """Loss of knowledge on the questions that both sides have, each judged the same way on both."""
    a, b = pair(before.panel.keys, after.panel.keys)
    same = before.panel.by_choice[a] == after.panel.by_choice[b]
    x = np.where(same, before.panel.knowledge[a, before.column], np.nan)
    y = after.panel.knowledge[b, after.column]
    keep = ~np.isnan(x) & ~np.isnan(y)
    if not keep.any():
        return absent(test, "knowledge: no item has a choice, or a parseable free answer, at both")
    by_choice = before.panel.by_choice[a][keep]
    measure = "choice accuracy" if by_choice.all() else "accuracy among parseable free answers"
    if by_choice.any() and not by_choice.all():
        measure = f"accuracy, {int(by_choice.sum())} by choice and {int((~by_choice).sum())} by parseable free answer"
    return _paired(test, x[keep], y[keep], before.panel, a[keep], f"loss of knowledge ({measure})")


def parseable(test: Test, before: Side, after: Side) -> Look | Condition:
    """Loss of parseable free answers among the questions asked of both sides."""
    a, b = pair(before.panel.keys, after.panel.keys)
    x, y = before.panel.parseable[a, before.column], after.panel.parseable[b, after.column]
    keep = ~np.isnan(x) & ~np.isnan(y)
    if not keep.any():
        return absent(test, "format: no item has a free answer with an outcome at both")
    return _paired(test, x[keep], y[keep], before.panel, a[keep], "loss of parseable answers")


def _paired(test: Test, x: Floats, y: Floats, panel: Panel, rows: Codes, words: str) -> Look:
    clusters = panel.clusters[rows]
    found = paired_loss(x, y, clusters, level=test.level)
    n = len(np.unique(panel.items[rows]))
    answers = "" if len(x) == n else f", {len(x):,} answers"
    words = f"{words} from {100 * x.mean():.1f}% to {100 * y.mean():.1f}%"
    changes = f"{found.lost:,} lost, {found.gained:,} gained{answers}"
    return Look(
        test=test,
        found=found.interval,
        n=n,
        units="items",
        words=f"{words} ({changes})",
        p=found.p_beyond(test.margin),
        sample=Pairs(difference=x - y, clusters=clusters, effect=found.effect),
        ends=(float(x.mean()), float(y.mean())),
    )


def nats(test: Test, before: tuple[TextPanel, int], after: tuple[TextPanel, int]) -> Look | Condition:
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
    return Look(
        test=test,
        found=found,
        n=int(keep.sum()),
        units="prompts",
        words=words,
        p=p_beyond(found, test.margin),
        sample=Sums(before=(x[0], x[1]), after=(y[0], y[1])),
        ends=(float(x[0].sum() / x[1].sum()), float(y[0].sum() / y[1].sum())),
    )


def junk(test: Test, before: tuple[TextPanel, int], after: tuple[TextPanel, int]) -> Look | Condition:
    """Increase of the share of empty, near-constant and repetitive completions, by prompt."""
    a, b = pair(before[0].keys, after[0].keys)
    x, y = before[0].values["junk"][a, before[1]], after[0].values["junk"][b, after[1]]
    keep = ~np.isnan(x) & ~np.isnan(y)
    if not keep.any():
        return absent(test, "fluency: no prompt has a completion marked as junk or not at both")
    x, y = x[keep], y[keep]
    found = paired_loss(1 - x, 1 - y, level=test.level)
    words = f"rise of junk completions from {100 * x.mean():.1f}% to {100 * y.mean():.1f}%"
    return Look(
        test=test,
        found=found.interval,
        n=int(keep.sum()),
        units="prompts",
        words=words,
        p=found.p_beyond(test.margin),
        sample=Pairs(difference=y - x, clusters=np.arange(len(x)), effect=found.effect),
        ends=(float(x.mean()), float(y.mean())),
    )


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
    look = Look(
        test=test,
        found=found,
        n=n,
        units="items",
        words=words,
        p=p_beyond(found, test.margin),
        sample=Pairs(difference=first[newly] - second[newly], clusters=panel.clusters[newly], effect=1.0),
        ends=(float(first[newly].mean()), float(second[newly].mean())),
    )
    condition = settle(look)
    said = "; they are confidently wrong" if condition.shown_not_worse else ""
    return replace(condition, sentence=f"{condition.sentence}{said}; {of_all}")
