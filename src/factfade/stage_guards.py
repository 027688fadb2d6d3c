"""Artefact guards: what is wrong with the evidence itself, said before any stage is read.

A guard sets a flag on calls and says a note. Two of them withhold the call: when the prompts or the chat template are
not those of generation 0, nothing is paired that was asked the same way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from factfade import stage_notes as words
from factfade.columns import Codes
from factfade.stage_chance import chance_level, codes_at
from factfade.stage_panel import Panel, Panels, pair, text_side
from factfade.stage_rule import Rule
from factfade.stats.agreement import AnswerCodes

# A position chosen this much more often than it is right, or than it was chosen at the start, is noted.
POSITION_EXCESS = 0.10
# A right position this much more frequent than an even share is noted, where chance hardly makes it so.
KEY_EXCESS, KEY_P = 0.05, 0.01
WITHHOLDING = ("prompts_changed", "template_changed")


@dataclass(frozen=True, kw_only=True)
class Guarded:
    """Flags of all calls of a panel, flags of single generations, and the notes."""

    flags: tuple[str, ...]
    at: Mapping[int, tuple[str, ...]]
    notes: tuple[str, ...]


class _Found:
    """What the guards of one panel collect."""

    def __init__(self) -> None:
        self.flags: list[str] = []
        self.at: dict[int, list[str]] = {}
        self.notes: list[str] = []

    def say(self, flag: str, note: str) -> None:
        self.flags.append(flag)
        self.notes.append(note)

    def say_at(self, generation: int, flag: str, note: str) -> None:
        self.at.setdefault(generation, []).append(flag)
        self.notes.append(note)


def guards(
    panels: Panels, panel: Panel, rule: Rule, *, control: str | None = None, marks: Sequence[str] = ()
) -> Guarded:
    """Every guard of one panel. `marks` are artefacts known from the lineage's record (such as "right_padding")."""
    found = _Found()
    for mark in marks:
        found.say(mark, words.marked(panel, mark))
    _asked(panel, found)
    _repeated(panels, panel, found)
    _changed(panels, panel, found)
    if control is not None:
        _against(panels, panel, control, found)
    _junk(panels, panel, rule, found)
    _positions(panels, panel, found)
    _known(panels, panel, rule, found)
    at = {generation: tuple(flags) for generation, flags in found.at.items()}
    return Guarded(flags=tuple(found.flags), at=at, notes=tuple(found.notes))


def _start(panel: Panel) -> int:
    return panel.generations.index(0)


def _asked(panel: Panel, found: _Found) -> None:
    """Questions that were not put, and questions that a generation lacks."""
    start = _start(panel)
    if panel.not_asked[start]:
        note = words.not_asked(panel, panel.not_asked[start], int(np.sum(panel.rows[:, start] >= 0)))
        found.say("not_asked", note)
    changed = np.sum((panel.rows >= 0) != (panel.rows[:, [start]] >= 0), axis=0)
    if changed.any():
        found.notes.append(words.items_missing(panel, int(changed.max())))


def _texts(values: NDArray[np.object_], rows: Codes) -> NDArray[np.object_]:
    """The column's values at rows, "" where there is no row."""
    return np.where(rows >= 0, values[np.maximum(rows, 0)], "")


def _repeated(panels: Panels, panel: Panel, found: _Found) -> None:
    """One prompt under several items: they are not independent, and n is smaller than it looks."""
    prompts = _texts(panels.answers.prompt_sha256, panel.rows[:, _start(panel)])
    known = prompts != ""
    counts = np.unique(prompts[known].astype(str), return_counts=True)[1]
    extra = int(np.sum(counts - 1))
    if extra:
        found.say("items_duplicated", words.items_duplicated(panel, extra, int(known.sum())))


def _changed(panels: Panels, panel: Panel, found: _Found) -> None:
    """Prompts or chat templates that differ from generation 0's: nothing is asked the same way twice then."""
    start = _start(panel)
    for flag, column in (("prompts_changed", "prompt_sha256"), ("template_changed", "template_sha256")):
        values = getattr(panels.answers, column)
        first = _texts(values, panel.rows[:, start])
        for place, generation in enumerate(panel.generations):
            now = _texts(values, panel.rows[:, place])
            both = (first != "") & (now != "")
            if flag == "template_changed":
                # "" is a raw prompt here: it differs from any template, where the rows are there.
                both = (panel.rows[:, start] >= 0) & (panel.rows[:, place] >= 0) & panels.answers.templated
            count = int(np.sum(both & (first != now)))
            if count:
                found.say_at(generation, flag, words.changed(panel, generation, flag, count, int(both.sum())))


