"""Questions that went from right to wrong and back: how many, and the most telling ones with both answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from factfade.records import PARSEABLE
from factfade.report import estimates
from factfade.report.data import Change, Said, Transitions
from factfade.stage_panel import Panel, Panels

if TYPE_CHECKING:
    import pandas as pd

# What is read of a question's row. All are optional in the schema but the key.
COLUMNS = (
    "item", "wording", "domain", "entity", "template", "options", "gold", "accepted", "choice", "choice_confidence",
    "answer", "answer_confidence", "outcome",
)  # fmt: skip


def transitions(panels: Panels, lineage: str, formats: Sequence[str]) -> tuple[Transitions, ...]:
    """The four transitions per format and seed, over the questions that were judged at both ends.

    Wordings are counted singly; the interval of `kept` is robust to wordings and entities moving together.
    """
    found: list[Transitions] = []
    for format in formats:
        for panel in _ended(panels, lineage, format):
            first, last = panel.knowledge[:, 0], panel.knowledge[:, -1]
            both = ~np.isnan(first) & ~np.isnan(last)
            a, b = first == 1.0, last == 1.0
            held = both & a
            kept = estimates.share(
                "kept", last[held], panel.items[held], panel.clusters[held], "nothing was right at first"
            )
            found.append(
                Transitions(
                    format=format,
                    seed=panel.seed,
                    right_right=int((both & a & b).sum()),
                    right_wrong=int((both & a & ~b).sum()),
                    wrong_right=int((both & ~a & b).sum()),
                    wrong_wrong=int((both & ~a & ~b).sum()),
                    n=int(both.sum()),
                    kept=kept,
                )
            )
    return tuple(found)


@dataclass(frozen=True, kw_only=True)
class _Put:
    """A question as it was put and judged: its panel, its row there, and the stored rows at both ends."""

    panel: Panel
    row: int
    before: Mapping[str, Any]
    after: Mapping[str, Any]


def changes(
    evidence: pd.DataFrame, panels: Panels, lineage: str, formats: Sequence[str], questions: Mapping[str, str]
) -> tuple[tuple[Change, ...], tuple[Change, ...]]:
    """The items that were lost and those that were gained between first and last generation, most telling first.

    Order: changed in most seeds, then in most formats, then with the most telling answer now, then by id. Each item
    stands once, in the format whose answer now tells most: a readable one, in words, confident.
    """
    runs = [panel for format in formats for panel in _ended(panels, lineage, format)]
    asked: Counter[int] = Counter()
    for format in formats:
        judged = [_judged(panel) for panel in runs if panel.format == format]
        asked.update(set[int]().union(*(set(items.tolist()) for items in judged)))
    seeds_run = len({panel.seed for panel in runs})
    columns = {name: evidence[name].to_numpy(dtype=object) for name in COLUMNS if name in evidence.columns}
    found: list[tuple[Change, ...]] = []
    for lost in (True, False):
        by_item: dict[int, list[_Put]] = {}
        for panel in runs:
            step = panel.knowledge[:, -1] - panel.knowledge[:, 0]
            for row in np.flatnonzero(step == (-1.0 if lost else 1.0)).tolist():
                first, last = int(panel.rows[row, 0]), int(panel.rows[row, -1])
                put = _Put(panel=panel, row=row, before=_stored(columns, first), after=_stored(columns, last))
                by_item.setdefault(int(panel.items[row]), []).append(put)
        changed = [_change(puts, questions, asked[item], seeds_run, lost=lost) for item, puts in by_item.items()]
        changed.sort(key=lambda pair: pair[0])
        found.append(tuple(change for _, change in changed))
    return found[0], found[1]


def _ended(panels: Panels, lineage: str, format: str) -> list[Panel]:
    """The panels of one arm and format that have two ends to compare, by seed."""
    return [
        panel
        for (name, _, of), panel in sorted(panels.formats.items())
        if name == lineage and of == format and len(panel.generations) > 1
    ]


def _judged(panel: Panel) -> np.ndarray:
    """Codes of the items that are judged at both ends."""
    return panel.items[~np.isnan(panel.knowledge[:, 0] + panel.knowledge[:, -1])]


def _change(
    puts: Sequence[_Put], questions: Mapping[str, str], asked: int, seeds_run: int, *, lost: bool
) -> tuple[tuple[Any, ...], Change]:
    """The change of one item, with what it is sorted by."""
    best = max(puts, key=lambda put: (_telling(put.after, lost=lost), put.panel.format, -put.panel.seed, put.row))
    after, item = best.after, str(best.after["item"])
    change = Change(
        item=item,
        question=_question(after, questions, item),
        right=_gold(after),
        domain=_text(after["domain"]) or "",
        format=best.panel.format,
        wording=_text(after["wording"]) or "",
        before=_said(best.before),
        after=_said(after),
        since=_since(best.panel, best.row),
        formats=len({put.panel.format for put in puts}),
        formats_asked=asked,
        seeds=len({put.panel.seed for put in puts}),
        seeds_run=seeds_run,
    )
    return (-change.seeds, -change.formats, *(-x for x in _telling(after, lost=lost)), item), change


def _since(panel: Panel, row: int) -> int:
    """The first generation from which the judgement stays what it is in the last one."""
    judged = panel.knowledge[row]
    column = len(panel.generations) - 1
    while column > 0 and judged[column - 1] == judged[-1]:
        column -= 1
    return panel.generations[column]


def _telling(row: Mapping[str, Any], *, lost: bool) -> tuple[float, float, float]:
    """What a reader learns most from: a free answer that says the same as the judgement, then any readable one; one
    in words before a letter; then confidence."""
    readable = (
        1.0 if row["outcome"] == ("wrong" if lost else "correct") else 0.5 if row["outcome"] in PARSEABLE else 0.0
    )
    words = 1.0 if readable and len((_text(row["answer"]) or "").strip()) > 2 else 0.0
    confidence = _real(row["choice_confidence"])
    return readable, words, confidence if confidence is not None else (_real(row["answer_confidence"]) or 0.0)


# ---------------------------------------------------------------------------------------------------------------
# Stored rows as values


def _stored(columns: Mapping[str, np.ndarray], at: int) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(COLUMNS)
    return row | {name: values[at] for name, values in columns.items()}


def _question(row: Mapping[str, Any], questions: Mapping[str, str], item: str) -> str:
    if questions.get(item):
        return questions[item]
    parts = [p for p in (_text(row["template"]), _text(row["entity"])) if p]
    return " of ".join(parts) if parts else f"item {item}"


def _gold(row: Mapping[str, Any]) -> str:
    shown = _option(row, "gold")
    accepted = row["accepted"]
    return shown if shown is not None else str(accepted[0]) if isinstance(accepted, list) and accepted else ""


def _said(row: Mapping[str, Any]) -> Said:
    return Said(
        choice=_option(row, "choice"),
        choice_confidence=_real(row["choice_confidence"]),
        answer=_text(row["answer"]),
        answer_confidence=_real(row["answer_confidence"]),
        outcome=_text(row["outcome"]),
    )


def _option(row: Mapping[str, Any], column: str) -> str | None:
    options, index = row["options"], _real(row[column])
    if not isinstance(options, list) or index is None or not 0 <= int(index) < len(options):
        return None
    return str(options[int(index)])


def _real(value: Any) -> float | None:
    """A number, None where it is null or not finite."""
    import math

    if not isinstance(value, (int, float, np.integer, np.floating)) or isinstance(value, bool):
        return None
    return float(value) if math.isfinite(value) else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
