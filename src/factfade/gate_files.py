"""A verdict for machines and people: JSON, JUnit XML, a Markdown summary for a pull request, lines for a terminal.

No file holds a time or a path: equal inputs give equal bytes. Names of domains, formats and checkpoints come from
files that others wrote; each form escapes them by its own rules.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

from factfade import durable
from factfade.compare_sides import shown
from factfade.gate import Check, Verdict, margin_of, place_of, plain
from factfade.gate_measures import Candidate
from factfade.text import safe_text

JSON, JUNIT, SUMMARY = "gate.json", "gate.xml", "gate.md"
# A comment on a pull request holds 65,536 characters.
MOST_ROWS = 100
MARKS = {
    "breach": "breached",
    "failed": "could not be evaluated",
    "missing": "cannot be judged",
    "inconclusive": "inconclusive",
    "pass": "passed",
}
SIGNS = {"breach": "!! BREACH", "failed": "!! FAILED", "missing": "!! MISSING", "inconclusive": "?? OPEN", "pass": "ok"}


def write(verdict: Verdict, folder: Path) -> tuple[Path, Path, Path]:
    """Writes gate.json, gate.xml and gate.md; a verdict that is there is replaced."""
    durable.make_folder(folder)
    paths = folder / JSON, folder / JUNIT, folder / SUMMARY
    for path, text in zip(paths, (to_json(verdict), junit(verdict), markdown(verdict)), strict=True):
        durable.write_text(path, text)
    return paths


def to_json(verdict: Verdict) -> str:
    """The verdict with its policy and everything that was measured."""
    return json.dumps(plain(verdict), indent=2, ensure_ascii=True, sort_keys=True, allow_nan=False) + "\n"


# ---------------------------------------------------------------------------------------------------------------
# JUnit


def junit(verdict: Verdict) -> str:
    """JUnit XML: a test case per check. A breach is a failure, what is inconclusive, missing or failed an error; what
    is inconclusive and only warned of is skipped."""
    warned = verdict.exit_code == 0
    kinds = {
        "breach": "failure",
        "failed": "error",
        "missing": "error",
        "inconclusive": "skipped" if warned else "error",
    }
    counts = {
        kind: sum(kinds.get(one.status) == kind for one in verdict.checks) for kind in ("failure", "error", "skipped")
    }
    totals = (
        f'tests="{len(verdict.checks)}" failures="{counts["failure"]}" errors="{counts["error"]}" '
        f'skipped="{counts["skipped"]}"'
    )
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<testsuites name="factfade gate" {totals}>',
        f'  <testsuite name="factfade gate" {totals}>',
        "    <properties>",
        f'      <property name="verdict" value={_attribute(verdict.verdict)}/>',
        f'      <property name="policy_sha256" value={_attribute(verdict.policy_sha256)}/>',
        "    </properties>",
    ]
    for one in verdict.checks:
        name, group = _attribute(place_of(one)), _attribute(f"factfade.gate.{checkpoint_of(one, verdict)}")
        kind = kinds.get(one.status)
        if kind is None:
            lines.append(f"    <testcase classname={group} name={name}>")
            lines.append(f"      <system-out>{_xml(one.sentence)}</system-out>")
        else:
            lines.append(f"    <testcase classname={group} name={name}>")
            message = f"message={_attribute(one.sentence)}"
            typed = "" if kind == "skipped" else f" type={_attribute(one.status)}"
            lines.append(f"      <{kind} {message}{typed}/>")
        lines.append("    </testcase>")
    return "\n".join([*lines, "  </testsuite>", "</testsuites>", ""])


def _attribute(text: str) -> str:
    return quoteattr(shown(text, 2000))


def _xml(text: str) -> str:
    return escape(shown(text, 2000))


def checkpoint_of(check: Check, verdict: Verdict) -> str:
    """The checkpoint that a check is about, in words."""
    one = check.measure
    if not one.lineage:
        return "audit"
    place = (one.lineage, one.seed, one.generation)
    found = next((c for c in verdict.candidates if (c.lineage, c.seed, c.generation) == place), None)
    return candidate_words(found) if found else "audit"


def candidate_words(one: Candidate) -> str:
    """A candidate in words: its checkpoint's name, else its generation; lineage and seed where they say more."""
    name = shown(one.checkpoint, 80) if one.checkpoint else f"generation {one.generation}"
    seed = f" seed {one.seed}" if one.seed else ""
    return f"{shown(one.lineage, 80)}{seed} {name}"


