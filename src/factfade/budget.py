"""How much is asked of a model within a budget of seconds: a subset of the items, chosen by hash, sized by its speed.

The speed is measured by asking: a few items first, then more, until what was measured is long enough to be
trusted. What is left out is the same for every later evaluation, since items are paired by id.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from factfade.material import Material
from factfade.records import derived_seed

# Of the budget, what an evaluation is planned to take: the rest is for what cannot be foreseen.
PLANNED = 0.6
# Of the plan, the most that the fixed texts and prompts may take; above it they are left out.
FLUENCY_SHARE = 0.5
FIRST_ITEMS = 8
# A speed is trusted once this share of the budget went into measuring it.
TRUSTED = 0.03

Ask = Callable[[Material], Mapping[str, float]]
"""Asks all of a material in a place of its own; its times: "seconds" of all, "evidence_seconds" of the questions."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is asked. `items` of `available`; `fluency` False leaves the fixed texts and prompts out. `item_seconds` and
    `fixed_seconds` are the measured times (0 without a budget); `notes` say what is left out and why."""

    items: int
    available: int
    fluency: bool = True
    item_seconds: float = 0.0
    fixed_seconds: float = 0.0
    notes: tuple[str, ...] = ()

    def apply(self, material: Material, *, seed: int) -> Material:
        """The part of the material that is asked."""
        chosen = subset(material, self.items, seed=seed)
        return chosen if self.fluency else without_fluency(chosen)


def subset(material: Material, count: int, *, seed: int) -> Material:
    """The `count` items whose hashes come first, in every format. A smaller subset lies within a larger one."""
    if count >= len(material.items):
        return material
    kept = sorted(material.items, key=lambda item: (derived_seed("budget", seed, item), item))[:count]
    chosen = set(kept)
    puts = {name: tuple(put for put in own if put.asked.item in chosen) for name, own in material.puts.items()}
    formats = {
        name: {
            "asked": sum(not put.reason for put in own),
            "not_asked": dict(Counter(put.reason for put in own if put.reason)),
        }
        for name, own in puts.items()
    }
    left = len(material.items) - count
    counts: dict[str, Any] = {**material.counts, "items": count, "left_out_by_budget": left, "formats": formats}
    return replace(material, items=tuple(sorted(kept)), puts=puts, counts=counts)


def without_fluency(material: Material) -> Material:
    """The questions alone."""
    counts = {**material.counts, "fluency_left_out_by_budget": True}
    return replace(material, texts=(), prompts=(), counts=counts)


def plan(ask: Ask, material: Material, *, seconds: float | None, overhead: float = 0.0, seed: int = 0) -> Plan:
    """What of the material fits `seconds` (None: all of it). `overhead` seconds are spent on each evaluation anyway.

    At least one item is asked: a budget that carries too few says so, and the rule of the stages calls nothing.
    """
    available = len(material.items)
    if seconds is None:
        return Plan(items=available, available=available)
    count = min(FIRST_ITEMS, available)
    times = ask(subset(material, count, seed=seed))
    spent = times["evidence_seconds"]
    fixed, per_item = times["seconds"] - spent, spent / max(count, 1)
    while count < available and spent < TRUSTED * seconds:
        count = min(4 * count, available)
        spent = ask(without_fluency(subset(material, count, seed=seed)))["evidence_seconds"]
        per_item = spent / count
    room = PLANNED * seconds - overhead
    notes: list[str] = []
    fluency = fixed <= max(FLUENCY_SHARE * room, 0.0)
    if not fluency:
        notes.append(
            f"fluency is not measured: its texts and prompts take {fixed:.1f} s of a budget of {seconds:g} s; "
            "raise max_seconds, or ask for fewer prompts"
        )
    left = room - (fixed if fluency else 0.0)
    fitting = min(available, max(1, int(left / per_item))) if per_item > 0 else available
    if fitting < available:
        notes.append(
            f"{available - fitting:,} of {available:,} questions are left out, chosen by hash, in every evaluation of "
            f"this training: a question takes {per_item:.3g} s in all its formats, and max_seconds is {seconds:g}"
        )
    return Plan(
        items=fitting,
        available=available,
        fluency=fluency,
        item_seconds=per_item,
        fixed_seconds=fixed,
        notes=tuple(notes),
    )
