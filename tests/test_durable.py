"""Durable writes: old or new and nothing between, translated errors, locks that end with their process."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from factfade import durable
from factfade.errors import Locked, OutOfSpace, StorageFailed


def failing(wanted: str, code: int) -> durable.Hook:
    def hook(point: str, path: Path, number: int) -> None:
        if point == wanted:
            raise OSError(code, os.strerror(code))

    return hook


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "x"
    durable.write_bytes(path, b"old")
    durable.write_bytes(path, b"new")
    assert path.read_bytes() == b"new"
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


@pytest.mark.parametrize("point", ["open", "write", "fsync", "rename"])
def test_a_failed_write_leaves_the_old_file_and_no_temporary_one(tmp_path: Path, point: str) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"old")
    with durable.hooked(failing(point, errno.EIO)), pytest.raises(StorageFailed, match=point):
        durable.write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


def test_a_full_disk_says_what_is_needed_and_free(tmp_path: Path) -> None:
    with durable.hooked(failing("write", errno.ENOSPC)), pytest.raises(OutOfSpace) as raised:
        durable.write_bytes(tmp_path / "x", b"12345")
    assert "5 bytes needed" in str(raised.value)
    assert "bytes free" in str(raised.value)
    assert isinstance(raised.value.__cause__, OSError)


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes into read-only folders")
def test_a_read_only_folder_is_said(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StorageFailed, match="ermission"):
        durable.write_bytes(tmp_path / "x", b"")
    tmp_path.chmod(0o700)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_the_operating_systems_own_error_is_translated() -> None:
    descriptor = os.open("/dev/full", os.O_WRONLY)
    try:
        with pytest.raises(OutOfSpace), durable._guard("write", Path("/dev/full")):
            os.write(descriptor, b"x")
    finally:
        os.close(descriptor)


def test_json_has_one_form(tmp_path: Path) -> None:
    durable.write_json(tmp_path / "a", {"b": 1, "a": ["ä", None]})
    durable.write_json(tmp_path / "b", {"a": ["ä", None], "b": 1})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert json.loads((tmp_path / "a").read_bytes()) == {"a": ["ä", None], "b": 1}
    with pytest.raises(ValueError, match="JSON"):
        durable.write_json(tmp_path / "c", float("nan"))
    assert not (tmp_path / "c").exists()


def test_folders_moves_and_removals(tmp_path: Path) -> None:
    durable.make_folder(tmp_path / "a" / "b")
    durable.make_folder(tmp_path / "a" / "b")
    durable.write_text(tmp_path / "a" / "b" / "x", "1")
    durable.move(tmp_path / "a" / "b", tmp_path / "c")
    assert (tmp_path / "c" / "x").read_text() == "1"
    (tmp_path / "d").mkdir()
    with pytest.raises(StorageFailed):
        durable.move(tmp_path / "c", tmp_path / "d")
    (tmp_path / "link").symlink_to(tmp_path / "c")
    durable.remove_tree(tmp_path / "link")
    assert (tmp_path / "c" / "x").exists()
    durable.remove_tree(tmp_path / "c")
    durable.remove_tree(tmp_path / "c")
    assert not (tmp_path / "c").exists()


def test_sync_tree_reaches_every_file(tmp_path: Path) -> None:
    for name in ("x", "a/y", "a/b/z"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    seen: list[str] = []
    with durable.hooked(lambda point, path, number: seen.append(f"{point} {path.name}")):
        durable.sync_tree(tmp_path)
    assert {"fsync x", "fsync y", "fsync z", "sync a", "sync b", f"sync {tmp_path.name}"} == set(seen)


def test_sha256_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, appendix B.1
    assert durable.sha256_file(tmp_path / "x") == (digest, 3)


# ---------------------------------------------------------------------------------------------------------------
# Locks and kills


def test_a_second_writer_is_told_who_holds_the_lock(tmp_path: Path) -> None:
    with durable.lock(tmp_path / ".lock") as owner:
        assert owner["pid"] == os.getpid()
        with pytest.raises(Locked) as raised, durable.lock(tmp_path / ".lock"):
            pass
        assert raised.value.owner == owner
        assert str(os.getpid()) in str(raised.value)
        assert raised.value.exit_code == 4
    with durable.lock(tmp_path / ".lock"):
        pass


def test_a_damaged_owner_record_does_not_matter(tmp_path: Path) -> None:
    (tmp_path / ".lock").write_bytes(b"\xff{")
    with durable.lock(tmp_path / ".lock"):
        (tmp_path / ".lock").write_bytes(b"[]")
        with pytest.raises(Locked, match="unknown"), durable.lock(tmp_path / ".lock"):
            pass


def test_a_lock_is_not_taken_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("kept")
    (tmp_path / ".lock").symlink_to(tmp_path / "precious")
    with pytest.raises(StorageFailed), durable.lock(tmp_path / ".lock"):
        pass
    assert (tmp_path / "precious").read_text() == "kept"


RACER = """
import sys, time
from pathlib import Path
from factfade import durable
from factfade.errors import Locked
root = Path(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
try:
    with durable.lock(root / ".lock") as owner:
        durable.write_text(root / f"won-{owner['pid']}", "")
        print("won", flush=True)
        sys.stdin.readline()
except Locked as error:
    print(f"lost {error.owner.get('pid')}", flush=True)
"""


@pytest.fixture
def start(request: pytest.FixtureRequest) -> Callable[[Path], subprocess.Popen[str]]:
    def go(root: Path) -> subprocess.Popen[str]:
        child = subprocess.Popen(
            [sys.executable, "-c", RACER, str(root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        request.addfinalizer(lambda: (child.kill(), child.communicate()))
        return child

    return go


def said(child: subprocess.Popen[str]) -> str:
    assert child.stdout is not None
    return child.stdout.readline().strip()


def tell(child: subprocess.Popen[str]) -> None:
    assert child.stdin is not None
    print(file=child.stdin, flush=True)


@pytest.mark.parametrize("race", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in range(1, 25))])
def test_two_processes_race_and_one_writes(
    tmp_path: Path, start: Callable[[Path], subprocess.Popen[str]], race: int
) -> None:
    racers = [start(tmp_path), start(tmp_path)]
    assert [said(racer) for racer in racers] == ["ready", "ready"]
    for racer in racers:
        tell(racer)
    answers = sorted(said(racer) for racer in racers)
    winner = next(path.name.removeprefix("won-") for path in tmp_path.glob("won-*"))
    assert answers[0] in (f"lost {winner}", "lost None")  # None: it looked before the winner had signed
    assert answers[1] == "won"
    assert len(list(tmp_path.glob("won-*"))) == 1


def test_a_killed_owner_leaves_no_lock(tmp_path: Path, start: Callable[[Path], subprocess.Popen[str]]) -> None:
    owner = start(tmp_path)
    assert said(owner) == "ready"
    tell(owner)
    assert said(owner) == "won"
    with pytest.raises(Locked), durable.lock(tmp_path / ".lock"):
        pass
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    with durable.lock(tmp_path / ".lock", wait=5.0):
        pass


def test_waiting_for_a_lock_ends_when_it_is_given_back(
    tmp_path: Path, start: Callable[[Path], subprocess.Popen[str]]
) -> None:
    owner = start(tmp_path)
    assert said(owner) == "ready"
    tell(owner)
    assert said(owner) == "won"
    began = time.monotonic()
    with pytest.raises(Locked), durable.lock(tmp_path / ".lock", wait=0.2):
        pass
    assert time.monotonic() - began >= 0.2
    tell(owner)
    with durable.lock(tmp_path / ".lock", wait=30.0):
        pass


FORKER = """
import os, sys, time
from pathlib import Path
from factfade import durable
with durable.lock(Path(sys.argv[1]) / ".lock"):
    if os.fork() == 0:
        print("forked", flush=True)
    time.sleep(60)
"""


def test_a_forked_child_does_not_hold_the_lock_after_its_parent(tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", FORKER, str(tmp_path)], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        assert said(parent) == "forked"
        parent.kill()
        parent.wait()
        os.killpg(parent.pid, 0)  # the child lives
        with durable.lock(tmp_path / ".lock", wait=5.0):
            pass
    finally:
        os.killpg(parent.pid, signal.SIGKILL)
        assert parent.stdout is not None
        parent.stdout.close()


def test_a_lock_that_is_given_back_is_free_whatever_a_child_holds(tmp_path: Path) -> None:
    read, write = os.pipe()
    with durable.lock(tmp_path / ".lock"):
        child = os.fork()
        if child == 0:
            os.close(write)
            os.read(read, 1)
            os._exit(0)
    with durable.lock(tmp_path / ".lock"):
        pass
    os.close(write)
    os.waitpid(child, 0)
    os.close(read)


@pytest.mark.parametrize("point", ["2", "fsync:1", "there:1"])
def test_the_process_dies_where_the_environment_says(tmp_path: Path, point: str) -> None:
    program = (
        "from pathlib import Path\nfrom factfade import durable\n"
        f"durable.write_bytes(Path({str(tmp_path / 'x')!r}), b'1')\ndurable.reach('there')\nprint('alive')"
    )
    child = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, durable.DIE_AT: point}, capture_output=True, text=True
    )
    assert (child.returncode, child.stdout) == (-signal.SIGKILL, "")
    assert (tmp_path / "x").exists() == (point == "there:1")
