"""The strokes that figures are made of: frames, axes, curves with their bands, stage cells, whiskers."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from factfade.places import Places
from factfade.report import svg
from factfade.report.data import ArmPage, Curve, DomainScore, Measure
from factfade.report.svg import Scale, el, group
from factfade.report.wording import LETTERS, STAGE_NAMES, full, short
from factfade.verdicts import StageCall

WIDTH = 226.0
LEFT, RIGHT = 27.0, 31.0
LABEL_GAP = 11.0
SHAPES = ("square", "diamond", "triangle", "down")


@dataclass(frozen=True)
class Frame:
    """Where a plot stands: its top and height, its scales, its unit."""

    top: float
    height: float
    x: Scale
    y: Scale
    unit: str

    @property
    def bottom(self) -> float:
        return self.top + self.height


def arm_class(arm: ArmPage) -> str:
    """The class that gives an arm its colour; controls are grey."""
    return "arm-c" if arm.is_control else f"arm-{arm.place % 6}"


def arm_shape(arm: ArmPage) -> str:
    """An arm's marker: colour is never the only difference."""
    return "circle" if arm.is_control else SHAPES[arm.place % len(SHAPES)]


def horizontal(generations: Sequence[int]) -> Scale:
    """Generations to positions."""
    first, last = (generations[0], generations[-1]) if generations else (0, 1)
    return Scale(first, max(last, first + 1), LEFT + 8, WIDTH - RIGHT - 8)


def figure(
    width: float, height: float, title: str, told: str, key: str, parts: Sequence[Markup], class_: str = "plot"
) -> Markup:
    return el(
        "svg",
        el("title", title, id=f"{key}-t"),
        el("desc", told, id=f"{key}-d"),
        *parts,
        viewBox=f"0 0 {svg.number(width)} {svg.number(height)}",
        class_=class_,
        role="img",
        aria_labelledby=f"{key}-t {key}-d",
    )


def share_axis(frame: Frame, marks: Sequence[float], labels: Sequence[float]) -> list[Markup]:
    parts: list[Markup] = []
    for mark in marks:
        y = frame.y(mark)
        parts.append(svg.line(LEFT, y, WIDTH - RIGHT, y, "grid" if mark else "axis"))
        if mark in labels:
            label = f"{100 * mark:g}" + ("%" if mark == 1.0 and len(labels) > 2 else "")
            parts.append(svg.text(LEFT - 4, y + 3, label, class_="t", anchor="end"))
    return parts


def place_labels(
    generations: Sequence[int], x: Scale, y: float, places: Places, name_at: float | None = None
) -> list[Markup]:
    """Numbers (or steps) under the places, thinned where they would touch; the last one always stands."""
    kept: list[tuple[float, float, str]] = []
    for generation in generations:
        text, at = places.tick(generation), x(generation)
        half = 3.0 * len(text)
        if generation == generations[-1]:
            while len(kept) > 1 and kept[-1][0] + kept[-1][1] + 4 > at - half:
                kept.pop()
        elif kept and kept[-1][0] + kept[-1][1] + 4 > at - half:
            continue
        kept.append((at, half, text))
    parts = [svg.text(at, y, text, class_="t", anchor="middle") for at, _, text in kept]
    parts.append(
        svg.text(WIDTH, y, places.short, class_="t faint", anchor="end")
        if name_at is None
        else svg.text(name_at, y, places.axis, class_="t faint", anchor="end")
    )
    return parts


def reference_line(measure: Measure, frame: Frame) -> Markup:
    if measure.reference is None:
        return Markup("")
    y = frame.y(measure.reference)
    line = svg.line(LEFT, y, WIDTH - RIGHT, y, "reference")
    label = svg.text(LEFT + 3, y - 3, measure.reference_label, class_="t faint")
    return group(line, label)


def _xy(curve: Curve, frame: Frame, which: str = "value") -> list[tuple[float, float]]:
    found = [(p.generation, getattr(p.score, which)) for p in curve.points]
    return [(frame.x(g), frame.y(v)) for g, v in found if v is not None and math.isfinite(v)]


def _band(curve: Curve, frame: Frame, class_: str) -> Markup:
    known = [p for p in curve.points if p.score.low is not None and p.score.high is not None]
    upper = [(frame.x(p.generation), frame.y(p.score.high or 0.0)) for p in known]
    lower = [(frame.x(p.generation), frame.y(p.score.low or 0.0)) for p in known]
    return svg.area(upper, lower, class_)


