"""Figures for a paper as SVG, PDF and PNG: knowledge by format with its stages, and fluency, one file per arm.

Drawn with matplotlib (the extra `figures`), without its global state. Colours are Okabe and Ito's, which people with
any colour vision tell apart; lines differ in dash and marker too, and every stage band bears its letter. Equal rows
give equal bytes for one version of matplotlib: no date, no random ids. Names are drawn as they are: no markup is read.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from factfade.errors import MissingExtra
from factfade.export.tables import Source
from factfade.paths import slug
from factfade.report.data import Curve, Measure
from factfade.report.wording import LETTERS, STAGE_NAMES, plain_name
from factfade.text import safe_text
from factfade.verdicts import StageCall

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito (2008): blue, orange, grey for the three kinds of lines.
OWN, CONTROL, REFERENCE = "#0072B2", "#D55E00", "#555555"
BANDS = {"A": "#009E73", "B": "#E69F00", "C": "#CC79A7", "undetermined": "#999999"}
FORMATS = ("svg", "pdf", "png")
COLUMNS = 3
SETTINGS: dict[str, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same everywhere
    "font.size": 8,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "lines.linewidth": 1.4,
    "legend.frameon": False,
    "svg.hashsalt": "factfade",
    "svg.fonttype": "path",
    "pdf.fonttype": 42,
    "savefig.dpi": 200,
    "text.parse_math": False,
    "text.usetex": False,
}
_NO_DATE: dict[str, dict[str, Any]] = {
    "svg": {"Date": None, "Creator": "factfade"},
    "pdf": {"CreationDate": None, "Creator": "factfade", "Producer": "matplotlib"},
    "png": {"Software": "factfade"},
}


@contextmanager
def drawing() -> Generator[None]:
    """The house's settings for figures, for the time of a block. Raises MissingExtra without matplotlib."""
    try:
        import matplotlib as mpl
    except ImportError as error:
        raise MissingExtra("a figure", extra="figures") from error
    settings: Any = {**mpl.rcParamsDefault, **SETTINGS}
    with mpl.rc_context(settings), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a name in letters that the font lacks is drawn as boxes
        yield


