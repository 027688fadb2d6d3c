"""What is compared: one checkpoint of one run, or of every seed of an arm, named on the command line.

    PATH[:LINEAGE][#SEED][@WHERE]

PATH is an audit's or an experiment's folder, one run in it, or foreign evidence. LINEAGE is an arm or a series of
checkpoints, needed where the path holds several. SEED takes one of its seeds, all are taken without it. WHERE is a
generation's number, a checkpoint's name, or `last`, which it is without one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from factfade import auditfolder, judging, registry, store
from factfade.columns import as_text
from factfade.errors import DataError, NotFound, UsageError
from factfade.judging import Case
from factfade.manifest import Manifest, read_manifest
from factfade.records import PROBES
from factfade.text import safe_text

if TYPE_CHECKING:
    import pandas as pd

SYNTAX = "write PATH, PATH:LINEAGE, PATH#SEED or PATH@WHERE (a generation's number, a checkpoint's name, or last)"
_REST = re.compile(r"(?::(?P<lineage>[^@#]+))?(?:#(?P<seed>[0-9]{1,10}))?(?:@(?P<where>.+))?", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Address:
    """A side as it was named: its path, and what of it. None where it was not said."""

    path: Path
    lineage: str | None = None
    seed: int | None = None
    where: str | None = None


@dataclass(frozen=True, kw_only=True)
class Picked:
    """One lineage of a case at one generation, in one or more seeds.

    `records` hold, by seed, the manifest of the evaluation where the store has one. `checkpoint` is the checkpoint's
    name ("" where none is stored), `step` its training step.
    """

    case: Case
    label: str
    lineage: str
    seeds: tuple[int, ...]
    generation: int
    checkpoint: str = ""
    step: int | None = None
    records: Mapping[int, Manifest] = field(default_factory=dict)

    @property
    def formats(self) -> tuple[str, ...]:
        """The formats that were asked there, probes left out."""
        found = set(as_text(self.rows(self.case.evidence), "format").tolist())
        return tuple(sorted(found - PROBES))

    def rows(self, table: pd.DataFrame, seed: int | None = None) -> pd.DataFrame:
        """The rows of a table that belong to it, of one seed or of all."""
        mine = (table["lineage"] == self.lineage) & (table["generation"] == self.generation)
        return table[mine & (table["seed"].isin(self.seeds) if seed is None else table["seed"] == seed)]


def shown(text: object, limit: int = 80) -> str:
    """A name out of a file or the command line, on one line."""
    return safe_text(text, limit=limit, keep="")


def address(text: str | Path) -> Address:
    """Reads `PATH[:LINEAGE][#SEED][@WHERE]`: the longest part before a mark that exists is the path.

    Raises NotFound where no part of it exists, UsageError where the rest is no lineage, seed and place.
    """
    given = str(text)
    if _exists(given):
        return Address(path=Path(given))
    for at in range(len(given) - 1, 0, -1):
        if given[at] in ":#@" and _exists(given[:at]):
            rest = _REST.fullmatch(given[at:])
            if rest is None:
                raise UsageError(f"cannot read {shown(given[at:])!r} after {shown(given[:at], 200)}", hint=SYNTAX)
            seed = rest["seed"]
            return Address(
                path=Path(given[:at]),
                lineage=rest["lineage"],
                seed=None if seed is None else int(seed),
                where=rest["where"],
            )
    raise NotFound(f"there is nothing at {shown(given, 300)}", hint=SYNTAX)


def _exists(text: str) -> bool:
    try:
        return Path(text).exists()
    except (OSError, ValueError):  # too long for a name, or a zero byte
        return False


def folder_of(path: Path) -> Path:
    """The audit's folder where its audit.json is given; else the path itself."""
    return path.parent if path.name == auditfolder.RECORD and path.is_file() else path


def pick(text: str | Path) -> Picked:
    """Opens a side. Raises NotFound and UsageError with what there is to choose from, and what the readers raise."""
    wanted = address(text)
    path = folder_of(wanted.path)
    case = judging.open_case(path)
    return pick_from(case, wanted, path=path, label=str(text))


