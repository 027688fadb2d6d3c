"""The page's figures. All panels of a row share one horizontal scale, the generations; each has a text equivalent."""

from __future__ import annotations

import math
from collections.abc import Sequence

from markupsafe import Markup

from factfade.places import Places
from factfade.report import svg
from factfade.report.data import ArmPage, Curve, DomainScore, Measure, Panel
from factfade.report.strokes import (
    LEFT,
    RIGHT,
    WIDTH,
    Frame,
    arm_class,
    arm_shape,
    curves,
    figure,
    horizontal,
    place_labels,
    reference_line,
    share_axis,
    stage_cell,
    stage_cells,
    stage_strip,
    whisker,
)
from factfade.report.svg import Scale, el
from factfade.report.wording import LETTERS, amount, full, interval, plain_name
from factfade.verdicts import Score


def format_figure(panel: Panel, arm: ArmPage, generations: Sequence[int], key: str, places: Places) -> Markup:
    """One format of one arm: knowledge above, parseable answers below it, the stage strip at the foot."""
    x = horizontal(generations)
    upper = Frame(8, 112, x, Scale(0, 1, 120, 8), "share")
    lower = Frame(148, 36, x, Scale(0, 1, 184, 148), "share")
    parts = [
        *share_axis(upper, (0.0, 0.25, 0.5, 0.75, 1.0), labels=(0.0, 0.5, 1.0)),
        reference_line(panel.knowledge, upper),
        *curves(panel.knowledge, upper, arm, places),
        svg.text(LEFT, 141, "parseable answers", class_="cap"),
        *share_axis(lower, (0.0, 0.5, 1.0), labels=(0.0, 1.0)),
        *curves(panel.parse, lower, arm, places, small=True),
        *stage_strip(panel.calls, arm.seeds, generations, x, 196, places),
    ]
    rows = max(len({c.seed for c in panel.calls}), 1)
    foot = 196 + rows * 19 + 12
    parts += place_labels(generations, x, foot, places)
    title = f"{plain_name(panel.format)}, {_whose(arm, places)}"
    return figure(WIDTH, foot + 5, title, _told(panel, places), key, parts)


def fluency_figure(measure: Measure, arm: ArmPage, generations: Sequence[int], key: str, places: Places) -> Markup:
    """One fluency measure of one arm, on a scale of its own."""
    x = horizontal(generations)
    values = [
        v
        for curve in [*measure.curves, *([measure.control] if measure.control else [])]
        for p in curve.points
        for v in (p.score.value, p.score.low, p.score.high)
        if v is not None and math.isfinite(v)
    ]
    values += [measure.reference] if measure.reference is not None else []
    low = 0.0 if measure.unit == "share" else min(values, default=0.0)
    high = max(values, default=1.0)
    marks = svg.ticks(low, min(high, 1.0) if measure.unit == "share" else high)
    frame = Frame(8, 96, x, Scale(marks[0], marks[-1], 104, 8), measure.unit)
    parts: list[Markup] = []
    for mark in marks:
        y = frame.y(mark)
        label = f"{100 * mark:g}" if measure.unit == "share" else svg.tick_label(mark)
        parts += [
            svg.line(LEFT, y, WIDTH - RIGHT, y, "grid"),
            svg.text(LEFT - 4, y + 3, label, class_="t", anchor="end"),
        ]
    parts += [reference_line(measure, frame), *curves(measure, frame, arm, places)]
    parts += place_labels(generations, x, 118, places)
    return figure(WIDTH, 123, f"{measure.label}, {_whose(arm, places)}", _points_told(measure, places), key, parts)


def stage_map(arm: ArmPage, generations: Sequence[int], key: str, places: Places) -> Markup:
    """All formats of an arm as rows of stage cells: the overview."""
    several = len({c.seed for panel in arm.panels for c in panel.calls}) > 1
    width, left, row = 340.0, 156.0, 14.0 if several else 21.0
    x = Scale(
        generations[0] if generations else 0, max(generations[-1] if generations else 1, 1), left + 12, width - 14
    )
    parts: list[Markup] = []
    told: list[str] = []
    y = 2.0
    for panel in arm.panels:
        seeds = sorted({c.seed for c in panel.calls}) or [0]
        label = plain_name(panel.format)
        parts.append(svg.text(left - 8, y + row / 2 + 3.5, label, class_="row", anchor="end"))
        for seed in seeds:
            calls = [c for c in panel.calls if c.seed == seed]
            parts += stage_cells(calls, generations, x, y, row - (1.5 if several else 3), places)
            whose = "" if places.audited else f", seed {seed}"
            told.append(
                f"{label}{whose}: " + ", ".join(f"{LETTERS[c.stage]} at {places.tick(c.generation)}" for c in calls)
            )
            y += row
        y += 5 if several else 0
    parts += place_labels(generations, x, y + 9, places, name_at=left - 8)
    return figure(width, y + 14, f"Stage calls of {_whose(arm, places)}", ". ".join(told), key, parts, class_="map")


