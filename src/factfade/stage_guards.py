"""Artefact guards: what is wrong with the evidence at generation 0, said before any stage is read."""

from __future__ import annotations

import numpy as np

from factfade import stage_words as words
from factfade.stage_conditions import chance_level, codes_at
from factfade.stage_panel import Panel, Panels, text_side
from factfade.stats.agreement import AnswerCodes

# A position chosen this much more often than it is right is noted.
POSITION_EXCESS = 0.10


def guards(panels: Panels, panel: Panel, *, knowledge: float, junk: float) -> tuple[list[str], list[str]]:
    """Flags of one panel's calls and notes in words. `knowledge` and `junk` are the rule's margins (shares)."""
    flags: list[str] = []
    notes: list[str] = []
    start = panel.generations.index(0)
    if panel.not_asked[start]:
        flags.append("not_asked")
        notes.append(words.not_asked(panel, panel.not_asked[start], int(np.sum(panel.rows[:, start] >= 0))))
    changed = np.sum((panel.rows >= 0) != (panel.rows[:, [start]] >= 0), axis=0)
    if changed.any():
        notes.append(words.items_missing(panel, int(changed.max())))
    own = text_side(panels.junk, (panel.lineage, panel.seed), 0)
    if own is not None:
        values = own[0].values["junk"][:, own[1]]
        known = values[~np.isnan(values)]
        if len(known) and known.mean() > junk:
            flags.append("junk_at_start")
            notes.append(words.junk_at_start(panel, float(known.mean()), len(known)))
    codes = codes_at(panels.answers, panel, start)
    if codes is None:
        return flags, notes
    excess = position_excess(codes[0])
    if excess is not None and excess[1] - excess[2] > POSITION_EXCESS:
        flags.append("position_bias_at_start")
        notes.append(words.position_bias(panel, *excess))
    chance, known = chance_level(codes[0]), panel.knowledge[codes[1], start]
    if known.mean() < chance + knowledge:
        flags.append("little_known_at_start")
        notes.append(words.little_known(panel, float(known.mean()), chance, len(known)))
    return flags, notes


def position_excess(codes: AnswerCodes) -> tuple[int, float, float] | None:
    """The option position chosen too often: its index, the share of choices on it, the share of right answers on it.

    None where options have no position (texts as categories).
    """
    chosen = codes.choice[codes.choice >= 0]
    if not codes.positional or len(chosen) == 0:
        return None
    size = int(max(chosen.max(), codes.gold.max())) + 1
    picked = np.bincount(chosen, minlength=size) / len(chosen)
    right = np.bincount(codes.gold, minlength=size) / len(codes.gold)
    worst = int(np.argmax(picked - right))
    return worst, float(picked[worst]), float(right[worst])