def pick_from(case: Case, wanted: Address, *, path: Path | None = None, label: str = "") -> Picked:
    """The lineage, seeds and generation of an open case; `path` is where its manifests lie, None for none."""
    evidence = case.evidence
    for column in ("lineage", "seed", "generation"):
        if column not in evidence.columns:
            raise DataError(f"the evidence has no column {column!r}", hint="see docs/evidence.md")
    lineage = _lineage(evidence, wanted, path)
    rows = evidence[evidence["lineage"] == lineage]
    seeds = _seeds(rows, wanted, lineage)
    rows = rows[rows["seed"].isin(seeds)]
    generation = _generation(rows, wanted.where)
    rows = rows[rows["generation"] == generation]
    name, step = named(rows)
    records = {seed: record for seed in seeds if (record := record_of(path, lineage, seed, generation)) is not None}
    return Picked(
        case=case,
        label=label or lineage,
        lineage=lineage,
        seeds=tuple(sorted({int(seed) for seed in rows["seed"]})),
        generation=generation,
        checkpoint=name,
        step=step,
        records=records,
    )


def _one_of(names: Sequence[str]) -> str:
    more = f" and {len(names) - 20} more" if len(names) > 20 else ""
    return ", ".join(shown(name, 60) for name in names[:20]) + more


def _lineage(evidence: pd.DataFrame, wanted: Address, path: Path | None) -> str:
    names = sorted({str(name) for name in evidence["lineage"]})
    asked = wanted.lineage if wanted.lineage is not None else _own_lineage(path)
    if asked is None:
        if len(names) == 1:
            return names[0]
        raise UsageError(
            f"{len(names)} lineages are there, and one is compared: {_one_of(names)}",
            hint=f"name it after a colon: {shown(wanted.path, 200)}:{shown(names[0], 60)}",
        )
    if asked not in names:
        raise NotFound(f"there is no lineage {shown(asked)!r}", hint=f"one of: {_one_of(names)}")
    return asked


def _own_lineage(path: Path | None) -> str | None:
    """The arm where the path is one run of an experiment: its control is read beside it."""
    if path is None:
        return None
    try:
        only = store.open_experiment(path).only
    except NotFound:
        return None
    return None if only is None else only.arm


def _seeds(rows: pd.DataFrame, wanted: Address, lineage: str) -> tuple[int, ...]:
    there = sorted({int(seed) for seed in rows["seed"]})
    if wanted.seed is None:
        return tuple(there)
    if wanted.seed not in there:
        raise NotFound(
            f"the lineage {shown(lineage)!r} has no seed {wanted.seed}",
            hint=f"one of: {_one_of([str(seed) for seed in there])}",
        )
    return (wanted.seed,)


def _generation(rows: pd.DataFrame, where: str | None) -> int:
    there = sorted({int(generation) for generation in rows["generation"]})
    if where is None or where == "last":
        return there[-1]
    if where.isascii() and where.isdecimal() and len(where) < 10 and int(where) in there:
        return int(where)
    names = as_text(rows, "checkpoint")
    found = sorted({int(g) for g, name in zip(rows["generation"], names, strict=True) if name == where})
    if len(found) == 1:
        return found[0]
    if found:
        raise UsageError(
            f"the checkpoint name {shown(where)!r} stands for the generations {', '.join(map(str, found))}",
            hint="give the generation's number after the @",
        )
    known = [*map(str, there), *sorted({str(name) for name in names if name})]
    raise NotFound(f"there is no generation and no checkpoint {shown(where)!r}", hint=f"one of: {_one_of(known)}")


def named(rows: pd.DataFrame) -> tuple[str, int | None]:
    """The checkpoint's name and step that the rows carry: "" and None where they carry none, or several."""
    names = {str(name) for name in as_text(rows, "checkpoint") if name}
    steps = set(rows["step"].dropna().astype(int).tolist()) if "step" in rows.columns else set()
    return names.pop() if len(names) == 1 else "", steps.pop() if len(steps) == 1 else None


def record_of(path: Path | None, lineage: str, seed: int, generation: int) -> Manifest | None:
    """The manifest of the evaluation that the rows come from: in an experiment, or in an audit's folder.

    None where there is none (foreign evidence). Raises IntegrityError for a damaged one.
    """
    if path is None:
        return None
    try:
        folder = auditfolder.open_folder(path)
        # A folder that was opened at one run reads the others, too: its control stands beside it.
        whole = replace(folder, only=None)
        return read_manifest(whole.run(lineage, seed).generation(generation) / EVALUATE)
    except NotFound:
        return None


EVALUATE = "evaluate.json"


def nearest_field(name: str, known: Sequence[str]) -> str:
    """The hint for a field that is not known."""
    return registry.nearest(name, known)
