"""Where MMLU's rows come from: JSON Lines, the original CSV folders, or the hub. Rows are (place, number, record)."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from factfade.data import hub
from factfade.data.lines import read_json_lines, read_lines, regular_file
from factfade.errors import DataError, NotFound
from factfade.registry import nearest

Rows = Iterator[tuple[str, int, dict[str, Any]]]
_CSV_SUFFIX = {"test": "test", "validation": "val", "dev": "dev"}
_CSV_LETTERS = "ABCD"


def files(folder: Path, split: str, subjects: Sequence[str]) -> list[Path]:
    """The files that a split and the dev split are read from; NotFound where the folder holds neither layout."""
    return [file for part in (split, "dev") for file in _split_files(folder, part, subjects)]


def _split_files(folder: Path, split: str, subjects: Sequence[str]) -> list[Path]:
    if not folder.is_dir():
        raise NotFound(
            f"there is no folder {folder}",
            hint="MMLU is read from a folder with test.jsonl and dev.jsonl; relative paths: from the current folder",
        )
    lines = folder / f"{split}.jsonl"
    if lines.exists():
        return [regular_file(lines)]
    suffix = _CSV_SUFFIX[split]
    tables = sorted(f for f in (folder / suffix).glob(f"*_{suffix}.csv") if not f.name.startswith("."))
    if not tables:
        raise NotFound(
            f"{folder} holds neither {split}.jsonl nor {suffix}/*_{suffix}.csv",
            hint="give the folder of MMLU as JSON Lines, or the original one with its dev, val and test folders",
        )
    names = [_subject(file, suffix) for file in tables]
    refuse_unknown(subjects, names, str(folder / suffix))
    return [regular_file(f) for f, name in zip(tables, names, strict=True) if not subjects or name in subjects]


def _subject(file: Path, suffix: str) -> str:
    return file.name.removesuffix(f"_{suffix}.csv")


def refuse_unknown(subjects: Sequence[str], found: Sequence[str], place: str) -> None:
    """DataError that names the nearest subject for one that is not there."""
    for subject in subjects:
        if subject not in found:
            raise DataError(f"no subject {subject!r}", file=place, hint=nearest(subject, found))


def folder_rows(folder: Path, split: str, subjects: Sequence[str]) -> Rows:
    """Rows of a split of a local folder, those of the wanted subjects only."""
    own = _split_files(folder, split, subjects)
    rows = chain.from_iterable(
        ((str(file), number, row) for number, row in read_json_lines(file))
        if file.suffix == ".jsonl"
        else _csv_rows(file, _subject(file, _CSV_SUFFIX[split]))
        for file in own
    )
    return (found for found in rows if not subjects or _wanted(found[2].get("subject"), subjects))


def _wanted(subject: Any, subjects: Sequence[str]) -> bool:
    """A row whose subject is missing or no text passes: its reader refuses it."""
    return not isinstance(subject, str) or subject in subjects


def _csv_rows(file: Path, subject: str) -> Rows:
    """The original layout: no header; question, four choices, the letter. A quoted field may run over lines."""
    reader = csv.reader((f"{line.text}\n" for line in read_lines(file)), strict=True)
    before = 0
    try:
        for cells in reader:
            number, before = before + 1, reader.line_num
            if not cells:
                continue
            if len(cells) != 6 or cells[5].strip() not in _CSV_LETTERS or not cells[5].strip():
                raise DataError(
                    f"a row must be question, four choices and one of A to D; here are {len(cells)} cells",
                    file=file,
                    line=number,
                )
            answer = _CSV_LETTERS.index(cells[5].strip())
            row = {"subject": subject, "question": cells[0], "choices": cells[1:5], "answer": answer}
            yield str(file), number, row
    except csv.Error as error:
        raise DataError(f"not CSV: {error}", file=file, line=before + 1) from error


def hub_rows(name: str, revision: str, split: str, subjects: Sequence[str]) -> Rows:
    """Rows of a split from the hub, one subset a subject."""
    for subject in subjects:
        for number, row in enumerate(hub.rows(name, revision, subject, split), start=1):
            yield f"{name}/{subject}/{split}", number, {**row, "subject": subject}
