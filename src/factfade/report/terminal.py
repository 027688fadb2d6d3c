"""The report for a terminal: a table per arm, and one plain sentence under it; plain lines for a pipe.

Every text passes `safe_text` and is put in as text, never as markup: nothing that a model or a data set wrote can
colour, move or hide anything.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from factfade.report import terminal_checkpoints
from factfade.report.data import ArmPage, Measure, PageData, Panel
from factfade.report.wording import DASH, LETTERS, interval, percent, plain_name
from factfade.text import safe_text
from factfade.verdicts import Score, StageCall

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

# With more runs a terminal shows what holds over seeds alone: forty sentences hide it.
RUNS_TOLD = 12
COLOURS = {"A": "green", "B": "yellow", "C": "red", "?": "bright_black"}


def show(root: str | Path | PageData) -> None:
    """Prints the report of an experiment's folder: tables on a terminal, plain lines in a pipe."""
    data = _data(root)
    if not sys.stdout.isatty():
        print(plain(data))
        return
    from rich.console import Console

    console = Console(highlight=False)
    for part in table(data):
        console.print(part)


def table(root: str | Path | PageData) -> list[RenderableType]:
    """Rich renderables: for every arm its table and its sentences. At most 80 columns wide for five formats.

    Sentences on single runs are left out where there are many; the declared comparison between arms comes last.
    """
    from rich.text import Text

    data = _data(root)
    runs = sum(len(arm.seeds) for arm in data.arms)
    parts: list[RenderableType] = []
    for warning in data.warnings:
        parts.append(Text(_line(warning), style="yellow"))
    if data.checkpoints is not None:
        return [*parts, *terminal_checkpoints.renderables(data.checkpoints, COLOURS)]
    for arm in data.arms:
        parts.append(Text.assemble("\n", (_line(arm.name), "bold"), (f"  {_line(_about(arm))}", "dim")))
        parts.append(_arm_table(arm))
        parts += [Text(_line(sentence)) for sentence in arm.over_seeds]
        several = len(arm.seeds) > 1
        if runs <= RUNS_TOLD or not several:
            parts += [Text(_line(f"seed {seed}: {text}" if several else text)) for seed, text in _sentences(arm)]
    parts += [Text("")] if data.arena_sentences else []
    parts += [Text(_line(sentence)) for sentence in data.arena_sentences]
    if runs > RUNS_TOLD:
        parts.append(
            Text(f"\nEach of the {runs} runs in a sentence: on the page, and by factfade stages.", style="dim")
        )
    parts.append(Text("\n" + _key(), style="dim"))
    return parts


def plain(root: str | Path | PageData) -> str:
    """The same as lines of plain text: one per arm, seed, generation and format, then fluency, then the sentences."""
    data = _data(root)
    if data.checkpoints is not None:
        compared, told = terminal_checkpoints.plain(data.checkpoints)
        lines = [*_aligned(compared), "", *(f"warning: {warning}" for warning in data.warnings), *told]
        return "\n".join(_line(line) for line in lines)
    head = ("arm", "seed", "gen", "format", "knowledge", "95% interval", "n", "stage", "parseable", "95% interval", "n")
    rows: list[tuple[str, ...]] = [head]
    for arm in data.arms:
        for panel in arm.panels:
            for curve in panel.knowledge.seeds:
                parse = next(c for c in panel.parse.curves if c.seed == curve.seed)
                for point in curve.points:
                    call = _letter(panel, curve.seed, point.generation)
                    place = (arm.name, str(curve.seed), str(point.generation), panel.format)
                    rows.append((*place, *_three(point.score), call, *_three(parse.at(point.generation))))
    fluent: list[tuple[str, ...]] = [("arm", "seed", "gen", "fluency", "value", "95% interval", "n")]
    for arm in data.arms:
        for measure in arm.fluency:
            for curve in measure.seeds:
                for point in curve.points:
                    place = (arm.name, str(curve.seed), str(point.generation), measure.label)
                    fluent.append((*place, *_three(point.score)))
    lines = [*_aligned(rows), "", *_aligned(fluent), ""]
    lines += [f"warning: {warning}" for warning in data.warnings]
    for arm in data.arms:
        lines += [f"{arm.name}: {sentence}" for sentence in arm.over_seeds]
        lines += [f"{arm.name}, seed {seed}: {sentence}" for seed, sentence in _sentences(arm)]
    lines += data.arena_sentences
    return "\n".join(_line(line) for line in lines)


def _data(root: str | Path | PageData) -> PageData:
    if isinstance(root, PageData):
        return root
    from factfade.report.page import collect

    return collect(root)


def _line(text: str) -> str:
    """One safe line."""
    return safe_text(text, limit=4000, keep="")


