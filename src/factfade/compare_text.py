"""A comparison as lines for a terminal and as plain data. What models and files wrote is shown escaped."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from factfade.compare import Chosen, Comparison
from factfade.compare_contrasts import Contrast
from factfade.compare_sides import shown
from factfade.stage_conditions import amount, amount_of, probability

if TYPE_CHECKING:
    from factfade.report.data import Change, Said

NAMES = {
    "knowledge": "knowledge", "format": "parseable answers", "confidence": "wrong and confident",
    "fluency_nats": "surprise under the start model", "fluency_junk": "junk completions",
}  # fmt: skip
RISES = frozenset({"confidence", "fluency_nats", "fluency_junk"})
MOST_CHANGES = 20
MOST_DOMAINS = 40


def to_json(found: Comparison) -> dict[str, Any]:
    """Plain data of a comparison: everything, the lost and gained questions included."""
    data = asdict(found)
    for name in ("fingerprints", "contrasts", "interactions", "lost", "gained", "notes"):
        data[name] = list(data[name])
    for side in ("a", "b"):
        data[side]["seeds"] = list(data[side]["seeds"])
    return {"compare_version": 1, **data, "sentence": headline(found)}


def lines(found: Comparison, *, all_items: bool = False) -> Iterator[str]:
    """The headline, how both sides were asked, the table, the interaction, lost and gained questions."""
    yield f"A: {_side(found.a)}"
    yield f"B: {_side(found.b)}"
    yield ""
    yield headline(found)
    for one in found.fingerprints:
        if one.state == "allowed":
            yield f"!! Differs, and was allowed by name: {one.field} ({shown(one.words, 500)})"
        elif one.state == "differs":
            yield f"!! Differs: {one.field} ({shown(one.words, 500)})"
    unknown = [one.field for one in found.fingerprints if one.state == "not_stored"]
    if unknown:
        yield f"Not stored on both sides, so not compared: {', '.join(unknown)}."
    for endpoint, count in found.unpaired.items():
        yield f"{count:,} answers are judged for {endpoint} on one side only, and enter no difference."
    yield from found.notes
    recipe = [c for c in found.contrasts if c.estimand == "recipe"]
    if recipe:
        yield ""
        yield f"Over {recipe[0].n} pairs of runs (what such trainings do; the run is the unit):"
        yield from (f"  {_line(c)}" for c in recipe)
    for seeds in dict.fromkeys(c.seeds for c in found.contrasts if c.seeds is not None):
        yield ""
        which = f" (seed {seeds[0]})" if seeds[0] == seeds[1] else f" (seed {seeds[0]} and seed {seeds[1]})"
        yield f"These checkpoints{which}, B against A, p adjusted over formats and endpoints (Holm):"
        own = [c for c in found.contrasts if c.seeds == seeds]
        yield from (f"  {_line(c)}" for c in own if not c.domain)
        yield from _domains([c for c in own if c.domain])
    for one in found.interactions:
        yield ""
        yield interaction_sentence(one.p, one.extra.get("slopes", {}), one.n, one.reason)
    yield from _changes("Lost (A right, B wrong)", found.lost, all_items)
    yield from _changes("Gained (A wrong, B right)", found.gained, all_items)


def headline(found: Comparison) -> str:
    """One sentence on knowledge: how much, out of what, with its interval."""
    one = next((c for c in found.contrasts if c.endpoint == "knowledge" and c.loss is not None), None)
    if one is None or one.loss is None:
        return "Knowledge cannot be compared: no question has a judged answer on both sides."
    if one.verdict == "worse":
        said = f"B knows less than A: {_loss(one)}"
    elif one.verdict == "better":
        said = f"B knows more than A: {_loss(one)}"
    elif one.verdict == "equivalent":
        said = f"B knows what A knows, within {amount_of(one.margin, one.unit)}: {_loss(one)}"
    else:
        said = f"Whether B knows less than A is not shown either way: {_loss(one)}"
    where = f" in the format {shown(one.format)}" if one.format else " over all formats"
    changed = "" if one.lost is None else f"; {one.lost:,} answers lost, {one.gained:,} gained"
    return f"{said}{where} (n = {one.n:,} {one.units}{changed})."


def interaction_sentence(p: float | None, slopes: dict[str, float | None], n: int, reason: str) -> str:
    """Whether the formats lost differently."""
    known = sorted((slope, name) for name, slope in slopes.items() if slope is not None)
    if p is None or not known:
        return f"Whether formats lost differently cannot be said: {reason}."
    verb = "lost differently" if p <= 0.05 else "are not shown to have lost differently"
    (low, first), (high, last) = known[0], known[-1]
    signs = (
        "; the signs differ, so what is said of knowledge depends on the format" if p <= 0.05 and low < 0 < high else ""
    )
    return (
        f"Formats {verb}: changes lie between {100 * low:+.1f} ({shown(first)}) and {100 * high:+.1f} points "
        f"({shown(last)}); permutation p = {probability(p)} on {n:,} clusters of questions{signs}."
    )


def _side(side: Chosen) -> str:
    seeds = ", ".join(map(str, side.seeds))
    name = f", checkpoint {shown(side.checkpoint)}" if side.checkpoint else ""
    step = f", step {side.step:,}" if side.step is not None else ""
    return f"{shown(side.label, 200)}: {shown(side.lineage)}, seed {seeds}, generation {side.generation}{name}{step}"


def _loss(one: Contrast) -> str:
    """The change as a signed number, in the direction in which the endpoint is read."""
    if one.loss is None:
        return "unknown"
    sign = 1.0 if one.endpoint in RISES else -1.0
    ends = sorted(sign * x for x in (one.low, one.high) if x is not None)
    span = f" [{_signed(ends[0], one.unit)}, {_signed(ends[1], one.unit)}]" if len(ends) == 2 else " (no interval)"
    return f"{_signed(sign * one.loss, one.unit)}{' points' if one.unit == 'share' else f' {one.unit}'}{span}"


def _signed(value: float, unit: str) -> str:
    text = amount(value, unit)
    if not float(text):
        return text.lstrip("-")
    return text if text.startswith("-") else f"+{text}"


def _line(one: Contrast) -> str:
    where = " / ".join(shown(part, 40) for part in (one.format, one.domain) if part)
    where = where or ("all formats" if one.endpoint == "knowledge" else "")
    name = f"{NAMES.get(one.endpoint, one.endpoint)}{f', {where}' if where else ''}"
    if one.loss is None or one.before is None or one.after is None:
        return f"{name:<52} unknown: {shown(one.reason, 300)}"
    mark = "%" if one.unit == "share" else ""
    values = f"{amount(one.before, one.unit)}{mark} -> {amount(one.after, one.unit)}{mark}"
    changed = "" if one.lost is None else f", {one.lost:,} lost, {one.gained:,} gained"
    if one.endpoint in RISES and one.lost is not None:
        changed = f", {one.lost:,} more, {one.gained:,} fewer"
    p = one.p if one.p_holm is None else one.p_holm
    tested = "" if p is None else f", p = {probability(p)}"
    verdict = {"equivalent": f"equivalent within {amount_of(one.margin, one.unit)}", "open": "not shown either way"}
    reason = f"; {one.reason}" if one.reason else ""
    return (
        f"{name:<52} {values}, {_loss(one)}, n = {one.n:,} {one.units}{changed}{tested}: "
        f"{verdict.get(one.verdict, one.verdict)}{reason}"
    )


def _domains(own: Sequence[Contrast]) -> Iterator[str]:
    if not own:
        return
    yield "  By domain, p adjusted over domains and formats (Holm), largest loss first:"
    ordered = sorted(own, key=lambda c: (-(c.loss if c.loss is not None else -2.0), c.format, c.domain))
    yield from (f"    {_line(c)}" for c in ordered[:MOST_DOMAINS])
    if len(ordered) > MOST_DOMAINS:
        yield f"    and {len(ordered) - MOST_DOMAINS} more: --json has them all"


def _changes(title: str, changes: Sequence[Change], all_items: bool) -> Iterator[str]:
    yield ""
    yield f"{title}: {len(changes):,} questions" + (", the most telling first" if changes else "")
    most = len(changes) if all_items else MOST_CHANGES
    for one in changes[:most]:
        domain = f" [{shown(one.domain, 40)}]" if one.domain else ""
        formats = f", {one.formats} of {one.formats_asked} formats" if one.formats_asked > 1 else ""
        yield f"  {shown(one.question, 200)}{domain} {shown(one.item, 40)}{formats}"
        right = f"right: {shown(one.right, 80)}; " if one.right else ""
        yield f"      {right}A said {_said(one.before)}; B says {_said(one.after)}"
    if len(changes) > most:
        yield f"  and {len(changes) - most:,} more: --all-items shows them, --json has them all"


def _said(said: Said) -> str:
    parts: list[str] = []
    if said.choice is not None:
        sure = "" if said.choice_confidence is None else f" ({100 * said.choice_confidence:.0f}%)"
        parts.append(f"{shown(said.choice, 80)!r}{sure}")
    if said.answer is not None:
        parts.append(f"freely {shown(said.answer.strip(), 80)!r}")
    elif said.outcome is not None:
        parts.append(f"a {shown(said.outcome, 20)} free answer")
    return ", ".join(parts) or "nothing that is stored"
