"""The calls of one run: its looks, corrected as a family, put into words, attributed against its control."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from factfade import stage_conditions as conditions
from factfade import stage_words as words
from factfade.stage_bootstrap import probabilities
from factfade.stage_chance import near_chance
from factfade.stage_conditions import Side, settle
from factfade.stage_family import Looks, fluency, looks_of
from factfade.stage_guards import WITHHOLDING, Guarded
from factfade.stage_panel import Panel, Panels, Run
from factfade.stage_rule import Rule, decide
from factfade.verdicts import Condition, Stage, StageCall


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What all calls of a report share. `draws` are the resamples of a call's probabilities; 0: none."""

    panels: Panels
    rule: Rule
    controls: Mapping[str, str | None]
    draws: int

    def control_of(self, lineage: str) -> str | None:
        name = self.controls.get(lineage)
        return None if name == lineage else name


def calls_of(setting: Setting, run: Run, own: Mapping[str, Panel], guarded: Mapping[str, Guarded]) -> list[StageCall]:
    """Every call of one run, by format and generation. `own` are its panels that have a generation 0."""
    looks = looks_of(setting.panels, own, run, setting.rule)
    return [
        _call(setting, panel, column, looks, guarded[name])
        for name, panel in own.items()
        for column, generation in enumerate(panel.generations)
        if generation > 0
    ]


def _call(setting: Setting, panel: Panel, column: int, looks: Looks, guarded: Guarded) -> StageCall:
    rule, generation = setting.rule, panel.generations[column]
    start = panel.generations.index(0)
    before, after = Side(panel=panel, column=start), Side(panel=panel, column=column)
    mine = looks.of(generation, panel.format)
    found = {endpoint: settle(look, correction) for endpoint, (look, correction) in mine.items()}
    flags = [*guarded.flags, *guarded.at.get(generation, ())]
    withheld = [flag for flag in flags if flag in WITHHOLDING]
    stage: Stage = "undetermined" if withheld else decide(found)
    missing = int(np.sum((panel.rows[:, start] >= 0) != (panel.rows[:, column] >= 0)))
    if missing:
        flags.append("items_missing")
    sure = conditions.confidently_wrong(rule.test("confidently_wrong"), before, after, rule.tau)
    if sure.shown_not_worse:
        flags.append("confidently_wrong")
    chance = None
    if stage == "C":
        chance = near_chance(setting.panels.answers, panel, column, rule.test("chance"))
    attribution, attributed = _attribution(setting, panel, column, found, stage)
    return StageCall(
        lineage=panel.lineage,
        seed=panel.seed,
        generation=generation,
        format=panel.format,
        stage=stage,
        conditions=(*found.values(), sure),
        sentence=words.withheld(panel.format, generation, withheld)
        if withheld
        else words.call(panel.format, generation, stage, found, chance, missing),
        at_chance=chance is not None and chance[0],
        flags=tuple(flags),
        attribution=attribution,
        attribution_sentence=attributed,
        probabilities={} if withheld else probabilities(mine, draws=setting.draws, seed=generation),
    )


def _attribution(
    setting: Setting, panel: Panel, column: int, found: Mapping[str, Condition], stage: Stage
) -> tuple[Condition | None, str]:
    """The lineage minus its own control at the same generation and seed, on the endpoint that made the call.

    C: the broken endpoint whose lower bound is the most margins large. Otherwise knowledge. Due to the recursion
    when the lower bound of the difference is above 0. It is asked of a call that stands, so no family corrects it.
    """
    generation, controls, rule = panel.generations[column], setting.controls, setting.rule
    control = setting.control_of(panel.lineage)
    if control is None:
        mine = [arm for arm, other in sorted(controls.items()) if other == panel.lineage and arm != panel.lineage]
        return None, words.without_control(stage, mine)
    other = setting.panels.formats.get((control, panel.seed, panel.format))
    if other is None or generation not in other.generations:
        return None, words.control_absent(control, panel.seed, generation)
    broken = [c for c in found.values() if c.endpoint != "knowledge" and c.shown_worse and c.low is not None]
    endpoint = max(broken, key=lambda c: (c.low or 0.0) / c.margin).endpoint if stage == "C" else "knowledge"
    sides = Side(panel=other, column=other.generations.index(generation)), Side(panel=panel, column=column)
    test = replace(rule.test(endpoint), margin=0.0)
    if endpoint == "knowledge":
        look = conditions.knowledge(test, *sides)
    elif endpoint == "format":
        look = conditions.parseable(test, *sides)
    else:
        runs: Sequence[Run] = ((control, panel.seed), (panel.lineage, panel.seed))
        look = fluency(setting.panels, test, (runs[0], generation), (runs[1], generation))
    condition = settle(look)
    return condition, words.attribution(condition, stage, control, rule.test(endpoint).margin)
