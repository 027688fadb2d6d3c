"""Fields of a question's record, each read with an error that names the file and the line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from factfade.data.lines import json_type, text_field
from factfade.errors import DataError

LETTERS = "ABCDEFGHIJ"
MAX_FIELD_CHARACTERS = 100_000


def answer_index(value: Any, choices: Sequence[str], place: str, number: int) -> int:
    """Index of the right choice out of an index from 0, a letter, or the text of exactly one choice."""
    if isinstance(value, int) and not isinstance(value, bool):
        if not 0 <= value < len(choices):
            hint = "indices start at 0"
            raise DataError(
                f"the answer {value} is no index of {len(choices)} choices", file=place, line=number, hint=hint
            )
        return value
    if not isinstance(value, str) or not value.strip():
        raise DataError(
            f"the answer must be an index, a letter or the text of a choice, here it is {json_type(value)}",
            file=place,
            line=number,
        )
    text = value.strip()
    same = [i for i, choice in enumerate(choices) if choice == text]
    letter = LETTERS.find(text.upper()) if len(text) == 1 else -1
    by_letter = [letter] if 0 <= letter < len(choices) else []
    if len({*same, *by_letter}) == 1:
        return (same or by_letter)[0]
    what = (
        "is both a letter and the text of another choice"
        if same and by_letter
        else ("is the text of several choices" if same else "is no choice")
    )
    raise DataError(f"the answer {text[:60]!r} {what}", file=place, line=number, hint="write its index, from 0")


def right_choice(row: Mapping[str, Any], choices: Sequence[str], place: str, number: int) -> int:
    """Index of the right choice, out of `answer`, or of `answer_label` among `labels` (A, B, C ... without)."""
    if "answer" in row or "answer_label" not in row:
        return answer_index(row.get("answer"), choices, place, number)
    labels = strings(row, "labels", place, number) if "labels" in row else tuple(LETTERS[: len(choices)])
    label = text_field(row, "answer_label", place, number)
    if len(labels) != len(choices) or labels.count(label) != 1:
        raise DataError(f"the answer_label {label[:60]!r} names no single choice", file=place, line=number)
    return labels.index(label)


def accepted_answers(row: Mapping[str, Any], place: str, number: int) -> tuple[str, ...]:
    """The answers that count as right: `answers`, or `answer` and its `aliases`."""
    if "answers" in row:
        return tuple(dict.fromkeys(strings(row, "answers", place, number)))
    if "answer" not in row:
        raise DataError(
            "neither choices nor answers are there",
            file=place,
            line=number,
            hint="write choices and answer, or answers, or answer and aliases",
        )
    first = text_field(row, "answer", place, number).strip()
    aliases = strings(row, "aliases", place, number, empty=True) if "aliases" in row else ()
    return tuple(dict.fromkeys((first, *aliases)))


def choices_of(row: Mapping[str, Any], field: str, place: str, number: int) -> tuple[str, ...]:
    """The choices in a field: two to as many as there are letters."""
    choices = strings(row, field, place, number)
    if not 2 <= len(choices) <= len(LETTERS):
        raise DataError(f"{len(choices)} choices: there must be 2 to {len(LETTERS)}", file=place, line=number)
    return choices


def strings(row: Mapping[str, Any], field: str, place: str, number: int, *, empty: bool = False) -> tuple[str, ...]:
    """A list of strings, none of them blank; `empty` allows an empty list."""
    value = row.get(field)
    if not isinstance(value, list) or not (value or empty):
        what = "an empty list" if value == [] else json_type(value) if field in row else "missing"
        raise DataError(f"the field {field!r} must be a list of strings, here it is {what}", file=place, line=number)
    for text in value:
        if not isinstance(text, str) or not text.strip():
            what = "blank" if isinstance(text, str) else json_type(text)
            raise DataError(f"a member of {field!r} must be a string, here it is {what}", file=place, line=number)
    return tuple(short(text, place, number) for text in value)


def optional(row: Mapping[str, Any], field: str, place: str, number: int) -> str | None:
    """A text that may be missing or null."""
    return None if row.get(field) is None else short(text_field(row, field, place, number), place, number)


def flag(row: Mapping[str, Any], field: str, place: str, number: int) -> bool:
    """A field that is true or false; false where it is missing."""
    value = row.get(field, False)
    if not isinstance(value, bool):
        raise DataError(
            f"the field {field!r} must be true or false, here it is {json_type(value)}", file=place, line=number
        )
    return value


def record_field(row: Mapping[str, Any], field: str, place: str, number: int) -> str:
    """A text of a record in a JSON list: errors name the record, since it has no line."""
    try:
        return short(text_field(row, field, place, None), place, number)
    except DataError as error:
        reason = error.message.removeprefix(f"{place}: ")
        raise DataError(f"record {number}: {reason}", file=place, hint=error.hint) from None


def short(text: str, place: str, number: int) -> str:
    """The text, stripped; DataError where it is absurdly long."""
    if len(text) > MAX_FIELD_CHARACTERS:
        raise DataError(f"a text is longer than {MAX_FIELD_CHARACTERS} characters", file=place, line=number)
    return text.strip()
