"""Human text from files: plain text, JSON Lines, parquet, and hub data sets.

The documents of a file come in file order for every seed. Held out are the documents of another file (`held_out`), or
every k-th of the same one. Exact repetitions of a document are left out and counted, and so are training documents
that also stand in the held-out file. Nothing is opened when a corpus is built: `check` reads everything.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, ClassVar, Literal

from factfade.data import hub
from factfade.data.lines import (
    Line,
    check_text,
    file_sha256,
    read_json_lines,
    read_lines,
    regular_file,
    text_field,
    unique_id,
)
from factfade.data.sources import Documents, Files, Row
from factfade.errors import DataError, NotFound

MAX_DOCUMENT_CHARACTERS = 8 * 2**20
Unit = Literal["auto", "article", "paragraph", "line"]


@dataclass(frozen=True, kw_only=True)
class TextCorpus(Files):
    """A UTF-8 text file.

    `unit` says what a document is: "article" starts at a line " = Title = " between blank lines (WikiText's layout),
    "paragraph" ends at a blank line, "line" is one line, and "auto" is article where the first line of text is such a
    title, else paragraph. Lines are stripped; those shorter than `shortest` characters are left out and counted
    (the paper takes 51, which drops WikiText's headings). `domain` is every document's domain.
    """

    unit: Unit = "auto"
    shortest: int = 1
    domain: str = ""
    kind: ClassVar[str] = "text"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.unit not in ("auto", "article", "paragraph", "line"):
            raise ValueError(f"unit must be auto, article, paragraph or line, not {self.unit!r}")
        if self.shortest < 1:
            raise ValueError("shortest must be at least 1")

    def _read(self, path: str, counts: Counter[str]) -> Iterator[Row]:
        found = False
        for text in text_documents(read_lines(path, counts), self.unit, self.shortest, counts):
            found = True
            yield text, self.domain
        if not found:
            raise DataError("the file holds no document", file=path, hint="it has blank or too short lines only")

    def _shape(self) -> dict[str, Any]:
        return {"unit": self.unit, "shortest": self.shortest, "every": self.every, "domain": self.domain}


def is_title(text: str) -> bool:
    """Whether a line is a heading of the first level in WikiText's layout (" = Title = ")."""
    line = text.strip()
    return len(line) > 4 and line.startswith("= ") and line.endswith(" =") and line[2] != "=" and line[-3] != "="


def text_documents(lines: Iterable[Line], unit: Unit, shortest: int, counts: Counter[str]) -> Iterator[str]:
    """Documents of stripped lines joined by line feeds. Counts `blank_lines` and `short_lines`."""
    parts: list[str] = []
    resolved = unit
    before_blank = True  # the line before is blank, or there is none
    stream = iter(lines)
    line = next(stream, None)
    while line is not None:
        following = next(stream, None)
        text = line.text.strip()
        if not text:
            counts["blank_lines"] += 1
            ends = resolved == "paragraph"
        else:
            if resolved == "auto":
                resolved = "article" if is_title(text) else "paragraph"
            lonely = before_blank and (following is None or not following.text.strip())
            ends = resolved == "line" or (resolved == "article" and lonely and is_title(text))
        if ends and parts:
            yield "\n".join(parts)
            parts = []
        if len(text) >= shortest:
            parts.append(text)
        elif text:
            counts["short_lines"] += 1
        before_blank = not text
        line = following
    if parts:
        yield "\n".join(parts)


@dataclass(frozen=True, kw_only=True)
class JsonlCorpus(Files):
    """A JSON Lines file: one document a line in `field`, its domain in `domain_field` where that is named.

    Values of `id_field` must be unique where rows have it. Rows whose text is blank are left out and counted.
    """

    field: str = "text"
    domain_field: str | None = None
    id_field: str = "id"
    kind: ClassVar[str] = "jsonl"

    def _read(self, path: str, counts: Counter[str]) -> Iterator[Row]:
        ids: dict[str, int] = {}
        for number, row in read_json_lines(path, counts):
            unique_id(row, self.id_field, ids, path, number)
            text = text_field(row, self.field, path, number, blank=True).strip()
            domain = text_field(row, self.domain_field, path, number) if self.domain_field else ""
            if not text:
                counts["blank_documents"] += 1
                continue
            yield text, domain

    def _shape(self) -> dict[str, Any]:
        return {"field": self.field, "domain_field": self.domain_field, "every": self.every}


@dataclass(frozen=True, kw_only=True)
class ParquetCorpus(Files):
    """A parquet file, or a folder of them in name order: one document a row in `column`.

    Rows whose text is blank are left out and counted; a null is refused.
    """

    column: str = "text"
    domain_column: str | None = None
    kind: ClassVar[str] = "parquet"

    def _read(self, path: str, counts: Counter[str]) -> Iterator[Row]:
        return chain.from_iterable(self._file(file, counts) for file in parquet_files(path))

    def _file(self, file: Path, counts: Counter[str]) -> Iterator[Row]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        columns = [self.column, *([self.domain_column] if self.domain_column else [])]
        number = 0
        try:
            with pq.ParquetFile(file) as table:
                _refuse_columns(table.schema_arrow, columns, file)
                for batch in table.iter_batches(batch_size=256, columns=columns):
                    values = [batch.column(name).to_pylist() for name in columns]
                    for row in zip(*values, strict=True):
                        number += 1
                        text, domain = row[0], row[1] if self.domain_column else ""
                        if text is None or domain is None:
                            raise DataError(f"row {number} is null", file=file, hint="drop the row or fill it")
                        check_document(text, file, number)
                        if not text.strip():
                            counts["blank_documents"] += 1
                            continue
                        yield text.strip(), domain
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            place = f" after row {number}" if number else ""
            raise DataError(f"cannot be read as parquet{place}: {_first_line(error)}", file=file) from error
        counts["rows"] += number

    def _sources_exist(self) -> None:
        for path in self._paths():
            parquet_files(path)

    def _content(self) -> list[str]:
        return [file_sha256(file) for path in self._paths() for file in parquet_files(path)]

    def _shape(self) -> dict[str, Any]:
        return {"column": self.column, "domain_column": self.domain_column, "every": self.every}


def parquet_files(path: str) -> list[Path]:
    """The file itself, or the `*.parquet` files of a folder in name order; NotFound where there is none."""
    place = Path(path)
    if not place.is_dir():
        return [regular_file(place)]
    files = sorted(f for f in place.glob("*.parquet") if not f.name.startswith((".", "_")))
    if not files:
        raise NotFound(f"there is no *.parquet file in {place}", hint="give the folder that holds them")
    return [regular_file(file) for file in files]


def check_document(text: Any, place: str | Path, number: int) -> None:
    """Refuse a row that is no text, holds a lone surrogate or NUL, or is absurdly long. `number` is the row."""
    if not isinstance(text, str):
        raise DataError(f"row {number} holds {type(text).__name__}, not text", file=place)
    if len(text) > MAX_DOCUMENT_CHARACTERS:
        raise DataError(f"row {number} is longer than {MAX_DOCUMENT_CHARACTERS} characters", file=place)
    try:
        check_text(text, place, None)
    except DataError as error:
        reason = error.message.removeprefix(f"{place}: ")
        raise DataError(f"row {number}: {reason}", file=place, hint=error.hint) from None


def _refuse_columns(schema: Any, columns: list[str], file: Path) -> None:
    import pyarrow.types as types

    for name in columns:
        if schema.names.count(name) != 1:
            known = ", ".join(schema.names[:8])
            raise DataError(f"the column {name!r} is missing", file=file, hint=f"columns here: {known}")
        kind = schema.field(name).type
        plain = kind.value_type if types.is_dictionary(kind) else kind
        if not (types.is_string(plain) or types.is_large_string(plain) or types.is_string_view(plain)):
            raise DataError(f"the column {name!r} must hold text, here it is {kind}", file=file)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


@dataclass(frozen=True, kw_only=True)
class HubCorpus(Documents):
    """A data set of the Hugging Face hub (extra `hub`), by name and revision.

    `revision` is a 40-digit commit; left empty, the newest one is looked up and recorded. `subset` is the
    configuration's name. `unit` = "article" joins rows as `TextCorpus` joins lines ("Salesforce/wikitext" has one
    line a row); "row" takes each row as a document. `held_out` names the split that is held out. Never runs a data
    set's own code; needs the network once.
    """

    name: str
    revision: str = ""
    subset: str | None = None
    column: str = "text"
    domain_column: str | None = None
    split: str = "train"
    held_out: str | None = None
    unit: Literal["row", "auto", "article", "paragraph"] = "row"
    shortest: int = 1
    kind: ClassVar[str] = "hub"

    def __post_init__(self) -> None:
        super().__post_init__()
        hub.check_name(self.name, self.revision)
        if self.unit not in ("row", "auto", "article", "paragraph"):
            raise ValueError(f"unit must be row, auto, article or paragraph, not {self.unit!r}")
        if self.unit != "row" and self.domain_column is not None:
            raise ValueError("a domain_column needs unit = 'row'")

    def _has_held_out(self) -> bool:
        return self.held_out is not None

    def _rows(self, split: str, counts: Counter[str]) -> Iterator[Row]:
        part = self.held_out if split == "held_out" and self.held_out else self.split
        rows = self._checked(part, counts)
        if self.unit != "row":
            lines = (Line(i, 0, text, ended=True) for i, (text, _) in enumerate(rows, start=1))
            yield from ((text, "") for text in text_documents(lines, self.unit, self.shortest, counts))
            return
        for text, domain in rows:
            if len(text.strip()) < self.shortest:
                counts["blank_documents"] += 1
                continue
            yield text.strip(), domain

    def _checked(self, part: str, counts: Counter[str]) -> Iterator[Row]:
        place = f"{self.name}/{self.subset or ''}/{part}"
        for number, row in enumerate(hub.rows(self.name, self.revision, self.subset, part), start=1):
            counts["rows"] += 1
            domain = text_field(row, self.domain_column, place, number) if self.domain_column else ""
            text = text_field(row, self.column, place, number, blank=True)
            check_document(text, place, number)
            yield text, domain

    def _content(self) -> list[str]:
        return [self.name, hub.commit(self.name, self.revision), self.subset or "", self.split, self.held_out or ""]

    def _shape(self) -> dict[str, Any]:
        names = ("column", "domain_column", "unit", "shortest", "every")
        return {name: getattr(self, name) for name in names}

    def _facts(self) -> dict[str, Any]:
        return {"revision": hub.commit(self.name, self.revision)}

    def _name(self) -> str:
        return self.name