# ---------------------------------------------------------------------------------------------------------------
# Markdown


def markdown(verdict: Verdict) -> str:
    """A summary for a pull request: the sentence, a table of the checks, the policy's hash. Text that is not ours is
    in <code> with every mark as an entity: no mention, reference, link, tag or cell comes of it."""
    lines = [
        f"## factfade gate: {verdict.verdict}",
        "",
        _prose(verdict.sentence),
        "",
        "| | loss of | checkpoint | loss [bounds] | margin | n |",
        "|---|---|---|---|---|---|",
    ]
    lines += [_row(one, verdict) for one in verdict.checks[:MOST_ROWS]]
    if len(verdict.checks) > MOST_ROWS:
        lines.append(f"\n{len(verdict.checks) - MOST_ROWS} more checks stand in {JSON}.")
    told = [one for one in verdict.checks if one.status != "pass" or one.notice]
    if told:
        lines += ["", "<details><summary>In words</summary>", ""]
        lines += [f"- {_code(place_of(one))}: {_prose(one.sentence)}" for one in told[:MOST_ROWS]]
        lines += ["", "</details>"]
    if verdict.not_gated:
        lines += ["", f"Not gated: {'; '.join(_code(text) for text in verdict.not_gated)}."]
    for one in verdict.candidates[:MOST_ROWS]:
        if one.weights:
            lines += [
                "",
                f"{_code(candidate_words(one))}: weights {_code(one.weights)}, base {_code(one.base_weights)}",
            ]
    return "\n".join([*lines, "", f"Policy {_code(verdict.policy_sha256)}", ""])


def _row(one: Check, verdict: Verdict) -> str:
    measure = one.measure
    mark = MARKS[one.status] + (", with a notice" if one.notice else "")
    cells = [
        f"**{mark}**" if one.status != "pass" else mark,
        _code(place_of(one)),
        _code(checkpoint_of(one, verdict)),
        _prose(_numbers(one)),
        _prose(margin_of(one)) if measure.lineage else "",
        f"{measure.n:,} {measure.units}" if measure.n else "",
    ]
    return f"| {' | '.join(cells)} |"


def _numbers(one: Check) -> str:
    measure = one.measure
    if measure.loss is None or measure.low is None or measure.high is None:
        return "unknown"
    scale, digits = (100.0, 1) if measure.unit == "share" else (1.0, 2)
    value, low, high = (f"{scale * x:.{digits}f}" for x in (measure.loss, measure.low, measure.high))
    return f"{value} [{low}, {high}] {'points' if measure.unit == 'share' else measure.unit}"


def _prose(text: str) -> str:
    """Our own words, with every character that Markdown or HTML reads as an entity."""
    safe = safe_text(text, limit=2000, keep="")
    return "".join(c if c.isalnum() or c in " .,:;%+-" else f"&#{ord(c)};" for c in safe)


def _code(text: str) -> str:
    safe = safe_text(text, limit=300, keep="")
    return f"<code>{''.join(c if c.isalnum() or c == ' ' else f'&#{ord(c)};' for c in safe)}</code>"


# ---------------------------------------------------------------------------------------------------------------
# Terminal


def lines(verdict: Verdict) -> Iterator[str]:
    """The verdict for a terminal: the checks, worst first, then the sentence and the policy's hash."""
    shown_with = len(verdict.candidates) > 1
    for one in verdict.checks:
        where = f"{checkpoint_of(one, verdict)}: " if shown_with else ""
        about = f"{place_of(one)}, margin {margin_of(one)}" if one.measure.lineage else place_of(one)
        yield f"{SIGNS[one.status]:<10} {where}{about}: {shown(one.sentence, 1000)}"
    yield ""
    if len(verdict.candidates) == 1:
        yield f"Judged: {candidate_words(verdict.candidates[0])}, against generation 0."
    for text in verdict.not_gated:
        yield f"Not gated: {shown(text, 1000)}."
    yield verdict.sentence
    yield f"Policy {verdict.policy_sha256}"
