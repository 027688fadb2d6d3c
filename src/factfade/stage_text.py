"""A report of stages, and findings beside it, as lines of text: what `factfade stages` and `analyse` print."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from factfade.places import Places
from factfade.stage_sensitivity import Move
from factfade.stage_words import lineage as lineage_words
from factfade.verdicts import Finding, StageCall, StageReport

ESTIMANDS = {
    "checkpoints": "These checkpoints (questions are the unit; nothing is said of another training)",
    "recipe": "The recipe (training runs are the unit, paired with their control by seed)",
}
LEGEND = (
    "A knowledge preserved, B knowledge collapse, C instruction-following collapse, ? undetermined; * = an onset "
    "(the next evaluated generation repeats the call), (*) = provisional"
)


def lines(
    report: StageReport,
    findings: Sequence[Finding] = (),
    moved: Sequence[Move] = (),
    *,
    why: bool = False,
    places: Places | None = None,
) -> list[str]:
    """The guards first; then per lineage and seed its sentence, the table of calls, and the reasons of those calls
    where the stage changes (`why`: of all); then the findings by estimand, other margins, the notes and the rule.

    `places` are what the generations are called: an audit's are checkpoints."""
    out: list[str] = []
    places = places or Places()
    if report.guards:
        out += ["Before the stages: what the evidence itself warns of", *(f"  ! {note}" for note in report.guards)]
    for name, seed in sorted({(call.lineage, call.seed) for call in report.calls}):
        out += ["", f"{name}, seed {seed}", f"  {lineage_words(report, name, seed).split(': ', 1)[1]}", ""]
        own = sorted(
            (c for c in report.calls if (c.lineage, c.seed) == (name, seed)), key=lambda c: (c.format, c.generation)
        )
        out += _table(report, name, seed, own, places)
        shared = {call.attribution_sentence for call in own}
        if len(shared) == 1 and "" not in shared:
            out += ["", f"  {next(iter(shared))}"]
        out += ["", "  Why" if why else "  Why, where a call changes (--why: all)"]
        for one, before in zip(own, [None, *own[:-1]], strict=True):
            same = before is not None and (before.format, before.stage) == (one.format, one.stage)
            if why or not same:
                out += _call(one, attributed=len(shared) > 1)
    out += _by_estimand(findings)
    out += _moved(moved)
    if report.calls:
        out += ["", LEGEND]
    out += [f"note: {note}" for note in report.notes]
    out.append(f"rule {report.rule_sha256[:12]}{_declared(report)}")
    return places.lines(out[1:] if out and not out[0] else out)


def findings_lines(findings: Sequence[Finding], *, all_seeds: bool = False, places: Places | None = None) -> list[str]:
    """Every finding's sentence, or the reason why there is none: the recipe's first, then by analysis.

    Of a lineage with several seeds the findings on single runs are those of its first seed, unless `all_seeds`.
    """
    first: dict[str, int] = {}
    for one in findings:
        if one.seed is not None:
            first[one.lineage] = min(one.seed, first.get(one.lineage, one.seed))
    shown = [f for f in findings if all_seeds or f.seed is None or f.seed == first[f.lineage]]
    out: list[str] = []
    for estimand in reversed(ESTIMANDS):
        own = [one for one in shown if one.estimand == estimand and (one.sentence or one.reason)]
        if not own:
            continue
        out += ["", ESTIMANDS[estimand]]
        for analysis in dict.fromkeys(one.analysis for one in own):
            out += ["", f"  {analysis}"]
            place = None
            for one in (f for f in own if f.analysis == analysis):
                if place != (place := _place(one)):
                    out.append(f"    {place}")
                out.append(f"    - {one.sentence or one.reason}")
    left = len(findings) - len(shown)
    if left:
        out += ["", f"{left:,} findings on further seeds are not printed: --all-seeds, or the path of one run."]
    return (places or Places()).lines(out[1:])


