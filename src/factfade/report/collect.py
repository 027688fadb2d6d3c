"""The folder of an experiment or an audit -> Material: what manifests list, and the stage calls by the stored rule."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from factfade import auditfolder, judging, reading
from factfade.arena import Arena, arena
from factfade.arena.tables import titled
from factfade.auditfolder import AuditFolder
from factfade.errors import Inconclusive
from factfade.judging import Case
from factfade.report.data import RecordTable
from factfade.report.material import Material
from factfade.store import ExperimentFolder
from factfade.verdicts import StageReport

if TYPE_CHECKING:
    import pandas as pd


def material(root: str | Path, report: StageReport | None = None) -> Material:
    """Everything the store holds of the experiment, or of the one run named by its path and that run's control.

    `report` are its stage calls where they are made already. Raises NotFound, IntegrityError and DataError as the
    readers do, Inconclusive where nothing is evaluated.
    """
    folder = auditfolder.open_folder(root)
    settings = folder.settings()
    case = judging.experiment_case(folder)
    whole, lineages = judging.scope(folder, case.controls)
    evidence, fluency, own = case.tables()
    stages = report or case.stages()
    found = _arena(folder, case, stages) if "contrast" in settings and lineages is None else None
    return Material(
        settings=settings,
        environment=folder.environment(),
        steps={k: v for k, v in reading.manifests(whole).items() if lineages is None or k[:2] in lineages},
        evidence=evidence,
        fluency=fluency,
        own=own,
        stages=stages,
        controls=case.controls,
        questions=questions_of(evidence),
        only=None if lineages is None else frozenset(lineages),
        audited=isinstance(folder, AuditFolder),
        failures=failures_of(folder.record()) if isinstance(folder, AuditFolder) else (),
        arena=tuple(_tables(found)) if found else (),
        arena_sentences=found.sentences if found else (),
    )


def _arena(folder: ExperimentFolder, case: Case, stages: StageReport) -> Arena | None:
    """The declared comparison between the arms; None while no run of the baseline is complete."""
    with contextlib.suppress(Inconclusive):
        return arena(folder.root, case=case, report=stages)
    return None


def _tables(found: Arena) -> Iterator[RecordTable]:
    for title, heads, cells in titled(found):
        yield RecordTable(caption=title, head=tuple(heads), rows=tuple(tuple(row) for row in cells))


def place(root: str | Path, name: str) -> Path:
    """Where a file about `root` is written: in the experiment's or the audit's folder, or in the one run's."""
    folder = auditfolder.open_folder(root)
    return folder.path(name) if folder.only is None else folder.only.path / name


def failures_of(record: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Name and reason of every checkpoint that an audit's record says could not be evaluated."""
    rows = record.get("checkpoints")
    found: list[tuple[str, str]] = []
    for row in cast("list[Any]", rows) if isinstance(rows, list) else []:
        row = cast("Mapping[str, Any]", row) if isinstance(row, Mapping) else {}
        if failure := cast("Mapping[str, Any]", row.get("failure") or {}):
            found.append((str(row.get("name", "")), str(failure.get("message", ""))))
    return tuple(found)


def questions_of(evidence: pd.DataFrame) -> dict[str, str]:
    """Texts of the questions by item, where the evidence carries them in a column `question`."""
    if "question" not in evidence.columns:
        return {}
    known = evidence.loc[evidence["question"].notna(), ["item", "question"]].drop_duplicates("item")
    return {str(item): str(text) for item, text in zip(known["item"], known["question"], strict=True)}
