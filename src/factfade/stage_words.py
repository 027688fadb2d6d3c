"""The sentences of stage calls: plain words, every number with its n and interval."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from factfade.stage_conditions import amount_of, bounded
from factfade.stage_panel import Panel, Panels
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
        return head + " ".join(parts)
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


# ---------------------------------------------------------------------------------------------------------------
# Notes


def general_notes(panels: Panels, alpha: float) -> list[str]:
    """What holds for the whole report: how to read the brackets, and what these runs cannot say."""
    notes = [
        f"Brackets hold the two one-sided {100 * (1 - alpha):g}% bounds of a loss (a {100 * (1 - 2 * alpha):g}% "
        "interval); a loss is positive when it is worse than at generation 0; calls are not corrected over "
        "generations and formats."
    ]
    seeds: dict[str, set[int]] = {}
    for name, seed, _ in panels.formats:
        seeds.setdefault(name, set()).add(seed)
    one = sorted(name for name, found in seeds.items() if len(found) == 1)
    if one:
        notes.append(
            f"One run each of {', '.join(one)}: the calls speak of these checkpoints. Whether the recipe makes models "
            "fall, and at which generation, needs several seeds: the unit there is the training run, not the item."
        )
    if any(len(found) > 1 for found in seeds.values()):
        notes.append(
            "Calls are made per run. How often a recipe leads to them is a question over runs: the run is the unit."
        )
    if panels.missing_columns:
        notes.append(f"The evidence has no column {' and no '.join(panels.missing_columns)}.")
    if panels.unknown_outcomes:
        notes.append(f"{panels.unknown_outcomes:,} outcomes are none of the schema's and are left out.")
    return notes


def _place(panel: Panel) -> str:
    return f"{panel.lineage} (seed {panel.seed}), {panel.format}"


def no_start(panel: Panel) -> str:
    return f"{_place(panel)}: no generation 0, so nothing can be called."


def not_asked(panel: Panel, count: int, rows: int) -> str:
    return f"{_place(panel)}: {count:,} of {rows:,} questions are not asked (outside every n)."


def items_missing(panel: Panel, count: int) -> str:
    return f"{_place(panel)}: up to {count:,} questions are missing in one generation and are left out of its pairs."


def junk_at_start(panel: Panel, share: float, n: int) -> str:
    return (
        f"{panel.lineage} (seed {panel.seed}): {100 * share:.1f}% of the start model's own completions (n = {n}) are "
        "junk already: check padding, template and decoding before reading any stage."
    )


def position_bias(panel: Panel, position: int, chosen: float, right: float) -> str:
    return (
        f"{_place(panel)}: the start model picks option {position + 1} in {100 * chosen:.1f}% of its choices, where it "
        f"is right in {100 * right:.1f}%: part of its accuracy is position, not knowledge."
    )


def little_known(panel: Panel, share: float, chance: float, n: int) -> str:
    return (
        f"{_place(panel)}: the start model is right in {100 * share:.1f}% (n = {n:,}), chance is {100 * chance:.1f}%: "
        "there is little knowledge to lose, and stage A says little."
    )


def lines(report: StageReport) -> list[str]:
    """The whole report as lines of text: per lineage and seed its sentence, then every call with its reason."""
    out: list[str] = []
    for name, seed in sorted({(call.lineage, call.seed) for call in report.calls}):
        out += ["", f"{name}, seed {seed}", f"  {lineage(report, name, seed)}"]
        own = [one for one in report.calls if (one.lineage, one.seed) == (name, seed)]
        for one in sorted(own, key=lambda c: (c.format, c.generation)):
            out.append(f"  generation {one.generation}  {one.format:<24} {one.stage:<12} {one.sentence}")
            if one.attribution_sentence:
                out.append(f"      {one.attribution_sentence}")
    out += ["", *(f"note: {note}" for note in report.notes), f"rule {report.rule_sha256[:12]}"]
    return out[1:] if out and not out[0] else out
