"""The sentences of stage calls: plain words, every number with its n and interval."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from factfade.stage_conditions import amount_of, bounded
from factfade.verdicts import Condition, Onset, StageCall, StageReport

if TYPE_CHECKING:
    from factfade.stats.intervals import Interval

NAMES = {
    "A": "knowledge preserved",
    "B": "knowledge collapse",
    "C": "instruction-following collapse",
    "undetermined": "undetermined",
}
LOST = {
    "knowledge": "of accuracy are lost",
    "format": "of answers are no longer parseable",
    "fluency_nats": "per token more surprise under the start model",
    "fluency_junk": "more junk completions",
}

WITHHELD = {
    "prompts_changed": "the prompts differ from those of generation 0",
    "template_changed": "the chat template differs from that of generation 0",
}

MORE = {
    "knowledge": "more accuracy lost",
    "format": "more parseable answers lost",
    "fluency_nats": "per token more surprise under the start model",
    "fluency_junk": "more junk",
}


def short(condition: Condition) -> str:
    """A loss in a few words: "31.2 points of accuracy are lost [24.5, 37.9] (n = 420)"."""
    if condition.loss is None:
        return condition.sentence
    name, _, bounds = bounded(condition).partition(" [")
    return f"{name} {LOST.get(condition.endpoint, 'lost')} [{bounds} (n = {condition.n:,})"


def margins(found: Mapping[str, Condition]) -> str:
    """The margins of format and fluency: "10 points / 0.25 nats / 10 points of junk"."""
    names = {"format": "", "fluency_nats": " per token", "fluency_junk": " of junk"}
    return " / ".join(amount_of(found[e].margin, found[e].unit) + names[e] for e in names)


def call(
    format: str,
    generation: int,
    stage: str,
    found: Mapping[str, Condition],
    chance: tuple[bool, Interval, float] | None,
    missing: int,
) -> str:
    """The sentence that says why a generation and format is called what it is called."""
    place = f"generation {generation}, {format}"
    others = [found[e] for e in ("format", "fluency_nats", "fluency_junk")]
    if stage == "A":
        text = (
            f"Stage A at {place}: {short(found['knowledge'])}, shown to be less than "
            f"{amount_of(found['knowledge'].margin, 'share')}; format and fluency shown not worse than at the start "
            f"by more than {margins(found)}"
        )
        if (found["knowledge"].low or 0.0) > 0.0:
            text += "; notice: a loss is shown, within the margin"
    elif stage == "B":
        text = (
            f"Stage B at {place}: {short(found['knowledge'])}, beyond the margin of "
            f"{amount_of(found['knowledge'].margin, 'share')}; format and fluency shown not worse than at the start "
            f"by more than {margins(found)}"
        )
    elif stage == "C":
        broken = "; ".join(c.sentence for c in others if c.shown_worse)
        text = f"Stage C at {place}: {broken}. Knowledge there: {short(found['knowledge'])}"
        if chance is not None and chance[1].value is not None:
            text += _chance_words(*chance)
    else:
        open_ones = [c for c in found.values() if not (c.shown_worse or c.shown_not_worse)]
        text = f"Undetermined at {place}: " + "; ".join(c.sentence for c in open_ones)
        if found["knowledge"].shown_worse:
            text += f". Knowledge: {short(found['knowledge'])}, shown, but not apart from format and fluency"
    if missing:
        text += f". {missing} questions are there in only one of the two generations and are left out"
    return text + "."


def _chance_words(equivalent: bool, accuracy: Interval, chance: float) -> str:
    value, low, high = (100 * (x or 0.0) for x in (accuracy.value, accuracy.low, accuracy.high))
    said = "equivalent to chance" if equivalent else "not shown to be equivalent to chance"
    return f"; accuracy {value:.1f}% [{low:.1f}, {high:.1f}] is {said} ({100 * chance:.1f}%)"


def withheld(format: str, generation: int, flags: Sequence[str]) -> str:
    """The sentence of a call that an artefact forbids."""
    why = "; ".join(WITHHELD[flag] for flag in flags)
    return f"Undetermined at generation {generation}, {format}: {why}, so nothing can be compared."


def overall(generation: int, stage: str, formats: Mapping[str, Sequence[str]]) -> str:
    """The calls of one generation over its formats, in one sentence."""
    count = sum(len(names) for names in formats.values())
    parts = [f"{name} in {len(names)} of {count} ({', '.join(names)})" for name, names in formats.items()]
    if len(formats) == 1:
        each = "its one format" if count == 1 else f"each of {count} formats"
        parts = [f"{stage} in {each}"]
    return f"generation {generation}: {NAMES[stage]}: {'; '.join(parts)}"


def without_control(stage: str, arms: Sequence[str]) -> str:
    """What is said of a lineage without a control: it is one, or plain forgetting is not excluded."""
    if arms:
        return f"This is the control of {', '.join(arms)}: what it loses is plain forgetting, not the recursion."
    if stage in ("B", "C"):
        return "No control of its own: plain forgetting is not excluded."
    return "No control of its own."


def control_absent(control: str, seed: int, generation: int) -> str:
    """The control is named and has nothing at this generation and seed."""
    where = f"generation {generation} of seed {seed}"
    return f"Its control {control} has no evidence at {where}: plain forgetting is not excluded."


def attribution(condition: Condition, stage: str, control: str, margin: float) -> str:
    """Whether the call is due to the recursion: the difference to the control, with its bounds."""
    if condition.loss is None:
        return f"Cannot be compared with its control {control}: {condition.sentence}."
    beyond = (
        f"{bounded(condition)} {MORE.get(condition.endpoint, 'worse')} than its control {control} at the same "
        f"generation (n = {condition.n:,})"
    )
    if stage not in ("B", "C"):
        return f"Against the control: {beyond}."
    if condition.shown_worse:
        return f"Due to the recursion: {beyond}."
    if condition.high is not None and condition.high < margin:
        return f"Not due to the recursion by more than {amount_of(margin, condition.unit)}: {beyond}."
    return f"Not shown to be due to the recursion: {beyond}; plain forgetting is not excluded."


# ---------------------------------------------------------------------------------------------------------------
# One sentence for a lineage


def lineage(report: StageReport, name: str, seed: int) -> str:
    """The earliest onset of the worst stage and of stage B over formats, or what there is instead."""
    calls = [c for c in report.calls if (c.lineage, c.seed) == (name, seed)]
    head = f"{name} (seed {seed}): "
    if not calls:
        return head + "no generation after the start has been evaluated."
    onsets = [o for o in report.onsets if (o.lineage, o.seed) == (name, seed)]
    parts = [text for stage in ("B", "C") if (text := _onset_part(stage, onsets, calls))]
    if parts:
        return head + " ".join([parts[0], *(part[:1].upper() + part[1:] for part in parts[1:])])
    return head + _without_onset(calls)


def _onset_part(stage: str, onsets: Sequence[Onset], calls: Sequence[StageCall]) -> str:
    """Earliest onset of a stage, its formats, the numbers there and the attribution; "" when there is no onset."""
    mine = sorted((o for o in onsets if o.stage == stage), key=lambda o: (o.generation, o.format))
    if not mine:
        return ""
    at = {(c.generation, c.format): c for c in calls}
    first = [o for o in mine if o.generation == mine[0].generation]
    shown = max(first, key=lambda o: _size(at[o.generation, o.format]))
    picked = at[shown.generation, shown.format]
    later = [f"{o.format} from {o.generation}" for o in mine if o.generation > mine[0].generation]
    text = f"stage {stage}, {NAMES[stage]}, from generation {shown.generation} in {_listed(o.format for o in first)}"
    if later:
        text += f" ({', '.join(later)})"
    if shown.provisional:
        text += ", provisional until a next generation repeats it"
    by = {c.endpoint: c for c in picked.conditions}
    broken = [c for c in picked.conditions if c.endpoint in LOST and c.endpoint != "knowledge" and c.shown_worse]
    where = f"at generation {shown.generation} in {shown.format}" if len(first) > 1 else "there"
    if stage == "C" and all(c.endpoint != "format" for c in broken):
        where = f"at generation {shown.generation}"
    if stage == "B":
        text += (
            f": {where} {short(by['knowledge'])}, while format and fluency are shown not worse than at the start by "
            f"more than {margins(by)}"
        )
    else:
        text += f": {where} {' and '.join(short(c) for c in broken)}"
        text += ", with knowledge at chance" if picked.at_chance else ""
    return f"{text}. {picked.attribution_sentence}".strip()


def _size(found: StageCall) -> float:
    """How far the condition that made the call lies beyond its margin, to pick the format whose numbers are shown."""
    own = [c for c in found.conditions if c.shown_worse and c.low is not None and c.endpoint in LOST]
    return max(((c.low or 0.0) / c.margin for c in own), default=0.0)


def _listed(names: Iterable[str]) -> str:
    items = list(names)
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + " and " + items[-1]


def _without_onset(calls: Sequence[StageCall]) -> str:
    """No onset of B or C: what the last evaluated generation is called, and the largest loss there."""
    last = max(c.generation for c in calls)
    final = [c for c in calls if c.generation == last]
    preserved = [c for c in final if c.stage == "A"]
    losses = [(k, c) for c in final for k in c.conditions if k.endpoint == "knowledge" and k.loss is not None]
    single = sorted({(c.generation, c.stage, c.format) for c in calls if c.stage in ("B", "C")})
    once = "".join(f" Stage {s} was called at generation {g} ({f}) and not repeated." for g, s, f in single)
    largest = ""
    if losses:
        worst, where = max(losses, key=lambda pair: pair[0].loss or 0.0)
        largest = f"; the largest loss there: {short(worst)} in {where.format}"
    if len(preserved) == len(final):
        formats = f"each of {len(final)} formats" if len(final) > 1 else final[0].format
        return (
            f"stage A, {NAMES['A']}: at generation {last} neither knowledge, format nor fluency is worse than at the "
            f"start by more than its margin, in {formats}{largest}.{once}"
        )
    rest = [c for c in final if c.stage == "undetermined"]
    text = f"no onset of stage B or C; at generation {last} {len(preserved)} of {len(final)} formats are stage A"
    if rest:
        text += f" and {len(rest)} undetermined ({_listed([c.format for c in rest])}){largest}"
        return f"{text}.{once} {rest[0].sentence}"
    return f"{text}{largest}.{once}"
