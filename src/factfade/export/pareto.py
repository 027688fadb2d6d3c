"""The Pareto picture: knowledge kept against what it costs. Drawn with matplotlib (the extra `figures`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from factfade import durable
from factfade.arena.rows import Arena, Row
from factfade.errors import ConfigError
from factfade.export.figures import canvas, drawing, rendered
from factfade.text import safe_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

KINDS = ("svg", "pdf", "png")
# Okabe and Ito (2008).
ON_FRONT, BEHIND, BASE = "#0072B2", "#777777", "#D55E00"


def draw(arena: Arena) -> dict[str, bytes]:
    """The picture by kind of file (svg, pdf, png). MissingExtra without matplotlib.

    On the left every arm with its 95% t interval over run seeds, numbered by what it kept; on the right the numbers
    against the time of a run (a ratio to the baseline's), and against the human text among the tokens trained on.
    """
    rows = sorted(arena.rows, key=lambda row: (-(row.knowledge.value or 0.0), row.arm))
    base = arena.base.costs[arena.clock] or 1.0
    with drawing():
        figure = canvas(10.5, 0.19 * len(rows) + 2.0)
        grid = figure.add_gridspec(1, 3, width_ratios=[1.5, 1.2, 1.2])
        names, time, human = (figure.add_subplot(grid[0, at]) for at in range(3))
        _forest(names, arena, rows)
        _against(time, rows, arena.baseline, lambda row: row.costs[arena.clock] / base)
        time.set_xlabel(f"{arena.clock.replace('_', ' ')}, ratio to the baseline's")
        time.set_title("kept against time", loc="left")
        _against(human, rows, arena.baseline, lambda row: 100 * row.costs["human_share"])
        human.set_xlabel("human text among the tokens trained on (%)")
        human.set_title("kept against human text", loc="left")
        for axes in (time, human):
            axes.set_ylabel("questions right (%)")
        return rendered(figure)


def _colour(row: Row, baseline: str) -> str:
    return BASE if row.arm == baseline else ON_FRONT if row.front else BEHIND


def _forest(axes: Axes, arena: Arena, rows: Sequence[Row]) -> None:
    for place, row in enumerate(rows):
        found = row.knowledge
        if found.value is None:
            continue
        colour = _colour(row, arena.baseline)
        if found.low is not None and found.high is not None:
            axes.plot([100 * found.low, 100 * found.high], [place, place], color=colour, linewidth=1.2)
        axes.plot([100 * found.value], [place], marker="o", color=colour, markersize=4)
    axes.set_yticks(range(len(rows)))
    axes.set_yticklabels([f"{safe_text(row.arm, limit=40)}  {place + 1}" for place, row in enumerate(rows)])
    for label, row in zip(axes.get_yticklabels(), rows, strict=True):
        label.set_color(_colour(row, arena.baseline))
    axes.invert_yaxis()
    axes.set_xlabel(f"questions right by choice in generation {arena.generation} (%)")
    axes.set_title("kept (blue: the front over time and human text)", loc="left")


def _against(axes: Axes, rows: Sequence[Row], baseline: str, cost: Callable[[Row], float]) -> None:
    for place, row in enumerate(rows):
        if row.knowledge.value is None:
            continue
        axes.annotate(
            str(place + 1), (cost(row), 100 * row.knowledge.value), color=_colour(row, baseline), fontsize=7,
            ha="center", va="center",
        )  # fmt: skip
    costs = [cost(row) for row in rows if row.knowledge.value is not None]
    kept = [100 * row.knowledge.value for row in rows if row.knowledge.value is not None]
    for low, high, limit in ((min(costs), max(costs), axes.set_xlim), (min(kept), max(kept), axes.set_ylim)):
        margin = 0.06 * (high - low) or 0.5
        limit(low - margin, high + margin)


def save(arena: Arena, path: Path) -> None:
    """Writes the picture; the file's name says which kind (svg, pdf, png)."""
    kind = path.suffix.lstrip(".").lower()
    if kind not in KINDS:
        raise ConfigError(f"{path} is no figure that can be drawn", hint=f"end its name in .{', .'.join(KINDS)}")
    durable.write_bytes(path, draw(arena)[kind])
