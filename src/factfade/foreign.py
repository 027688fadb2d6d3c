"""Tables that another tool made: a path becomes the evidence, and what stands beside it.

A path is one table of evidence (a `.parquet` or `.jsonl` file), a folder of its shards, or a folder that holds the
tables by name: `evidence`, `fluency`, and `own` or `completions`, each a file, several (`evidence-0.parquet`,
`evidence-1.parquet`), or a folder of shards. What is not there is noted and never guessed. Every row is checked as
`tables.py` says; a bad one is a `DataError` with its file and line.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from factfade import tables
from factfade.errors import DataError, NotFound
from factfade.text import safe_text

if TYPE_CHECKING:
    import pandas as pd

PARTS = ("evidence", "fluency", "own", "completions")
_NAMED = re.compile(rf"({'|'.join(PARTS)})([-_.].*)?")
MAX_FILES = 100_000


@dataclass(frozen=True, kw_only=True)
class Tables:
    """Tables as in docs/evidence.md, ready for stages, metrics and analyses.

    `fluency` and `own` are None where the path has none. `controls` names each lineage's own control (empty: no
    lineage has one). `notes` say in plain sentences what was missing, left out or stood in for something else.
    """

    evidence: pd.DataFrame
    fluency: pd.DataFrame | None = None
    own: pd.DataFrame | None = None
    controls: Mapping[str, str | None] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def open_tables(path: str | Path, *, control: str | None = None) -> Tables:
    """The tables at a path. `control` names the lineage that is the control of every other one.

    Raises NotFound where there is nothing or no such lineage, and DataError where there is no evidence, or a row is
    malformed.
    """
    root = Path(path)
    if not root.exists():
        raise NotFound(f"there is nothing at {root}", hint="give a file of evidence, or a folder that holds some")
    if root.is_dir():
        files, notes = _sorted_out(root)
    else:
        files, notes = {"evidence": [root]}, []
    evidence = _read(files["evidence"], "evidence")
    if not len(evidence):
        raise DataError("the evidence holds no row", file=root)
    fluency = _read(files["fluency"], "fluency") if files.get("fluency") else None
    own = _own(files, notes)
    notes += _missing(fluency, own)
    return Tables(
        evidence=evidence, fluency=fluency, own=own, controls=_controls(evidence, control), notes=tuple(notes)
    )


def _sorted_out(root: Path) -> tuple[dict[str, list[Path]], list[str]]:
    """The files of each table of a folder, and what was left out."""
    named: dict[str, list[Path]] = {part: [] for part in PARTS}
    others: list[Path] = []
    for entry in _entries(root):
        part = _NAMED.fullmatch(entry.stem if entry.suffix in tables.SUFFIXES else entry.name)
        if entry.is_dir():
            if part and not part[2]:
                named[part[1]] += [file for file in _entries(entry) if _is_table(file)]
        elif _is_table(entry):
            (named[part[1]] if part else others).append(entry)
    if named["evidence"]:
        notes = [_left_out(others)] if others else []
        return named, notes
    if others:
        return {**named, "evidence": others}, []
    held = [part for part in PARTS if named[part]]
    what = f"{' and '.join(held)}, but no evidence" if held else "no .parquet and no .jsonl file"
    hint = "name a table evidence.parquet or evidence.jsonl, or give the folder of its shards; see docs/evidence.md"
    raise DataError(f"the folder holds {what}", file=root, hint=hint)


def _entries(folder: Path) -> list[Path]:
    try:
        found = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror}", file=folder) from None
    if len(found) > MAX_FILES:
        raise DataError(f"the folder holds more than {MAX_FILES:,} files", file=folder, hint="write fewer shards")
    return found


def _is_table(file: Path) -> bool:
    # A pipe or a device is no table: reading it might never end.
    return file.suffix in tables.SUFFIXES and file.is_file()


def _left_out(files: list[Path]) -> str:
    shown = ", ".join(safe_text(file.name, limit=80, keep="") for file in files[:5])
    more = f" and {len(files) - 5} more" if len(files) > 5 else ""
    return f"Left out, since the folder has a table named evidence: {shown}{more}."


def _read(files: list[Path], table: tables.Table) -> pd.DataFrame:
    return tables.combine((part for file in files for part in [tables.parse_file(file, table)]), table)


def _own(files: Mapping[str, list[Path]], notes: list[str]) -> pd.DataFrame | None:
    """What each generation wrote for fixed prompts: the table `own`, else `completions`."""
    if files.get("own"):
        if files.get("completions"):
            notes.append("The completions that were trained on are not read: the table own says how each model writes.")
        return _read(files["own"], "completions")
    if files.get("completions"):
        notes.append("The table completions stands for own: its prompts are taken to be the same in every generation.")
        return _read(files["completions"], "completions")
    return None


def _missing(fluency: pd.DataFrame | None, own: pd.DataFrame | None) -> list[str]:
    found: list[str] = []
    if fluency is None:
        found.append("There is no table fluency: no fluency in nats, so neither A nor B can be called.")
    elif not bool((fluency["kind"] == "own_under_start").any()):
        found.append("The table fluency has no rows of kind own_under_start, so neither A nor B can be called.")
    if own is None:
        found.append("There is no table own or completions: no share of junk, so neither A nor B can be called.")
    return found


def _controls(evidence: pd.DataFrame, control: str | None) -> dict[str, str | None]:
    if control is None:
        return {}
    lineages = sorted(set(evidence["lineage"]))
    if control not in lineages:
        shown = ", ".join(safe_text(name, limit=60, keep="") for name in lineages[:20])
        asked = safe_text(control, limit=60, keep="")
        raise NotFound(f"there is no lineage {asked} in the evidence", hint=f"its lineages are: {shown}")
    return {name: None if name == control else control for name in lineages}
