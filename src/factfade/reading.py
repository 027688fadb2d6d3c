"""Stored tables of an experiment as data frames: only what manifests list, every file checked against its hash.

Generation 0 is stored once and belongs to every lineage: its rows are repeated under each (lineage, seed).
Rows stand in the order of the runs, the generations, the shards' names and the rows within.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from factfade import tables
from factfade.errors import IntegrityError
from factfade.manifest import Manifest
from factfade.store import ExperimentFolder, RunFolder

if TYPE_CHECKING:
    import pandas as pd

    from factfade.tablerows import Part

Lineages = Collection[tuple[str, int]]


def load_evidence(
    experiment: ExperimentFolder,
    *,
    lineages: Lineages | None = None,
    generations: Collection[int] | None = None,
    columns: Collection[str] | None = None,
) -> pd.DataFrame:
    """What was answered: `evidence/` of the evaluate steps. `lineages` are (arm, seed); None means all.

    `columns` are those that are kept, of files that are checked whole; None means all.
    """
    return load(
        experiment, "evidence", "evaluate", "evidence", lineages=lineages, generations=generations, columns=columns
    )


def load_fluency(
    experiment: ExperimentFolder, *, lineages: Lineages | None = None, generations: Collection[int] | None = None
) -> pd.DataFrame:
    """Log-likelihoods of texts: `fluency.parquet` of the evaluate steps."""
    return load(experiment, "fluency", "evaluate", "fluency", lineages=lineages, generations=generations)


def load_own(
    experiment: ExperimentFolder, *, lineages: Lineages | None = None, generations: Collection[int] | None = None
) -> pd.DataFrame:
    """Each generation's completions of the fixed prompts: `own.parquet` of the evaluate steps."""
    return load(experiment, "completions", "evaluate", "own", lineages=lineages, generations=generations)


def load_completions(
    experiment: ExperimentFolder, *, lineages: Lineages | None = None, generations: Collection[int] | None = None
) -> pd.DataFrame:
    """What was written to be trained on: `completions.parquet` of the synthesize steps.

    `generations` are those of the folders; the column `generation` is that of the model that wrote, one less.
    """
    return load(experiment, "completions", "synthesize", "completions", lineages=lineages, generations=generations)


def manifests(experiment: ExperimentFolder) -> dict[tuple[str, int, int], dict[str, Manifest]]:
    """Every committed step by (arm, seed, generation), in order; generation 0 under each arm and seed."""
    return {
        (run.arm, run.seed, generation): steps
        for run in experiment.runs()
        for generation, steps in run.committed().items()
    }


def load(
    experiment: ExperimentFolder,
    table: tables.Table,
    step: str,
    name: str,
    *,
    lineages: Lineages | None = None,
    generations: Collection[int] | None = None,
    columns: Collection[str] | None = None,
) -> pd.DataFrame:
    """The table that `step` published as `name` (a file or a folder of shards), of the runs and generations asked for.

    With `columns` only these are kept (the key's must be among them): what is dropped was checked, too.

    Raises IntegrityError for a damaged file and DataError for a bad row. What is not committed is not there.
    """
    import pandas as pd

    frames: list[pd.DataFrame] = []
    start: dict[str, pd.DataFrame] = {}
    written_by_previous = step == "synthesize"
    for run in experiment.runs():
        if lineages is not None and (run.arm, run.seed) not in lineages:
            continue
        for generation, steps in run.committed().items():
            manifest = steps.get(step)
            if manifest is None or (generations is not None and generation not in generations):
                continue
            if generation == 0:
                folder = str(run.start)
                if folder not in start:
                    start[folder] = _load(manifest, table, name, columns)
                frames.append(start[folder].assign(lineage=run.arm, seed=run.seed))
            else:
                frame = _load(manifest, table, name, columns)
                _check_place(frame, manifest, run, generation - written_by_previous)
                frames.append(frame)
    frames = [frame for frame in frames if len(frame)]
    return pd.concat(frames, ignore_index=True) if frames else tables.combine([], table)


def _load(manifest: Manifest, table: tables.Table, name: str, columns: Collection[str] | None) -> pd.DataFrame:
    parts = (
        tables.parse(manifest.read_file(file), table, name=manifest.folder / file) for file in _files(manifest, name)
    )
    return tables.combine(parts if columns is None else (_kept(part, columns) for part in parts), table)


def _kept(part: Part, columns: Collection[str]) -> Part:
    return replace(part, table=part.table.select([name for name in part.table.column_names if name in columns]))


def _files(manifest: Manifest, name: str) -> Iterator[str]:
    for file in sorted(manifest.files):
        if file.endswith(tables.SUFFIXES) and (file.startswith(f"{name}/") or file.rsplit(".", 1)[0] == name):
            yield file


def _check_place(frame: pd.DataFrame, manifest: Manifest, run: RunFolder, generation: int) -> None:
    """The rows say whose they are; a folder that was copied from elsewhere is not read as this run's."""
    for column, expected in (("lineage", run.arm), ("seed", run.seed), ("generation", generation)):
        wrong = frame.loc[frame[column] != expected, column]
        if len(wrong):
            raise IntegrityError(
                f"{manifest.folder} holds rows of {column} {wrong.iloc[0]!r} where {expected!r} is expected",
                path=manifest.folder,
                hint="the folder was moved or copied from another run: put it back",
            )
