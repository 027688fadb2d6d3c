"""Local processes, one thread each: the default launcher, and the worker that its processes run.

A task is one generation of one run (or the evaluation of the start model). Everything a generation needs from the one
before is on disk, so any worker can go on with any run: two workers share three arms evenly. A worker lives as long as
the sweep, so that its start-up is paid once for all arms and seeds, and keeps what they share (`material`). Workers
read tasks from standard input and write events to standard output, one JSON object a line. What runs and what failed
is kept in the experiment's folder (`session`).
"""

from __future__ import annotations

import collections
import contextlib
import gc
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from factfade import durable, status, store
from factfade.config import parse
from factfade.errors import EXIT_FAILED, FactfadeError, UsageError
from factfade.progress import Display, JsonProgress, send
from factfade.session import Recorder

START = ""  # the arm name of the task that evaluates the start model


@dataclass(frozen=True, kw_only=True)
class LocalLauncher:
    """Runs the arms and seeds of an experiment in `workers` local processes (default: one per `threads` cores).

    `time_limit` seconds after its start nothing is begun any more, and what is at work is ended: its committed steps
    and shards stay, and the same command goes on from there.
    """

    workers: int | None = None
    threads: int = 1
    time_limit: float | None = None

    def launch(
        self, root: Path, runs: Sequence[tuple[str, int]], *, generations: int, allow: Sequence[str] = ()
    ) -> list[dict[str, Any]]:
        """Brings every (arm, seed) of `runs` to its last generation. Returns one dict per failure: label, message, hint
        and exit code; one failing run does not stop the others. Ctrl-C ends the workers and raises KeyboardInterrupt,
        a second one without waiting for them; what is committed stays."""
        deadline = None if self.time_limit is None else time.monotonic() + self.time_limit
        labels = {(START, 0): "start model"} | {run: f"{run[0]} seed {run[1]}" for run in runs}
        totals = {label: (generations if run[0] != START else 0) for run, label in labels.items()}
        known = {(run.arm, run.seed): run for run in _known(root)}
        done = {labels[key]: run.counts["done"] for key, run in known.items() if key in labels}
        count = min(self.workers or max((os.cpu_count() or 1) // self.threads, 1), max(len(runs), 1) + 1)
        with Display(totals, done=done) as display:
            board = _Board(
                root=root,
                labels=labels,
                generations=generations,
                allow=tuple(allow),
                display=display,
                known=known,
                deadline=deadline,
                recorder=Recorder(root, workers=count),
            )
            return board.run(count, self.threads)


def _known(root: Path) -> tuple[status.Run, ...]:
    """What earlier sessions have done."""
    folder = store.open_experiment(root)
    return status.status(folder, parse(folder.settings(), where=str(root / store.EXPERIMENT))).runs


@dataclass(kw_only=True)
class _Board:
    """The tasks of one launch: which run waits for which generation, which worker is on what."""

    root: Path
    labels: dict[tuple[str, int], str]
    generations: int
    allow: tuple[str, ...]
    display: Display
    known: Mapping[tuple[str, int], status.Run]
    deadline: float | None
    recorder: Recorder
    waiting: collections.deque[tuple[str, int, int]] = field(default_factory=collections.deque)
    failures: list[dict[str, Any]] = field(default_factory=list)
    events: queue.Queue[tuple[int, dict[str, Any] | None]] = field(default_factory=queue.Queue)

    def run(self, count: int, threads: int) -> list[dict[str, Any]]:
        # A run goes on at its first generation that is not done; that task checks those before. One that is complete
        # is checked by its last.
        self.waiting.extend((arm, seed, self._first(arm, seed)) for arm, seed in self.labels)
        workers: dict[int, subprocess.Popen[str]] = {}
        busy: dict[int, tuple[str, int, int]] = {}
        how = "interrupted"
        try:
            while self.waiting or busy:
                while self.waiting and len(busy) < count and self._left() != 0.0:
                    free = next((i for i in range(count) if i not in busy), 0)
                    if free not in workers:
                        workers[free] = self._worker(free, threads)
                    busy[free] = self._give(workers[free])
                try:
                    index, event = self.events.get(timeout=self._left())
                except queue.Empty:
                    how = "time limit"
                    self.display.say(f"the time limit is near: {len(busy)} at work ended, what is committed is kept")
                    return self.failures
                if event is None:
                    worker = workers.pop(index, None)
                    if index in busy:
                        code = worker.wait() if worker else 0
                        self._failed(
                            busy.pop(index),
                            _death(code),
                            "see logs/ in the run's folder; run again to go on",
                            EXIT_FAILED,
                        )
                elif self._handle(event, busy[index]):
                    del busy[index]
            how = "failed" if self.failures else "complete"
        finally:
            try:
                _end(list(workers.values()))
            finally:
                self.recorder.end(how)
        return self.failures

    def _first(self, arm: str, seed: int) -> int:
        """The generation at which a run goes on."""
        if arm == START:
            return 0
        known = self.known.get((arm, seed))
        return 1 if known is None else known.next

    def _left(self) -> float | None:
        """Seconds until the deadline, never below 0; None without one."""
        return None if self.deadline is None else max(self.deadline - time.monotonic(), 0.0)

    def _worker(self, index: int, threads: int) -> subprocess.Popen[str]:
        durable.make_folder(self.root / "logs")
        environment = {
            **os.environ,
            "OMP_NUM_THREADS": str(threads),
            "MKL_NUM_THREADS": str(threads),
            "TOKENIZERS_PARALLELISM": "false",
        }
        with (self.root / "logs" / f"worker-{index}.log").open("ab") as log:
            worker = subprocess.Popen(
                [sys.executable, "-m", "factfade.launchers.local", str(self.root)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=environment,
                start_new_session=True,
            )
        threading.Thread(target=self._listen, args=(index, worker.stdout), daemon=True).start()
        return worker

    def _listen(self, index: int, stream: IO[str]) -> None:
        for line in stream:
            if line.startswith("{"):
                self.events.put((index, json.loads(line)))
        self.events.put((index, None))

    def _give(self, worker: subprocess.Popen[str]) -> tuple[str, int, int]:
        task = self.waiting.popleft()
        assert worker.stdin is not None  # noqa: S101 - it was opened as a pipe
        # A worker that died breaks the pipe: its end is the next event, and says how.
        with contextlib.suppress(BrokenPipeError):
            send(worker.stdin, {"arm": task[0], "seed": task[1], "generation": task[2], "allow": self.allow})
        self.recorder.began(task)
        return task

    def _handle(self, event: dict[str, Any], task: tuple[str, int, int]) -> bool:
        """True when the worker is free again."""
        arm, seed, generation = task
        label = self.labels[arm, seed]
        if event["event"] == "step":
            self.display.event(label, generation, event["what"], event["done"], event["total"])
            return False
        if event["event"] == "failed":
            self._failed(task, event["message"], event["hint"], event["exit_code"])
            return True
        self.recorder.done(task)
        known = self.known.get((arm, seed))
        self.display.finish(label, generation, skipped=known is not None and known.complete)
        if arm != START and generation < self.generations:
            # At the end of the line: the arms advance together, so that a figure can be drawn early.
            self.waiting.append((arm, seed, generation + 1))
        return True

    def _failed(self, task: tuple[str, int, int], message: str, hint: str, code: int) -> None:
        label = self.labels[task[0], task[1]]
        self.failures.append(
            {
                "label": label,
                "arm": task[0],
                "seed": task[1],
                "generation": task[2],
                "message": message,
                "hint": hint,
                "exit_code": code,
            }
        )
        self.recorder.failed(task, message, hint, code)
        self.display.say(f"{label}: generation {task[2]} failed: {message}")


def _death(code: int) -> str:
    if code == -signal.SIGKILL:
        return "the worker was killed (likely out of memory)"
    return f"the worker ended unexpectedly (exit status {code})"


def _end(workers: Sequence[subprocess.Popen[str]]) -> None:
    """Closes the workers' input; those still at work are terminated together (their commits are atomic).

    A signal that arrives meanwhile, a second Ctrl-C, ends the patience: what still lives is killed at once, so that
    no worker is left behind with the lock of its run.
    """
    try:
        for worker in workers:
            if worker.stdin is not None:
                with contextlib.suppress(BrokenPipeError):
                    worker.stdin.close()
        if not _ended(workers, 0.5):
            for worker in workers:
                worker.terminate()
            _ended(workers, 5.0)
    finally:
        for worker in workers:
            worker.kill()  # does nothing to one that has ended
            worker.wait()


def _ended(workers: Sequence[subprocess.Popen[str]], seconds: float) -> bool:
    """Waits for all of them, at most so long."""
    deadline = time.monotonic() + seconds
    for worker in workers:
        try:
            worker.wait(timeout=max(deadline - time.monotonic(), 0.0))
        except subprocess.TimeoutExpired:
            return False
    return True


def work(root: Path, tasks: IO[str], events: IO[str]) -> None:
    """The worker: one task a line until the input ends.

    Models are opened several times a generation, and each time memory is collected. What the libraries hold for good
    is set aside after each task, so that those collections look at what is new and not at a million old objects.
    """
    from factfade import loop

    experiment = parse(store.open_experiment(root).settings(), where=str(root / "experiment.toml"))
    for line in tasks:
        task = json.loads(line)
        arm, seed, generation = task["arm"], task["seed"], task["generation"]
        progress = JsonProgress(events, {})
        try:
            if arm == START:
                loop.run_start(experiment, root, progress=progress, allow=task["allow"])
            else:
                loop.run_arm(experiment, arm, seed, root, progress=progress, until=generation, allow=task["allow"])
        except FactfadeError as error:
            send(
                events, {"event": "failed", "message": error.message, "hint": error.hint, "exit_code": error.exit_code}
            )
        except MemoryError:
            send(
                events,
                {
                    "event": "failed",
                    "message": "out of memory",
                    "hint": "lower synthesis.batch or evaluation.batch_tokens",
                    "exit_code": EXIT_FAILED,
                },
            )
        except Exception as error:
            # A part of somebody else's may raise anything. After an error of the device no work in this process holds.
            traceback.print_exc()
            if "CUDA error" in str(error):
                raise
            what = f"{type(error).__name__}: {error}"
            hint = f"the traceback is in {root / 'logs'}; what is committed is kept"
            send(events, {"event": "failed", "message": what, "hint": hint, "exit_code": EXIT_FAILED})
        else:
            send(events, {"event": "done"})
        gc.unfreeze()
        gc.collect()
        gc.freeze()


def main(arguments: Sequence[str]) -> None:
    if len(arguments) != 1:
        raise UsageError("this module is the worker of LocalLauncher", hint="use factfade run FILE.toml")
    # Libraries print to standard output at times: events get a stream of their own, their chatter goes to the log.
    events = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears Ctrl-C and ends its workers
    work(Path(arguments[0]), sys.stdin, events)


if __name__ == "__main__":
    main(sys.argv[1:])