def curves(measure: Measure, frame: Frame, arm: ArmPage, places: Places, *, small: bool = False) -> list[Markup]:
    """Bands, the control's dashed line, single seeds thin, the main line bold with markers and its last value."""
    if measure.main is None or not any(p.score.value is not None for c in measure.curves for p in c.points):
        return [
            svg.text((LEFT + WIDTH - RIGHT) / 2, frame.top + frame.height / 2, "no data", class_="t", anchor="middle")
        ]
    parts: list[Markup] = []
    several = len(measure.seeds) > 1
    parts += [_band(curve, frame, "band faint-band" if several else "band") for curve in measure.seeds]
    if measure.control is not None:
        parts.append(svg.path(_xy(measure.control, frame), "control"))
        parts += _dots(measure.control, frame, "circle", 1.8 if small else 2.5, "control-dot", "control", places)
    if several:
        parts += [svg.path(_xy(curve, frame), "curve thin") for curve in measure.seeds]
    parts.append(svg.path(_xy(measure.main, frame), "curve"))
    parts += _dots(measure.main, frame, arm_shape(arm), 2.2 if small else 3.2, "dot", arm.name, places)
    ends: list[tuple[float, str, str]] = []
    for curve, class_ in ((measure.main, "end"), (measure.control, "end-control")):
        last = next((p.score for p in reversed(curve.points) if p.score.value is not None), None) if curve else None
        if last is not None and last.value is not None:
            ends.append((frame.y(last.value), short(last.value, frame.unit), class_))
    heights = svg.spread([y for y, _, _ in ends], LABEL_GAP)
    parts += [
        svg.text(WIDTH - RIGHT + 5, y + 3.5, label, class_=class_)
        for y, (_, label, class_) in zip(heights, ends, strict=True)
    ]
    return [group(*parts, class_=arm_class(arm))]


def _dots(curve: Curve, frame: Frame, shape: str, size: float, class_: str, name: str, places: Places) -> list[Markup]:
    return [
        svg.marker(
            shape,
            frame.x(p.generation),
            frame.y(p.score.value),
            size,
            class_,
            f"{name}, {places.at(p.generation)}: {full(p.score)}",
        )
        for p in curve.points
        if p.score.value is not None and math.isfinite(p.score.value)
    ]


def stage_strip(
    calls: Sequence[StageCall], seeds: Sequence[int], generations: Sequence[int], x: Scale, y: float, places: Places
) -> list[Markup]:
    """The stage cells under a curve, one row per seed."""
    parts: list[Markup] = []
    rows = sorted({c.seed for c in calls})
    for index, seed in enumerate(rows):
        top = y + 19 * index
        parts += stage_cells([c for c in calls if c.seed == seed], generations, x, top, 16, places)
        if len(seeds) > 1:
            parts.append(svg.text(LEFT - 6, top + 12, f"s{seed}", class_="t faint", anchor="end"))
    return parts


def stage_cells(
    calls: Sequence[StageCall], generations: Sequence[int], x: Scale, y: float, height: float, places: Places
) -> list[Markup]:
    positions = [x(g) for g in generations]
    gap = min((b - a for a, b in itertools.pairwise(positions)), default=30.0)
    width = min(max(gap - 2.0, 3.0), 46.0)
    parts: list[Markup] = []
    for call in calls:
        if call.generation not in generations:
            continue
        at = x(call.generation)
        tip = f"{places.at(call.generation)}: {LETTERS[call.stage]}, {STAGE_NAMES[call.stage]}. {call.sentence}"
        parts.append(stage_cell(at - width / 2, y, width, height, call.stage, tip))
    return parts


def stage_cell(x: float, y: float, width: float, height: float, stage: str, tip: str) -> Markup:
    """A stage cell: fill, hatching and letter each say the stage alone."""
    name = {"A": "a", "B": "b", "C": "c"}.get(stage, "u")
    fill = {"b": "url(#fill-b)", "c": "url(#fill-c)"}.get(name)
    inset = 0.6
    parts = [el("title", tip)] if tip else []
    parts.append(
        el(
            "rect",
            x=x + inset,
            y=y + inset,
            width=width - 2 * inset,
            height=height - 2 * inset,
            rx=2.5,
            class_=f"cell cell-{name}",
            fill=fill,
        )
    )
    if width >= 9:
        middle, centre = x + width / 2, y + height / 2
        if name in ("b", "c"):
            tall = min(height - 1.2, 12.0)
            parts.append(
                el("rect", x=middle - 5.5, y=centre - tall / 2, width=11, height=tall, rx=2, class_=f"chip-{name}")
            )
        parts.append(svg.text(middle, centre + 3.8, LETTERS[stage], class_=f"letter letter-{name}", anchor="middle"))
    return group(*parts)


def whisker(arm: ArmPage, score: DomainScore, x: Scale, y: float, width: float) -> list[Markup]:
    last, first = score.last, score.first
    if last.value is None:
        return [svg.text(x(0), y + 3, "no value", class_="t faint")]
    tip = f"{arm.name}: first {full(first)}; last {full(last)}"
    parts: list[Markup] = []
    if last.low is not None and last.high is not None:
        parts.append(svg.line(x(last.low), y, x(last.high), y, "whisker"))
    if first.value is not None:
        parts.append(svg.line(x(first.value), y - 4.5, x(first.value), y + 4.5, "start"))
    parts.append(svg.marker(arm_shape(arm), x(last.value), y, 3.4, "dot", tip))
    parts.append(svg.text(width - 25, y + 3.5, short(last.value, "share"), class_="end"))
    return [group(*parts, class_=arm_class(arm))]
