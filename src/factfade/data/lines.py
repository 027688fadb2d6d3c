"""Strict reading of text, JSON and JSON Lines: a malformed file is refused with file, line and reason.

Nothing is repaired silently. A byte order mark at the start and CRLF line ends are taken off and counted, blank lines
are skipped and counted; everything else that is wrong raises `DataError` and names the line, and the byte offset where
the encoding is the trouble. Memory is bounded by one line.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from factfade.errors import DataError, NotFound
from factfade.text import safe_text

MAX_LINE_BYTES = 8 * 2**20
MAX_JSON_BYTES = 256 * 2**20

# First bytes of files that are often given by mistake: what they are, and what to do.
_OTHER_KINDS: tuple[tuple[bytes, str, str], ...] = (
    (b"\x00\x00\xfe\xff", "UTF-32 text", "convert it: iconv -f utf-32 -t utf-8 FILE > NEW"),
    (b"\xff\xfe\x00\x00", "UTF-32 text", "convert it: iconv -f utf-32 -t utf-8 FILE > NEW"),
    (b"\xff\xfe", "UTF-16 text", "convert it: iconv -f utf-16 -t utf-8 FILE > NEW"),
    (b"\xfe\xff", "UTF-16 text", "convert it: iconv -f utf-16 -t utf-8 FILE > NEW"),
    (b"\x1f\x8b", "gzip-compressed", "unpack it first: gunzip FILE"),
    (b"BZh", "bzip2-compressed", "unpack it first: bunzip2 FILE"),
    (b"\xfd7zXZ\x00", "xz-compressed", "unpack it first: unxz FILE"),
    (b"\x28\xb5\x2f\xfd", "zstandard-compressed", "unpack it first: unzstd FILE"),
    (b"PK\x03\x04", "a zip archive", "unpack it first: unzip FILE"),
    (b"PAR1", "a parquet file", 'name it with kind = "parquet"'),
    (b"ARROW1", "an Arrow file", "write it as parquet or JSON Lines"),
    (b"SQLite format 3\x00", "an SQLite database", "write its rows as JSON Lines"),
    (b"%PDF-", "a PDF file", "give its text as a plain text file"),
    (b"\x80\x04\x95", "a Python pickle", "pickles are never opened: write JSON Lines"),
)


class Line(NamedTuple):
    """One line without its end. `number` starts at 1, `offset` is the byte at which it starts, `ended` is whether a
    line feed closed it (False for a last line without one)."""

    number: int
    offset: int
    text: str
    ended: bool


def regular_file(path: str | Path) -> Path:
    """The path, or NotFound/DataError where there is no plain file that could hold data."""
    file = Path(path)
    if not file.exists():
        raise NotFound(
            f"there is no file {file}", hint="relative paths are read from the current folder; give another path"
        )
    if file.name.startswith("._"):
        raise DataError(
            "macOS wrote this beside a file; it holds no data", file=file, hint=f"give {file.name[2:]} instead"
        )
    if file.is_dir():
        raise DataError("is a folder", file=file, hint="give a file in it")
    if not file.is_file():
        raise DataError("is no regular file", file=file, hint="give a file on disk")
    if file.stat().st_size == 0:
        raise DataError("the file is empty", file=file, hint="download or write it again")
    return file


def stamp(path: str | Path) -> tuple[str, int, int]:
    """Path, size and modification time: what the caches of this package are keyed by within one process."""
    found = regular_file(path).stat()
    return str(path), found.st_size, found.st_mtime_ns


def file_sha256(path: str | Path) -> str:
    """Hex SHA-256 of a file's bytes, computed once per process and version of the file."""
    return _sha256(stamp(path))


