"""Booktabs tables for a paper: knowledge by format, fluency, onsets, losses. Input them with \\input{knowledge-...}.

Every text is escaped (names of arms and formats come from files of others); every number comes from a typed row, with
its n and its interval. What is shown as a percentage is the row's value times 100.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from factfade.export.tables import Source
from factfade.paths import slug
from factfade.report.data import Curve, Measure
from factfade.report.wording import LETTERS, STAGE_NAMES, plain_name
from factfade.text import safe_text
from factfade.verdicts import Score

NONE = "--"
_ESCAPES = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "[": "{[}", "]": "{]}", "*": "{*}", "<": r"\textless{}",
    ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"\textquotedbl{}", "`": r"\textasciigrave{}", "-": "{-}",
    "'": "{'}",
}  # fmt: skip
HEAD = "% Needs \\usepackage{booktabs} and \\usepackage[T1]{fontenc}. Every number is a row of curves, calls or onsets."


def escaped(text: str) -> str:
    """Text for a cell, as it is: nothing in it is a command, a ligature, or an argument of the row before."""
    line = re.sub(r"\s+", " ", safe_text(text, limit=300, keep="\n\t")).strip()
    return "".join(_ESCAPES.get(c, c) for c in line)


def documents(source: Source) -> Iterator[tuple[str, str]]:
    """(file name, content) of every table."""
    for form in source.formats:
        rows = list(_knowledge(source, form))
        if rows:
            title = (
                f"Knowledge, {plain_name(form)}: the share of questions answered right, in percent, with 95% interval"
            )
            head = ["arm", "seed", "gen.", "knowledge", "interval", "$n$", "stage", "parseable", "interval", "$n$"]
            about = f"{title}. {_stages()}"
            yield f"knowledge-{slug(form)}.tex", _table("lrrrcrcrcr", head, rows, about)
    rows = list(_fluency(source))
    if rows:
        head = ["arm", "seed", "gen.", "measure", "value", "interval", "$n$"]
        yield (
            "fluency.tex",
            _table("lrrlrcr", head, rows, "Fluency, with 95% interval; n counts texts. Shares in percent."),
        )
    rows = [
        [escaped(o.lineage), str(o.seed), escaped(plain_name(o.format)), LETTERS[o.stage], str(o.generation),
         "provisional" if o.provisional else "repeated"]
        for o in source.report.onsets
    ]  # fmt: skip
    if rows:
        head = ["arm", "seed", "format", "stage", "from gen.", "next generation"]
        about = f"First generation of each stage that the next evaluated one repeats. {_stages()}"
        yield "onsets.tex", _table("lrlcrl", head, rows, about)


def _stages() -> str:
    return "; ".join(f"{LETTERS[key]} {name}" for key, name in STAGE_NAMES.items())


def _knowledge(source: Source, form: str) -> Iterator[list[str]]:
    stage = {(c.lineage, c.seed, c.generation): LETTERS[c.stage] for c in source.report.calls if c.format == form}
    for lineage in source.lineages:
        known, parse = source.knowledge.get((lineage, form)), source.parse.get((lineage, form))
        if known is None:
            continue
        for curve in known.curves:
            for point in curve.points:
                place = [escaped(lineage), _seed(curve), str(point.generation)]
                call = NONE if curve.seed is None else stage.get((lineage, curve.seed, point.generation), NONE)
                said = _cells(_at(parse, curve.seed, point.generation))
                yield [*place, *_cells(point.score), call, *said]


def _fluency(source: Source) -> Iterator[list[str]]:
    for (lineage, _), one in source.fluency.items():
        for curve in one.curves:
            for point in curve.points:
                place = [escaped(lineage), _seed(curve), str(point.generation), escaped(one.label)]
                yield [*place, *_cells(point.score)]


def _seed(curve: Curve) -> str:
    return "mean" if curve.seed is None else str(curve.seed)


def _at(measure: Measure | None, seed: int | None, generation: int) -> Score | None:
    curve = next((c for c in measure.curves if c.seed == seed), None) if measure else None
    return curve.at(generation) if curve else None


def _cells(score: Score | None) -> list[str]:
    """Value, interval and n."""
    if score is None or score.value is None:
        return [NONE, NONE, "0" if score is None else str(score.n)]
    shown: Callable[[float], str] = (lambda x: f"{100 * x:.1f}") if score.unit == "share" else (lambda x: f"{x:.3f}")
    bounds = NONE if score.low is None or score.high is None else f"[{shown(score.low)}, {shown(score.high)}]"
    return [shown(score.value), bounds, str(score.n)]


def _table(columns: str, head: Sequence[str], rows: Sequence[Sequence[str]], about: str) -> str:
    # A row may begin with what the line break before it takes for its argument; escaped texts never do.
    lines = [HEAD, *(f"% {line}" for line in [about]), rf"\begin{{tabular}}{{{columns}}}", r"\toprule"]
    lines += [" & ".join(head) + r" \\", r"\midrule"]
    last = ""
    for row in rows:
        if last and row[0] != last:
            lines.append(r"\addlinespace")
        last = row[0]
        lines.append(" & ".join(row) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])
