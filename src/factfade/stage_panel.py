"""The stored tables, aligned for pairing: one panel of arrays per (lineage, seed, format), items by generations.

Rows are questions put, (item, wording), in one order for all panels, so that two generations or two lineages are
paired by `pair`. Nothing here decides anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from factfade.columns import Answers, Codes, Floats, answers_of, as_float, as_text, clusters_of, factorized
from factfade.errors import DataError
from factfade.records import COMPLETIONS_KEY, EVIDENCE_KEY, FLUENCY_KEY, OUTCOMES, PARSEABLE

if TYPE_CHECKING:
    import pandas as pd

Run = tuple[str, int]
# The columns of the evidence that a stage and its words need: the key, what a position is called, what is read here.
EVIDENCE_READ = (
    *EVIDENCE_KEY, "checkpoint", "step", "entity", "template", "options", "accepted", "gold", "choice",
    "choice_correct", "choice_confidence", "outcome", "answer_confidence", "prompt_sha256", "template_sha256",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One format of one lineage and seed. Matrices are (questions, generations); NaN where there is nothing.

    `keys` are the questions' global codes, ascending; `items` and `clusters` their codes (cluster: the entity,
    else the item). `choice` and `free` are 1 right, 0 wrong by choice and by parseable free answer; `parseable` is 1
    where the free answer is parseable, 0 where it is not. `rows` are positions in the evidence, -1 where absent.
    `not_asked` counts per generation.
    """

    lineage: str
    seed: int
    format: str
    generations: tuple[int, ...]
    keys: Codes
    items: Codes
    clusters: Codes
    choice: Floats
    free: Floats
    parseable: Floats
    choice_confidence: Floats
    answer_confidence: Floats
    rows: Codes
    not_asked: tuple[int, ...]
    by_choice: NDArray[np.bool_]

    @property
    def knowledge(self) -> Floats:
        """1 right, 0 wrong: by choice where generation 0 has one, else among parseable free answers."""
        return np.where(self.by_choice[:, None], self.choice, self.free)

    @property
    def confidence(self) -> Floats:
        """The confidence that belongs to `knowledge`."""
        return np.where(self.by_choice[:, None], self.choice_confidence, self.answer_confidence)


@dataclass(frozen=True, kw_only=True)
class TextPanel:
    """Texts of one lineage and seed by generation: sums over (texts, generations) and the texts' codes."""

    generations: tuple[int, ...]
    keys: Codes
    values: Mapping[str, Floats]


@dataclass(frozen=True, kw_only=True)
class Panels:
    """Everything that a stage call reads. `unknown_outcomes` counts outcome names that the schema does not have."""

    answers: Answers
    formats: Mapping[tuple[str, int, str], Panel]
    nats: Mapping[Run, TextPanel]
    junk: Mapping[Run, TextPanel]
    unknown_outcomes: int = 0
    missing_columns: Sequence[str] = field(default_factory=tuple)


def require(table: pd.DataFrame, key: Sequence[str], name: str) -> None:
    """Raises DataError when a table lacks a key column or repeats a key: nothing can be paired then."""
    absent = [c for c in key if c not in table.columns]
    if absent:
        raise DataError(f"the {name} table has no column {absent[0]!r}", hint="see docs/evidence.md")
    repeated = table.duplicated(list(key))
    if repeated.any():
        first = table.loc[repeated, list(key)].astype(str).sort_values(list(key)).iloc[0]
        place = ", ".join(f"{k}={v}" for k, v in first.items())
        raise DataError(
            f"{int(repeated.sum())} rows of the {name} table repeat a key, such as {place}",
            hint="items are paired by id: keep one row per key",
        )


def build_panels(evidence: pd.DataFrame, fluency: pd.DataFrame | None, own: pd.DataFrame | None) -> Panels:
    """Aligns the tables. Absent tables and optional columns leave NaN; a repeated or absent key raises DataError."""
    if not len(evidence):
        return Panels(answers=answers_of(evidence), formats={}, nats={}, junk={})
    require(evidence, EVIDENCE_KEY, "evidence")
    if not {"choice_correct", "outcome"} & set(evidence.columns):
        raise DataError("the evidence holds neither choice_correct nor outcome", hint="see docs/evidence.md")
    formats, unknown = _format_panels(evidence)
    return Panels(
        answers=answers_of(evidence),
        formats=formats,
        nats=_nats(fluency),
        junk=_junk(own),
        unknown_outcomes=unknown,
        missing_columns=tuple(c for c in ("choice_correct", "outcome") if c not in evidence.columns),
    )