@lru_cache(maxsize=256)
def _sha256(key: tuple[str, int, int]) -> str:
    with open(key[0], "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def read_lines(
    path: str | Path, counts: Counter[str] | None = None, *, max_bytes: int = MAX_LINE_BYTES
) -> Iterator[Line]:
    """Lines of a UTF-8 file. `counts` gets `lines`, `crlf` and `bom`.

    Refused: another encoding, NUL, a line of more than `max_bytes` bytes, a lone carriage return inside a line, other
    kinds of file.
    """
    file = regular_file(path)
    counts = Counter() if counts is None else counts
    offset = 0
    with file.open("rb") as stream:
        _refuse_other_kinds(file, stream.read(16))
        stream.seek(0)
        number = 0
        while raw := stream.readline(max_bytes + 1):
            number += 1
            if len(raw) > max_bytes:
                raise DataError(
                    f"the line is longer than {max_bytes} bytes",
                    file=file,
                    line=number,
                    hint="break the text into lines, or write it as JSON Lines with one document a line",
                )
            start, offset = offset, offset + len(raw)
            text = _decoded(raw, file, number, start)
            if number == 1 and text.startswith("\ufeff"):
                counts["bom"] += 1
                text = text[1:]
            ended = text.endswith("\n")
            if ended:
                text = text[:-1]
            if text.endswith("\r"):
                counts["crlf"] += 1
                text = text[:-1]
            if "\r" in text:
                raise DataError(
                    "a carriage return stands inside the line",
                    file=file,
                    line=number,
                    hint="write line feeds: tr '\\r' '\\n' < FILE > NEW",
                )
            counts["lines"] += 1
            yield Line(number, start, text, ended)


def _refuse_other_kinds(file: Path, head: bytes) -> None:
    for magic, what, hint in _OTHER_KINDS:
        if head.startswith(magic):
            raise DataError(f"is {what}, not UTF-8 text", file=file, hint=hint)


def _decoded(raw: bytes, file: Path, number: int, start: int) -> str:
    if (nul := raw.find(b"\0")) >= 0:
        raise DataError(
            f"a NUL byte stands at byte {start + nul}",
            file=file,
            line=number,
            hint="the file is cut, binary, or in another encoding (UTF-16?): write it as UTF-8 text",
        )
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        byte = raw[error.start]
        raise DataError(
            f"not UTF-8: byte 0x{byte:02x} at byte {start + error.start} ({error.reason})",
            file=file,
            line=number,
            hint="convert it: iconv -f latin1 -t utf-8 FILE > NEW (put the file's own encoding for latin1)",
        ) from None


