"""A sheet: rows with typed columns, written as parquet and as CSV that no spreadsheet takes for formulas.

Text is never null (nothing is ""), numbers and truth values may be. In CSV every text is quoted, null is an empty cell,
and a text that a spreadsheet would execute gets one apostrophe in front; so does one that begins with an apostrophe,
which makes the first apostrophe of any text cell the writer's. Numbers are written so that they read back equal, and
are never touched: a minus sign stays one. Source of the rule: OWASP, CSV injection.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from factfade.errors import DataError
from factfade.text import safe_text

if TYPE_CHECKING:
    import pandas as pd

KINDS = {"text": "object", "int": "Int64", "float": "float64", "bool": "boolean"}
# What spreadsheets take for the start of a formula (with the wide forms that some fold), and the guard itself.
ACTIVE = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20", "'")
MAX_CELL = 2**27


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """A table by name. `columns` maps names to "text", "int", "float" or "bool"; `frame` has exactly these columns:
    text as `object` without null, `Int64`, `float64` with NaN for null, `boolean`."""

    name: str
    columns: Mapping[str, str]
    frame: pd.DataFrame

    def __len__(self) -> int:
        return len(self.frame)


def sheet(name: str, columns: Mapping[str, str], rows: Iterable[Sequence[Any]] | Mapping[str, Any]) -> Sheet:
    """A sheet of rows (values in the order of `columns`), or of columns by name. None is null; "" in text."""
    import pandas as pd

    if isinstance(rows, Mapping):
        series = {column: list(rows[column]) for column in columns}
    else:
        held = [tuple(row) for row in rows]
        series = {column: [row[i] for row in held] for i, column in enumerate(columns)}
    typed = {column: _typed(series[column], kind) for column, kind in columns.items()}
    return Sheet(name=name, columns=dict(columns), frame=pd.DataFrame(typed, columns=list(columns)))


def _typed(values: list[Any], kind: str) -> pd.Series[Any]:
    import pandas as pd

    if kind == "text":
        return pd.Series([v if isinstance(v, str) else "" for v in values], dtype=object)
    plain = [None if _null(v) else v for v in values]
    if kind == "float":
        return pd.Series([math.nan if v is None else float(v) for v in plain], dtype="float64")
    if kind == "int":
        return pd.Series([None if v is None else int(v) for v in plain], dtype="Int64")
    return pd.Series([None if v is None else bool(v) for v in plain], dtype="boolean")


def _null(value: Any) -> bool:
    import pandas as pd

    return value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))


# ---------------------------------------------------------------------------------------------------------------
# Parquet


def to_parquet(given: Sheet) -> bytes:
    """The sheet as parquet: types as they are, zstd, page checksums. Equal sheets give equal bytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {"text": pa.string(), "int": pa.int64(), "float": pa.float64(), "bool": pa.bool_()}
    fields = [pa.field(name, types[kind], nullable=kind != "text") for name, kind in given.columns.items()]
    arrays = [
        pa.array(_plain(given.frame[name]), type=types[kind], from_pandas=True) for name, kind in given.columns.items()
    ]
    table = pa.Table.from_arrays(arrays, schema=pa.schema(fields, metadata={"sheet": given.name}))
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", compression_level=3, version="2.6", write_page_checksum=True)
    return sink.getvalue().to_pybytes()


def _plain(series: pd.Series[Any]) -> list[Any]:
    return series.astype(object).where(series.notna(), None).tolist()


# ---------------------------------------------------------------------------------------------------------------
# CSV


def guarded(text: str) -> str:
    """The text as a cell that no spreadsheet executes."""
    return f"'{text}" if text.startswith(ACTIVE) else text


def unguarded(cell: str) -> str:
    """The text of a guarded cell."""
    return cell[1:] if cell.startswith("'") else cell


def to_csv(given: Sheet) -> bytes:
    """The sheet as CSV (RFC 4180, UTF-8): a head, quoted text, numbers in full precision."""
    kinds = list(given.columns.values())
    lines = [",".join(_quoted(name) for name in given.columns)]
    columns = [_plain(given.frame[name]) for name in given.columns]
    for values in zip(*columns, strict=True):
        lines.append(",".join(_cell(value, kind) for value, kind in zip(values, kinds, strict=True)))
    return ("\n".join(lines) + "\n").encode("utf-8")


def _cell(value: Any, kind: str) -> str:
    if value is None:
        return ""
    if kind == "text":
        return _quoted(value)
    if kind == "bool":
        return "True" if value else "False"
    return str(int(value)) if kind == "int" else repr(float(value))


def _quoted(text: str) -> str:
    return '"' + guarded(text).replace('"', '""') + '"'


def read(path: str | Path, columns: Mapping[str, str]) -> Sheet:
    """A sheet that was written as `.parquet` or `.csv`, equal to what it was. DataError for anything else."""
    place = Path(path)
    try:
        data = place.read_bytes()
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", file=place) from None
    rows = _parquet_rows(data, place) if place.suffix == ".parquet" else _csv_rows(data, columns, place)
    if list(rows) != list(columns):
        raise DataError("has other columns than this sheet", file=place, hint="see docs/export-and-verify.md")
    return sheet(place.stem, columns, rows)


def _parquet_rows(data: bytes, place: Path) -> dict[str, list[Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True).read().to_pydict()
    except (pa.ArrowException, OSError, ValueError) as error:
        said = safe_text(error, limit=200, keep="")
        raise DataError(f"is no parquet file that can be read: {said}", file=place) from None


def _csv_rows(data: bytes, columns: Mapping[str, str], place: Path) -> dict[str, list[Any]]:
    limit = csv.field_size_limit(MAX_CELL)
    try:
        reader = csv.reader(io.StringIO(data.decode("utf-8"), newline=""), strict=True)
        head = next(reader, [])
        rows = [row for row in reader if row]
        if any(len(row) != len(head) for row in rows):
            raise ValueError("a row has another number of cells than the head")
        kinds = [columns.get(name, "text") for name in head]
        held = [[_value(cell, kind) for cell, kind in zip(row, kinds, strict=True)] for row in rows]
    except (csv.Error, ValueError) as error:
        said = safe_text(error, limit=200, keep="")
        raise DataError(f"is no CSV of this sheet: {said}", file=place) from None
    finally:
        csv.field_size_limit(limit)
    return {name: [row[i] for row in held] for i, name in enumerate(head)}


def _value(cell: str, kind: str) -> Any:
    if kind == "text":
        return unguarded(cell)
    if cell == "":
        return None
    if kind == "bool":
        return {"True": True, "False": False}[cell] if cell in ("True", "False") else float("x")
    return int(cell) if kind == "int" else float(cell)
