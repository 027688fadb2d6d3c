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
from typing import Any

import pytest

from factfade import loop, run, store
from factfade.config import parse
from factfade.errors import DataError, RunFailed
from factfade.launchers.local import LocalLauncher
from factfade.progress import Silent
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


def failing(*, begins: bool = True, start: bool = False) -> Any:
    """A launcher that evaluates the start model; the runs fail once they have begun, or before."""

    def launch(self: Any, root: Path, wanted: Any, *, generations: int, allow: Any = ()) -> list[dict[str, Any]]:
        experiment = parse(store.open_experiment(root).settings())
        loop.run_start(experiment, root, progress=Silent())
        for arm, seed in wanted if begins else ():
            with store.open_experiment(root).run(arm, seed).lock():
                pass
        said = {"generation": 1, "hint": "a hint", "exit_code": 4}
        failures = [{**said, "label": arm, "arm": arm, "seed": n, "message": f"no {arm}"} for arm, n in wanted]
        return [*failures, *([{**said, "label": "start", "arm": "", "seed": 0, "message": "no start"}] * start)]

    return launch


def test_when_every_run_fails_what_is_there_is_called_and_the_failures_are_returned(
    materials: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LocalLauncher, "launch", failing())
    outcome = run(small.experiment(materials), tmp_path)
    assert [f["arm"] for f in outcome.failures] == ["human_only", "general"]
    assert outcome.stages is not None
    assert (outcome.path / "stages.json").is_file()


def test_when_every_run_fails_before_it_begins_the_first_failure_is_said(
    materials: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LocalLauncher, "launch", failing(begins=False))
    with pytest.raises(RunFailed, match="every run failed; human_only: no human_only") as caught:
        run(small.experiment(materials), tmp_path)
    assert caught.value.hint == "a hint"


def test_a_start_model_that_cannot_be_evaluated_is_an_error_of_its_own(
    materials: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LocalLauncher, "launch", failing(start=True))
    with pytest.raises(RunFailed, match="start model could not be evaluated: no start") as caught:
        run(small.experiment(materials), tmp_path)
    assert caught.value.hint == "a hint"


def begun(out: Path, materials: Path) -> subprocess.Popen[str]:
    """The command in a process of its own, once its workers have committed one step more."""
    file, before = out / "small.toml", len(committed(out))
    file.write_text(to_toml(small.experiment(materials)))
    process = subprocess.Popen(
        [sys.executable, "-m", "factfade", "run", str(file), "--out", str(out / "runs"), "--workers", "2"],
        start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 240
    while not workers_of(process) or len(committed(out)) <= before:
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return process


def workers_of(process: subprocess.Popen[str]) -> list[int]:
    found = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True).stdout.split()
    return [int(pid) for pid in found]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def committed(root: Path) -> dict[str, int]:
    """When each committed step of the runs was written."""
    steps = [p for name in ("synthesize", "train", "evaluate") for p in root.rglob(f"{name}.json")]
    return {p.relative_to(root).as_posix(): p.stat().st_mtime_ns for p in steps}


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_interrupted_and_terminated_sweeps_say_so_and_go_on(materials: Path, clean: Path, tmp_path: Path) -> None:
    root, kept = tmp_path / "runs" / "small", dict[str, int]()
    for signals, code, said in (
        ([signal.SIGINT], 130, "stopped"),
        ([signal.SIGTERM], 143, "terminated"),
        ([signal.SIGINT, signal.SIGINT], 130, "stopped"),
        ([signal.SIGINT, signal.SIGTERM], 143, "terminated"),
    ):
        process = begun(tmp_path, materials)
        workers = workers_of(process)
        began = time.monotonic()
        for number in signals:
            process.send_signal(number)
            time.sleep(0.2)
        _, error = process.communicate(timeout=60)
        assert process.returncode == code, error
        assert time.monotonic() - began < 8
        assert f"factfade: {said}; what is done is kept" in error
        assert "Traceback" not in error
        assert workers
        assert not any(map(alive, workers)), "a worker goes on behind the user's back"
        now = committed(root)
        assert kept.items() <= now.items(), "what was committed is as it was"
        kept = now
    outcome = run(small.experiment(materials), tmp_path / "runs", workers=2)
    assert outcome.failures == ()
    assert kept.items() <= committed(root).items()
    assert small.numbers(root) == small.numbers(clean)


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
