"""The arena as text, Markdown and plain data."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from factfade.arena.rows import Arena
from factfade.arena.words import interval, p_text, points
from factfade.report.wording import plain_name
from factfade.text import safe_text

CLOCKS = {"seconds": "seconds by the clock", "processor_seconds": "seconds of the processor"}


def onset(seen: Sequence[int | None]) -> str:
    """Onsets over seeds: how many have one, and the middle generation of those."""
    there = sorted(one for one in seen if one is not None)
    if not there:
        return "none"
    return f"{len(there)}/{len(seen)}, g{float(np.median(there)):g}"


def main_table(arena: Arena) -> tuple[list[str], list[list[str]]]:
    """Heads and cells: knowledge, the contrast, onsets, format, fluency."""
    heads = ["arm", "seeds", "knowledge %", f"minus {arena.baseline}", "p (Holm)", "B", "C", "parseable %", "nats", ""]
    cells: list[list[str]] = []
    for row in arena.rows:
        contrast = row.contrast
        marks = [
            *(["shown"] if contrast and contrast.shown else []),
            *(["own budget"] if row.budget != "equal" else []),
        ]
        nats = "?" if row.nats.value is None else f"{row.nats.value:+.2f}"
        cells.append(
            [
                row.arm,
                str(len(row.seeds)),
                interval(row.knowledge),
                "baseline" if contrast is None else interval(contrast.difference, signed=True),
                "" if contrast is None else p_text(contrast.p_holm) if contrast.declared else "not declared",
                onset(row.onsets["B"]),
                onset(row.onsets["C"]),
                points(row.parseable.value),
                nats,
                ", ".join(marks),
            ]
        )
    return heads, cells


def kept_table(arena: Arena) -> tuple[list[str], list[list[str]]]:
    """Knowledge by format and by domain."""
    heads = ["arm", *(plain_name(name) for name in arena.formats), *(name or "?" for name in arena.domains)]
    cells = [
        [
            row.arm,
            *(_mean(row.formats.get(name)) for name in arena.formats),
            *(_mean(row.domains.get(name)) for name in arena.domains),
        ]
        for row in arena.rows
    ]
    start = [
        "(generation 0)",
        *(points(arena.start.get(name)) for name in arena.formats),
        *(points(arena.start_domains.get(name)) for name in arena.domains),
    ]
    return heads, [start, *cells]


def cost_table(arena: Arena) -> tuple[list[str], list[list[str]]]:
    """What a run of each arm costs, over all its generations."""
    base = arena.base.costs[arena.clock] or 1.0
    heads = [
        "arm", "tokens trained", "steps", "human %", "passes", "synthesized", "scored", "verifier", "detector",
        "seconds", "ratio", "peak MB", "front",
    ]  # fmt: skip
    cells = [
        [
            row.arm,
            _count(row.costs["trained_tokens"]),
            _count(row.costs["optimizer_steps"]),
            f"{100 * row.costs['human_share']:.0f}",
            f"{row.costs['repeats']:.1f}",
            *(
                _count(row.costs[name])
                for name in ("synthesized_tokens", "scored_tokens", "verifier_calls", "detector_calls")
            ),
            f"{row.costs[arena.clock]:.0f}",
            f"{row.costs[arena.clock] / base:.2f}",
            f"{row.costs['peak_memory_bytes'] / 1e6:.0f}",
            "yes" if row.front else "",
        ]
        for row in arena.rows
    ]
    return heads, cells


def lines(arena: Arena, *, width: int | None = None) -> list[str]:
    """What `factfade arena` prints. A table wider than `width` goes on below with its other columns; None: as wide as
    it is."""
    out = [f"Arena {arena.name}: generation {arena.generation}, {len(arena.rows)} arms, {len(arena.runs)} runs", ""]
    for title, heads, cells in titled(arena):
        out += [*_wrapped(title, width), "", *_aligned(heads, cells, width), ""]
    for sentence in arena.sentences:
        out += _wrapped(safe_text(sentence, limit=4000), width)
    return out


def markdown(arena: Arena) -> str:
    """The same as Markdown."""
    out: list[str] = []
    for title, heads, cells in titled(arena):
        table = [_row(heads), _row(["---"] * len(heads)), *(_row(line) for line in cells)]
        out += [f"**{title}**", "", *table, ""]
    out += [f"- {safe_text(sentence, limit=4000)}" for sentence in arena.sentences]
    return "\n".join(out) + "\n"


def to_json(arena: Arena) -> dict[str, Any]:
    """Plain data of everything above, with every run's own numbers."""
    return asdict(arena)


def titled(arena: Arena) -> list[tuple[str, list[str], list[list[str]]]]:
    """Every table with its title, its heads and its cells."""
    return [
        (
            "What was kept: knowledge (mean over formats, 95% t interval over run seeds), first onset of B and C in "
            "any format (seeds that have one, middle generation), free answers that can be parsed, rise of own text's "
            "surprisal under the start model",
            *main_table(arena),
        ),
        ("Knowledge by format and by domain, % right by choice, means over seeds", *kept_table(arena)),
        (
            "What a run costs: means over seeds; human % of the tokens trained on; passes over the pool per training; "
            f"{CLOCKS[arena.clock]} of synthesis, pool and training; front: nothing keeps as much in as little time "
            "and with as little human text",
            *cost_table(arena),
        ),
    ]


def _mean(found: Any) -> str:
    return "" if found is None else points(found.value)


def _count(value: float) -> str:
    return f"{value:,.0f}"


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(safe_text(cell, limit=200).replace("|", "\\|") for cell in cells) + " |"


def _wrapped(text: str, width: int | None) -> list[str]:
    return [text] if width is None else textwrap.wrap(text, max(width, 20))


def _aligned(heads: Sequence[str], cells: Sequence[Sequence[str]], width: int | None) -> list[str]:
    table = [[safe_text(cell, limit=60) for cell in line] for line in (heads, *cells)]
    widths = [max(len(line[at]) for line in table) for at in range(len(heads))]
    found: list[str] = []
    for columns in _parts(widths, width):
        found += [""] if found else []
        found += [
            "  ".join(line[at].rjust(widths[at]) if at else line[at].ljust(widths[at]) for at in (0, *columns)).rstrip()
            for line in table
        ]
    return found


def _parts(widths: Sequence[int], width: int | None) -> list[list[int]]:
    """The columns after the first, in runs that fit beside it; at least one each."""
    parts: list[list[int]] = [[]]
    used = widths[0]
    for at, own in enumerate(widths[1:], start=1):
        if width is not None and parts[-1] and used + 2 + own > width:
            parts.append([])
            used = widths[0]
        parts[-1].append(at)
        used += 2 + own
    return parts
