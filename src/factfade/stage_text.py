"""A report of stages, and findings beside it, as lines of text: what `factfade stages` prints."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from factfade.stage_sensitivity import Move
from factfade.stage_words import NAMES, lineage
from factfade.verdicts import Finding, StageCall, StageReport

ESTIMANDS = {
    "checkpoints": "These checkpoints (questions are the unit; nothing is said of another training)",
    "recipe": "The recipe (training runs are the unit, paired with their control by seed)",
}


def lines(report: StageReport, findings: Sequence[Finding] = (), moved: Sequence[Move] = ()) -> list[str]:
    """The guards first, then per lineage and seed its sentence, its generations, every call with its reason; then the
    findings by estimand, the notes and the rule."""
    out: list[str] = []
    if report.guards:
        out += ["Before the stages: what the evidence itself warns of", *(f"  ! {note}" for note in report.guards)]
    for name, seed in sorted({(call.lineage, call.seed) for call in report.calls}):
        out += ["", f"{name}, seed {seed}", f"  {lineage(report, name, seed)}", ""]
        out += [f"  {one.sentence}" for one in report.overall if (one.lineage, one.seed) == (name, seed)]
        out.append("")
        own = [one for one in report.calls if (one.lineage, one.seed) == (name, seed)]
        for one in sorted(own, key=lambda c: (c.format, c.generation)):
            out += _call(one)
    out += _findings(findings)
    out += _moved(moved)
    notes = [*report.notes, brackets()] if any(c.probabilities for c in report.calls) else report.notes
    out += ["", *(f"note: {note}" for note in notes), f"rule {report.rule_sha256[:12]}{_declared(report)}"]
    return out[1:] if out and not out[0] else out


def _declared(report: StageReport) -> str:
    if report.declared_sha256 is None:
        return ", not declared before the data"
    if report.declared_sha256 == report.rule_sha256:
        return ", declared before generation 1"
    return f"; declared before generation 1 was {report.declared_sha256[:12]}"


def _call(call: StageCall) -> list[str]:
    firm = ""
    if call.probabilities:
        shares = sorted(call.probabilities.items(), key=lambda pair: -pair[1])
        firm = "  [" + ", ".join(f"{name} {100 * share:.0f}%" for name, share in shares if share >= 0.005) + "]"
    out = [f"  generation {call.generation}  {call.format:<24} {call.stage:<12} {call.sentence}{firm}"]
    return [*out, f"      {call.attribution_sentence}"] if call.attribution_sentence else out


def _findings(findings: Sequence[Finding]) -> Iterable[str]:
    for estimand, heading in ESTIMANDS.items():
        own = [one for one in findings if one.estimand == estimand and (one.sentence or one.reason)]
        if own:
            yield ""
            yield heading
            yield from (f"  {one.sentence or one.reason}" for one in own)


def _moved(moved: Sequence[Move]) -> Iterable[str]:
    """One line per lineage, seed, stage and margin: the onset at every value of it."""
    rows: dict[tuple[str, int, str, str], list[str]] = {}
    for one in moved:
        unit = f"{one.value:.3g}" if one.margin == "fluency_nats" else f"{100 * one.value:.3g} points"
        onset = "none" if one.generation is None else f"generation {one.generation} ({one.formats} formats)"
        rows.setdefault((one.lineage, one.seed, one.stage, one.margin), []).append(f"{unit}: {onset}")
    if rows:
        yield ""
        yield "Earliest onset over formats at other margins, one at a time"
    for (name, seed, stage, margin), found in rows.items():
        if any("none" not in text for text in found):
            yield f"  {name}, seed {seed}, stage {stage}, margin of {margin}: {'; '.join(found)}"


def brackets() -> str:
    """What the brackets after a call are."""
    names = ", ".join(f"{key} {value}" for key, value in NAMES.items() if key != "undetermined")
    return f"In brackets after a call: the share of each stage over resamples of the questions ({names})."
