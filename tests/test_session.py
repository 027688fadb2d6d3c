"""What a session leaves to say: failures remembered until done, and whether it is still at work."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from factfade import durable, session
from factfade.errors import IntegrityError
from factfade.session import Recorder

TASK = ("general", 1, 3)


def test_a_failure_is_remembered_until_its_generation_is_done(tmp_path: Path) -> None:
    first = Recorder(tmp_path, workers=2)
    first.began(TASK)
    assert list(session.read(tmp_path).running) == [TASK]  # type: ignore[union-attr]
    first.failed(TASK, "no memory", "a smaller batch", 4)
    first.end("failed")
    again = Recorder(tmp_path, workers=1)
    again.began(TASK)
    again.done(("general", 1, 2))
    again.done(("general", 0, 3))
    found = session.read(tmp_path)
    assert found is not None
    assert (found.failures["general", 1].message, found.failures["general", 1].generation) == ("no memory", 3)
    assert found.workers == 1
    again.done(TASK)
    again.end("complete")
    found = session.read(tmp_path)
    assert found is not None
    assert (dict(found.failures), dict(found.running), found.ended, found.alive) == ({}, {}, "complete", False)


@pytest.mark.parametrize("damage", [b"", b"[]", b"{}", b'{"session_version": 9}', b"\xff", b"[" * 100_000])
def test_a_damaged_file_is_named(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / session.SESSION).write_bytes(damage)
    with pytest.raises(IntegrityError, match=r"session\.json"):
        session.read(tmp_path)
    # A new session writes it anew.
    Recorder(tmp_path, workers=1)
    assert session.read(tmp_path) is not None


def test_a_disk_that_refuses_stops_no_session(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, workers=1)

    def refuse(point: str, path: Path, number: int) -> None:
        raise OSError(28, "No space left on device")

    with durable.hooked(refuse):
        recorder.failed(TASK, "m", "h", 4)
    assert session.read(tmp_path).failures == {}  # type: ignore[union-attr]
    recorder.end("failed")
    assert TASK[:2] in session.read(tmp_path).failures  # type: ignore[union-attr]


def test_whether_a_process_lives() -> None:
    now = durable.owner_record()
    assert session.owner_alive(now) is True
    assert session.owner_alive({**now, "host": socket.gethostname() + "-other"}) is None
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert session.owner_alive({**now, "pid": ended.pid}) is False
    damaged: list[dict[str, Any]] = [{}, {**now, "pid": "1"}, {**now, "pid": -5}]
    assert [session.owner_alive(owner) for owner in damaged] == [False] * 3


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="process times are read from /proc")
def test_a_number_that_another_process_took_over_is_not_the_session() -> None:
    assert session.owner_alive({**durable.owner_record(), "start": "2001-01-01T00:00:00Z"}) is False
    assert os.getpid() == durable.owner_record()["pid"]


def test_the_file_is_plain_json(tmp_path: Path) -> None:
    Recorder(tmp_path, workers=3).began(TASK)
    body = json.loads((tmp_path / session.SESSION).read_text())
    assert body["running"][0]["arm"] == "general"
    assert body["owner"]["pid"] == os.getpid()
