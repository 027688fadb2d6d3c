"""The answer of an audit for a terminal: its sentence, a table of checkpoints, the facts lost and gained by domain."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from factfade.report.data import CheckpointRow, Checkpoints, FactChange, Facts, Said
from factfade.report.wording import DASH, LETTERS, interval, percent, plain_name
from factfade.text import safe_text
from factfade.verdicts import Score

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

# Facts shown of each checkpoint and kind; the page and the JSON hold all.
SHOWN = 5
HEAD = ("checkpoint", "step", "stage", "facts lost of known", "gained", "knowledge", "readable", "own text, nats",
        "junk", "wrong and sure")  # fmt: skip
SHORT = {"checkpoint": 16, "lost of known": 13, "knowledge": 10, "readable": 10, "own text": 10, "sure but wrong": 14}


def renderables(found: Checkpoints, colours: dict[str, str]) -> list[RenderableType]:
    """Rich renderables: the sentence, the table (80 columns), the facts of every checkpoint that lost or gained any."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=0, header_style="bold", show_edge=False)
    for name, width in SHORT.items():
        table.add_column(name, overflow="fold", min_width=width)
    for row in (*found.base, *found.rows):
        letter = "" if row.stage is None else LETTERS[row.stage]
        name = Text(_line(row.name))
        name.append("\nthe base", style="dim") if row.position == 0 else name.append(
            f"\nstage {letter or '-'}", style=f"bold {colours.get(letter, '')}"
        )
        if row.step is not None:
            name.append(f"\nstep {row.step}", style="dim")
        lost = Text("-")
        if row.facts is not None:
            share = row.facts.lost_share
            bounds = "" if share.value is None else f"\n{interval(share)}%"
            lost = Text.assemble((f"{row.facts.lost} of {row.facts.known:,}", "bold"), bounds)
            lost.append(f"\n{row.facts.gained} gained", style="dim")
        table.add_row(name, lost, *map(_cell, (row.knowledge, row.format, row.nats, row.confident_wrong)))
    parts: list[RenderableType] = [Text(_line(found.sentence), style="bold"), Text(""), table]
    for row in found.rows:
        parts.append(Text("\n" + _line(row.sentence)))
        parts += [Text("  " + _line(text), style="dim") for text in _facts(row)]
    parts.append(Text("\n" + _line(key(found)), style="dim"))
    return parts


def plain(found: Checkpoints) -> tuple[list[tuple[str, ...]], list[str]]:
    """The same for a pipe: the rows of a table, its head first, and the lines that follow it."""
    rows: list[tuple[str, ...]] = [HEAD]
    for row in (*found.base, *found.rows):
        facts = row.facts
        lost = "-" if facts is None else f"{facts.lost} of {facts.known} ({_full(facts.lost_share)})"
        rows.append(
            (
                row.name,
                "-" if row.step is None else str(row.step),
                "base" if row.stage is None and row.position == 0 else LETTERS.get(row.stage or "", "-"),
                lost,
                "-" if facts is None else str(facts.gained),
                *(_full(s) for s in (row.knowledge, row.format, row.nats, row.junk, row.confident_wrong)),
            )
        )
    lines = [found.sentence, ""]
    for row in found.rows:
        lines += [row.sentence, *(f"  {text}" for text in _facts(row))]
    return rows, [*lines, "", key(found)]


def key(found: Checkpoints) -> str:
    """How to read the table."""
    share = next((r.facts.share for r in found.rows if r.facts is not None), 0.1)
    return (
        "Intervals at 95%, over all formats and wordings. A fact is lost where it was right in most of the ways it "
        "was asked and is wrong now in most of those; a model that only wavers gains as many as it loses, and of the "
        f"firm losses at most {percent(share, 0)} are expected to be wavering. A preserved, B knowledge collapse, "
        "C instruction-following collapse, ? undetermined."
    )


def _facts(row: CheckpointRow) -> Iterator[str]:
    """The facts of one checkpoint by domain: what turned in most ways first, then how many more there are."""
    if row.facts is None:
        return
    for lost in (True, False):
        shown = 0
        for domain, change in _listed(row.facts, lost=lost):
            if shown < SHOWN:
                yield _fact(domain, change, lost=lost)
            shown += 1
        if shown > SHOWN:
            yield f"{'lost' if lost else 'gained'}: {shown - SHOWN} more stand in the report"


def _listed(facts: Facts, *, lost: bool) -> Iterator[tuple[str, FactChange]]:
    for domain in facts.domains:
        for change in domain.lost if lost else domain.gained:
            yield domain.domain, change


def _fact(domain: str, found: FactChange, *, lost: bool) -> str:
    change = found.change
    place = f" in {plain_name(domain)}" if domain else ""
    said = f"{_said(change.before)} -> {_said(change.after)}"
    firm = ", firm" if found.firm else ""
    kind = "lost" if lost else "gained"
    question = safe_text(change.question, limit=160, keep="")
    return f"{kind}{place}: {question} {said} ({found.turned} of {found.of} ways{firm})"


def _said(said: Said) -> str:
    """The choice where there is one, else the free answer."""
    text = said.choice if said.choice is not None else said.answer
    return "nothing stored" if text is None else f'"{safe_text(text.strip(), limit=60, keep="")}"'


def _cell(score: Score) -> Text:
    from rich.text import Text

    if score.value is None:
        return Text("-")
    value = percent(score.value) if score.unit == "share" else f"{score.value:.2f}"
    bounds = interval(score) if score.unit == "share" else DASH
    if score.unit != "share" and score.low is not None and score.high is not None:
        bounds = f"{score.low:.2f}{DASH}{score.high:.2f}"
    return Text.assemble((value, "bold"), f"\n{bounds}", (f"\nn {score.n:,}", "dim"))


def _full(score: Score) -> str:
    if score.value is None:
        return "-"
    value = percent(score.value) if score.unit == "share" else f"{score.value:.3f}"
    return f"{value} [{interval(score).replace(DASH, ', ')}] n {score.n}"


def _line(text: str) -> str:
    return safe_text(text, limit=4000, keep="")
