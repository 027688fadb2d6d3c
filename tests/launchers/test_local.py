"""Ending the workers: patiently, and at once when asked again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from factfade.launchers import local

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
