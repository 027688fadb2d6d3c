"""The stored tables: evidence, fluency, completions. Their meaning stands in the public record of evidence.

Written as parquet (equal rows give equal bytes), read from parquet or JSONL, one file or a folder of shards. What is
read has been checked row by row; a bad row is a `DataError` with its file and line (the row's number in parquet).
Unknown columns are kept; known columns that are absent are null. pyarrow and pandas are imported on first use.

In the data frames: text is `object` with None; whole numbers that may be null are `Int64`, truth values `boolean`
(both with pandas.NA); floats have NaN for null; lists are Python lists or None.
"""

from __future__ import annotations

import bisect
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from factfade import durable
from factfade.errors import DataError
from factfade.records import SCHEMA_VERSION
from factfade.tablerows import Part, check_rows, read_jsonl
from factfade.tableschema import LAYOUTS, Table, arrow_type, family, frame, schema
from factfade.text import safe_text

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

SUFFIXES = (".parquet", ".jsonl")


# ---------------------------------------------------------------------------------------------------------------
# Writing


def to_bytes(rows: Sequence[Mapping[str, Any]] | pd.DataFrame, table: Table) -> bytes:
    """The parquet bytes of rows (mappings, or a data frame) in the order given; DataError for a bad row.

    All known columns are written, in the order of the schema, then unknown ones in order of their names. The bytes
    depend on the rows and on the version of pyarrow, and on nothing else.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    known = schema(table)
    columns = _columns(rows)
    absent = [None] * (len(next(iter(columns.values()))) if columns else 0)
    order = [*known.names, *sorted(set(columns) - set(known.names))]
    arrays, fields = [], []
    for name in order:
        kind = known.field(name).type if name in known.names else None
        array = _array(columns.get(name, absent), kind, name)
        arrays.append(array)
        fields.append(pa.field(name, array.type))
    written = pa.Table.from_arrays(arrays, schema=pa.schema(fields, metadata=known.metadata))
    part = Part(table=written, name=f"rows of {table}", lines=range(1, written.num_rows + 1))
    _check([part], table)
    sink = pa.BufferOutputStream()
    pq.write_table(written, sink, compression="zstd", compression_level=3, version="2.6", write_page_checksum=True)
    return sink.getvalue().to_pybytes()


def write(path: Path, rows: Sequence[Mapping[str, Any]] | pd.DataFrame, table: Table) -> None:
    """Write rows as one parquet file, durably."""
    durable.write_bytes(path, to_bytes(rows, table))


def rows(data: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a data frame as plain mappings, with None for every kind of null."""
    columns = _columns(data)
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def _columns(rows: Sequence[Mapping[str, Any]] | pd.DataFrame) -> dict[str, list[Any]]:
    if hasattr(rows, "columns"):
        data: Any = rows
        return {str(name): data[name].astype(object).where(data[name].notna(), None).tolist() for name in data.columns}
    plain: Any = rows
    names = dict.fromkeys(name for row in plain for name in row)
    return {name: [row.get(name) for row in plain] for name in names}


def _array(values: list[Any], kind: pa.DataType | None, name: str) -> pa.Array:
    import pyarrow as pa

    try:
        return pa.array(values, type=kind)
    except (pa.ArrowException, OverflowError, TypeError, ValueError):
        line = _first_misfit(values, kind)
    shown = safe_text(repr(values[line]), limit=80, keep="")
    wanted = f"where {kind} is expected" if kind is not None else "of another type than the rows before"
    raise DataError(f"column {name} has {shown} {wanted}", file="rows", line=line + 1)


def _first_misfit(values: list[Any], kind: pa.DataType | None) -> int:
    """The first value that does not fit those before it."""
    return bisect.bisect_left(range(len(values)), True, key=lambda i: not _converts(values[: i + 1], kind))


def _converts(values: list[Any], kind: pa.DataType | None) -> bool:
    import pyarrow as pa

    try:
        pa.array(values, type=kind)
    except (pa.ArrowException, OverflowError, TypeError, ValueError):
        return False
    return True


# ---------------------------------------------------------------------------------------------------------------
# Reading