def read_json_lines(path: str | Path, counts: Counter[str] | None = None) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line number, object) of a JSON Lines file. Blank lines are skipped and counted as `blank_lines`.

    Refused beside what `read_lines` refuses: invalid JSON, a cut last line, a line that is no object, repeated keys,
    NaN and infinities, lone surrogates, NUL in a string.
    """
    counts = Counter() if counts is None else counts
    found = False
    for line in read_lines(path, counts):
        if not line.text.strip():
            counts["blank_lines"] += 1
            continue
        value = parse_json(line.text, Path(path), line.number, cut=not line.ended)
        if not isinstance(value, dict):
            whole = "the file is one JSON array: write its members as lines"
            raise DataError(
                f"a line must hold one JSON object, here it is {json_type(value)}",
                file=path,
                line=line.number,
                hint=whole if isinstance(value, list) and not found else 'write {"field": value, ...}',
            )
        found = True
        yield line.number, value
    if not found:
        raise DataError("the file holds no rows, only blank lines", file=path, hint="download or write it again")


def read_json_list(path: str | Path) -> list[dict[str, Any]]:
    """The objects of a file that is one JSON list. Refused as in `read_json_lines`; the line is that of the error."""
    file = regular_file(path)
    if file.stat().st_size > MAX_JSON_BYTES:
        raise DataError(f"the file is larger than {MAX_JSON_BYTES} bytes", file=file, hint="write it as JSON Lines")
    lines = list(read_lines(file, max_bytes=MAX_JSON_BYTES))
    value = parse_json("\n".join(line.text for line in lines), file, None)
    if not isinstance(value, list) or not value:
        what = "an empty list" if value == [] else json_type(value)
        raise DataError(f"the file must hold a JSON list of objects, here it is {what}", file=file)
    for index, row in enumerate(value, start=1):
        if not isinstance(row, dict):
            raise DataError(f"record {index} must be a JSON object, here it is {json_type(row)}", file=file)
    return value


def parse_json(text: str, file: Path, number: int | None, *, cut: bool = False) -> Any:
    """One JSON value, strictly. `number` is its line (None for a whole file), `cut` whether its line has no end."""
    try:
        value = json.loads(text, object_pairs_hook=_no_repeats, parse_constant=_no_constants)
    except json.JSONDecodeError as error:
        line = error.lineno if number is None else number
        if text[: error.pos].isspace() or error.pos == 0:
            reason = f"not JSON: {error.msg}, at {safe_text(text[error.pos :].strip(), limit=40, keep='')!r}"
        else:
            reason = f"not JSON: {error.msg} at character {error.colno}"
        left = len(text.rstrip()) - error.pos
        if cut and (left <= 0 or "Unterminated" in error.msg or ("escape" in error.msg and left < 6)):
            reason = f"the last line is cut off ({error.msg} at character {error.colno})"
        raise DataError(reason, file=file, line=line, hint="repair or download the file again") from None
    except RecursionError:
        raise DataError("the JSON is nested too deeply", file=file, line=number) from None
    except ValueError as error:
        raise DataError(f"not usable JSON: {safe_text(error, limit=120, keep='')}", file=file, line=number) from None
    if "\\u" in text:  # only an escape can bring in what the strict decoding of bytes refuses
        _refuse_bad_characters(value, file, number)
    return value


def _no_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) != len(pairs):
        repeated = next(key for key, n in Counter(key for key, _ in pairs).items() if n > 1)
        raise ValueError(f"the key {repeated!r} stands twice")
    return row


def _no_constants(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")


def _refuse_bad_characters(value: Any, file: Path, number: int | None) -> None:
    stack = [value]
    while stack:
        part = stack.pop()
        if isinstance(part, str):
            check_text(part, file, number)
        elif isinstance(part, Mapping):
            stack.extend(part.keys())
            stack.extend(part.values())
        elif isinstance(part, list):
            stack.extend(part)


def check_text(text: str, file: str | Path, number: int | None) -> None:
    """DataError for characters that no UTF-8 file can hold or that cut text short: lone surrogates and NUL."""
    if "\0" in text:
        raise DataError("a NUL character stands in a string", file=file, line=number)
    if not text.isascii():
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise DataError(
                f"a lone surrogate (U+{ord(text[error.start]):04X}) stands in a string",
                file=file,
                line=number,
                hint="write the whole character, or both halves of the pair",
            ) from None


def json_type(value: Any) -> str:
    """The JSON name of a value's type, with its article: for messages."""
    names = {
        bool: "true or false",
        int: "a number",
        float: "a number",
        str: "a string",
        list: "a list",
        dict: "an object",
    }
    return names.get(type(value), "null")


def text_field(row: Mapping[str, Any], field: str, file: str | Path, number: int | None, *, blank: bool = False) -> str:
    """A required string of a row; DataError when it is missing, no string, or blank where it must not be."""
    if field not in row:
        known = ", ".join(safe_text(key, limit=30, keep="") for key in list(row)[:8])
        raise DataError(
            f"the field {field!r} is missing", file=file, line=number, hint=f"fields here: {known or 'none'}"
        )
    value = row[field]
    if not isinstance(value, str):
        raise DataError(f"the field {field!r} must be a string, here it is {json_type(value)}", file=file, line=number)
    if not blank and not value.strip():
        raise DataError(f"the field {field!r} is blank", file=file, line=number)
    return value


def unique_id(row: Mapping[str, Any], field: str, seen: dict[str, int], file: str | Path, number: int) -> None:
    """Refuse an id that stood in an earlier line. Rows without the field pass."""
    if field not in row or row[field] is None:
        return
    value = row[field]
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise DataError(
            f"the id {field!r} must be a string or a whole number, here it is {json_type(value)}",
            file=file,
            line=number,
        )
    key = f"{type(value).__name__}:{value}"
    if key in seen:
        shown = safe_text(value, limit=60, keep="")
        raise DataError(
            f"the id {shown!r} stood in line {seen[key]} already",
            file=file,
            line=number,
            hint="ids must be unique: remove one of the rows",
        )
    seen[key] = number