def domain_figure(format: str, arms: Sequence[ArmPage], key: str) -> Markup:
    """Knowledge by domain in one format: each arm's last generation with its interval, a tick where it began."""
    found: dict[str, list[tuple[ArmPage, DomainScore]]] = {}
    for arm in arms:
        for score in arm.domains:
            if score.format == format:
                found.setdefault(score.domain, []).append((arm, score))
    shown = sorted(found, key=lambda d: (-max(s.first.n for _, s in found[d]), d))[:12]
    width, left, right, line = WIDTH, 8.0, 32.0, 14.0
    x = Scale(0, 1, left, width - right)
    parts: list[Markup] = []
    told: list[str] = []
    y = 4.0
    bodies: list[Markup] = []
    for domain in sorted(shown):
        bodies.append(svg.text(left, y + 9, domain or "(no domain)", class_="row"))
        y += 14
        for arm, score in found[domain]:
            middle = y + line / 2
            bodies += whisker(arm, score, x, middle, width)
            told.append(f"{domain}, {arm.name}: from {full(score.first)} to {full(score.last)}")
            y += line
        y += 6
    for mark in (0.0, 0.5, 1.0):
        parts += [
            svg.line(x(mark), 4, x(mark), y, "grid"),
            svg.text(x(mark), y + 11, f"{100 * mark:g}", class_="t", anchor="middle"),
        ]
    title = f"Knowledge by domain, {plain_name(format)}"
    return figure(width, y + 16, title, ". ".join(told), key, [*parts, *bodies])


def arm_sample(arm: ArmPage) -> Markup:
    """An arm's marker in its colour, for lists of arms."""
    mark = svg.marker(arm_shape(arm), 8, 8, 4.2, "dot")
    return el(
        "svg", mark, viewBox="0 0 16 16", width=16, height=16, class_=f"sample {arm_class(arm)}", aria_hidden="true"
    )


def sample(kind: str) -> Markup:
    """A small picture for the legend."""
    parts: dict[str, list[Markup]] = {
        "arm": [
            el("rect", x=0, y=4, width=34, height=10, class_="band"),
            svg.path([(0, 9), (34, 9)], "curve"),
            svg.marker("square", 17, 9, 3.2, "dot"),
        ],
        "seed": [svg.path([(0, 9), (34, 9)], "curve thin")],
        "control": [svg.path([(0, 9), (34, 9)], "control"), svg.marker("circle", 17, 9, 2.8, "control-dot")],
        "reference": [svg.path([(0, 9), (34, 9)], "reference")],
    }
    if kind in parts:
        return el(
            "svg", *parts[kind], viewBox="0 0 34 18", width=34, height=18, class_="sample arm-0", aria_hidden="true"
        )
    cell = stage_cell(0, 0, 26, 18, kind, "")
    return el("svg", cell, viewBox="0 0 26 18", width=26, height=18, class_="sample", aria_hidden="true")


def patterns() -> Markup:
    """The fills of the stage cells, once per page: hatching tells the stages apart without colour."""
    one = el("path", d="M-1 7L7 -1M-1 1L1 -1M5 7L7 5", class_="hatch-b")
    two = el("path", d="M0 3H6M3 0V6", class_="hatch-c")
    fills = [
        el(
            "pattern",
            el("rect", width=6, height=6, class_="fill-b"),
            one,
            id="fill-b",
            width=6,
            height=6,
            patternUnits="userSpaceOnUse",
        ),
        el(
            "pattern",
            el("rect", width=6, height=6, class_="fill-c"),
            two,
            id="fill-c",
            width=6,
            height=6,
            patternUnits="userSpaceOnUse",
        ),
    ]
    return el("svg", el("defs", *fills), width=0, height=0, class_="defs", aria_hidden="true")


# ---------------------------------------------------------------------------------------------------------------
# Text equivalents


def _whose(arm: ArmPage, places: Places) -> str:
    return "the checkpoints" if places.audited else f"arm {arm.name}"


def _points_told(measure: Measure, places: Places) -> str:
    def told(curve: Curve | None) -> str:
        if curve is None:
            return "none"
        return "; ".join(f"{places.at(p.generation)} {_spoken(p.score)}" for p in curve.points)

    control = "" if places.audited else f" Control: {told(measure.control)}."
    return f"{measure.label}: {told(measure.main)}.{control}"


def _spoken(score: Score) -> str:
    return f"{amount(score.value, score.unit)} [{interval(score)}], n {score.n}"


def _told(panel: Panel, places: Places) -> str:
    calls = ", ".join(
        f"{'' if places.audited else f'seed {c.seed} '}{places.at(c.generation)} {LETTERS[c.stage]}"
        for c in panel.calls
    )
    return (
        f"{_points_told(panel.knowledge, places)} {_points_told(panel.parse, places)} Stage calls: {calls or 'none'}."
    )
