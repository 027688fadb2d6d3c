"""Rows of the stored tables: reading JSONL line by line, and the checks that every row has to pass."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from factfade.errors import DataError
from factfade.records import FLUENCY_KINDS, OUTCOMES, SCHEMA_VERSION
from factfade.text import safe_text

if TYPE_CHECKING:
    import pyarrow as pa

MAX_LINE = 16 * 2**20
# Log-probabilities are at most 0; sums in reduced precision may end a hair above.
LOGPROB_SLACK = 1e-3


@dataclass(frozen=True, kw_only=True)
class Part:
    """Rows of one file: `lines[i]` is the line (or the row's number in parquet) that row i came from."""

    table: pa.Table
    name: str
    lines: Sequence[int]

    def fail(self, row: int, problem: str) -> DataError:
        """The error for one row."""
        return DataError(problem, file=self.name, line=self.lines[row])


# ---------------------------------------------------------------------------------------------------------------
# JSONL


def read_jsonl(data: bytes, columns: Mapping[str, str], name: str) -> tuple[list[dict[str, Any]], list[int], str]:
    """Rows, their line numbers, and the schema version (of the first line where it has one).

    One JSON object per line, UTF-8; empty lines and a byte order mark at the start are passed over. DataError for
    the first line that is anything else, or holds a value of another type than its column.
    """
    rows: list[dict[str, Any]] = []
    lines: list[int] = []
    version = str(SCHEMA_VERSION)
    for number, raw in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        if not raw.strip():
            continue
        row = _parsed(raw, name, number)
        if not rows and set(row) == {"schema_version"}:
            version = str(row["schema_version"])
            continue
        for column, value in row.items():
            kind = columns.get(column)
            if value is not None and kind is not None and not _fits(value, kind):
                shown = safe_text(json.dumps(value), limit=80, keep="")
                raise DataError(f"column {column} has {shown} where {kind} is expected", file=name, line=number)
        rows.append(row)
        lines.append(number)
    return rows, lines, version


def _parsed(raw: bytes, name: str, number: int) -> dict[str, Any]:
    if len(raw) > MAX_LINE:
        raise DataError(f"the line has more than {MAX_LINE:,} bytes", file=name, line=number)
    try:
        text = raw.decode("utf-8")
        row = json.loads(text, parse_constant=_no_constant, object_pairs_hook=_no_twins)
    except UnicodeDecodeError as error:
        problem = f"byte {error.start} of the line is not UTF-8"
        raise DataError(problem, file=name, line=number, hint="convert the file to UTF-8") from None
    except RecursionError:
        raise DataError("the line is nested too deeply", file=name, line=number) from None
    except ValueError as error:
        said = safe_text(error, limit=200, keep="")
        raise DataError(f"the line is not a JSON object: {said}", file=name, line=number) from None
    if not isinstance(row, dict):
        raise DataError("the line is not a JSON object", file=name, line=number)
    if not _encodable(text):
        raise DataError("the line holds a lone surrogate, which is no text", file=name, line=number)
    return row


def _encodable(text: str) -> bool:
    """Whether no escape in the line can decode to a lone surrogate that is not paired."""
    if "\\u" not in text and "\\U" not in text:
        return True
    try:
        json.dumps(json.loads(text), ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _no_constant(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


def _no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) != len(pairs):
        raise ValueError("a name occurs twice")
    return row


def _fits(value: Any, kind: str) -> bool:
    if kind.startswith("list<"):
        return isinstance(value, list) and all(_fits(part, kind[5:-1]) for part in value)
    if kind == "bool":
        return isinstance(value, bool)
    if kind == "string":
        return isinstance(value, str)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    if kind == "int64":
        return (
            float(value).is_integer() and abs(value) < 2**63
            if isinstance(value, float)
            else (-(2**63) <= value < 2**63)
        )
    return math.isfinite(float(value)) if abs(value) < 1e308 else False


# ---------------------------------------------------------------------------------------------------------------
# Checks


def check_rows(part: Part, table: str, required: Sequence[str]) -> None:
    """DataError for the first row that breaks a rule of its table."""
    for name in required:
        _refuse(part, part.table.column(name).is_null(), f"column {name} is missing or null")
    _positive(part, "seed", "generation")
    for name in part.table.column_names:
        _finite(part, name)
    {"evidence": _evidence, "fluency": _fluency, "completions": _completions}[table](part)


def _compute() -> Any:
    """pyarrow.compute, whose functions are made at run time and unknown to type checkers."""
    import pyarrow.compute as pc

    return pc


def _refuse(part: Part, bad: Any, problem: str, explain: Callable[[int], str] | None = None) -> None:
    """Raise for the first row where the Arrow mask is true (null counts as false)."""
    rows = _compute().fill_null(bad, False).to_numpy().nonzero()[0]
    if len(rows):
        row = int(rows[0])
        raise part.fail(row, problem + (f" ({explain(row)})" if explain else ""))


def _value(part: Part, name: str) -> Callable[[int], str]:
    return lambda row: safe_text(f"{name} {part.table.column(name)[row].as_py()!r}", limit=120, keep="")


def _positive(part: Part, *names: str) -> None:
    pc = _compute()
    for name in names:
        column = part.table.column(name)
        _refuse(part, pc.less(column, 0), f"column {name} is negative", _value(part, name))


def _finite(part: Part, name: str) -> None:
    import pyarrow.types as pt

    pc = _compute()
    column = part.table.column(name)
    if pt.is_floating(column.type):
        _refuse(part, pc.invert(pc.is_finite(column)), f"column {name} is not a finite number")
    elif pt.is_list(column.type):
        if pt.is_floating(column.type.value_type):
            bad = pc.fill_null(pc.invert(pc.is_finite(pc.list_flatten(column))), True)
        else:
            bad = pc.is_null(pc.list_flatten(column))
        if pc.any(bad).as_py():
            row = pc.list_parent_indices(column).to_numpy()[bad.to_numpy().argmax()]
            raise part.fail(int(row), f"column {name} holds a null or a number that is not finite")


def _evidence(part: Part) -> None:
    import pyarrow as pa

    pc = _compute()
    rows = part.table
    for name in ("item", "format"):
        _refuse(part, pc.equal(rows.column(name), ""), f"column {name} is empty")
    known = pc.is_in(rows.column("outcome"), value_set=pa.array(OUTCOMES))
    unknown = pc.and_(pc.is_valid(rows.column("outcome")), pc.invert(known))
    _refuse(part, unknown, f"outcome is none of {', '.join(OUTCOMES)}", _value(part, "outcome"))
    neither = pc.and_(pc.is_null(rows.column("outcome")), pc.is_null(rows.column("choice_correct")))
    _refuse(part, neither, "neither outcome nor choice_correct is there")
    for name in ("choice_confidence", "answer_confidence"):
        column = rows.column(name)
        outside = pc.or_(pc.less(column, 0.0), pc.greater(column, 1.0 + 1e-9))
        _refuse(part, outside, f"{name} is outside [0, 1]", _value(part, name))
    count = pc.list_value_length(rows.column("options"))
    for name in ("permutation", "option_logprob", "option_tokens"):
        length = pc.list_value_length(rows.column(name))
        _refuse(part, pc.not_equal(length, count), f"{name} has another length than options")
    for name in ("gold", "choice"):
        _positive(part, name)
        beyond = pc.greater_equal(rows.column(name), count)
        _refuse(part, beyond, f"{name} points beyond the options", _value(part, name))
    right = pc.equal(rows.column("choice"), rows.column("gold"))
    wrong = pc.xor(rows.column("choice_correct"), right)
    _refuse(part, wrong, "choice_correct contradicts choice and gold")
    logprob = rows.column("option_logprob")
    above = pc.greater(pc.list_flatten(logprob), LOGPROB_SLACK)
    if pc.any(above).as_py():
        row = pc.list_parent_indices(logprob).to_numpy()[above.to_numpy().argmax()]
        raise part.fail(int(row), "option_logprob holds a log-probability above 0")


def _fluency(part: Part) -> None:
    import pyarrow as pa

    pc = _compute()
    known = pc.is_in(part.table.column("kind"), value_set=pa.array(FLUENCY_KINDS))
    _refuse(part, pc.invert(known), f"kind is none of {', '.join(FLUENCY_KINDS)}", _value(part, "kind"))
    _positive(part, "tokens")


def _completions(part: Part) -> None:
    _positive(part, "tokens", "weight")