def read(path: str | Path, table: Table) -> pd.DataFrame:
    """A table from one parquet or JSONL file, or from a folder of them (in name order); checked, keys unique."""
    return combine((parse_file(file, table) for file in _files(Path(path))), table)


def from_bytes(data: bytes, table: Table, *, name: str | Path) -> pd.DataFrame:
    """A table from the bytes of one file; `name` (for messages) says by its suffix which kind it is."""
    return combine([parse(data, table, name=name)], table)


def parse(data: bytes, table: Table, *, name: str | Path) -> Part:
    """The bytes of one file as a checked part, to be combined with others."""
    if str(name).endswith(".jsonl"):
        part = _from_jsonl(data, table, str(name))
    else:
        part = _from_parquet(data, table, str(name))
    check_rows(part, table, LAYOUTS[table].required)
    return part


def combine(parts: Iterable[Part], table: Table) -> pd.DataFrame:
    """One data frame of all parts, in their order; DataError names both places of a key that occurs twice."""
    import pyarrow as pa

    held = list(parts)
    if not held:
        return frame(schema(table).empty_table(), table)
    _check_keys(held, table)
    try:
        whole = pa.concat_tables([part.table for part in held], promote_options="permissive")
    except pa.ArrowException as error:
        raise DataError(f"the shards do not fit together: {error}", file=Path(held[0].name).parent) from None
    try:
        return frame(whole, table)
    except (pa.ArrowException, OverflowError, ValueError) as error:  # a date that Python has no date for
        raise DataError(f"holds a value that cannot be read: {error}", file=held[0].name) from None


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise DataError("there is no such file or folder", file=path)
    files = sorted(f for f in path.iterdir() if f.suffix in SUFFIXES and not f.name.startswith("."))
    if not files:
        raise DataError("the folder holds no .parquet and no .jsonl file", file=path)
    return files


def parse_file(path: Path, table: Table) -> Part:
    """One file as a checked part, to be combined with others."""
    if path.suffix not in SUFFIXES:
        raise DataError("a table is a .parquet or a .jsonl file", file=path)
    if not path.is_file():
        raise DataError("is no regular file", file=path)
    try:
        return parse(path.read_bytes(), table, name=path)
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", file=path) from None


def _from_parquet(data: bytes, table: Table, name: str) -> Part:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        found = pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True).read()
        found.validate(full=True)  # text that is not UTF-8, offsets that lead nowhere
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"is no parquet file that can be read: {error}", file=name) from None
    version = (found.schema.metadata or {}).get(b"schema_version", str(SCHEMA_VERSION).encode())
    _check_version(version.decode("ascii", "replace"), name)
    if len(set(found.column_names)) != len(found.column_names):
        raise DataError("has two columns of one name", file=name)
    return _typed(Part(table=found, name=name, lines=range(1, found.num_rows + 1)), table)


def _from_jsonl(data: bytes, table: Table, name: str) -> Part:
    import pyarrow as pa

    columns = LAYOUTS[table].columns
    rows, lines, version = read_jsonl(data, columns, name)
    _check_version(version, name)
    names = dict.fromkeys([*columns, *(key for row in rows for key in row)])
    arrays: dict[str, pa.Array] = {}
    for key in names:
        kind = arrow_type(columns[key]) if key in columns else None
        try:
            arrays[key] = pa.array([row.get(key) for row in rows], type=kind)
        except (pa.ArrowException, OverflowError, TypeError, ValueError):
            mixed = _first_misfit([row.get(key) for row in rows], kind)
            shown = safe_text(key, limit=80, keep="")
            raise DataError(f"column {shown} is of another type than before", file=name, line=lines[mixed]) from None
    return _typed(Part(table=pa.table(arrays), name=name, lines=lines), table)


def _check_version(version: str, name: str) -> None:
    if version != str(SCHEMA_VERSION):
        raise DataError(
            f"has schema version {safe_text(version, limit=20, keep='')}; version {SCHEMA_VERSION} is read",
            file=name,
            hint="read it with the factfade version that wrote it",
        )


