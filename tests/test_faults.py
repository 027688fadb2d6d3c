"""Disk faults and kills: each durable call fails once, or the process dies there; earlier results stay, a rerun ends
with the same bytes. The run is `fakerun.run`, which goes through every kind of write that the store makes."""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from factfade import durable, store, upkeep
from factfade.errors import OutOfSpace, StorageFailed
from factfade.manifest import Manifest
from tests import fakerun

SMALL: dict[str, Any] = {"generations": 1, "arms": ("general",)}
KILLED: dict[str, Any] = {"generations": 2, "arms": ("general",)}


@pytest.fixture(autouse=True)
def no_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """Real syncs protect against power cuts, which no test makes; the calls are still counted and failed."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What an undisturbed small run stores."""
    root = tmp_path_factory.mktemp("clean") / "run"
    fakerun.run(root, **SMALL)
    return fakerun.stored(root)


def calls_of_a_run(root: Path) -> list[str]:
    seen: list[str] = []
    with durable.hooked(lambda point, path, number: seen.append(point)):
        fakerun.run(root, **SMALL)
    return seen


def committed(root: Path) -> dict[Path, Manifest]:
    """Every committed step below root, verified."""
    found: dict[Path, Manifest] = {}
    for folder in root.rglob("generation-*"):
        for name, manifest in store.committed_steps(folder).items():
            manifest.verify()
            found[folder / name] = manifest
    return found


def fail_at(wanted: int, code: int, *, torn: bool) -> durable.Hook:
    def hook(point: str, path: Path, number: int) -> None:
        if number == wanted:
            if torn and point == "write" and path.name.endswith(durable.TEMPORARY_SUFFIX):
                path.write_bytes(b"half of")  # the disk took a part before it said no
            raise OSError(code, os.strerror(code))

    return hook


def check_recovery(root: Path, before: dict[Path, Manifest], clean: dict[str, Any], what: str) -> None:
    """Earlier results are intact, the rerun repeats none of them and ends as an undisturbed run does."""
    after = committed(root)
    assert {path: m.files for path, m in before.items()}.items() <= {p: m.files for p, m in after.items()}.items(), what
    fakerun.run(root, **SMALL)
    for path in after:
        step = f"{path.parts[-4]}/1/{path.name}" if path.parts[-2] != "generation-000" else ""
        assert step not in fakerun.executed, what
    assert fakerun.stored(root) == clean, what
    assert {leftover.kind for leftover in upkeep.leftovers(root)} <= upkeep.REMOVABLE, what
    upkeep.clean(root)
    assert upkeep.leftovers(root) == [], what
    assert fakerun.stored(root) == clean, what


def each_call_fails(tmp_path: Path, clean: dict[str, Any], code: int, numbers: range) -> int:
    failures = 0
    for number in numbers:
        root = tmp_path / f"{code}-{number}"
        kind = OutOfSpace if code in (errno.ENOSPC, errno.EDQUOT) else StorageFailed
        with pytest.raises(kind) as raised, durable.hooked(fail_at(number, code, torn=number % 2 == 0)):
            fakerun.run(root, **SMALL)
        assert raised.value.exit_code == 4
        assert raised.value.hint
        failures += 1
        check_recovery(root, {}, clean, f"call {number} fails with {errno.errorcode[code]}")
        shutil.rmtree(root)
    return failures


def test_the_small_run_makes_every_kind_of_durable_call(tmp_path: Path) -> None:
    calls = calls_of_a_run(tmp_path / "run")
    assert {"open", "write", "fsync", "rename", "sync", "mkdir", "remove", "lock"} <= set(calls)
    assert len(calls) > 100


@pytest.mark.parametrize(("code", "first", "stride"), [(errno.ENOSPC, 1, 13), (errno.EACCES, 4, 31)])
def test_a_failing_call_costs_no_earlier_result(
    tmp_path: Path, clean: dict[str, Any], code: int, first: int, stride: int
) -> None:
    calls = len(calls_of_a_run(tmp_path / "count"))
    assert each_call_fails(tmp_path, clean, code, range(first, calls + 1, stride)) >= 5


@pytest.mark.slow
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EACCES, errno.EIO])
def test_every_failing_call_costs_no_earlier_result(tmp_path: Path, clean: dict[str, Any], code: int) -> None:
    calls = len(calls_of_a_run(tmp_path / "count"))
    assert each_call_fails(tmp_path, clean, code, range(1, calls + 1)) == calls


