"""What became of the items that were right at generation 0: kept, lost and when, which ones early.

Per run and format ("checkpoints"): `retention`, `lost`, `lost_beyond_chain`, `lost_beyond_control` where there is a
control, `time_to_failure`, `early_loss`. Per recipe and format ("recipe"), over two seeds or more: `retention`
against the control, paired by seed, and the median `time_to_failure`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from factfade.analysis.fading import failure_findings, failures_over_seeds
from factfade.analysis.losses import Followed, LossStudy, against_control, followed, loss_study
from factfade.analysis.predictors import Odds, Predicted, Traits, predicted
from factfade.analysis.saying import finding, plain, said
from factfade.analysis.study import Study
from factfade.columns import Floats, as_float, as_text
from factfade.records import PROBES
from factfade.stage_panel import Panel, pair
from factfade.stats.intervals import Interval, mean
from factfade.stats.paired import paired_loss
from factfade.stats.survival import losses
from factfade.stats.transitions import CELLS, Transitions, flips, stationary_chain, transitions
from factfade.text import safe_text
from factfade.verdicts import Finding

ANALYSIS = "retention"
# Pooled accuracy below which a model's knowledge has failed (knowledge_retention of arXiv 2509.08972).
THRESHOLD = 0.75
Place = tuple[str, int | None, str]


def findings(study: Study, *, threshold: float = THRESHOLD) -> list[Finding]:
    """All findings, runs in order, then recipes. `threshold` is the share right below which knowledge has failed."""
    found: list[Finding] = []
    domain, frequency = as_text(study.evidence, "domain"), as_float(study.evidence, "frequency")
    for lineage, seed in study.runs:
        for panel in study.of(lineage, seed):
            if panel.format in PROBES:
                continue
            control = _control(study, panel)
            found += _panel(panel, control, domain, frequency)
            found += failure_findings(panel, threshold)
    return found + list(_recipes(study, threshold))


def _control(study: Study, panel: Panel) -> Panel | None:
    name = study.control_of(panel.lineage)
    return None if name is None else study.panels.formats.get((name, panel.seed, panel.format))


def _panel(panel: Panel, control: Panel | None, domain: Any, frequency: Floats) -> Iterator[Finding]:
    place = (panel.lineage, panel.seed, panel.format)
    run = followed(panel)
    reason = ""
    if run is None:
        reason = "generation 0 was not evaluated"
    elif not np.any(run.states[:, 0] == 1.0):
        reason = "no item was right at generation 0"
    elif len(run.generations) < 2:
        reason = "only generation 0 was evaluated"
    if run is None or reason:
        for name in ("retention", "lost", "early_loss"):
            yield finding(ANALYSIS, name, place, None, f"Not known: {reason}.", reason=reason)
        return
    other = None if control is None else followed(control)
    yield _retention(place, run, other)
    if len(run.generations) < 3:
        reason = "a loss takes two evaluated generations after generation 0, there is one"
        for name in ("lost", "early_loss"):
            yield finding(ANALYSIS, name, place, None, f"Not known: {reason}.", reason=reason)
        return
    found = loss_study(run)
    yield _lost(place, found)
    yield _beyond_chain(place, found)
    if other is not None:
        yield _beyond_control(place, run, other)
    yield from _early(place, run, _traits(panel, run, domain, frequency))


def _retention(place: Place, run: Followed, control: Followed | None) -> Finding:
    tables = [transitions(run.states[:, 0], run.states[:, j], run.clusters) for j in range(1, len(run.generations))]
    last, g = tables[-1], run.generations[-1]
    if last.retention.value is None:
        reason = f"no item that was right at generation 0 was evaluated at generation {g}"
        return finding(ANALYSIS, "retention", place, None, f"Not known: {reason}.", reason=reason)
    chain = stationary_chain(flips(run.states, run.generations))
    expected = [_number(chain.retained(g)) for g in run.generations[1:]]
    extra: dict[str, Any] = {
        "transitions": {
            name: {"count": count, **plain(share)}
            for name, count, share in zip(CELLS, last.counts, last.shares, strict=True)
        },
        "recovery": plain(last.recovery),
        "by_generation": [
            {"generation": g, **plain(t.retention), "chain": e, "counts": list(t.counts)}
            for g, t, e in zip(run.generations[1:], tables, expected, strict=True)
        ],
    }
    sentence = (
        f"Of {last.retention.n:,} items right at generation 0, {said(last.retention, 'share')} are right at generation "
        f"{g}. {last.counts[1]:,} turned wrong; {last.counts[2]:,} of the {last.recovery.n:,} wrong ones turned right."
    )
    if expected[-1] is not None:
        sentence += f" An unchanged model with as many flips would keep {100 * expected[-1]:.1f}%."
    if control is not None:
        words, more = _control_retention(run, control)
        sentence, extra = sentence + words, extra | more
    return finding(ANALYSIS, "retention", place, last.retention, sentence, **extra)


def _control_retention(run: Followed, control: Followed) -> tuple[str, dict[str, Any]]:
    """Retention of the items right at generation 0 in both, arm against control, at their last shared generation."""
    found = _paired_retention(run, control)
    if found is None:
        return " It shares no item and generation with its control.", {}
    generation, below = found
    if below.interval.value is None:
        return " No item right at generation 0 is shared with its control.", {}
    words = (
        f" Its control keeps {100 * (below.before or 0.0):.1f}% of the same items at generation {generation}: "
        f"{_points(below.interval)} more."
    )
    return words, {"control": {"generation": generation, "value": below.before}, "below_control": plain(below.interval)}


def _paired_retention(run: Followed, control: Followed) -> tuple[int, Any] | None:
    shared = [g for g in run.generations if g in control.generations and g > 0]
    mine, theirs = pair(run.keys, control.keys)
    if not shared or not len(mine):
        return None
    generation = shared[-1]
    a, c = run.at(mine, (0, generation)), control.at(theirs, (0, generation))
    both = (a.states[:, 0] == 1.0) & (c.states[:, 0] == 1.0) & ~np.isnan(a.states[:, 1]) & ~np.isnan(c.states[:, 1])
    return generation, paired_loss(c.states[both, 1], a.states[both, 1], a.clusters[both], level=0.95)


def _lost(place: Place, found: LossStudy) -> Finding:
    last, read = found.generations[-1], found.generations[-2]
    sentence = (
        f"{said(found.share, 'share')} of the items right at generation 0 are lost by generation {read}: wrong in at "
        f"least the last two evaluated generations, up to {last}. {found.single:,} more are wrong in the last alone; "
        f"{100 * found.never_wrong:.1f}% were never wrong."
    )
    kept, chain = found.curve, found.chain_curve.values
    rows = zip(found.generations, kept.values, *_bounds(kept), chain, found.first_wrong, strict=True)
    curve = [
        {
            "generation": g,
            "kept": float(value),
            "low": _number(low),
            "high": _number(high),
            "chain": _number(expected),
            "chain_first_wrong": _number(first),
        }
        for g, value, low, high, expected, first in rows
    ]
    extra: dict[str, Any] = {"curve": curve, "lost": found.lost, "wrong_in_the_last_only": found.single}
    return finding(ANALYSIS, "lost", place, found.share, sentence, never_wrong=found.never_wrong, **extra)


def _bounds(curve: Any) -> tuple[Sequence[Any], Sequence[Any]]:
    none = [None] * len(curve.values)
    return (none, none) if curve.low is None else (curve.low, curve.high)


def _beyond_chain(place: Place, found: LossStudy) -> Finding:
    expected = _number(1 - found.chain_curve.values[-1])
    chain = {
        "right": _number(found.chain.right),
        "persistence": _number(found.chain.persistence),
        "capped": found.chain.capped,
        "lost": expected,
    }
    extra: dict[str, Any] = {"chain": chain, "lost": found.lost, "mirrored": found.mirrored, "net": plain(found.net)}
    if expected is None or found.excess.value is None:
        reason = "no item was evaluated in two neighbouring generations, so no chain can be fitted"
        return finding(ANALYSIS, "lost_beyond_chain", place, None, f"Not known: {reason}.", reason=reason)
    sentence = (
        f"A model that never changes, with {100 * float(found.chain.right):.1f}% right and as many flips, would show "
        f"{100 * expected:.1f}% of its items as lost; the share lost here is {_points(found.excess)} above that."
    )
    sentence += (
        f" Read backwards in time the table loses {found.mirrored:,} items, forwards {found.lost:,}; a model that "
        f"never changes loses as many either way: {_points(found.net)} of all items more."
    )
    if found.chain.capped:
        sentence += " There are more flips than an unchanged model of that share can show."
    return finding(ANALYSIS, "lost_beyond_chain", place, found.excess, sentence, **extra)


def _beyond_control(place: Place, run: Followed, control: Followed) -> Finding:
    name = "lost_beyond_control"
    found = against_control(run, control)
    if found is None:
        reason = "arm and control share no item right at generation 0, or fewer than three generations"
        return finding(ANALYSIS, name, place, None, f"Not known: {reason}.", reason=reason)
    sentence = (
        f"By generation {found.generations[-2]} the control lost {100 * (1 - float(found.control[-1])):.1f}% and this "
        f"arm {100 * (1 - float(found.arm[-1])):.1f}% of its items: {_points(found.loss)} more."
    )
    curve = [
        {"generation": g, "kept": float(a), "control": float(c)}
        for g, a, c in zip(found.generations, found.arm, found.control, strict=True)
    ]
    return finding(ANALYSIS, name, place, found.loss, sentence, curve=curve)


def _traits(panel: Panel, run: Followed, domain: Any, frequency: Floats) -> Traits:
    start = panel.generations.index(0)
    rows, confidence = panel.rows[:, start], panel.confidence[:, start]
    with np.errstate(invalid="ignore"):
        confidence = np.where((confidence >= 0.0) & (confidence <= 1.0), confidence, np.nan)
    there = rows >= 0
    return Traits(
        confidence=confidence,
        frequency=np.where(there, frequency[rows], np.nan),
        domain=np.where(there, domain[rows], ""),
        clusters=run.clusters,
    )


def _early(place: Place, run: Followed, traits: Traits) -> Iterator[Finding]:
    found = predicted(losses(run.states, run.generations), run.states, run.generations, traits)
    extra: dict[str, Any] = {"losses": found.events, "questions": found.questions, "variables": found.variables}
    notes = [safe_text(note) for note in found.notes]
    if found.reason:
        sentence = f"What predicts an early loss is not known: {found.reason}."
        yield finding(ANALYSIS, "early_loss", place, None, sentence, reason=found.reason, notes=notes, **extra)
        return
    for odds in found.odds:
        yield _odds(place, odds, found, notes, extra)


def _odds(place: Place, odds: Odds, found: Predicted, notes: list[str], extra: dict[str, Any]) -> Finding:
    log = odds.log_odds
    low, high = (None if b is None else float(np.exp(b)) for b in (log.low, log.high))
    ratio = Interval(
        value=None if log.value is None else float(np.exp(log.value)),
        low=low,
        high=high,
        n=found.questions,
        clusters=log.clusters,
        level=log.level,
        method=f"discrete-time logistic hazard, {log.method}",
    )
    name = safe_text(odds.predictor)
    sentence = (
        f"{name[:1].upper()}{name[1:]}, {odds.step}: the odds of being lost in a generation are multiplied by "
        f"{said(ratio, '', units='items right at generation 0')}, the other predictors held fixed."
    )
    more: dict[str, Any] = {**extra, "predictor": name, "step": odds.step, "notes": notes}
    return finding(ANALYSIS, "early_loss", place, ratio, sentence, unit="odds ratio", p=odds.p, **more)


def _recipes(study: Study, threshold: float) -> Iterator[Finding]:
    for lineage in study.lineages:
        for format in study.formats:
            if format in PROBES:
                continue
            yield from _against_control(study, lineage, format)
            yield from failures_over_seeds(study, lineage, format, threshold)


def _against_control(study: Study, lineage: str, format: str) -> Iterator[Finding]:
    """Retention of arm less control at the last generation that all runs have, one difference a seed."""
    name = study.control_of(lineage)
    if name is None:
        return
    runs: dict[int, tuple[Followed, Followed]] = {}
    for seed in study.seeds(lineage):
        both = [study.panels.formats.get((which, seed, format)) for which in (lineage, name)]
        sides = [None if panel is None else followed(panel) for panel in both]
        if sides[0] is not None and sides[1] is not None:
            runs[seed] = (sides[0], sides[1])
    if len(runs) < 2:
        return
    shared = set.intersection(*[set(side.generations) for both in runs.values() for side in both]) - {0}
    place = (lineage, None, format)
    rows: list[dict[str, Any]] = []
    last = max(shared, default=0)
    for seed, sides in runs.items() if shared else ():
        kept = [_kept(side, last) for side in sides]
        if kept[0] is not None and kept[1] is not None:
            rows.append({"seed": seed, "arm": kept[0], "control": kept[1]})
    if len(rows) < 2:
        reason = "fewer than two seeds have items right at generation 0 in arm and control and a generation in common"
        yield finding(
            ANALYSIS, "retention", place, None, f"Not known: {reason}.", reason=reason, estimand="recipe", units="seeds"
        )
        return
    found = mean([row["arm"] - row["control"] for row in rows])
    arm, control = (float(np.mean([row[key] for row in rows])) for key in ("arm", "control"))
    p = None
    if found.deviation:
        from scipy.special import stdtr

        t = abs(found.value or 0.0) / (found.deviation / np.sqrt(len(rows)))
        p = 2 * float(stdtr(len(rows) - 1, -t))
    sentence = (
        f"Over {len(rows)} seeds, trained like this a model keeps {100 * arm:.1f}% of what it knew up to generation "
        f"{last}, its control {100 * control:.1f}%: a difference of {_points(found, 'seeds')}"
        f"{', exploratory with so few seeds' if len(rows) < 5 else ''}."
    )
    extra: dict[str, Any] = {"generation": last, "seeds": rows}
    yield finding(ANALYSIS, "retention", place, found, sentence, estimand="recipe", units="seeds", p=p, **extra)


def _kept(run: Followed, generation: int) -> float | None:
    table: Transitions = transitions(run.states[:, 0], run.states[:, run.generations.index(generation)])
    return table.retention.value


def _number(value: Any) -> float | None:
    """A plain number; None for one that is missing or NaN."""
    return None if value is None or not np.isfinite(value) else float(value)


def _points(found: Interval, units: str = "items") -> str:
    """A difference of shares in percentage points, with its interval."""
    value = f"{100 * (found.value or 0.0):.1f} points"
    if found.low is None or found.high is None:
        return f"{value} (no interval, {found.n:,} {units})"
    return f"{value} ({100 * found.low:.1f} to {100 * found.high:.1f}, {found.n:,} {units})"
