"""`factfade run`: an experiment's arms and seeds, a part of them, or how far they are."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from factfade.errors import ConfigError, NotFound, UsageError
from factfade.text import safe_text

if TYPE_CHECKING:  # heavy: imported where used
    from factfade.config import Experiment
    from factfade.store import ExperimentFolder

_CLOCK = re.compile(r"(?:(\d+)-)?(\d+):(\d\d)(?::(\d\d))?")
_UNITS = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)(?:min|m|$))?(?:(\d+)s)?")


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What `factfade run` was asked for: a file or a folder, what of it, and how."""

    file: Path
    override: Sequence[str] = ()
    out: Path = Path("runs")
    arms: Sequence[str] | None = None
    seeds: Sequence[int] | None = None
    workers: int | None = None
    allow: Sequence[str] = ()
    time_limit: str | None = None

    @property
    def place(self) -> Path:
        """The folder that holds the experiment's folder."""
        return self.file.absolute().parent if self.file.is_dir() else self.out

    def experiment(self) -> Experiment:
        """The experiment of the file, or of a folder that an earlier call made."""
        from factfade import config, store

        if not self.file.is_dir():
            return config.load(self.file, self.override)
        if not (self.file / store.EXPERIMENT).is_file():
            raise NotFound(
                f"{self.file} holds no {store.EXPERIMENT}: it is not an experiment's folder",
                hint="give a folder that `factfade run` made, or an experiment's TOML file",
            )
        found = config.load(self.file / store.EXPERIMENT, self.override)
        if found.experiment.name != self.file.absolute().name:
            raise UsageError(
                f"{self.file} holds the experiment {found.experiment.name!r}: the folder was renamed",
                hint=f"name it {found.experiment.name} again, or give the TOML file and --out",
            )
        return found

    def command(self) -> list[str]:
        """The command that goes on, word by word."""
        words = ["factfade", "run", str(self.file)]
        words += [word for text in self.override for word in ("-o", text)]
        if not self.file.is_dir() and self.out != Path("runs"):
            words += ["--out", str(self.out)]
        for name, values in (("--arms", self.arms), ("--seeds", self.seeds)):
            words += [name, ",".join(map(str, values))] if values is not None else []
        words += ["--workers", str(self.workers)] if self.workers is not None else []
        words += [word for name in self.allow for word in ("--allow", name)]
        return words + (["--time-limit", self.time_limit] if self.time_limit is not None else [])


def show_status(asked: Asked, *, as_json: bool) -> int:
    """Prints how far the sweep is; returns the exit code: 0 complete, 75 not, 4 something failed, 5 damaged."""
    from factfade import status, status_text

    folder, experiment = _opened(asked)
    found = status.status(folder, experiment, arms=asked.arms, seeds=asked.seeds, workers=asked.workers)
    if as_json:
        print(json.dumps(status_text.to_json(found, asked.command()), indent=2, ensure_ascii=True))
    else:
        for line in status_text.lines(found, asked.command()):
            print(safe_text(line, limit=2000))
    return found.exit_code


def _opened(asked: Asked) -> tuple[ExperimentFolder, Experiment]:
    """The folder that is looked at, which need not exist for a file, and the experiment it belongs to."""
    from factfade import config, store

    if asked.file.is_dir():
        folder = store.open_experiment(asked.file)
        return folder, config.parse(folder.settings(), where=str(folder.root / store.EXPERIMENT))
    experiment = asked.experiment()
    folder = store.ExperimentFolder(root=asked.out / experiment.experiment.name)
    if (folder.root / store.EXPERIMENT).is_file():
        store.refuse_changes(folder, experiment.resolved())
    return folder, experiment


def names(texts: Sequence[str] | None) -> list[str] | None:
    """Names that are given one by one or with commas between them; None where none are."""
    found = [name.strip() for text in texts or () for name in text.split(",") if name.strip()]
    return list(dict.fromkeys(found)) or None


def numbers(texts: Sequence[str] | None) -> list[int] | None:
    """Seeds: `0,1`, or `0-4` for all from 0 to 4; None where none are given."""
    found: list[int] = []
    for text in names(texts) or ():
        match = re.fullmatch(r"(\d{1,10})(?:-(\d{1,10}))?", text)
        if match is None or (match[2] and not 0 <= int(match[2]) - int(match[1]) < 10_000):
            raise ConfigError(f"{text!r} is no seed", hint="write --seeds 0,1,2 or --seeds 0-4")
        found += range(int(match[1]), int(match[2] or match[1]) + 1)
    return list(dict.fromkeys(found)) or None


def seconds(text: str | None) -> float | None:
    """A time limit in seconds: 45s, 90m, 3h50, 1d2h, or Slurm's HH:MM:SS and D-HH:MM:SS. None stays None."""
    if text is None:
        return None
    plain = text.strip().lower().replace(" ", "")
    clock, units = _CLOCK.fullmatch(plain), _UNITS.fullmatch(plain)
    total = 0
    if clock is not None:
        days, hours, minutes, rest = (int(part or 0) for part in clock.groups())
        total = 86400 * days + 3600 * hours + 60 * minutes + rest
    elif units is not None and not plain.isdigit():
        days, hours, minutes, rest = (int(part or 0) for part in units.groups())
        total = 86400 * days + 3600 * hours + 60 * minutes + rest
    if total < 1:
        raise ConfigError(f"{text!r} is no time limit", hint="write 45s, 90m, 3h50 or 03:50:00")
    return float(total)
