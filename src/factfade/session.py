"""What a session of a sweep says of itself, in `session.json`: what runs now, and what failed last.

The process that holds the experiment's lock is its one writer. The file is written when a generation begins, ends or
fails, so it is right while the session goes on and after it was killed. A failure is remembered until its generation
is done. Readers take no lock: whether the session is still alive is told by its process.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from factfade import durable
from factfade.errors import EXIT_FAILED, IntegrityError, StorageFailed
from factfade.paths import inside

SESSION = "session.json"
VERSION = 1
MAX_BYTES = 16 * 2**20
Task = tuple[str, int, int]
"""(arm, seed, generation); the arm "" and generation 0 for the evaluation of the start model."""


@dataclass(frozen=True, kw_only=True)
class Failure:
    """One generation of one run that failed: what was said, what to do, the exit code, and when (UTC)."""

    arm: str
    seed: int
    generation: int
    message: str
    hint: str = ""
    exit_code: int = EXIT_FAILED
    when: str = ""

    @property
    def run(self) -> tuple[str, int]:
        """The run that failed."""
        return self.arm, self.seed


@dataclass(frozen=True, kw_only=True)
class Session:
    """The last session: its process, its workers, what they are on (with the time it began), what failed.

    `ended` is "" while it goes on (and after a kill), else how it ended: complete, failed, time limit, interrupted.
    """

    owner: Mapping[str, Any]
    workers: int
    running: Mapping[Task, str]
    failures: Mapping[tuple[str, int], Failure]
    ended: str = ""

    @property
    def alive(self) -> bool | None:
        """Whether its process is still at work; None where another machine would have to be asked."""
        return False if self.ended else owner_alive(self.owner)


def read(root: Path) -> Session | None:
    """The session that the folder tells of; None where there was none. IntegrityError when the file is damaged."""
    path = inside(root, SESSION)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ValueError
        body = cast("dict[str, Any]", json.loads(path.read_bytes()))
        if body["session_version"] != VERSION:
            raise ValueError
        failures = [Failure(**one) for one in body["failures"]]
        running = {(str(r["arm"]), int(r["seed"]), int(r["generation"])): str(r["since"]) for r in body["running"]}
        return Session(
            owner=dict(body["owner"]),
            workers=int(body["workers"]),
            running=running,
            failures={one.run: replace(one, seed=int(one.seed), generation=int(one.generation)) for one in failures},
            ended=str(body["ended"]),
        )
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise IntegrityError(
            f"{path} is damaged: it does not tell of a session",
            path=path,
            hint="remove it: it holds no result, only what failed in the last session",
        ) from None


class Recorder:
    """Writes a session as it goes. A disk that refuses is no reason to stop: what failed is returned anyway."""

    def __init__(self, root: Path, *, workers: int) -> None:
        """Begins a session; failures of earlier ones stay until their generation is done."""
        self._path = root / SESSION
        earlier: Mapping[tuple[str, int], Failure] = {}
        with contextlib.suppress(IntegrityError):
            before = read(root)
            earlier = {} if before is None else before.failures
        self._workers, self._owner = workers, durable.owner_record()
        self._running: dict[Task, str] = {}
        self._failures = dict(earlier)
        self._ended = ""
        self._write()

    def began(self, task: Task) -> None:
        """A worker is on the task."""
        self._running[task] = _now()
        self._write()

    def done(self, task: Task) -> None:
        """The generation is committed: an earlier failure of the run at this generation or before it is over."""
        self._running.pop(task, None)
        known = self._failures.get(task[:2])
        if known is not None and known.generation <= task[2]:
            del self._failures[task[:2]]
        self._write()

    def failed(self, task: Task, message: str, hint: str, exit_code: int) -> None:
        """The generation failed: it stands in the file until a later session has done it."""
        self._running.pop(task, None)
        self._failures[task[:2]] = Failure(
            arm=task[0], seed=task[1], generation=task[2], message=message, hint=hint, exit_code=exit_code, when=_now()
        )
        self._write()

    def end(self, how: str) -> None:
        """The session is over."""
        self._running.clear()
        self._ended = how
        self._write()

    def _write(self) -> None:
        body = {
            "session_version": VERSION,
            "owner": self._owner,
            "workers": self._workers,
            "running": [
                {"arm": arm, "seed": seed, "generation": generation, "since": since}
                for (arm, seed, generation), since in sorted(self._running.items())
            ],
            "failures": [asdict(self._failures[run]) for run in sorted(self._failures)],
            "ended": self._ended,
        }
        with contextlib.suppress(StorageFailed):
            durable.write_json(self._path, body)


def owner_alive(owner: Mapping[str, Any]) -> bool | None:
    """Whether the process of an owner record (`durable.owner_record`) still lives; None on another machine.

    A process that began after the record was written has only taken over its number.
    """
    pid = owner.get("pid")
    if not isinstance(pid, int) or pid < 1:
        return False
    if owner.get("host") != socket.gethostname():
        return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass
    return not _younger(pid, str(owner.get("start", "")))


def _younger(pid: int, stamp: str) -> bool:
    """Whether the process began after the stamp, or has ended and waits for its parent; False where nobody can tell."""
    try:
        written = datetime.strptime(stamp, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp()
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        booted = next(line for line in Path("/proc/stat").read_text().splitlines() if line.startswith("btime "))
        began = int(booted.split()[1]) + int(fields[19]) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, StopIteration):
        return False
    return fields[0] == "Z" or began > written + 2.0


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