def _format_panels(evidence: pd.DataFrame) -> tuple[dict[tuple[str, int, str], Panel], int]:
    item, wording = factorized(as_text(evidence, "item")), factorized(as_text(evidence, "wording"))
    key = item * (int(wording.max(initial=0)) + 1) + wording
    cluster = clusters_of(evidence)
    outcome = as_text(evidence, "outcome")
    known = np.isin(outcome, OUTCOMES)
    asked = outcome != "not_asked"
    given = known & asked
    columns: dict[str, Floats] = {
        "choice": np.where(asked, as_float(evidence, "choice_correct"), np.nan),
        "parseable": np.where(given, np.isin(outcome, list(PARSEABLE)), np.nan),
        "choice_confidence": as_float(evidence, "choice_confidence"),
        "answer_confidence": as_float(evidence, "answer_confidence"),
    }
    columns["free"] = np.where(columns["parseable"] == 1.0, outcome == "correct", np.nan)
    generation = evidence["generation"].to_numpy(dtype=np.int64)
    groups = evidence.groupby(["lineage", "seed", "format"], sort=True, observed=True).indices
    panels: dict[tuple[str, int, str], Panel] = {}
    for (lineage, seed, name), at in groups.items():
        panels[str(lineage), int(seed), str(name)] = _panel(
            (str(lineage), int(seed), str(name)), at, key, item, cluster, generation, asked, columns
        )
    return panels, int(np.sum(~known & (outcome != "")))


def _panel(
    place: tuple[str, int, str],
    at: Codes,
    key: Codes,
    item: Codes,
    cluster: Codes,
    generation: NDArray[np.int64],
    asked: NDArray[np.bool_],
    columns: Mapping[str, Floats],
) -> Panel:
    keys, first, row = np.unique(key[at], return_index=True, return_inverse=True)
    generations, column = np.unique(generation[at], return_inverse=True)
    rows = np.full((len(keys), len(generations)), -1, dtype=np.intp)
    rows[row, column] = at
    matrices = {name: np.where(rows >= 0, values[np.maximum(rows, 0)], np.nan) for name, values in columns.items()}
    start = np.flatnonzero(generations == 0)
    by_choice = np.full(len(keys), True)
    if len(start):
        by_choice = ~np.isnan(matrices["choice"][:, start[0]])
    not_asked = np.bincount(column, weights=~asked[at], minlength=len(generations))
    return Panel(
        lineage=place[0],
        seed=place[1],
        format=place[2],
        generations=tuple(int(g) for g in generations),
        keys=keys,
        items=item[at[first]],
        clusters=cluster[at[first]],
        rows=rows,
        not_asked=tuple(int(c) for c in not_asked),
        by_choice=by_choice,
        **matrices,
    )


def _text_panels(table: pd.DataFrame, text: str, columns: Mapping[str, Floats]) -> dict[Run, TextPanel]:
    key = factorized(as_text(table, text))
    generation = table["generation"].to_numpy(dtype=np.int64)
    panels: dict[Run, TextPanel] = {}
    for (lineage, seed), at in table.groupby(["lineage", "seed"], sort=True, observed=True).indices.items():
        keys, row = np.unique(key[at], return_inverse=True)
        generations, column = np.unique(generation[at], return_inverse=True)
        values: dict[str, Floats] = {}
        for name, source in columns.items():
            values[name] = np.full((len(keys), len(generations)), np.nan)
            values[name][row, column] = source[at]
        panels[str(lineage), int(seed)] = TextPanel(
            generations=tuple(int(g) for g in generations), keys=keys, values=values
        )
    return panels


def _nats(fluency: pd.DataFrame | None) -> dict[Run, TextPanel]:
    if fluency is None or not len(fluency):
        return {}
    require(fluency, FLUENCY_KEY, "fluency")
    table = fluency[fluency["kind"] == "own_under_start"]
    return _text_panels(table, "text", {name: as_float(table, name) for name in ("nll", "tokens")})


def _junk(own: pd.DataFrame | None) -> dict[Run, TextPanel]:
    if own is None or not len(own):
        return {}
    require(own, COMPLETIONS_KEY, "completions")
    marks = [as_float(own, name) for name in ("empty", "near_constant", "repetitive")]
    # A mark that was not measured leaves the text unknown, unless another mark already says junk.
    junk = np.where(np.any([m == 1.0 for m in marks], axis=0), 1.0, np.sum(marks, axis=0))
    return _text_panels(own, "prompt", {"junk": junk})


def pair(first: Codes, second: Codes) -> tuple[Codes, Codes]:
    """Positions of the keys that both have, in the same order."""
    _, a, b = np.intersect1d(first, second, assume_unique=True, return_indices=True)
    return a, b


def text_side(table: Mapping[Run, TextPanel], run: Run, generation: int) -> tuple[TextPanel, int] | None:
    """The texts of a run and the position of a generation among them; None where there are none."""
    panel = table.get(run)
    if panel is None or generation not in panel.generations:
        return None
    return panel, panel.generations.index(generation)
