"""What the arena says in sentences: the contrast, what it can see, and what the table does not show."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from factfade.stats.intervals import Interval
from factfade.stats.seeds import CONFIRMING_SEEDS, detectable_with_seeds

if TYPE_CHECKING:
    from factfade.arena.rows import Arena, Row


def points(value: float | None, *, signed: bool = False) -> str:
    """A share in points of a hundred."""
    if value is None:
        return "?"
    return f"{100 * value:+.1f}" if signed else f"{100 * value:.1f}"


def interval(found: Interval, *, signed: bool = False) -> str:
    """Value and bounds in points; the value alone where there are no bounds."""
    if found.value is None:
        return "?"
    if found.low is None or found.high is None:
        return points(found.value, signed=signed)
    value, low, high = (points(bound, signed=signed) for bound in (found.value, found.low, found.high))
    return f"{value} [{low}, {high}]"


def p_text(p: float | None) -> str:
    """A p value as a table shows it."""
    if p is None:
        return "none"
    return "< .001" if p < 0.001 else f"{p:.3f}".lstrip("0") if p < 1 else "1"


def sentences(arena: Arena) -> Iterator[str]:
    """The declared contrast first; then its power, the costs, and what is missing."""
    base = arena.base
    seeds = len(base.seeds)
    yield (
        f"Contrast: each arm minus {arena.baseline}, paired by run seed, on the share of {arena.items} questions right "
        f"by choice in generation {arena.generation}, mean over {len(arena.formats)} formats; paired t, Holm over "
        f"{_family(arena)} arms, two-sided {100 * arena.alpha:g}%."
        + ("" if arena.declared else " It was not declared before the runs: exploratory.")
    )
    better = [row for row in arena.rows if row.contrast and row.contrast.shown and _gain(row) > 0]
    worse = [row for row in arena.rows if row.contrast and row.contrast.shown and _gain(row) < 0]
    yield _shown(better, "keep more", arena)
    if worse:
        yield _shown(worse, "keep less", arena)
    yield from _power(arena)
    if seeds < CONFIRMING_SEEDS:
        count = "1 run seed explores and confirms" if seeds == 1 else f"{seeds} run seeds explore and confirm"
        yield f"{count} nothing: {CONFIRMING_SEEDS} are advised."
    own = [row.arm for row in arena.rows if row.budget != "equal"]
    if own:
        yield f"Not at the common training budget: {', '.join(own)}. Such an arm differs in how much it trains, too."
    if arena.missing:
        named = ", ".join(f"{arm} seed {seed}" for arm, seed in arena.missing[:6])
        more = f" and {len(arena.missing) - 6} more" if len(arena.missing) > 6 else ""
        yield f"Not complete, and left out: {named}{more}."


def _family(arena: Arena) -> int:
    return sum(row.contrast is not None and row.contrast.declared for row in arena.rows)


def _gain(row: Row) -> float:
    return (row.contrast.difference.value or 0.0) if row.contrast else 0.0


def _shown(rows: list[Row], verb: str, arena: Arena) -> str:
    if not rows:
        return f"No arm is shown to {verb} than {arena.baseline} after the correction."
    named = "; ".join(
        f"{row.arm} {interval(row.contrast.difference, signed=True)}" for row in rows if row.contrast is not None
    )
    return (
        f"Shown to {verb} than {arena.baseline} (points, {100 - 100 * arena.alpha:g}% intervals, uncorrected): {named}."
    )


def _power(arena: Arena) -> Iterator[str]:
    """What this many seeds can show, at the middle spread between seeds."""
    spreads = [
        row.contrast.difference.deviation
        for row in arena.rows
        if row.contrast and row.contrast.declared and row.contrast.difference.deviation
    ]
    seeds = len(arena.base.seeds)
    if not spreads or seeds < 2:
        yield f"{seeds} run seed: the spread between trainings is not known, so nothing is tested."
        return
    middle, family = float(np.median(spreads)), max(_family(arena), 1)
    alone = detectable_with_seeds(seeds, middle, alpha=arena.alpha / 2)
    first = detectable_with_seeds(seeds, middle, alpha=arena.alpha / (2 * family))
    yield (
        f"What {seeds} seeds can show: the middle spread of a paired difference between seeds is {points(middle)} "
        f"points; at it a true difference of {points(alone)} points is shown in 4 of 5 such experiments by one "
        f"comparison, and one of {points(first)} points by the first of {family} (Holm's first step)."
    )