def _arm_table(arm: ArmPage) -> RenderableType:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    found = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=0, header_style="", show_edge=False)
    found.add_column("gen", justify="right", vertical="top")
    for panel in arm.panels:
        name = _line(plain_name(panel.format))
        head = Text(f"{name}\n", style="bold").append(_counts(panel.knowledge), style="not bold dim")
        # An interval takes ten; a word of the name is not broken as long as it takes no more than a little more.
        wide = min(max(10, *map(len, name.split()), 0), 13)
        found.add_column(head, min_width=wide, max_width=wide, overflow="fold")
    fluency = [m for m in arm.fluency if m.unit != "perplexity"]
    for measure in fluency:
        name = "own text, nats" if measure.unit == "nats" else "junk"
        found.add_column(
            Text(f"{name}\n", style="bold").append(_counts(measure), style="not bold dim"), min_width=8, max_width=10
        )
    for generation in arm.generations:
        cells: list[Text] = [_cell(panel, generation) for panel in arm.panels]
        cells += [_fluency_cell(measure, generation) for measure in fluency]
        found.add_row(str(generation), *cells)
    return found


def _cell(panel: Panel, generation: int) -> Text:
    from rich.text import Text

    main = panel.knowledge.main
    score = main.at(generation) if main else None
    parse = panel.parse.main.at(generation) if panel.parse.main else None
    cell = Text()
    if score is None or score.value is None:
        cell.append("-")
    else:
        cell.append(percent(score.value), style="bold")
        for place, (letter, count) in enumerate(_letters(panel.calls, generation)):
            several = f"{count}" if len(panel.knowledge.seeds) > 1 else ""
            cell.append(f"{'' if place else ' '}{several}{letter}", style=f"bold {COLOURS[letter]}")
        cell.append(f"\n{interval(score)}")
    if parse is not None and parse.value is not None:
        bounds = (
            "" if parse.low is None or parse.high is None else f" {100 * parse.low:.0f}{DASH}{100 * parse.high:.0f}"
        )
        cell.append(f"\n{100 * parse.value:.0f}{bounds}", style="dim")
    return cell


def _fluency_cell(measure: Measure, generation: int) -> Text:
    from rich.text import Text

    score = measure.main.at(generation) if measure.main else None
    if score is None or score.value is None:
        return Text("-")
    if measure.unit == "share":
        return Text.assemble((percent(score.value), "bold"), f"\n{interval(score)}")
    bounds = f"{score.low:.2f}{DASH}{score.high:.2f}" if score.low is not None and score.high is not None else DASH
    return Text.assemble((f"{score.value:.2f}", "bold"), f"\n{bounds}")


def _counts(measure: Measure) -> str:
    """The n of a measure's main curve: one number, or the range."""
    counts = [p.score.n for p in measure.main.points] if measure.main else []
    if not counts:
        return "n 0"
    return f"n {min(counts)}" if min(counts) == max(counts) else f"n {min(counts)}{DASH}{max(counts)}"


def _letters(calls: Iterable[StageCall], generation: int) -> list[tuple[str, int]]:
    return sorted(Counter(LETTERS[c.stage] for c in calls if c.generation == generation).items())


def _letter(panel: Panel, seed: int | None, generation: int) -> str:
    calls = (c for c in panel.calls if c.seed == seed)
    return next((letter for letter, _ in _letters(calls, generation)), "")


def _about(arm: ArmPage) -> str:
    facts = dict(arm.facts)
    parts = [f"synthetic fraction {facts['synthetic fraction']}"] if "synthetic fraction" in facts else []
    parts += [f"prompts {facts['prompts']}"] if facts.get("prompts") else []
    parts.append(f"control: {facts.get('control', 'none of its own')}")
    return ", ".join(parts)


def _sentences(arm: ArmPage) -> list[tuple[int, str]]:
    return list(arm.sentences) or [(seed, "No stage has been called yet.") for seed in arm.seeds[:1]]


def _three(score: Score | None) -> tuple[str, str, str]:
    """Value, bounds and n of a score as plain text."""
    if score is None or score.value is None:
        return "-", "-", "0" if score is None else str(score.n)
    if score.low is None or score.high is None:
        bounds = "-"
    elif score.unit == "share":
        bounds = f"[{100 * score.low:.1f}, {100 * score.high:.1f}]"
    else:
        bounds = f"[{score.low:.3f}, {score.high:.3f}]"
    return percent(score.value) if score.unit == "share" else f"{score.value:.3f}", bounds, str(score.n)


def _aligned(rows: list[tuple[str, ...]]) -> list[str]:
    """Columns of equal width, two blanks between."""
    safe = [tuple(_line(cell) for cell in row) for row in rows]
    widths = [max(len(row[i]) for row in safe) for i in range(len(safe[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in safe]


def _key() -> str:
    return (
        "Cells: knowledge with its stage, its 95% interval, and the percentage of parseable answers with its own. "
        "A preserved, B knowledge collapse, C instruction-following collapse, ? undetermined."
    )
