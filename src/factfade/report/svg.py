"""A very small SVG writer: elements as escaped markup, scales, ticks, line paths.

Text passes `safe_text` and escaping here; attributes are quoted. Colours are classes, so that the page's stylesheet
(light, dark, print) decides them and no style attribute is needed under the content security policy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from factfade.text import safe_text


def number(value: float) -> str:
    """A coordinate with at most one decimal."""
    text = f"{value:.1f}"
    return text.removesuffix(".0") if text != "-0.0" else "0"


def el(tag: str, *children: str | Markup, **attributes: str | float | None) -> Markup:
    """One element. `class_` gives class, `text_anchor` text-anchor; children that are plain text are escaped."""
    parts: list[str] = []
    for name, value in attributes.items():
        if value is None:
            continue
        key = name.rstrip("_") if name in ("class_", "for_") else name
        shown = number(value) if isinstance(value, (int, float)) else safe_text(value, keep="")
        parts.append(f' {key.replace("_", "-")}="{escape(shown)}"')
    inner = Markup("").join(c if isinstance(c, Markup) else escape(safe_text(c, keep="")) for c in children)
    head = f"<{tag}{''.join(parts)}"
    made = f"{head}>{inner}</{tag}>" if inner else f"{head}/>"
    return Markup(made)  # noqa: S704 -- every part of it is escaped above


def group(*children: Markup, **attributes: str | float | None) -> Markup:
    """A <g> element."""
    return el("g", *children, **attributes)


def text(x: float, y: float, content: str, *, class_: str = "t", anchor: str = "start", **more: str | float) -> Markup:
    """A <text> element; `anchor` is start, middle or end."""
    return el("text", content, x=x, y=y, class_=class_, text_anchor=None if anchor == "start" else anchor, **more)


def line(x1: float, y1: float, x2: float, y2: float, class_: str) -> Markup:
    """A <line> element."""
    return el("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def path(points: Sequence[tuple[float, float]], class_: str) -> Markup:
    """An open line through points; empty below two of them."""
    if len(points) < 2:
        return Markup("")
    return el("path", d="M" + "L".join(f"{number(x)} {number(y)}" for x, y in points), class_=class_)


def area(upper: Sequence[tuple[float, float]], lower: Sequence[tuple[float, float]], class_: str) -> Markup:
    """The closed area between two lines over the same positions."""
    outline = [*upper, *reversed(lower)]
    if len(outline) < 4:
        return Markup("")
    return el("path", d="M" + "L".join(f"{number(x)} {number(y)}" for x, y in outline) + "Z", class_=class_)


def marker(shape: str, x: float, y: float, size: float, class_: str, title: str = "") -> Markup:
    """A marker of about `size` radius: circle, square, diamond, triangle or down; with a tooltip where given."""
    tip = [el("title", title)] if title else []
    if shape == "circle":
        return el("circle", *tip, cx=x, cy=y, r=size, class_=class_)
    s = size * 1.15
    corners = {
        "square": [(-0.85, -0.85), (0.85, -0.85), (0.85, 0.85), (-0.85, 0.85)],
        "diamond": [(0, -1.2), (1.2, 0), (0, 1.2), (-1.2, 0)],
        "triangle": [(0, -1.15), (1.1, 0.85), (-1.1, 0.85)],
        "down": [(0, 1.15), (1.1, -0.85), (-1.1, -0.85)],
    }[shape]
    d = "M" + "L".join(f"{number(x + s * a)} {number(y + s * b)}" for a, b in corners) + "Z"
    return el("path", *tip, d=d, class_=class_)


@dataclass(frozen=True)
class Scale:
    """A linear map from values [a, b] to positions [p, q]; values beyond are held at the ends."""

    a: float
    b: float
    p: float
    q: float

    def __call__(self, value: float) -> float:
        if self.b == self.a:
            return (self.p + self.q) / 2
        share = min(max((value - self.a) / (self.b - self.a), 0.0), 1.0)
        return self.p + share * (self.q - self.p)


def ticks(low: float, high: float, count: int = 3) -> list[float]:
    """Round values that cover [low, high]: the first is at or below low, the last at or above high."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return [0.0, 1.0]
    span = max(high - low, 1e-9, 1e-6 * max(abs(high), abs(low)))
    raw = span / count
    base = 10.0 ** math.floor(math.log10(raw))
    step = next(m * base for m in (1, 2, 2.5, 5, 10) if m * base >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(k * step, 10) for k in range(first, max(last, first + 1) + 1)]


def tick_label(value: float) -> str:
    """A tick's text without needless zeros."""
    return f"{value:.4g}"


def spread(positions: Sequence[float], gap: float) -> list[float]:
    """Moves label positions apart so that neighbours are at least `gap` apart, keeping their order and centre."""
    order = sorted(range(len(positions)), key=lambda i: (positions[i], i))
    moved = [positions[i] for i in order]
    for _ in range(50):
        done = True
        for i in range(len(moved) - 1):
            short = gap - (moved[i + 1] - moved[i])
            if short > 1e-6:
                moved[i] -= short / 2
                moved[i + 1] += short / 2
                done = False
        if done:
            break
    result = [0.0] * len(moved)
    for place, index in enumerate(order):
        result[index] = moved[place]
    return result
