"""A sweep through local worker processes: all arms and seeds, failures apart, kills survived."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from factfade import run
from factfade.errors import DataError
from factfade.sweep import to_toml
from tests import small


@pytest.fixture(scope="module")
def materials(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small.materials(tmp_path_factory.mktemp("materials"))


@pytest.fixture(scope="module")
def clean(materials: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    outcome = run(small.experiment(materials), tmp_path_factory.mktemp("clean"), workers=2)
    assert outcome.failures == ()
    return outcome.path


def test_a_sweep_leaves_runs_stages_and_environment(clean: Path) -> None:
    assert {p.name for p in clean.iterdir()} >= {
        "experiment.toml", "environment.json", "stages.json", "generation-000", "human_only", "general",
    }  # fmt: skip
    calls = json.loads((clean / "stages.json").read_text())["calls"]
    assert {(c["lineage"], c["generation"]) for c in calls} >= {("general", 1), ("general", 2), ("human_only", 2)}
    # Twelve items carry no call: whatever the numbers, the tool must say so.
    assert {c["stage"] for c in calls if c["generation"] > 0} <= {"undetermined", "C"}
    environment = json.loads((clean / "environment.json").read_text())
    assert len(environment["stage_rule_sha256"]) == 64


def test_workers_and_one_process_give_the_same_numbers(materials: Path, clean: Path, tmp_path: Path) -> None:
    outcome = run(small.experiment(materials), tmp_path, workers=1)
    assert small.numbers(outcome.path) == small.numbers(clean)


def test_one_failing_arm_does_not_stop_the_other(materials: Path, tmp_path: Path) -> None:
    arms = {"bad": {"synthetic_fraction": 1.0, "training": {"chunk_tokens": 100_000}}}
    outcome = run(small.experiment(materials, arms=arms), tmp_path, workers=2)
    assert [f["arm"] for f in outcome.failures] == ["bad"]
    assert outcome.failures[0]["hint"]
    assert (outcome.path / "general" / "seed-0" / "generation-002" / "evaluate.json").is_file()


def test_a_malformed_file_is_refused_before_any_folder_is_made(materials: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"question": "q?", "choices": ["a", "b"], "answer": 0}\n{"question": \n')
    experiment = small.experiment(materials, evaluation={"questions": [{"kind": "jsonl", "path": str(bad)}]})
    with pytest.raises(DataError, match=r"bad\.jsonl.*2"):
        run(experiment, tmp_path / "runs")
    assert not (tmp_path / "runs" / "small").exists()


def killed_and_resumed(materials: Path, out: Path, moments: list[float]) -> Path:
    """Runs the experiment in a process of its own, kills it and its workers at each moment, and ends it in peace."""
    file = out / "small.toml"
    out.mkdir(parents=True, exist_ok=True)
    file.write_text(to_toml(small.experiment(materials)))
    command = [sys.executable, "-m", "factfade", "run", str(file), "--out", str(out / "runs"), "--workers", "2"]
    for moment in moments:
        process = subprocess.Popen(
            command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(moment)
        children = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True).stdout.split()
        for pid in (process.pid, *map(int, children)):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        process.wait()
        time.sleep(0.2)
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return out / "runs" / "small"


@pytest.mark.kill
def test_killed_runs_end_with_the_same_numbers(materials: Path, clean: Path, tmp_path: Path) -> None:
    moments = [random.Random(7).uniform(4, 14) for _ in range(2)]
    assert small.numbers(killed_and_resumed(materials, tmp_path, moments)) == small.numbers(clean)


@pytest.mark.kill
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_twenty_seeded_kills_end_with_the_same_numbers(materials: Path, clean: Path, tmp_path: Path) -> None:
    wanted = small.numbers(clean)
    for start in range(0, 20, 4):
        moments = [random.Random(start + k).uniform(2, 16) for k in range(4)]
        assert small.numbers(killed_and_resumed(materials, tmp_path / str(start), moments)) == wanted
