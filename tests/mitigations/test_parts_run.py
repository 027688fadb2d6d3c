"""Pool parts in an experiment: each trains a small model by the loop, its counts stand in the record, its page is
true."""

from __future__ import annotations

import dataclasses
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from factfade import config, loop, registry, store
from factfade.progress import Silent
from factfade.sweep import to_toml
from tests import small

DOCS = Path(__file__).resolve().parent.parent.parent / "docs" / "mitigations"

#: kind -> (settings, arm, generations) of a small run
RUNS: dict[str, tuple[dict[str, Any], dict[str, Any], int]] = {
    "constant_human_fraction": ({"fraction": 0.25}, {"workflow": "accumulate"}, 1),
    "golden_ratio": ({}, {"synthetic_fraction": 0.5}, 1),
    "curriculum": ({"start": 0.25, "step": 0.25, "tolerance": 1.0}, {}, 2),
    "detector_weights": ({"features": 512}, {}, 1),
    "entropy_rate": ({"keep": 0.5}, {}, 1),
    "near_duplicates": ({"threshold": 0.3, "ngram": 1}, {}, 1),
}


@pytest.fixture(scope="module")
def materials(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small.materials(tmp_path_factory.mktemp("materials"))


@pytest.mark.parametrize("kind", RUNS)
def test_a_part_trains(kind: str, materials: Path, tmp_path: Path) -> None:
    settings, arm, generations = RUNS[kind]
    arms = {"mitigated": {"synthetic_fraction": 1.0, **arm, "pool": [{"kind": kind, **settings}]}}
    experiment = small.experiment(materials, arms=arms, experiment={"generations": generations})
    experiment = config.parse(tomllib.loads(to_toml(experiment)))
    store.create_experiment(tmp_path / "run", toml=to_toml(experiment), environment={})
    loop.run_arm(experiment, "mitigated", 0, tmp_path / "run", progress=Silent())
    folder = tmp_path / "run" / "mitigated" / "seed-0" / f"generation-{generations:03d}"
    workflow, part = json.loads((folder / "train.json").read_text(encoding="utf-8"))["record"]["pool"]
    assert part["part"] == {"kind": kind, **settings}
    assert part["in"] == workflow["out"]
    rows = [json.loads(line) for line in (folder / "training_set.jsonl").read_text(encoding="utf-8").splitlines()]
    kept = [row for row in rows if row["weight"] > 0]
    assert len(kept) == part["out"] == part["achieved"]["documents"]
    assert sum(row["dropped_by"] == kind for row in rows) == sum(part["dropped"].values())


@pytest.mark.parametrize("kind", RUNS)
def test_a_page_names_the_settings_and_their_defaults(kind: str) -> None:
    page = (DOCS / f"{kind}.md").read_text(encoding="utf-8")
    cls = registry.find("pool", kind)
    fields = {f.name: f.default for f in dataclasses.fields(cls)}
    rows = dict(re.findall(r"^\| `(\w+)` \| ([^|]+) \|", page, re.MULTILINE))
    assert set(rows) == set(fields)
    for name, cell in rows.items():
        if fields[name] not in (None, "", ()):
            assert tomllib.loads(f"v = {cell.strip().strip('`')}")["v"] == fields[name], name
        else:
            assert "`" not in cell, f"{name} has no default to show"


@pytest.mark.parametrize("kind", RUNS)
def test_the_example_of_a_page_is_an_experiment(kind: str) -> None:
    page = (DOCS / f"{kind}.md").read_text(encoding="utf-8")
    (text,) = re.findall(r"^```toml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    experiment = config.parse(tomllib.loads(text))
    plans = [experiment.arm(name) for name in experiment.arms]
    assert any(spec["kind"] == kind for plan in plans for spec in plan.pool)
    for plan in plans:
        for spec in plan.pool:
            registry.build("pool", spec)