def _typed(part: Part, table: Table) -> Part:
    """The part with every known column present and of its type; DataError when one has a type of another kind."""
    import pyarrow as pa

    known = schema(table)
    arrays, fields = [], []
    for field in known:
        if field.name not in part.table.column_names:
            arrays.append(pa.nulls(part.table.num_rows, field.type))
        else:
            arrays.append(_cast(part, field))
        fields.append(field)
    for name in part.table.column_names:
        if name not in known.names:
            arrays.append(part.table.column(name))
            fields.append(pa.field(name, arrays[-1].type))
    typed = pa.Table.from_arrays(arrays, schema=pa.schema(fields, metadata=known.metadata))
    return Part(table=typed, name=part.name, lines=part.lines)


def _cast(part: Part, field: pa.Field) -> pa.ChunkedArray:
    import pyarrow as pa

    column = part.table.column(field.name)
    if family(column.type) != family(field.type) and not pa.types.is_null(column.type):
        problem = f"column {field.name} has type {column.type} where {field.type} is expected"
        raise DataError(problem, file=part.name)
    try:
        return column.cast(field.type)
    except pa.ArrowException as error:
        raise DataError(f"column {field.name} does not fit {field.type}: {error}", file=part.name) from None


def _check(parts: list[Part], table: Table) -> None:
    for part in parts:
        check_rows(part, table, LAYOUTS[table].required)
    _check_keys(parts, table)


def _check_keys(parts: Sequence[Part], table: Table) -> None:
    import pandas as pd

    key = list(LAYOUTS[table].key)
    keys = pd.concat([part.table.select(key).to_pandas() for part in parts], ignore_index=True)
    twice = keys.duplicated(keep=False)
    if not twice.any():
        return
    second = int(keys.duplicated().to_numpy().argmax())
    row = keys.iloc[second]
    first = int((keys == row).all(axis=1).to_numpy().argmax())
    starts = [0]
    for part in parts:
        starts.append(starts[-1] + part.table.num_rows)

    def place(index: int) -> tuple[str, int]:
        part = bisect.bisect_right(starts, index) - 1
        return parts[part].name, parts[part].lines[index - starts[part]]

    named = ", ".join(f"{name} {value!r}" for name, value in keys.iloc[[second]].to_dict("records")[0].items())
    file, line = place(second)
    earlier = ":".join(str(piece) for piece in place(first))
    problem = f"the same row twice ({safe_text(named, limit=300, keep='')}); the first is {earlier}"
    raise DataError(problem, file=file, line=line)


# ---------------------------------------------------------------------------------------------------------------
# Completeness


@dataclass(frozen=True, kw_only=True, order=True)
class Missing:
    """A question that a generation lacks although others of its format were put there."""

    lineage: str
    seed: int
    format: str
    generation: int
    wording: str
    item: str


def missing_items(evidence: pd.DataFrame) -> list[Missing]:
    """Questions (item and wording) of a lineage's format that one of the generations with that format lacks."""
    found: list[Missing] = []
    groups: Any = evidence.groupby(["lineage", "seed", "format"], sort=True)
    for (lineage, seed, form), rows in groups:
        pairs = {
            generation: set(zip(part["item"], part["wording"], strict=True))
            for generation, part in rows.groupby("generation", sort=True)
        }
        everything = set().union(*pairs.values())
        for generation, present in pairs.items():
            found += (
                Missing(
                    lineage=lineage, seed=int(seed), format=form, generation=int(generation), wording=wording, item=item
                )
                for item, wording in everything - present
            )
    return sorted(found)


def require_complete(evidence: pd.DataFrame, *, declared: Collection[Missing] = ()) -> None:
    """DataError when a question is missing in a generation and not declared to be."""
    missing = [one for one in missing_items(evidence) if one not in set(declared)]
    if missing:
        first = missing[0]
        what = f"item {first.item} ({first.format} {first.wording})".replace(" )", ")")
        raise DataError(
            f"{len(missing)} questions are missing in a generation that has others of their format; the first: "
            f"{safe_text(what, limit=200, keep='')} in generation {first.generation} of {first.lineage}",
            hint="put every question in every generation, or declare the missing ones",
        )