def _place(finding: Finding) -> str:
    """What a finding is about: its lineage, seed and format."""
    seed = "" if finding.seed is None else f", seed {finding.seed}"
    return f"{finding.lineage}{seed}{f', {finding.format}' if finding.format else ''}:"


def _table(report: StageReport, name: str, seed: int, own: Sequence[StageCall], places: Places) -> Iterable[str]:
    """One row per format, one column per generation, with onsets; the last row is the summary over formats."""
    generations = sorted({call.generation for call in own})
    onsets = {
        (o.format, o.generation): "(*)" if o.provisional else "*"
        for o in report.onsets
        if (o.lineage, o.seed) == (name, seed) and o.stage in ("B", "C")
    }
    width = max(len("over formats"), *(len(call.format) for call in own))
    wide = max(6, *(len(places.tick(g)) + 2 for g in generations))
    yield (f"  {places.axis:<{width}}  " + "".join(f"{places.tick(g):<{wide}}" for g in generations)).rstrip()
    for format in sorted({call.format for call in own}):
        calls = {call.generation: call.stage for call in own if call.format == format}
        cells = [f"{_letter(calls[g])}{onsets.get((format, g), '')}" if g in calls else "" for g in generations]
        yield (f"  {format:<{width}}  " + "".join(f"{cell:<{wide}}" for cell in cells)).rstrip()
    whole = {o.generation: o.stage for o in report.overall if (o.lineage, o.seed) == (name, seed)}
    if len({call.format for call in own}) > 1 and whole:
        yield f"  {'over formats':<{width}}  " + "".join(f"{_letter(whole[g]):<{wide}}" for g in generations).rstrip()


def _letter(stage: str) -> str:
    return "?" if stage == "undetermined" else stage


def _declared(report: StageReport) -> str:
    if report.declared_sha256 is None:
        return ", not declared before the data"
    if report.declared_sha256 == report.rule_sha256:
        return ", declared before generation 1"
    return f"; declared before generation 1 was {report.declared_sha256[:12]}"


def _call(call: StageCall, *, attributed: bool) -> list[str]:
    firm = ""
    if call.probabilities:
        shares = sorted(call.probabilities.items(), key=lambda pair: -pair[1])
        called = ", ".join(f"{name} in {100 * share:.0f}%" for name, share in shares if share >= 0.005)
        firm = f" Over resamples of the questions: {called}."
    out = [f"  - {call.sentence}{firm}"]
    return [*out, f"    {call.attribution_sentence}"] if attributed and call.attribution_sentence else out


def _by_estimand(findings: Sequence[Finding]) -> Iterable[str]:
    for estimand, heading in ESTIMANDS.items():
        own = [one for one in findings if one.estimand == estimand and (one.sentence or one.reason)]
        if own:
            yield ""
            yield heading
            yield from (f"  - {one.sentence or one.reason}" for one in own)


def _moved(moved: Sequence[Move]) -> Iterable[str]:
    """One line per lineage, seed, stage and margin: the onset at every value of it."""
    rows: dict[tuple[str, int, str, str], list[tuple[str, str]]] = {}
    for one in moved:
        value = f"{one.value:.3g} nats" if one.margin == "fluency_nats" else f"{100 * one.value:.3g} points"
        onset = "none" if one.generation is None else f"generation {one.generation}"
        rows.setdefault((one.lineage, one.seed, one.stage, one.margin), []).append((value, onset))
    if rows:
        yield ""
        yield "Earliest onset over formats at other margins, one at a time"
    for (name, seed, stage, margin), found in rows.items():
        onsets = {onset for _, onset in found}
        if onsets == {"none"}:
            continue
        if len(onsets) == 1:
            said = f"{found[0][1]} at every margin from {found[0][0]} to {found[-1][0]}"
        else:
            said = "; ".join(f"{value}: {onset}" for value, onset in found)
        yield f"  {name}, seed {seed}, stage {stage}, margin of {margin}: {said}"
