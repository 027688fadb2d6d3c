"""The launcher: which worker gets what, what a failure and a time limit leave; ending the workers."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from factfade import session, store
from factfade.config import parse
from factfade.launchers import local
from factfade.sweep import to_toml

# Says "up", and goes on whatever it is told.
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"
# Ends with its input, as a worker that is idle does.
IDLE = "import sys; print('up', flush=True); sys.stdin.read()"
# At work: it does not look at its input, and a signal ends it.
BUSY = "import time; print('up', flush=True); time.sleep(60)"


def worker(program: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    return process


def test_idle_workers_end_by_themselves_and_busy_ones_by_a_signal() -> None:
    workers = [worker(IDLE), worker(BUSY), worker(BUSY)]
    began = time.monotonic()
    local._end(workers)
    assert [w.returncode for w in workers][1:] == [-signal.SIGTERM, -signal.SIGTERM]
    assert workers[0].returncode in (0, -signal.SIGTERM)
    assert time.monotonic() - began < 4


@pytest.mark.parametrize("after", [0.1, 1.0])
def test_a_second_interrupt_leaves_no_worker_behind(after: float) -> None:
    workers = [worker(STUBBORN), worker(STUBBORN)]
    again = threading.Timer(after, os.kill, (os.getpid(), signal.SIGINT))
    again.start()
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        local._end(workers)
    assert time.monotonic() - began < 4
    assert [w.returncode for w in workers] == [-signal.SIGKILL] * 2


# Answers tasks as a worker does, without a model: the run "bad" seed 1 fails, the run "dies" ends the process.
SCRIPTED = """
import json, os, sys
for line in sys.stdin:
    task = json.loads(line)
    if task["arm"] == "dies":
        os._exit(3)
    said = {"event": "done"}
    if (task["arm"], task["seed"]) == ("bad", 1):
        said = {"event": "failed", "message": "no " + task["arm"], "hint": "a hint", "exit_code": 4}
    print(json.dumps(said), flush=True)
"""


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[str]]:
    """Workers that answer at once; the list holds those that were started."""
    return _instead(monkeypatch, SCRIPTED)


def _instead(monkeypatch: pytest.MonkeyPatch, program: str) -> list[subprocess.Popen[str]]:
    started: list[subprocess.Popen[str]] = []

    def begin(self: Any, index: int, threads: int) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        threading.Thread(target=self._listen, args=(index, process.stdout), daemon=True).start()
        started.append(process)
        return process

    monkeypatch.setattr(local._Board, "_worker", begin)
    return started


def folder(root: Path, arms: tuple[str, ...], seeds: int, generations: int = 2) -> list[tuple[str, int]]:
    """An experiment's folder in which nothing is done; returns its runs."""
    data: dict[str, Any] = {
        "experiment": {"name": "x", "seeds": list(range(seeds)), "generations": generations},
        "arms": {arm: {"synthetic_fraction": 1.0} for arm in arms},
    }
    store.create_experiment(root, toml=to_toml(parse(data)))
    return [(arm, seed) for arm in arms for seed in range(seeds)]


def test_one_failing_run_of_twelve_stops_no_other(tmp_path: Path, scripted: list[Any]) -> None:
    runs = folder(tmp_path / "x", ("a", "b", "bad", "c"), 3)
    failures = local.LocalLauncher(workers=2).launch(tmp_path / "x", runs, generations=2)
    assert [(f["label"], f["generation"], f["message"], f["exit_code"]) for f in failures] == [
        ("bad seed 1", 1, "no bad", 4)
    ]
    assert len(scripted) == 2, "a start-up is paid once a worker"
    found = session.read(tmp_path / "x")
    assert found is not None
    assert list(found.failures) == [("bad", 1)]
    assert (found.ended, dict(found.running)) == ("failed", {})


def test_a_worker_that_dies_fails_its_run_and_is_replaced(tmp_path: Path, scripted: list[Any]) -> None:
    runs = folder(tmp_path / "x", ("a", "dies", "c"), 1)
    failures = local.LocalLauncher(workers=1).launch(tmp_path / "x", runs, generations=2)
    assert [(f["label"], f["message"]) for f in failures] == [
        ("dies seed 0", "the worker ended unexpectedly (exit status 3)")
    ]
    assert len(scripted) == 2


def test_the_time_limit_ends_what_is_at_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = _instead(monkeypatch, BUSY)
    runs = folder(tmp_path / "x", ("a", "b"), 1)
    began = time.monotonic()
    assert local.LocalLauncher(workers=2, time_limit=1.0).launch(tmp_path / "x", runs, generations=1) == []
    assert 0.9 < time.monotonic() - began < 8
    assert [w.poll() for w in started] == [-signal.SIGTERM] * 2
    found = session.read(tmp_path / "x")
    assert found is not None
    assert found.ended == "time limit"


def test_when_the_time_is_over_nothing_is_begun(tmp_path: Path, scripted: list[Any]) -> None:
    runs = folder(tmp_path / "x", ("a",), 1)
    assert local.LocalLauncher(time_limit=0.0).launch(tmp_path / "x", runs, generations=1) == []
    assert scripted == []


def test_a_part_that_raises_anything_fails_its_task_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder(tmp_path / "x", ("a",), 1)

    def run_arm(*_: Any, until: int, **__: Any) -> None:
        if until == 1:
            raise ZeroDivisionError("a fault of the part")

    monkeypatch.setattr("factfade.loop.run_arm", run_arm)
    tasks = "".join(json.dumps({"arm": "a", "seed": 0, "generation": g, "allow": []}) + "\n" for g in (1, 2))
    events = io.StringIO()
    local.work(tmp_path / "x", io.StringIO(tasks), events)
    first, second = map(json.loads, events.getvalue().splitlines())
    assert (first["event"], first["message"]) == ("failed", "ZeroDivisionError: a fault of the part")
    assert second["event"] == "done"
