"""Booktabs tables for a paper: knowledge by format, fluency, onsets, lost questions. Input them with \\input{...}.

Every text is escaped: names come from files of others, questions and answers from data sets and models. Every number
comes from a typed row, with its n and its interval. What is shown as a percentage is the row's value times 100.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from factfade.export.tables import Source
from factfade.paths import slug
from factfade.records import PARSEABLE
from factfade.report.data import Change, Curve, Measure, Said
from factfade.report.wording import LETTERS, STAGE_NAMES, plain_name
from factfade.text import safe_text
from factfade.verdicts import Score

NONE = "--"
_ESCAPES = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "[": "{[}", "]": "{]}", "*": "{*}", "<": r"\textless{}",
    ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"\textquotedbl{}", "`": r"\textasciigrave{}", "-": "{-}",
    "'": "{'}", ",": "{,}",
}  # fmt: skip
# What pdfLaTeX has letters and marks for with the encoding T1 (and, since 2020, the kernel's marks). It stops at any
# other character.
_KNOWN = (frozenset(map(chr, range(0xC0, 0x17F))) - set("ĦħĸĿŀŉŦŧ")) | set(
    "¡£«»¿\u2013\u2014\u2018\u2019\u201a\u201c\u201d\u201e\u2039\u203a…€§¶†‡•©®°±µ·"
)
# Every other one is drawn by engines that read Unicode, and named by pdfLaTeX.
_CHARACTER = (
    r"\providecommand{\factfadechar}[2]{\ifcsname Umathchar\endcsname#1\else\texttt{U+#2}\fi}"
    " % (character, its code): set a font that has it"
)
_KNOWLEDGE = (
    r"& & & \multicolumn{3}{c}{knowledge} & & \multicolumn{3}{c}{parseable} \\",
    r"\cmidrule(lr){4-6} \cmidrule(lr){8-10}",
    r"arm & seed & gen. & \% & interval & $n$ & stage & \% & interval & $n$ \\",
)
_FLUENCY = {
    "own_nats": "own text, nats per token",
    "held_out_perplexity": "held-out perplexity",
    "junk": r"junk in own text, \%",
}
# A table with more rows is broken over pages.
LONG = 40
MOST_LOST = 20
ABOUT = "Every number is a row of curves, calls, onsets or changes."


def escaped(text: str, *, limit: int = 300) -> str:
    """Text for a cell, as it is: nothing in it is a command, a ligature, or an argument of the row before."""
    line = re.sub(r"\s+", " ", safe_text(unicodedata.normalize("NFC", text), limit=limit, keep="\n\t")).strip()
    return "".join(_ESCAPES.get(c, c) if c.isascii() or c in _KNOWN else _named(c) for c in line)


def _named(character: str) -> str:
    return rf"\factfadechar{{{character}}}{{{ord(character):04X}}}"


def documents(source: Source) -> Iterator[tuple[str, str]]:
    """(file name, content) of every table. Where arms have several seeds, tables show the means over them, and tables
    named `...-seeds` the single ones."""
    for form in source.formats:
        title = f"Knowledge, {plain_name(form)}: the share of questions answered right, in percent, with 95% interval"
        about = f"{title}. {_stages()}"
        for single, end in ((False, ""), (True, "-seeds")):
            said = about if single else f"{about}. Beside a mean stands the number of its seeds in each stage"
            rows = list(_knowledge(source, form, single=single))
            if rows:
                yield f"knowledge-{slug(form)}{end}.tex", _table("lrrrcrcrcr", _KNOWLEDGE, rows, said)
    head = [r"arm & seed & gen. & measure & value & interval & $n$ \\"]
    for single, end in ((False, ""), (True, "-seeds")):
        rows = list(_fluency(source, single=single))
        if rows:
            about = "Fluency, with 95% interval; n counts texts. Shares in percent."
            yield f"fluency{end}.tex", _table("lrrlrcr", head, rows, about)
    rows = [
        [escaped(o.lineage), str(o.seed), escaped(plain_name(o.format)), LETTERS[o.stage], str(o.generation),
         "provisional" if o.provisional else "repeated"]
        for o in source.report.onsets
    ]  # fmt: skip
    if rows:
        head = [r"arm & seed & format & stage & from gen. & next generation \\"]
        about = f"First generation of each stage that the next evaluated one repeats. {_stages()}"
        yield "onsets.tex", _table("lrlcrl", head, rows, about)
    yield from _lost(source)


def _stages() -> str:
    return "; ".join(f"{LETTERS[key]} {name}" for key, name in STAGE_NAMES.items())


def _curves(one: Measure, *, single: bool) -> tuple[Curve, ...]:
    """The single seeds of several, or what stands for the arm: their mean, or the one there is."""
    several = any(curve.seed is None for curve in one.curves)
    if not several:
        return () if single else one.curves
    return tuple(curve for curve in one.curves if (curve.seed is not None) == single)


def _knowledge(source: Source, form: str, *, single: bool) -> Iterator[list[str]]:
    calls: dict[tuple[str, int], dict[int, str]] = {}
    for call in source.report.calls:
        if call.format == form:
            calls.setdefault((call.lineage, call.generation), {})[call.seed] = LETTERS[call.stage]
    for lineage in source.lineages:
        known, parse = source.knowledge.get((lineage, form)), source.parse.get((lineage, form))
        for curve in () if known is None else _curves(known, single=single):
            for point in curve.points:
                place = [escaped(lineage), _seed(curve), str(point.generation)]
                own = calls.get((lineage, point.generation), {})
                said = _cells(_at(parse, curve.seed, point.generation))
                yield [*place, *_cells(point.score), _stage(own, curve.seed), *said]


def _stage(calls: dict[int, str], seed: int | None) -> str:
    """A seed's stage; of a mean how many seeds are in each."""
    if seed is not None:
        return calls.get(seed, NONE)
    count = Counter(calls.values())
    return " ".join(f"{letter}{count[letter]}" for letter in LETTERS.values() if count[letter]) or NONE


