"""Reading the log files of other tools: one record at a time, nothing trusted, every error with its file and line."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from factfade.data.lines import json_type, read_lines
from factfade.errors import DataError, NotFound
from factfade.records import canonical_json, sha256_text
from factfade.text import safe_text

MAX_LINE_BYTES = 64 * 2**20
MAX_FILE_BYTES = 2**30
MAX_FILES = 10_000
DOMAIN_FIELDS = ("domain", "subject", "category", "topic")
Row = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Imported:
    """Rows of evidence (the columns of docs/evidence.md), and what was left out or could not be known."""

    rows: list[Row]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Record:
    """One object of a foreign file. `line` finds its line, when an error needs it; `within` names the object."""

    value: Mapping[str, Any]
    file: Path
    line: Callable[[], int | None]
    within: str = ""

    def fail(self, problem: str, *, hint: str = "") -> DataError:
        """The error for this record."""
        prefix = f"{shown(self.within, 80)}: " if self.within else ""
        return DataError(prefix + problem, file=self.file, line=self.line(), hint=hint)

    def wrong(self, field: str, wanted: str, found: Any) -> DataError:
        """The error for a field that holds something else."""
        if found is None and field not in self.value:
            known = ", ".join(shown(key, 30) for key in list(self.value)[:12])
            return self.fail(f"the field {field!r} is missing", hint=f"fields here: {known or 'none'}")
        return self.fail(f"the field {field!r} must be {wanted}, here it is {json_type(found)}")

    def text(self, field: str) -> str:
        """A field that must be text."""
        found = self.value.get(field)
        if not isinstance(found, str):
            raise self.wrong(field, "a string", found)
        return found

    def items(self, field: str) -> list[Any]:
        """A field that must be a list."""
        found = self.value.get(field)
        if not isinstance(found, list):
            raise self.wrong(field, "a list", found)
        return found

    def part(self, field: str, *, within: str = "") -> Record:
        """A field that must be an object, as a record of the same place."""
        found = self.value.get(field)
        if not isinstance(found, dict):
            raise self.wrong(field, "an object", found)
        return Record(value=found, file=self.file, line=self.line, within=within or self.within)

    def optional(self, field: str) -> Record:
        """A field that is an object or absent (then an empty one)."""
        if self.value.get(field) is None:
            return Record(value={}, file=self.file, line=self.line, within=self.within)
        return self.part(field)

    def item(self, question: Any) -> str:
        """The id of a question: the hash of its canonical record, equal in every generation."""
        try:
            return sha256_text(canonical_json(question))[:16]
        except RecursionError:
            raise self.fail("the question is nested too deeply") from None


def shown(text: object, limit: int = 60) -> str:
    """Foreign text for a message: on one line, short, nothing in it acts."""
    return safe_text(text, limit=limit, keep="")


def number(value: Any) -> float | None:
    """A finite number, written as one or as text (as lm-evaluation-harness does); None for anything else."""
    if (
        isinstance(value, bool)
        or not isinstance(value, (int, float, str))
        or (isinstance(value, str) and len(value) > 64)
    ):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def truth(value: Any) -> bool | None:
    """A truth value, written as one, as 0 or 1, or as the text of either; None for anything else."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    found = number(value)
    return bool(found) if found in (0.0, 1.0) else None


def domain_of(question: Mapping[str, Any]) -> str | None:
    """The domain that a question names itself, in the first of the usual fields."""
    for name in DOMAIN_FIELDS:
        found = question.get(name)
        if isinstance(found, str) and found.strip():
            return found.strip()[:200]
    return None


# ---------------------------------------------------------------------------------------------------------------
# Files


def find(path: Path, pattern: str, *, what: str) -> list[Path]:
    """The file itself, or the files of a folder and its subfolders that fit, by name."""
    if not path.exists():
        raise NotFound(f"there is nothing at {path}", hint=f"give {what}, or the folder that holds some")
    if not path.is_dir():
        return [path]
    found: list[Path] = []
    for file in path.rglob(pattern):
        if file.is_file() and not file.name.startswith("."):
            found.append(file)
        if len(found) > MAX_FILES:
            raise DataError(f"the folder holds more than {MAX_FILES:,} files", file=path, hint="give a smaller one")
    return sorted(found)


def json_lines(path: Path) -> Iterator[Record]:
    """The objects of a JSON Lines file, one a line."""
    for line in read_lines(path, max_bytes=MAX_LINE_BYTES):
        if not line.text.strip():
            continue
        value = _loads(line.text, path, line.number)
        yield _record(value, path, line.number)


def json_object(path: Path) -> tuple[Record, str]:
    """The object that a JSON file holds, and the file's text."""
    try:
        size = path.stat().st_size
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", file=path) from None
    if size > MAX_FILE_BYTES:
        raise DataError(f"the file is larger than {MAX_FILE_BYTES:,} bytes", file=path)
    text = "\n".join(line.text for line in read_lines(path, max_bytes=MAX_FILE_BYTES))
    return _record(_loads(text, path, None), path, None), text


def _record(value: Any, path: Path, line: int | None) -> Record:
    if not isinstance(value, dict):
        raise DataError(f"one JSON object is expected, here it is {json_type(value)}", file=path, line=line)
    return Record(value=value, file=path, line=lambda: line)


def _loads(text: str, path: Path, line: int | None) -> Any:
    """A JSON value. NaN and infinities pass (logs hold them); what reads a number refuses them."""
    try:
        value = json.loads(text, object_pairs_hook=_no_twins)
        # Text that no table can hold: only an escape can bring it in.
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except json.JSONDecodeError as error:
        place = error.lineno if line is None else line
        problem = f"not JSON: {error.msg} at character {error.colno}"
        hint = "the file is cut or damaged: copy it again"
        raise DataError(problem, file=path, line=place, hint=hint) from None
    except UnicodeEncodeError:
        raise DataError("a lone surrogate stands in a string", file=path, line=line) from None
    except RecursionError:
        raise DataError("the JSON is nested too deeply", file=path, line=line) from None
    except ValueError as error:
        raise DataError(f"not usable JSON: {shown(error, 120)}", file=path, line=line) from None
    return value


def _no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) != len(pairs):
        raise ValueError("a name occurs twice in one object")
    return row


# ---------------------------------------------------------------------------------------------------------------
# Questions that occur twice


def once(rows: Sequence[Row], what: str, notes: list[str]) -> list[Row]:
    """The rows with the first of every question only: a data set that holds one twice asks it twice."""
    kept: dict[tuple[Any, ...], Row] = {}
    for row in rows:
        kept.setdefault((row["item"], row["format"], row["wording"]), row)
    if len(kept) < len(rows):
        notes.append(
            f"{what}: {len(rows)} questions, {len(rows) - len(kept)} of them equal to an earlier one; "
            "the first of each is kept."
        )
    return list(kept.values())