def _against(panels: Panels, panel: Panel, control: str, found: _Found) -> None:
    """A control that was asked otherwise is no control."""
    other = panels.formats.get((control, panel.seed, panel.format))
    if other is None or 0 not in other.generations:
        return
    a, b = pair(panel.keys, other.keys)
    mine = _texts(panels.answers.prompt_sha256, panel.rows[a, _start(panel)])
    its = _texts(panels.answers.prompt_sha256, other.rows[b, _start(other)])
    differ = int(np.sum((mine != its) & (mine != "") & (its != "")))
    if differ:
        found.say("control_asked_otherwise", words.control_differs(panel, control, differ, len(a)))


def _junk(panels: Panels, panel: Panel, rule: Rule, found: _Found) -> None:
    own = text_side(panels.junk, (panel.lineage, panel.seed), 0)
    if own is None:
        return
    values = own[0].values["junk"][:, own[1]]
    known = values[~np.isnan(values)]
    if len(known) and known.mean() > rule.fluency_junk:
        found.say("junk_at_start", words.junk_at_start(panel, float(known.mean()), len(known)))


def _positions(panels: Panels, panel: Panel, found: _Found) -> None:
    """Positions of options: keys that are not balanced, a preference at the start, and one that grows."""
    start = codes_at(panels.answers, panel, _start(panel))
    if start is None or not start[0].positional:
        return
    codes = start[0]
    size = int(max(codes.choice.max(initial=0), codes.gold.max())) + 1
    keys = key_excess(codes, size)
    if keys is not None:
        found.say("unbalanced_keys", words.unbalanced_keys(panel, *keys, size, len(codes.gold)))
    excess = position_excess(codes)
    if excess is not None and excess[1] - excess[2] > POSITION_EXCESS:
        found.say("position_bias_at_start", words.position_bias(panel, *excess))
    first, largest = _picked(codes, size), (0.0, "")
    for column, generation in enumerate(panel.generations):
        now = codes_at(panels.answers, panel, column)
        if generation == 0 or now is None or not now[0].positional or first is None:
            continue
        picked = _picked(now[0], size)
        if picked is None or len(picked) != len(first):
            continue
        worst = int(np.argmax(picked - first))
        if picked[worst] - first[worst] > POSITION_EXCESS:
            found.at.setdefault(generation, []).append("position_bias_grew")
            note = words.position_drift(panel, generation, worst, float(first[worst]), float(picked[worst]))
            largest = max(largest, (float(picked[worst] - first[worst]), note))
    if largest[1]:
        found.notes.append(largest[1])


def _picked(codes: AnswerCodes, size: int) -> NDArray[np.float64] | None:
    """Share of the choices on each position."""
    chosen = codes.choice[codes.choice >= 0]
    return None if len(chosen) == 0 else np.bincount(chosen, minlength=size) / len(chosen)


def key_excess(codes: AnswerCodes, size: int) -> tuple[int, float] | None:
    """The position that is right too often, and its share: more than an even share by KEY_EXCESS, chi-square p below
    KEY_P. None where the keys are balanced."""
    from scipy.stats import chisquare

    counts = np.bincount(codes.gold, minlength=size)
    worst = int(np.argmax(counts))
    share = float(counts[worst] / counts.sum())
    if size < 2 or share - 1.0 / size <= KEY_EXCESS or float(chisquare(counts).pvalue) >= KEY_P:
        return None
    return worst, share


def _known(panels: Panels, panel: Panel, rule: Rule, found: _Found) -> None:
    start = _start(panel)
    codes = codes_at(panels.answers, panel, start)
    if codes is None:
        return
    chance, known = chance_level(codes[0]), panel.knowledge[codes[1], start]
    if known.mean() < chance + rule.knowledge:
        found.say("little_known_at_start", words.little_known(panel, float(known.mean()), chance, len(known)))


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
