"""Getting the numbers out: `export` writes what an experiment, an audit or foreign evidence says into a folder.

    tables       every sheet of `tables.py` as parquet and as CSV
    findings     the answers of the analyses, as a sheet
    latex        booktabs tables
    figures      SVG, PDF and PNG (the extra `figures`)
    model-card   the model-index block of a Hugging Face model card

`export.json` lists every file with its SHA-256. Equal evidence gives equal bytes; no model is touched.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from factfade import analysis, auditfolder, durable, judging
from factfade.errors import ConfigError, MissingExtra, NotFound, UsageError
from factfade.export import figures, latex, model_card, sheets, tables
from factfade.export.tables import Source
from factfade.paths import checked_relative, inside
from factfade.text import safe_text

KINDS = ("tables", "findings", "latex", "figures", "model-card")
INDEX = "export.json"


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What was written: the folder, the files by name (in order) with their sizes, and what was left out and why."""

    path: Path
    files: dict[str, int]
    notes: tuple[str, ...] = ()


def export(
    path: str | Path,
    out: str | Path,
    *,
    kinds: Sequence[str] | None = None,
    control: str | None = None,
    force: bool = False,
) -> Exported:
    """Write the numbers at `path` (what `judging.open_case` opens) into the folder `out`.

    `kinds` are some of KINDS, None for all; then figures are left out, with a note, where matplotlib is missing, while
    a kind that is named raises MissingExtra. A folder that holds something is refused (UsageError) unless `force`:
    then files that an earlier export listed are replaced, and nothing else is touched.
    """
    wanted = list(dict.fromkeys(KINDS if kinds is None else kinds))
    for kind in wanted:
        if kind not in KINDS:
            raise ConfigError(f"there is no export {kind!r}", hint=f"one of {', '.join(KINDS)}")
    folder = Path(out)
    _check_out(folder, force=force)
    case = judging.open_case(path, control=control)
    source = Source(case=case, report=case.stages())
    notes: list[str] = []
    made: dict[str, bytes] = {}
    for kind in KINDS:
        if kind in wanted:
            try:
                made.update(_made(kind, source, path))
            except MissingExtra as error:
                if kinds is not None:
                    raise
                notes.append(f"Left out: {kind}, since matplotlib is not installed ({error.hint}).")
    durable.make_folder(folder)
    _remove_listed(folder)
    for name, data in made.items():
        durable.write_bytes(folder / name, data)
    durable.write_json(folder / INDEX, _index(made, source, notes))
    files = {name: len(data) for name, data in made.items()}
    return Exported(path=folder, files={**files, INDEX: (folder / INDEX).stat().st_size}, notes=tuple(notes))


def _made(kind: str, source: Source, path: str | Path) -> Iterator[tuple[str, bytes]]:
    """(file name, bytes) of one kind."""
    if kind == "tables":
        for one in tables.judged(source):
            yield from _sheet(one)
    elif kind == "findings":
        yield from _sheet(tables.findings(analysis.analyse(source.case.study())))
    elif kind == "latex":
        yield from ((name, text.encode("utf-8")) for name, text in latex.documents(source))
    elif kind == "figures":
        yield from figures.files(source)
    else:
        cards = model_card.cards(source, datasets(path))
        yield from ((name, text.encode("utf-8")) for name, text in cards)


def _sheet(one: sheets.Sheet) -> Iterator[tuple[str, bytes]]:
    yield f"{one.name}.parquet", sheets.to_parquet(one)
    yield f"{one.name}.csv", sheets.to_csv(one)


def datasets(path: str | Path) -> tuple[str, ...]:
    """The kinds of questions that the settings of an experiment or an audit name; none for foreign evidence."""
    try:
        settings = auditfolder.open_folder(path).settings()
    except NotFound:
        return ()
    named = settings.get("evaluation", {}).get("questions", [])
    return tuple(dict.fromkeys(str(one.get("kind")) if isinstance(one, dict) else str(one) for one in named))


def _check_out(folder: Path, *, force: bool) -> None:
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is no folder", hint="give an empty or a new folder with --out")
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    if not (force and (folder / INDEX).is_file()):
        hint = "give an empty or a new folder with --out"
        earlier = (folder / INDEX).is_file()
        raise UsageError(
            f"{safe_text(folder, limit=200, keep='')} holds files already",
            hint=f"{hint}, or --force to replace the export in it" if earlier else hint,
        )


def _remove_listed(folder: Path) -> None:
    """Remove the files of an earlier export: those that its index lists, all of them in this folder itself."""
    try:
        listed: Any = json.loads((folder / INDEX).read_bytes())["files"]
    except (OSError, ValueError, KeyError, TypeError):
        return
    for name in listed if isinstance(listed, dict) else ():
        if len(checked_relative(str(name)).parts) == 1:
            durable.remove_tree(inside(folder, str(name)))


def _index(made: dict[str, bytes], source: Source, notes: Sequence[str]) -> dict[str, Any]:
    from factfade import __version__

    columns = {name: dict(kinds) for name, kinds in tables.COLUMNS.items() if f"{name}.csv" in made}
    files = {name: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in made.items()}
    return {
        "factfade": __version__,
        "stage_rule_sha256": source.report.rule_sha256,
        "evidence_rows": len(source.case.evidence),
        "files": files,
        "columns": columns,
        "notes": list(notes),
    }
