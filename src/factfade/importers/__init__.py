"""Other tools' result files, turned into evidence: lm-evaluation-harness and Inspect.

An importer reads what a tool logged about one generation and gives rows of evidence. It needs nothing of the tool,
trusts nothing in the file, and takes the tool's own verdicts. docs/evidence.md says what becomes of what.
"""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from factfade import durable, tables
from factfade.errors import ConfigError, DataError, UsageError
from factfade.records import SCHEMA_VERSION
from factfade.text import safe_text

# Kind -> module with `read(path, *, lineage, seed, generation, ...) -> Imported` and the names of its further choices.
KINDS: Mapping[str, str] = {"lm-eval": "factfade.importers.lm_eval", "inspect": "factfade.importers.inspect_ai"}
_NUMBERED = re.compile(r"(\d{1,9})=(.+)", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What was written: the number of rows, the paths of each generation, and notes in plain sentences."""

    out: Path
    rows: int
    generations: Mapping[int, tuple[Path, ...]]
    notes: tuple[str, ...]

    def lines(self) -> list[str]:
        """What a command prints."""
        told = [f"generation {g}: {', '.join(map(str, paths))}" for g, paths in self.generations.items()]
        return [*told, *self.notes, f"{self.rows:,} rows of evidence: {self.out}"]


def run(
    kind: str,
    paths: Sequence[str | Path],
    *,
    lineage: str = "imported",
    seed: int = 0,
    out: str | Path,
    force: bool = False,
    **choices: str | None,
) -> Summary:
    """Read the logs of a lineage's generations and write them as one table of evidence.

    Each path is one generation, in the order given from 0 on, or says which: `GENERATION=PATH`. `out` is a `.parquet`
    or `.jsonl` file, which is written durably and never overwritten without `force`. `choices` go to the importer
    (its `CHOICES`: `format`, `rule`, ...; None is left out). Raises UsageError for a file that exists and for paths
    whose order is doubtful, ConfigError for an unknown kind or choice, DataError for a malformed log.
    """
    target = Path(out)
    if kind not in KINDS:
        raise ConfigError(f"there is no importer {kind!r}", hint=f"one of {', '.join(KINDS)}")
    if target.suffix not in tables.SUFFIXES:
        raise ConfigError(f"{target} is no .parquet and no .jsonl file", field="--out", hint="name it evidence.parquet")
    if target.exists() and not force:
        raise UsageError(f"{target} exists", hint="give another name, or --force to write it again")
    if seed < 0:
        raise ConfigError(f"{seed} is below 0", field="--seed")
    given = {name: value for name, value in choices.items() if value is not None}
    importer = importlib.import_module(KINDS[kind])
    if unknown := [name for name in given if name not in importer.CHOICES]:
        raise ConfigError(f"the importer {kind} has no {unknown[0]}", hint=f"it has {', '.join(importer.CHOICES)}")
    rows: list[dict[str, Any]] = []
    noted: dict[str, list[int]] = {}
    places: dict[tuple[Any, ...], Path] = {}
    generations = numbered(paths)
    for generation, path in generations:
        found = importer.read(path, lineage=lineage, seed=seed, generation=generation, **given)
        for row in found.rows:
            key = (generation, row["item"], row["format"], row["wording"])
            if places.setdefault(key, path) != path:
                raise DataError(
                    f"holds a question of generation {generation} that {places[key]} holds too",
                    file=path,
                    hint="give each generation's logs once, or tell the formats apart with --format",
                )
        rows += found.rows
        for note in dict.fromkeys(found.notes):
            noted.setdefault(note, []).append(generation)
    durable.make_folder(target.parent)
    durable.write_bytes(target, to_bytes(rows, jsonl=target.suffix == ".jsonl"))
    found_at = {g: tuple(path for other, path in generations if other == g) for g in sorted(dict(generations))}
    notes = tuple(f"{note} [generation {', '.join(map(str, where))}]" for note, where in noted.items())
    return Summary(out=target, rows=len(rows), generations=found_at, notes=notes)


def to_bytes(rows: Sequence[Mapping[str, Any]], *, jsonl: bool) -> bytes:
    """Rows of evidence as a checked table: parquet, or JSON Lines with the schema version in the first line."""
    parquet = tables.to_bytes(rows, "evidence")
    if not jsonl:
        return parquet
    plain = [{name: value for name, value in row.items() if value is not None} for row in rows]
    lines = [json.dumps(row, ensure_ascii=False) for row in [{"schema_version": SCHEMA_VERSION}, *plain]]
    return ("\n".join(lines) + "\n").encode("utf-8")


def numbered(paths: Sequence[str | Path]) -> list[tuple[int, Path]]:
    """(generation, path) of every argument: `GENERATION=PATH`, or plain paths numbered in the order given.

    Raises UsageError when some say their generation and others do not, and when plain paths stand in the order of a
    shell, which puts gen-10 before gen-2.
    """
    if not paths:
        raise UsageError("no log is given", hint="give one path for each generation")
    texts = [str(path) for path in paths]
    said = [_NUMBERED.fullmatch(text) for text in texts]
    if all(said):
        return [(int(match[1]), Path(match[2])) for match in said if match]
    if any(said):
        raise UsageError(
            "some paths say their generation and some do not", hint="write GENERATION=PATH for all: 0=first 1=second"
        )
    by_number = sorted(texts, key=_natural)
    if texts == sorted(texts) and texts != by_number:
        wrong = next(index for index, (text, other) in enumerate(zip(texts, by_number, strict=True)) if text != other)
        raise UsageError(
            f"{safe_text(texts[wrong], limit=200, keep='')} would be generation {wrong}, as a shell sorts names",
            hint=f"write GENERATION=PATH for all: {wrong}={safe_text(by_number[wrong], limit=200, keep='')}",
        )
    return [(generation, Path(text)) for generation, text in enumerate(texts)]


def _natural(text: str) -> list[tuple[int, int, str]]:
    """Names in the order of the numbers in them."""
    parts = re.split(r"(\d{1,18})", text)
    return [(1, int(part), "") if part.isdigit() else (0, 0, part) for part in parts]
