"""The synthetic experiment as a folder: written by the store, as a run would have left it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from factfade import store, sweep, tables
from factfade.report.material import Material
from tests.report import synthetic


def write(root: Path, material: Material, *, generations: Sequence[int]) -> Path:
    """The experiment's folder with the evaluate steps of the named generations; rows are the material's."""
    experiment = synthetic.experiment(generations=max(generations))
    folder = store.create_experiment(root, toml=sweep.to_toml(experiment), environment=dict(material.environment))
    for arm in synthetic.ARMS:
        run = folder.run(arm, 0)
        for generation in generations:
            _evaluate(run.generation(generation), arm, generation, material)
    return root


def _evaluate(folder: Path, arm: str, generation: int, material: Material) -> None:
    key = store.StepKey(version=1, settings={"generation": generation}, inputs={"checkpoint": "c" * 64}, seed=0)
    step = store.step(folder, "evaluate", key)
    if step.committed:
        return
    lineage = "" if generation == 0 else arm

    def of(frame: pd.DataFrame) -> pd.DataFrame:
        rows = frame[(frame["lineage"] == arm) & (frame["generation"] == generation)]
        return rows.assign(lineage=lineage)

    for format, rows in of(material.evidence).groupby("format"):
        # The question in words is stored beside the public columns.
        put = [{**row, "question": material.questions.get(row["item"])} for row in rows.to_dict("records")]
        step.shard(f"{format}-0000").write_rows(put, "evidence")
    with step.writing() as draft:
        tables.write(draft.path / "fluency.parquet", of(material.fluency), "fluency")
        tables.write(draft.path / "own.parquet", of(material.own), "completions")
        draft.record["material"] = "m" * 64
