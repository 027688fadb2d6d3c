"""The schemas of the stored tables, and their form as data frames."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from factfade.records import (
    COMPLETIONS_COLUMNS,
    COMPLETIONS_KEY,
    EVIDENCE_COLUMNS,
    EVIDENCE_KEY,
    FLUENCY_COLUMNS,
    FLUENCY_KEY,
    SCHEMA_VERSION,
)

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

Table = Literal["evidence", "fluency", "completions"]


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Columns (name to Arrow type), key, and the columns that must be there and not null."""

    columns: Mapping[str, str]
    key: tuple[str, ...]
    required: tuple[str, ...]


_FLAGS = ("ended", "empty", "near_constant", "repetitive", "duplicate")
LAYOUTS: dict[str, Layout] = {
    "evidence": Layout(columns=EVIDENCE_COLUMNS, key=EVIDENCE_KEY, required=EVIDENCE_KEY),
    "fluency": Layout(columns=FLUENCY_COLUMNS, key=FLUENCY_KEY, required=(*FLUENCY_KEY, "tokens", "nll")),
    "completions": Layout(
        columns=COMPLETIONS_COLUMNS, key=COMPLETIONS_KEY, required=(*COMPLETIONS_KEY, "completion", "tokens", *_FLAGS)
    ),
}


def schema(table: Table) -> pa.Schema:
    """The Arrow schema of a table, with `schema_version` and the table's name in its metadata."""
    import pyarrow as pa

    fields = [pa.field(name, arrow_type(kind)) for name, kind in LAYOUTS[table].columns.items()]
    return pa.schema(fields, metadata={"schema_version": str(SCHEMA_VERSION), "table": table})


def arrow_type(kind: str) -> pa.DataType:
    """The Arrow type for a type's name in the column tables ("int64", "list<string>")."""
    import pyarrow as pa

    if kind.startswith("list<"):
        return pa.list_(arrow_type(kind[5:-1]))
    return {"string": pa.string(), "int64": pa.int64(), "float64": pa.float64(), "bool": pa.bool_()}[kind]


def family(kind: pa.DataType) -> str:
    """What a type holds, whatever its width: "text", "number", "bool", "list<text>" ..."""
    import pyarrow.types as pt

    if pt.is_dictionary(kind):
        return family(kind.value_type)
    if pt.is_list(kind) or pt.is_large_list(kind) or pt.is_fixed_size_list(kind):
        inner = family(kind.value_type)
        return f"list<{inner}>"
    if pt.is_string(kind) or pt.is_large_string(kind) or pt.is_string_view(kind):
        return "text"
    if pt.is_integer(kind) or pt.is_floating(kind):
        return "number"
    return "any" if pt.is_null(kind) else str(kind)


def frame(whole: pa.Table, table: Table) -> pd.DataFrame:
    """The data frame of a checked Arrow table: None, pandas.NA or NaN for null, as `tables.py` says."""
    import pandas as pd

    layout = LAYOUTS[table]
    series: dict[str, Any] = {}
    for name in whole.column_names:
        column = whole.column(name)
        kind = layout.columns.get(name)
        if kind is None:
            series[name] = column.to_pandas()
        elif kind == "string" or kind.startswith("list<"):
            series[name] = pd.Series(_shared(column), dtype=object)
        elif kind == "float64" or name in layout.required:
            series[name] = pd.Series(column.to_numpy())
        else:
            mask = column.is_null().to_numpy()
            filled = column.fill_null(False if kind == "bool" else 0).to_numpy()
            array = pd.arrays.BooleanArray if kind == "bool" else pd.arrays.IntegerArray
            series[name] = pd.Series(array(filled.copy(), mask.copy()))
    return pd.DataFrame(series)


def _shared(column: pa.ChunkedArray) -> list[Any]:
    """The values of a column of text or lists: a text that stands in many rows, of every generation, is held once."""
    held: dict[str, str] = {}
    values: list[Any] = []
    for chunk in column.chunks:
        for value in chunk.to_pylist():
            if isinstance(value, str):
                value = held.setdefault(value, value)
            elif value and isinstance(value[0], (str, type(None))):
                value = [held.setdefault(text, text) for text in value]
            values.append(value)
    return values
