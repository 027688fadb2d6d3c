"""A sweep's state as lines for a terminal and as plain data, with the command that goes on."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

from factfade.status import Status
from factfade.status_look import Run, State

MARKS: dict[State, str] = {
    "done": "#", "running": ">", "failed": "!", "damaged": "x", "partial": "-", "missing": ".",
}  # fmt: skip
WIDEST = 40  # generations that are drawn one by one
SHOWN = 12  # failures, damages and foreign entries that are shown one by one


def lines(found: Status, command: Sequence[str]) -> list[str]:
    """The table and what follows from it. `command` goes on where something is missing."""
    counts = found.counts
    said = ", ".join(f"{counts[state]} {state}" for state in MARKS if counts[state])
    total = f"{len(found.runs) - 1} runs, {counts.total()} generations with the start model's: {said}"
    head = [f"{found.name}: {total}", f"  {found.root}, {_bytes(found.bytes)}"]
    width = max(len(run.label) for run in found.runs)
    used = [f"{mark} {state}" for state, mark in MARKS.items() if counts[state]]
    table = [f"  {run.label:<{width}}  {_bar(run)}  {_what(run)}".rstrip() for run in found.runs]
    return [*head, "", *table, "", "  " + "   ".join(used), *_wrong(found), *_end(found, command)]


def to_json(found: Status, command: Sequence[str]) -> dict[str, Any]:
    """The state as plain data."""
    session = found.session
    return {
        "name": found.name,
        "path": str(found.root),
        "exit_code": found.exit_code,
        "counts": {state: found.counts[state] for state in MARKS},
        "bytes": found.bytes,
        "seconds_left": found.seconds_left,
        "workers": found.workers,
        "command": list(command),
        "session": None
        if session is None
        else {"alive": session.alive, "ended": session.ended, "owner": dict(session.owner)},
        "runs": [
            {
                "arm": run.arm,
                "seed": run.seed,
                "failure": None
                if run.failure is None
                else {
                    "generation": run.failure.generation,
                    "message": run.failure.message,
                    "hint": run.failure.hint,
                    "exit_code": run.failure.exit_code,
                    "when": run.failure.when,
                },
                "generations": [
                    {
                        "generation": one.number,
                        "state": one.state,
                        "missing": list(one.missing),
                        "seconds": dict(one.seconds),
                        "said": one.said,
                    }
                    for one in run.generations
                ],
            }
            for run in found.runs
        ],
        "foreign": list(found.foreign),
        "notes": list(found.notes),
    }


def duration(seconds: float) -> str:
    """Seconds as people say them: 40 s, 12 min, 3 h 05 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"


def _bar(run: Run) -> str:
    if len(run.generations) > WIDEST:
        return ", ".join(f"{run.counts[state]} {state}" for state in MARKS if run.counts[state])
    return "".join(MARKS[one.state] for one in run.generations)


def _what(run: Run) -> str:
    """What the bar does not say: how far the generation in work is."""
    one = next((g for g in run.generations if g.state in ("running", "partial")), None)
    if one is None:
        return ""
    done = f"{', '.join(one.seconds)} done" if one.seconds else ""
    parts = "; ".join(text for text in (done, one.said) if text)
    return f"generation {one.number}" + (f": {parts}" if parts else "")


def _wrong(found: Status) -> list[str]:
    """Failures, damage, what is foreign, notes."""
    said = [f"failed: {_place(run)}: {run.failure.message}" for run in found.runs if run.failure is not None]
    said += [f"damaged: {one.said}" for run in found.runs for one in run.generations if one.state == "damaged"]
    said += [f"not of this experiment: {name}" for name in found.foreign]
    more = [f"and {len(said) - SHOWN} more: --json has them all"] if len(said) > SHOWN else []
    return ["", *(f"  {line}" for line in [*said[:SHOWN], *more, *found.notes])] if said or found.notes else []


def _place(run: Run) -> str:
    return run.label if run.failure is None or not run.arm else f"{run.label}, generation {run.failure.generation}"


def _end(found: Status, command: Sequence[str]) -> list[str]:
    """What is left, and what to type."""
    left = found.seconds_left
    session = found.session
    lines = [""]
    if session is not None and found.live:
        who = f"process {session.owner.get('pid')} on {session.owner.get('host')}"
        lines.append(f"  at work: {who}, since {session.owner.get('start')}, {_workers(session.workers)}")
    if found.exit_code == 0:
        return [*lines, f"  complete; the page: factfade report {shlex.quote(str(found.root))}"]
    if left is not None:
        lines.append(
            f"  about {duration(left)} of steps left with {_workers(found.workers)}, by the times of like ones"
        )
    if found.counts["damaged"]:
        check = f"factfade verify {shlex.quote(str(found.root))}"
        lines.append(f"  restore what is damaged from a copy, or remove it with the later generations; look: {check}")
    verb = "if that ends early, go on with" if found.live else "go on with"
    return [*lines, f"  {verb}: {shlex.join(command)}"]


def _workers(count: int) -> str:
    return "1 worker" if count == 1 else f"{count} workers"


def _bytes(size: int) -> str:
    for unit, name in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if size >= unit:
            return f"{size / unit:.1f} {name} on disk"
    return f"{size} bytes on disk"