def canvas(width: float, height: float) -> Figure:
    """An empty figure of so many inches, laid out by its content."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def rendered(figure: Figure) -> dict[str, bytes]:
    """The figure as SVG, PDF and PNG, by kind: equal for equal figures."""
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # placed once, not once for each form of file
    found: dict[str, bytes] = {}
    for kind in FORMATS:
        sink = io.BytesIO()
        figure.savefig(sink, format=kind, metadata=_NO_DATE[kind])
        found[kind] = sink.getvalue()
    return found


def files(source: Source) -> Iterator[tuple[str, bytes]]:
    """(file name, bytes) of every figure. Raises MissingExtra without matplotlib."""
    with drawing():
        for name, figure in _figures(source):
            for kind, data in rendered(figure).items():
                yield f"{name}.{kind}", data


def _figures(source: Source) -> Iterator[tuple[str, Figure]]:
    for lineage in source.lineages:
        panels = [
            (form, source.knowledge[lineage, form]) for form in source.formats if (lineage, form) in source.knowledge
        ]
        if panels:
            yield f"knowledge-{slug(lineage)}", _knowledge(source, lineage, panels)
        own = [one for (name, _), one in source.fluency.items() if name == lineage]
        if own:
            yield f"fluency-{slug(lineage)}", _fluency(source, lineage, own)


def _knowledge(source: Source, lineage: str, panels: Sequence[tuple[str, Measure]]) -> Figure:
    figure, places = _grid(len(panels))
    for (form, one), axes in zip(panels, places, strict=True):
        calls = [c for c in source.report.calls if (c.lineage, c.format) == (lineage, form)]
        axes.set_ylim(0, 116)
        bands(axes, calls, top=110)
        _lines(axes, one, scale=100.0)
        axes.set_yticks([0, 25, 50, 75, 100])
        axes.set_title(f"{_name(plain_name(form))} ({_counts(one)})", loc="left")
        axes.set_ylabel("questions right (%)")
    _finish(
        figure,
        places[0],
        f"{_name(lineage)}: knowledge by generation, 95% intervals",
        source.control_of(lineage),
        banded=True,
    )
    return figure


def _fluency(source: Source, lineage: str, own: Sequence[Measure]) -> Figure:
    figure, places = _grid(len(own))
    for one, axes in zip(own, places, strict=True):
        share = one.unit == "share"
        _lines(axes, one, scale=100.0 if share else 1.0)
        axes.set_title(f"{one.label} ({_counts(one)})", loc="left", fontsize=7.5)
        axes.set_ylabel("texts (%)" if share else "nats per token" if one.unit == "nats" else one.unit)
        if share:
            axes.set_ylim(bottom=0)
    _finish(
        figure,
        places[0],
        f"{_name(lineage)}: fluency by generation, 95% intervals",
        source.control_of(lineage),
        banded=False,
    )
    return figure


def _grid(count: int) -> tuple[Figure, list[Axes]]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(count, COLUMNS)
    rows = -(-count // columns)
    figure = Figure(figsize=(max(2.9 * columns, 5.0), 2.3 * rows + 0.7), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, [figure.add_subplot(rows, columns, place + 1) for place in range(count)]


def _lines(axes: Axes, one: Measure, *, scale: float) -> None:
    if one.control is not None:
        _curve(axes, one.control, scale, color=CONTROL, label="control", dashes=(4, 2), marker="s")
    seeds = one.seeds
    if len(seeds) > 1:
        for place, curve in enumerate(seeds):
            x, y = _xy(curve, scale)
            axes.plot(x, y, color=OWN, linewidth=0.5, alpha=0.6, label="single seeds" if place == 0 else "")
    if one.main is not None:
        label = "mean over seeds" if one.main.seed is None else "this arm"
        _curve(axes, one.main, scale, color=OWN, label=label, dashes=(), marker="o")
    if one.reference is not None:
        axes.axhline(scale * one.reference, color=REFERENCE, linewidth=0.8, linestyle=":", label=one.reference_label)
    axes.set_xticks(_ticks([p.generation for curve in one.curves for p in curve.points]))
    axes.set_xlabel("generation")


def _curve(
    axes: Axes, curve: Curve, scale: float, *, color: str, label: str, dashes: tuple[int, ...], marker: str
) -> None:
    x, y = _xy(curve, scale)
    style: dict[str, Any] = {"dashes": dashes} if dashes else {}
    axes.plot(x, y, color=color, label=label, marker=marker, markersize=3, **style)
    bounded = [(p.generation, p.score.low, p.score.high) for p in curve.points]
    held = [(g, scale * low, scale * high) for g, low, high in bounded if low is not None and high is not None]
    if held:
        generations, low, high = zip(*held, strict=True)
        axes.fill_between(generations, low, high, color=color, alpha=0.18, linewidth=0)


def _xy(curve: Curve, scale: float) -> tuple[list[int], list[float]]:
    found = [(p.generation, scale * p.score.value) for p in curve.points if p.score.value is not None]
    return [x for x, _ in found], [y for _, y in found]


def bands(axes: Axes, calls: Sequence[StageCall], *, top: float) -> None:
    """Stretches of equal calls as bands with their letters; where seeds disagree, the band is undetermined."""
    stages: dict[int, set[str]] = {}
    for call in calls:
        stages.setdefault(call.generation, set()).add(call.stage)
    order = sorted(stages)
    stretches: list[tuple[str, int, int]] = []
    for generation in order:
        stage = next(iter(stages[generation])) if len(stages[generation]) == 1 else "undetermined"
        if stretches and stretches[-1][0] == stage:
            stretches[-1] = (stage, stretches[-1][1], generation)
        else:
            stretches.append((stage, generation, generation))
    for stage, first, last in stretches:
        axes.axvspan(first - 0.5, last + 0.5, color=BANDS[stage], alpha=0.16, linewidth=0)
        axes.text((first + last) / 2, top, LETTERS[stage], ha="center", va="center", fontsize=8, fontweight="bold")


def _ticks(generations: Sequence[int]) -> list[int]:
    found = sorted(set(generations))
    step = max(1, -(-len(found) // 8))
    return found[::step]


def _counts(one: Measure) -> str:
    counts = [p.score.n for p in one.main.points] if one.main else [0]
    return f"n {min(counts)}" if min(counts) == max(counts) else f"n {min(counts)} to {max(counts)}"


def _name(text: str) -> str:
    return safe_text(text, limit=48, keep="")


def _finish(figure: Figure, axes: Axes, title: str, control: str | None, *, banded: bool) -> None:
    stages = ", ".join(f"{LETTERS[key]} {name}" for key, name in STAGE_NAMES.items())
    figure.suptitle(f"{title}\nBands: {stages}" if banded else title, fontsize=9, x=0.01, ha="left")
    handles, labels = axes.get_legend_handles_labels()
    named = [f"control: {_name(control)}" if label == "control" and control else label for label in labels]
    figure.legend(handles, named, loc="outside lower left", ncols=4, fontsize=7)
