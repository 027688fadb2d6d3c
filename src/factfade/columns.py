"""Columns of the stored tables as arrays: nulls and absent columns in one form, whatever wrote the table."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from factfade.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]
Codes = NDArray[np.intp]
# Lineage, seed, generation (of an audit: the position of a checkpoint).
Place = tuple[str, int, int]


@dataclass(frozen=True, kw_only=True)
class Answers:
    """The columns of the evidence that say which answer was right and which was chosen, one entry per row.

    `options` and `accepted` hold sequences of text or None; `gold` and `choice` are NaN where null. `prompt_sha256` and
    `template_sha256` are "" where null.
    """

    options: NDArray[Any]
    accepted: NDArray[Any]
    template: NDArray[Any]
    gold: Floats
    choice: Floats
    prompt_sha256: NDArray[Any]
    template_sha256: NDArray[Any]

    @cached_property
    def templated(self) -> bool:
        """Whether any row was put through a chat template; looked for once, in all rows."""
        return bool(np.any(self.template_sha256 != ""))


def as_float(table: pd.DataFrame, column: str) -> Floats:
    """A column of booleans or numbers as float64, NaN where null or absent. Raises DataError for anything else."""
    import pandas as pd

    if column not in table.columns:
        return np.full(len(table), np.nan)
    series = table[column]
    if series.dtype == object:
        series = series.map({True: 1.0, False: 0.0}, na_action="ignore") if _booleans(series) else series
    try:
        return pd.to_numeric(series).to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError) as error:
        raise DataError(f"column {column!r} holds something that is no number", hint="see docs/evidence.md") from error


def _booleans(series: pd.Series[Any]) -> bool:
    present = series.dropna()
    return len(present) > 0 and all(isinstance(v, (bool, np.bool_)) for v in present)


def as_text(table: pd.DataFrame, column: str) -> NDArray[Any]:
    """A column of strings as an object array, "" where null or absent."""
    if column not in table.columns:
        return np.full(len(table), "", dtype=object)
    return table[column].astype(object).where(table[column].notna(), "").to_numpy(dtype=object)


def as_lists(table: pd.DataFrame, column: str) -> NDArray[Any]:
    """A column of lists as an object array, None where null or absent."""
    if column not in table.columns:
        return np.full(len(table), None, dtype=object)
    return table[column].astype(object).where(table[column].notna(), None).to_numpy(dtype=object)


def answers_of(evidence: pd.DataFrame) -> Answers:
    """The answer columns of an evidence table, absent ones as nulls."""
    return Answers(
        options=as_lists(evidence, "options"),
        accepted=as_lists(evidence, "accepted"),
        template=as_text(evidence, "template"),
        gold=as_float(evidence, "gold"),
        choice=as_float(evidence, "choice"),
        prompt_sha256=as_text(evidence, "prompt_sha256"),
        template_sha256=as_text(evidence, "template_sha256"),
    )


def factorized(values: NDArray[Any]) -> Codes:
    """Codes in the order of the values, so that nothing depends on the order of rows."""
    import pandas as pd

    return pd.factorize(values, sort=True)[0].astype(np.intp)


def clusters_of(evidence: pd.DataFrame) -> Codes:
    """The cluster of every row: its entity, and where it has none its item (whatever the wording)."""
    item, entity_text = factorized(as_text(evidence, "item")), as_text(evidence, "entity")
    entity = factorized(entity_text)
    return np.where(entity_text == "", item + int(entity.max(initial=0)) + 1, entity)


def names_of(evidence: pd.DataFrame) -> dict[Place, tuple[str, int | None]]:
    """Name and step of the checkpoint at every lineage, seed and position: of the columns `checkpoint` and `step`."""
    keys = evidence[["lineage", "seed", "generation"]]
    label, step = as_text(evidence, "checkpoint"), as_float(evidence, "step")
    found: dict[Place, tuple[str, int | None]] = {}
    for at in np.flatnonzero(~keys.duplicated().to_numpy()).tolist():
        lineage, seed, position = keys.iloc[at]
        name = str(label[at]) or ("the base" if position == 0 else f"checkpoint {position}")
        known = int(step[at]) if step[at] == step[at] else None
        found[str(lineage), int(seed), int(position)] = (name, known)
    return found


def positions_of(evidence: pd.DataFrame) -> dict[int, tuple[str, int | None]]:
    """Name and step of the checkpoint at every position: of the first lineage that has it."""
    return {place[2]: one for place, one in sorted(names_of(evidence).items(), reverse=True)}