def test_results_from_before_the_fault_are_kept(tmp_path: Path, clean: dict[str, Any]) -> None:
    """The checker itself: a fault late in the run leaves steps, and these are the same files afterwards."""
    root = tmp_path / "run"
    late = len(calls_of_a_run(tmp_path / "count")) - 5
    with pytest.raises(OutOfSpace), durable.hooked(fail_at(late, errno.ENOSPC, torn=False)):
        fakerun.run(root, **SMALL)
    before = committed(root)
    assert len(before) >= 3
    check_recovery(root, before, clean, "late")


def test_nothing_is_published_before_it_is_synced(tmp_path: Path) -> None:
    """Whatever a manifest lists was fsynced, and renamed, before the manifest's own rename (power cuts)."""
    synced: set[str] = set()
    renamed: list[Path] = []

    def hook(point: str, path: Path, number: int) -> None:
        if point == "fsync":
            synced.add(
                path.name.removeprefix(".").split(".parquet.")[0] + (".parquet" if ".parquet." in path.name else "")
            )
        if point == "rename":
            renamed.append(path)

    root = tmp_path / "run"
    with durable.hooked(hook):
        fakerun.run(root, **SMALL)
    for path, manifest in committed(root).items():
        own = renamed.index(path.with_suffix(".json"))
        for name in manifest.files:
            top = path.parent / name.split("/")[0]
            assert Path(name).name in synced
            assert any(done == top or done == path.parent / name for done in renamed[:own]), name


# ---------------------------------------------------------------------------------------------------------------
# Kills


@pytest.fixture(scope="module")
def kill() -> Iterator[Any]:
    """A function (point or None, root) -> exit status of a child that ran until it was killed at the point."""
    zygote = subprocess.Popen(
        [sys.executable, "-m", "tests.fakerun"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert zygote.stdin is not None
    assert zygote.stdout is not None

    def ask(point: str | None, root: Path) -> int:
        print(json.dumps([point, str(root), KILLED]), file=zygote.stdin, flush=True)
        return int(zygote.stdout.readline())

    yield ask
    zygote.stdin.close()
    zygote.wait(timeout=30)


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What an undisturbed run of two generations stores."""
    root = tmp_path_factory.mktemp("full") / "run"
    fakerun.run(root, **KILLED)
    return fakerun.stored(root)


def killed_and_resumed(kill: Any, root: Path, points: list[str], full: dict[str, Any]) -> int:
    """Kill a run at each point in turn, then let it end; returns how many of the kills happened."""
    kills = 0
    for point in points:
        status = kill(point, root)
        assert status in (0, -9), point
        kills += status == -9
        committed(root)
    fakerun.run(root, **KILLED)
    assert fakerun.stored(root) == full, points
    upkeep.clean(root)
    assert upkeep.leftovers(root) == [], points
    return kills


PHASES = [
    "synthesize.begin:1",
    "synthesize.shard:2",
    "synthesize.moved:2",
    "synthesize.committed:1",
    "train.begin:2",
    "train.moved:1",
    "train.committed:2",
    "evaluate.begin:2",
    "evaluate.shard:6",
    "evaluate.moved:3",
    "rename:40",
]
FEW = ("synthesize.shard:2", "train.moved:1", "evaluate.moved:3")  # fmt: skip


@pytest.mark.parametrize("point", [p if p in FEW else pytest.param(p, marks=pytest.mark.slow) for p in PHASES])
def test_a_kill_at_a_phase_boundary_changes_nothing(
    kill: Any, tmp_path: Path, full: dict[str, Any], point: str
) -> None:
    assert killed_and_resumed(kill, tmp_path / "run", [point], full) == 1


def test_three_kills_in_a_row_change_nothing(kill: Any, tmp_path: Path, full: dict[str, Any]) -> None:
    assert killed_and_resumed(kill, tmp_path / "run", ["150", "60", "rename:9"], full) == 3


def test_a_killed_evaluation_repeats_one_shard_at_most(kill: Any, tmp_path: Path) -> None:
    root = tmp_path / "run"
    assert kill("evaluate.shard:3", root) == -9  # generation 0 has committed three of its four shards
    fakerun.run(root, **KILLED)
    again = [name for name in fakerun.executed if name.startswith("start/0/evidence")]
    assert again == ["start/0/evidence/open_ended-0001.parquet"]


@pytest.mark.slow
@pytest.mark.kill
@pytest.mark.parametrize("seed", range(20))
def test_kills_at_seeded_moments_change_nothing(kill: Any, tmp_path: Path, full: dict[str, Any], seed: int) -> None:
    dice = random.Random(seed)
    kills = 0
    for attempt in range(10):
        points = [str(dice.randint(1, 400)) for _ in range(dice.randint(1, 3))]
        kills += killed_and_resumed(kill, tmp_path / f"run-{attempt}", points, full)
        shutil.rmtree(tmp_path / f"run-{attempt}")
    assert kills >= 5
