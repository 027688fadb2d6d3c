"""How calibration changed against generation 0: paired by item, in the last generation, every generation beside it.

Confidence is that of the knowledge endpoint: the largest normalised option probability where the item is judged by
choice, the geometric-mean token probability where it is judged by its free answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from factfade.analysis.study import Study
from factfade.columns import Codes, Floats
from factfade.records import PROBES
from factfade.stage_panel import Panel
from factfade.stats.calibration import calibration_error
from factfade.stats.discrimination import auroc_change
from factfade.stats.intervals import Interval, mean
from factfade.verdicts import Finding

BINS = 10
# Fewer newly wrong items than this carry no mean that should be read.
NEWLY_WRONG = 10


@dataclass(frozen=True, kw_only=True)
class _Pairs:
    """The items of one format with right or wrong and a confidence both at generation 0 and at `generation`."""

    generation: int
    before: tuple[Floats, Floats]
    after: tuple[Floats, Floats]
    clusters: Codes


def findings(study: Study) -> list[Finding]:
    """brier_change, auroc_change, overconfidence and newly_wrong_confidence of every run and format."""
    return [
        found
        for lineage, seed in study.runs
        for panel in study.of(lineage, seed)
        if panel.format not in PROBES
        for found in _panel(panel)
    ]


def _panel(panel: Panel) -> Iterator[Finding]:
    names = ("brier_change", "auroc_change", "overconfidence", "newly_wrong_confidence")
    reason = ""
    if 0 not in panel.generations:
        reason = "generation 0 was not evaluated: there is nothing to compare with"
    elif panel.generations[-1] <= 0:
        reason = "only generation 0 was evaluated: there is nothing to compare"
    pairs = [] if reason else [_pairs(panel, g) for g in panel.generations if g > 0]
    if pairs and not len(pairs[-1].clusters):
        reason = f"no item has a confidence from 0 to 1 both at generation 0 and at generation {pairs[-1].generation}"
    if reason:
        yield from (_finding(panel, name, None, sentence=f"Not known: {reason}.", reason=reason) for name in names)
        return
    yield _brier(panel, pairs)
    yield _auroc(panel, pairs)
    yield _overconfidence(panel, pairs[-1])
    yield _newly_wrong(panel, pairs)


def _pairs(panel: Panel, generation: int) -> _Pairs:
    start, now = panel.generations.index(0), panel.generations.index(generation)
    right, confidence = panel.knowledge[:, [start, now]], panel.confidence[:, [start, now]]
    with np.errstate(invalid="ignore"):
        both = ~np.isnan(right).any(axis=1) & ((confidence >= 0.0) & (confidence <= 1.0)).all(axis=1)
    right, confidence = right[both], confidence[both]
    return _Pairs(
        generation=generation,
        before=(confidence[:, 0], right[:, 0]),
        after=(confidence[:, 1], right[:, 1]),
        clusters=panel.clusters[both],
    )


def _brier(panel: Panel, pairs: list[_Pairs]) -> Finding:
    found = [_brier_change(p) for p in pairs]
    last, now = found[-1], pairs[-1]
    before, after = (float(np.mean((c - y) ** 2)) for c, y in (now.before, now.after))
    sentence = (
        f"The Brier score (0 is best) of {last.n:,} items is {after:.3f} at generation {now.generation}, "
        f"{before:.3f} at generation 0: {_signed(last)}."
    )
    extra = {"before": before, "after": after, "by_generation": _curve(pairs, found)}
    return _finding(panel, "brier_change", last, unit="", sentence=sentence, extra=extra)


def _brier_change(pairs: _Pairs) -> Interval:
    (c0, y0), (c1, y1) = pairs.before, pairs.after
    return mean((c1 - y1) ** 2 - (c0 - y0) ** 2, pairs.clusters)


def _auroc(panel: Panel, pairs: list[_Pairs]) -> Finding:
    found = [auroc_change(p.before, p.after, p.clusters) for p in pairs]
    last, now = found[-1], pairs[-1]
    extra = {"by_generation": _curve(pairs, found)}
    if last.value is None:
        reason = "at one of the two generations all items are right, or all are wrong"
        sentence = f"Whether confidence tells right from wrong answers cannot be compared: {reason}."
        return _finding(panel, "auroc_change", last, unit="probability", sentence=sentence, reason=reason, extra=extra)
    sentence = (
        "The probability that a right answer has more confidence than a wrong one (AUROC) changed by "
        f"{_signed(last)} from generation 0 to {now.generation} ({last.n:,} items)."
    )
    return _finding(panel, "auroc_change", last, unit="probability", sentence=sentence, extra=extra)


def _overconfidence(panel: Panel, now: _Pairs) -> Finding:
    before, after = (
        calibration_error(c, y, now.clusters, bins=BINS, binning="mass") for c, y in (now.before, now.after)
    )
    value, low, high = after.value or 0.0, after.low or 0.0, after.high or 0.0
    verdict = "inside" if low <= value <= high else "above" if value > high else "below"
    found = mean(now.after[0] - now.after[1], now.clusters)
    sentence = (
        f"Mean confidence less the share right is {_signed(found)} at generation {now.generation} ({found.n:,} items). "
        f"Over {after.bins} bins of equal counts confidence misses the share right by {value:.3f} (ECE), {verdict} the "
        f"band [{low:.3f}, {high:.3f}] of a calibrated model with these confidences; at generation 0 by "
        f"{before.value or 0.0:.3f}, band [{before.low or 0.0:.3f}, {before.high or 0.0:.3f}]."
    )
    extra = {
        "ece": {"value": value, "low_null": low, "high_null": high, "expected": after.expected, "p": after.p},
        "ece_before": {"value": before.value, "low_null": before.low, "high_null": before.high, "p": before.p},
        "bins": after.bins,
        "draws": after.draws,
        "dependence": after.dependence,
    }
    return _finding(panel, "overconfidence", found, unit="probability", sentence=sentence, extra=extra)


def _newly_wrong(panel: Panel, pairs: list[_Pairs]) -> Finding:
    """Items right at generation 0 and wrong now: their confidence now less their own at generation 0."""
    found: list[Interval] = []
    for p in pairs:
        new = (p.before[1] == 1.0) & (p.after[1] == 0.0)
        found.append(mean(p.after[0][new] - p.before[0][new], p.clusters[new]))
    last, now = found[-1], pairs[-1]
    extra: dict[str, Any] = {"by_generation": _curve(pairs, found)}
    if last.clusters < NEWLY_WRONG:
        reason = (
            f"{last.n} items ({last.clusters} independent) are newly wrong at generation {now.generation}; "
            f"{NEWLY_WRONG} independent ones are needed"
        )
        bare = Interval(
            value=None, low=None, high=None, n=last.n, clusters=last.clusters, level=last.level, method=last.method
        )
        sentence = f"The confidence of newly wrong items cannot be compared: {reason}."
        return _finding(
            panel, "newly_wrong_confidence", bare, unit="probability", sentence=sentence, reason=reason, extra=extra
        )
    new = (now.before[1] == 1.0) & (now.after[1] == 0.0)
    before, after = float(now.before[0][new].mean()), float(now.after[0][new].mean())
    extra |= {"before": before, "after": after}
    sentence = (
        f"The {last.n:,} items that were right at generation 0 and are wrong at generation {now.generation} are wrong "
        f"with confidence {after:.3f}; when they were right it was {before:.3f}: {_signed(last)}."
    )
    return _finding(panel, "newly_wrong_confidence", last, unit="probability", sentence=sentence, extra=extra)


def _curve(pairs: list[_Pairs], found: list[Interval]) -> list[dict[str, Any]]:
    return [
        {"generation": p.generation, "value": f.value, "low": f.low, "high": f.high, "n": f.n}
        for p, f in zip(pairs, found, strict=True)
    ]


def _signed(found: Interval) -> str:
    """A change with its interval in words."""
    value = found.value or 0.0
    if found.low is None or found.high is None:
        return f"{value:+.3f} (too few independent items for an interval)"
    return f"{value:+.3f} [{found.low:+.3f}, {found.high:+.3f}]"


def _finding(
    panel: Panel,
    name: str,
    found: Interval | None,
    *,
    sentence: str,
    unit: str = "",
    reason: str = "",
    extra: dict[str, Any] | None = None,
) -> Finding:
    bare = not reason and found is not None and found.low is None
    return Finding(
        analysis="calibration",
        name=name,
        estimand="checkpoints",
        lineage=panel.lineage,
        seed=panel.seed,
        format=panel.format,
        value=None if found is None else found.value,
        low=None if found is None else found.low,
        high=None if found is None else found.high,
        level=0.95 if found is None else found.level,
        n=0 if found is None else found.n,
        unit=unit,
        method="" if found is None else found.method,
        sentence=sentence,
        reason="too few independent items for an interval" if bare else reason,
        extra=extra or {},
    )
