"""All looks of one run, and their correction as a family.

A run of G generations and F formats is looked at G * (2 F + 2) times for something worse: knowledge and format per
format, two fluencies per generation. At an uncorrected 5% some look nearly always finds something at a loss that lies
at its margin. "Shown worse" is therefore decided by p values adjusted together (Holm 1979). "Shown not worse" needs no
such correction: a stage asks for all of them at once (an intersection-union test).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from factfade import stage_conditions as conditions
from factfade.stage_conditions import Correction, Look, Side
from factfade.stage_panel import Panel, Panels, Run, text_side
from factfade.stage_rule import Rule
from factfade.stats.multiplicity import holm
from factfade.verdicts import Condition

# Generation, format ("" for fluency), endpoint.
Key = tuple[int, str, str]


@dataclass(frozen=True, kw_only=True)
class Looks:
    """The comparisons of one run with its generation 0, and what the family does to each."""

    found: Mapping[Key, Look | Condition]
    corrections: Mapping[Key, Correction]

    def of(self, generation: int, format: str) -> dict[str, tuple[Look | Condition, Correction | None]]:
        """The four comparisons of one call, in the order of the endpoints."""
        keys: dict[str, Key] = {
            "knowledge": (generation, format, "knowledge"),
            "format": (generation, format, "format"),
            "fluency_nats": (generation, "", "fluency_nats"),
            "fluency_junk": (generation, "", "fluency_junk"),
        }
        return {name: (self.found[key], self.corrections.get(key)) for name, key in keys.items()}


def looks_of(panels: Panels, own: Mapping[str, Panel], run: Run, rule: Rule) -> Looks:
    """Every look of a run: its panels by format, each with a generation 0."""
    found: dict[Key, Look | Condition] = {}
    for name, panel in own.items():
        start = Side(panel=panel, column=panel.generations.index(0))
        for column, generation in enumerate(panel.generations):
            if generation == 0:
                continue
            after = Side(panel=panel, column=column)
            found[generation, name, "knowledge"] = conditions.knowledge(rule.test("knowledge"), start, after)
            found[generation, name, "format"] = conditions.parseable(rule.test("format"), start, after)
            if (generation, "", "fluency_nats") not in found:
                for endpoint in ("fluency_nats", "fluency_junk"):
                    test = rule.test(endpoint)
                    found[generation, "", endpoint] = fluency(panels, test, (run, 0), (run, generation))
    return Looks(found=found, corrections=_correct(found, rule))


def fluency(panels: Panels, test: conditions.Test, first: tuple[Run, int], second: tuple[Run, int]) -> Look | Condition:
    """A fluency comparison between two (run, generation); what is not stored is said."""
    nats = test.endpoint == "fluency_nats"
    table = panels.nats if nats else panels.junk
    before, after = text_side(table, *first), text_side(table, *second)
    if before is None or after is None:
        what = "completions scored under the start model" if nats else "completions"
        where = first[1] if before is None else second[1]
        return conditions.absent(test, f"fluency: no {what} of generation {where} are stored")
    return (conditions.nats if nats else conditions.junk)(test, before, after)


def _correct(found: Mapping[Key, Look | Condition], rule: Rule) -> dict[Key, Correction]:
    """Holm's adjusted p values within each family, and the error rate left to each look by the others."""
    families: dict[int, list[tuple[Key, float]]] = {}
    for key, look in found.items():
        if isinstance(look, Look) and look.tested and look.p is not None:
            families.setdefault(key[0] if rule.family == "generation" else 0, []).append((key, look.p))
    corrections: dict[Key, Correction] = {}
    for family in families.values():
        ps = np.array([p for _, p in family])
        adjusted = ps if rule.family == "none" else holm(ps)
        rejected, m = int(np.sum(adjusted <= rule.alpha)), len(family)
        for (key, p), after in zip(family, adjusted.tolist(), strict=True):
            if rule.family == "none":
                corrections[key] = Correction(p=p, looks=1, alpha=rule.alpha)
                continue
            others = rejected - (after <= rule.alpha)
            corrections[key] = Correction(p=after, looks=m, alpha=rule.alpha / (m - others))
    return corrections
