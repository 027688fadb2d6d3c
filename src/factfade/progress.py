"""How far long work is: one line of events, shown as bars on a terminal, as plain lines in a pipe, as JSON to a parent.

`Progress.step(what, done, total)` is the whole seam (protocols.Progress). Durations come from a monotonic clock.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from typing import IO, Any

from factfade.text import safe_text

PLAIN_EVERY_SECONDS = 15.0
MANY = 12  # of more runs than this, only those at work have a bar, and all together one


class Silent:
    """Says nothing: for Python callers and tests."""

    def step(self, what: str, done: int, total: int) -> None:
        del what, done, total


class Lines:
    """One line for each new piece of work, and again after `every` seconds, to standard error: for work in a row."""

    def __init__(self, stream: IO[str] | None = None, *, every: float = PLAIN_EVERY_SECONDS) -> None:
        self._stream, self._every = stream or sys.stderr, every
        self._what, self._last = "", 0.0

    def step(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        if what == self._what and now - self._last < self._every:
            return
        self._what, self._last = what, now
        print(safe_text(f"{what} {done}/{total}", limit=300), file=self._stream, flush=True)


class JsonProgress:
    """Writes an event a line for a parent process, at most five a second and always the last of a step."""

    def __init__(self, stream: IO[str], task: Mapping[str, Any]) -> None:
        self._stream, self._task, self._last = stream, dict(task), 0.0

    def step(self, what: str, done: int, total: int) -> None:
        now = time.monotonic()
        if done < total and now - self._last < 0.2:
            return
        self._last = now
        send(self._stream, {"event": "step", **self._task, "what": what, "done": done, "total": total})


def send(stream: IO[str], event: Mapping[str, Any]) -> None:
    """One event as a line of ASCII JSON, flushed."""
    stream.write(json.dumps(event) + "\n")
    stream.flush()


class Display:
    """What a person sees of many runs: bars with arm, generation, step and an estimate on a terminal, else plain lines.

    Use as a context manager; `event` takes what workers send, `finish` says that one generation of a run is done.
    """

    def __init__(
        self, runs: Mapping[str, int], stream: IO[str] | None = None, *, done: Mapping[str, int] | None = None
    ) -> None:
        """`runs` maps a run's label to its number of generations (0 for the evaluation of the start model), `done` to
        how many of them an earlier session has committed."""
        self._stream = stream or sys.stderr
        self._runs = dict(runs)
        self._units = sum(max(total, 1) for total in runs.values())
        self._done = dict(done or {})
        self._finished = sum(self._done.values())
        self._worked = 0
        self._many = len(self._runs) > MANY
        self._begun = time.monotonic()
        self._said: dict[str, float] = {}
        self._live: Any = None
        self._tasks: dict[str, Any] = {}

    def __enter__(self) -> Display:
        if self._stream.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

            columns = (
                TextColumn("{task.description:<22}"), BarColumn(bar_width=28), TextColumn("{task.fields[note]:<34}"),
                TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
            )  # fmt: skip
            self._live = Progress(*columns, console=Console(file=self._stream))
            self._live.start()
            if self._many:
                self._tasks[""] = self._live.add_task(
                    "all runs", total=float(self._units), note=f"of {len(self._runs)}"
                )
                self._live.update(self._tasks[""], completed=float(self._finished))
            for label, total in self._runs.items():
                task = self._live.add_task(
                    safe_text(label), total=float(max(total, 1)), note="waiting", start=False, visible=not self._many
                )
                self._tasks[label] = task
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def event(self, label: str, generation: int, what: str, done: int, total: int) -> None:
        """A step of a run's generation has come to done of total."""
        note = f"generation {generation}: {what} {done}/{total}"
        if self._live is not None:
            task = self._tasks[label]
            self._live.start_task(task)
            part = {"synthesize": 0.0, "train": 0.35, "evaluate": 0.7}.get(what.split(" ")[0], 0.0)
            completed = max(generation - 1, 0) + part + 0.3 * done / max(total, 1)
            self._live.update(task, completed=completed, note=safe_text(note), visible=True)
            return
        now = time.monotonic()
        if now - self._said.get(label, self._begun) >= PLAIN_EVERY_SECONDS:
            self._said[label] = now
            self._line(f"{label}: {note}")

    def finish(self, label: str, generation: int, *, skipped: bool = False) -> None:
        """A generation of a run is committed; `skipped` when an earlier session did it, and it was only looked at."""
        if not skipped:
            self._finished += 1
            self._worked += 1
        if self._live is not None:
            task, last = self._tasks[label], generation == self._runs[label]
            self._live.start_task(task)
            self._live.update(
                task, completed=float(max(generation, 1)), note="done" if last else "", visible=not self._many
            )
            if self._many:
                self._live.update(self._tasks[""], completed=float(self._finished))
            return
        if not skipped:
            spent = time.monotonic() - self._begun
            left = spent / self._worked * (self._units - self._finished)
            self._line(f"{label}: generation {generation} done; {spent:.0f} s so far, about {left:.0f} s left")

    def say(self, text: str) -> None:
        """A line that is no progress: a failure, a note."""
        if self._live is not None:
            from rich.markup import escape

            self._live.console.print(escape(safe_text(text, limit=2000)))
        else:
            self._line(text)

    def _line(self, text: str) -> None:
        print(safe_text(text, limit=2000), file=self._stream, flush=True)