def _fluency(source: Source, *, single: bool) -> Iterator[list[str]]:
    for (lineage, name), one in source.fluency.items():
        for curve in _curves(one, single=single):
            for point in curve.points:
                place = [escaped(lineage), _seed(curve), str(point.generation), _FLUENCY[name]]
                yield [*place, *_cells(point.score)]


def _lost(source: Source) -> Iterator[tuple[str, str]]:
    """The most telling lost questions of every arm, with the answers of the first and the last generation."""
    for lineage, (lost, _) in source.changed.items():
        if lost:
            several = lost[0].seeds_run > 1
            head = [rf"question & right & first & last & since & ways {'& seeds ' if several else ''}\\"]
            rows = [_change(one, several=several) for one in lost[:MOST_LOST]]
            about = (
                f"Questions that {plain_name(lineage)} lost: {len(rows)} of {len(lost)}, most telling first (all are "
                "rows of changes); the answers of the first and the last generation, the generation from which the "
                "answer stays wrong, and in how many of the formats that ask it"
            )
            columns = r"p{0.3\linewidth}p{0.14\linewidth}p{0.14\linewidth}p{0.14\linewidth}rr" + "r" * several
            yield f"lost-{slug(lineage)}.tex", _table(columns, head, rows, about, grouped=False)


def _change(one: Change, *, several: bool) -> list[str]:
    texts = [one.question, one.right, _said(one.before), _said(one.after)]
    counts = [str(one.since), f"{one.formats}/{one.formats_asked}"]
    counts += [f"{one.seeds}/{one.seeds_run}"] if several else []
    return [*(rf"\raggedright {escaped(text, limit=160)}" for text in texts), *counts]


def _said(one: Said) -> str:
    """What was answered: the free answer where it can be read, else the choice."""
    if one.answer is not None and one.outcome in PARSEABLE:
        return one.answer.strip()
    return one.choice or (one.answer or "").strip()


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


def _table(
    columns: str, head: Sequence[str], rows: Sequence[Sequence[str]], about: str, *, grouped: bool = True
) -> str:
    """A table in small type, over several pages where it has more than LONG rows. `grouped`: a gap stands where the
    first cell changes."""
    # A row may begin with what the line break before it takes for its argument; escaped texts never do.
    body: list[str] = []
    for place, row in enumerate(rows):
        if grouped and place and row[0] != rows[place - 1][0]:
            body.append(r"\addlinespace")
        body.append(" & ".join(row) + r" \\")
    long = len(rows) > LONG
    top = [r"\toprule", *head, r"\midrule"]
    needs = r"\usepackage{booktabs}" + (r", \usepackage{longtable}" if long else "")
    lines = [f"% Needs {needs} and \\usepackage[T1]{{fontenc}}. {ABOUT}", f"% {safe_text(about, keep='')}"]
    if any(r"\factfadechar" in line for line in body):
        lines.append(_CHARACTER)
    lines.append(r"\begingroup\footnotesize\setlength{\tabcolsep}{2.5pt}%")
    if long:
        lines += [rf"\begin{{longtable}}{{@{{}}{columns}@{{}}}}", *top, r"\endhead", r"\bottomrule", r"\endfoot", *body]
        lines.append(r"\end{longtable}")
    else:
        lines += [rf"\begin{{tabular}}{{@{{}}{columns}@{{}}}}", *top, *body, r"\bottomrule", r"\end{tabular}%"]
    return "\n".join([*lines, r"\endgroup", ""])
