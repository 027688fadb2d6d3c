# ruff: noqa: N818  (the names say what happened; the base class says that they are errors)
"""The exceptions of factfade. Catch `FactfadeError` for all of them.

    FactfadeError                       exit code
    ├── UsageError                      2   what was asked for cannot be done as asked
    │   ├── ConfigError                     a setting is unknown, malformed or out of range
    │   ├── DataError                       a data file is malformed: file and line
    │   ├── SettingsChanged                 an existing folder was made with other settings
    │   ├── NotFound                        a path or a part that does not exist
    │   └── MissingExtra                    an optional dependency is not installed
    ├── Inconclusive                    3   the evidence cannot carry a verdict
    ├── RunFailed                       4   the run could not go on
    │   ├── JunkGate                        too many completions are empty, near-constant or duplicated
    │   ├── NonFinite                       a loss, weight or logit is not a finite number
    │   ├── OutOfMemory                     host or device memory is exhausted
    │   ├── StorageFailed                   the disk refused an operation
    │   │   └── OutOfSpace                  ... because it is full
    │   └── Locked                          another process writes this folder
    ├── Refused                         5   refused for safety or integrity
    │   ├── IntegrityError                  a stored file is not what its manifest says
    │   ├── UnsafeArtifact                  pickles, remote code, files that would execute something
    │   └── UnsafePath                      a name or link that leads out of its folder
    └── Stopped                        75   stopped early, resumable
        └── Interrupted           130/143   by SIGINT or SIGTERM

Every error carries `hint`: what to type or do instead. The command line prints message and hint through
`safe_text`, without a traceback, and exits with `exit_code`. 0 is a pass and 1 a breached gate: neither is an error.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from factfade.text import safe_text

EXIT_PASS = 0
EXIT_BREACHED = 1
EXIT_USAGE = 2
EXIT_INCONCLUSIVE = 3
EXIT_FAILED = 4
EXIT_REFUSED = 5
EXIT_STOPPED = 75
EXIT_SIGINT = 130
EXIT_SIGTERM = 143


class FactfadeError(Exception):
    """Base of all. `message` is one plain sentence or more; `hint` says what to type or do instead ("" for none)."""

    exit_code: int = EXIT_FAILED

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[Any, ...]:
        # Launchers send exceptions between processes: keyword-only fields travel in __dict__.
        return _rebuild, (type(self), dict(self.__dict__))

    def render(self) -> str:
        """Message and hint for a terminal, with everything untrusted in them shown as visible escapes."""
        text = f"{self.message}\n  {self.hint}" if self.hint else self.message
        return safe_text(text, limit=8000)


def _rebuild(kind: type[FactfadeError], state: dict[str, Any]) -> FactfadeError:
    error = kind.__new__(kind, state.get("message", ""))
    error.__dict__.update(state)
    return error


class UsageError(FactfadeError):
    """What was asked for cannot be done as asked."""

    exit_code = EXIT_USAGE


class ConfigError(UsageError):
    """A setting is unknown, malformed or out of range. `field` is its dotted path ("" when the file as a whole)."""

    def __init__(self, message: str, *, field: str = "", hint: str = "") -> None:
        super().__init__(f"{field}: {message}" if field else message, hint=hint)
        self.field = field


class DataError(UsageError):
    """A data file is malformed. `file` and `line` (1-based; None when the file as a whole) stand in the message."""

    def __init__(
        self, message: str, *, file: str | Path | None = None, line: int | None = None, hint: str = ""
    ) -> None:
        place = "" if file is None else f"{file}: " if line is None else f"{file}:{line}: "
        super().__init__(place + message, hint=hint)
        self.file = None if file is None else str(file)
        self.line = line


class SettingsChanged(UsageError):
    """An existing folder was made with other settings. `differences` are (dotted path, old, new) as text."""

    def __init__(self, message: str, *, differences: Sequence[tuple[str, str, str]] = (), hint: str = "") -> None:
        lines = [f"  {path}: {old} -> {new}" for path, old, new in differences]
        super().__init__("\n".join([message, *lines]), hint=hint)
        self.differences = tuple(differences)


class NotFound(UsageError):
    """A path, an experiment or a part that does not exist."""


class MissingExtra(UsageError):
    """An optional dependency is not installed; the hint is the line that installs it."""

    def __init__(self, what: str, *, extra: str) -> None:
        super().__init__(f"{what} needs a package that is not installed", hint=f'pip install "factfade[{extra}]"')
        self.extra = extra


class Inconclusive(FactfadeError):
    """The evidence cannot carry a verdict; the message says what it would take."""

    exit_code = EXIT_INCONCLUSIVE


class RunFailed(FactfadeError):
    """The run could not go on. What was committed before is intact; the same command continues from there."""

    exit_code = EXIT_FAILED


class JunkGate(RunFailed):
    """Too many completions are empty, near-constant, repetitive or duplicated to train a model on them."""


class NonFinite(RunFailed):
    """A loss, a weight or a logit is not a finite number; nothing of the step was published."""


class OutOfMemory(RunFailed):
    """Host or device memory is exhausted at the smallest batch."""


class StorageFailed(RunFailed):
    """The disk refused an operation (permission, read-only, input/output error). `path` is where."""

    def __init__(self, message: str, *, path: str | Path = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.path = str(path)


class OutOfSpace(StorageFailed):
    """The disk or the quota is full."""


class Locked(RunFailed):
    """Another process writes this folder. `owner` is its record (host, pid, start, nonce), empty when unreadable."""

    def __init__(self, message: str, *, owner: dict[str, Any] | None = None, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.owner = owner or {}


class Refused(FactfadeError):
    """Refused for safety or integrity."""

    exit_code = EXIT_REFUSED


class IntegrityError(Refused):
    """A stored file is not what its manifest says it is. `path` names it."""

    def __init__(self, message: str, *, path: str | Path = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.path = str(path)


class UnsafeArtifact(Refused):
    """The artefact holds pickles or code that loading it would execute. `path` names the file."""

    def __init__(self, message: str, *, path: str | Path = "", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.path = str(path)


class UnsafePath(Refused):
    """A name or a link leads out of its folder."""


class Stopped(FactfadeError):
    """Stopped early by a limit or a request; the same command continues."""

    exit_code = EXIT_STOPPED


class Interrupted(Stopped):
    """Stopped by a signal (130 for SIGINT, 143 for SIGTERM); the same command continues."""

    def __init__(self, message: str = "interrupted", *, signal: int = 2, hint: str = "") -> None:
        super().__init__(message, hint=hint or "type the same command again to continue")
        self.signal = signal
        self.exit_code = 128 + signal
