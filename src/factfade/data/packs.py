"""A question pack: questions, the formats that suit them and their licence in one file.

As TOML:

    [pack]
    name = "capitals"
    licence = "CC0-1.0"
    formats = ["multiple_choice", "short_answer"]
    [[questions]]
    question = "What is the capital of France?"
    choices = ["Paris", "Rome"]
    answer = 0
    [[examples]]                       # solved examples for few-shot prompts, never asked

As JSON Lines the first line is `{"pack": {...}}`; every other line is a question in the fields of the set `jsonl`, and
a line with `"example": true` is a solved example.
"""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

from factfade.data.fields import flag, strings
from factfade.data.lines import MAX_JSON_BYTES, read_json_lines, regular_file, stamp, text_field, unique_id
from factfade.data.questions import QuestionSet, question_of
from factfade.errors import DataError
from factfade.records import Question

KEYS = ("name", "licence", "formats", "source", "description")


@dataclass(frozen=True, kw_only=True)
class PackQuestions(QuestionSet):
    """The questions of a pack, in file order."""

    path: str
    kind: ClassVar[str] = "pack"

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.path:
            raise ValueError("path is empty")

    def formats(self) -> tuple[str, ...]:
        """The formats that the pack names; none where it leaves them open."""
        head = _head(stamp(self.path))
        return strings(head, "formats", self.path, 1) if "formats" in head else ()

    def check(self) -> Mapping[str, Any]:
        """Counts, and what the pack says of itself."""
        head = _head(stamp(self.path))
        return {**super().check(), "pack": {key: head[key] for key in KEYS if key in head}}

    def _stamp(self) -> tuple[Any, ...]:
        return stamp(self.path)

    def read(self, counts: Counter[str]) -> tuple[list[Question], list[Question]]:
        """All questions and all examples of the file."""
        found: tuple[list[Question], list[Question]] = ([], [])
        ids: dict[str, int] = {}
        for place, number, row, example in _rows(self.path, counts):
            unique_id(row, "id", ids, place, number)
            found[example].append(question_of(row, place, number))
        if not found[0]:
            raise DataError("the pack holds no question", file=self.path, hint="see docs/audit.md for its layout")
        return found


def _rows(path: str, counts: Counter[str]) -> Iterator[tuple[str, int, Mapping[str, Any], bool]]:
    """Place, number, record, and whether it is a solved example."""
    if Path(path).suffix == ".toml":
        data = _toml(path)
        for table, example in (("questions", False), ("examples", True)):
            rows = data.get(table, [])
            if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
                raise DataError(f"{table} is no list of tables", file=path, hint=f"write [[{table}]] before each")
            for number, row in enumerate(rows, 1):
                yield f"{path} [[{table}]]", number, row, example
        return
    for number, row in read_json_lines(path, counts):
        if "pack" not in row:
            yield path, number, row, flag(row, "example", path, number)


@lru_cache(maxsize=16)
def _head(key: tuple[str, int, int]) -> Mapping[str, Any]:
    """What a pack says of itself; DataError where it does not, or where it names no licence."""
    path = key[0]
    first = _toml(path) if Path(path).suffix == ".toml" else next(iter(read_json_lines(path, Counter())), (0, {}))[1]
    head = first.get("pack")
    if not isinstance(head, dict):
        raise DataError(
            "the file begins with no pack",
            file=path,
            hint='[pack] in TOML, {"pack": {...}} as first line of JSON Lines',
        )
    for name in ("name", "licence"):
        text_field(head, name, path, 1)
    unknown = sorted(set(head) - set(KEYS))
    if unknown:
        raise DataError(f"a pack has no key {unknown[0]!r}", file=path, hint="known: " + ", ".join(KEYS))
    return head


def _toml(path: str) -> dict[str, Any]:
    file = regular_file(path)
    if file.stat().st_size > MAX_JSON_BYTES:
        raise DataError(f"larger than {MAX_JSON_BYTES} bytes", file=path, hint="write it as JSON Lines")
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(f"is no valid TOML: {error}", file=path, hint="see docs/audit.md for its layout") from error
