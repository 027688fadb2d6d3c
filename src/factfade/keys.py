"""The key of a step, and the differences between the settings of then and of now.

A step's key says everything its output depends on: the version of its code, factfade's version, its resolved
settings, the identities of its inputs and its seed. Equal keys mean the stored output may be used; anything else is
refused with the fields that differ. Library versions are recorded beside the key and refused likewise when they
changed, unless allowed by name.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Final

from factfade.errors import SettingsChanged
from factfade.text import safe_text

PACKAGE: Final = "factfade"
_BARE = re.compile(r"[A-Za-z0-9_-]+")


class _Absent:
    """The value of a setting that is not there."""

    def __repr__(self) -> str:
        return "(not set)"


ABSENT: Final = _Absent()


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One setting that differs: its dotted path, and the old and new value (`ABSENT` where there is none)."""

    path: str
    old: Any
    new: Any

    def texts(self) -> tuple[str, str, str]:
        """Path, old and new value as one line of text each."""
        return self.path, _shown(self.old), _shown(self.new)


def _shown(value: Any) -> str:
    text = repr(value) if isinstance(value, _Absent) else json.dumps(value, ensure_ascii=False, sort_keys=True)
    return safe_text(text, limit=120, keep="")


def normalised(value: Any) -> Any:
    """Plain JSON data with one form for each value: what is compared, hashed and stored.

    Dataclasses and mappings become dicts without their None values, tuples lists, sets sorted lists, paths and
    enums their text or value, and floats that are whole numbers integers (1.0 and 1 are one setting). NaN and
    infinities raise ValueError, anything else that JSON has no form for TypeError.
    """
    if value is None or (isinstance(value, (bool, int, str)) and not isinstance(value, Enum)):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{value} is not a setting that can be compared or stored")
        return int(value) if value.is_integer() and abs(value) < 2**53 else value
    if isinstance(value, Enum):
        return normalised(value.value)
    if isinstance(value, Path):
        return str(value)
    if is_dataclass(value) and not isinstance(value, type):
        return normalised(asdict(value))
    if isinstance(value, Mapping):
        if not all(isinstance(name, str) for name in value):
            raise TypeError("the names of settings are text")
        return {name: normalised(part) for name, part in value.items() if part is not None}
    if isinstance(value, (set, frozenset)):
        return sorted((normalised(part) for part in value), key=lambda part: json.dumps(part, sort_keys=True))
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)):
        return [normalised(part) for part in value]
    raise TypeError(f"{type(value).__name__} is not a setting that can be compared or stored")


def sha256_of(value: Any) -> str:
    """Hex SHA-256 of the normalised value's canonical JSON."""
    text = json.dumps(normalised(value), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def sealed(record: Mapping[str, Any]) -> dict[str, Any]:
    """The record with a hash of itself as `sha256`."""
    return {**record, "sha256": sha256_of(record)}


def seal_holds(record: Mapping[str, Any]) -> bool | None:
    """Whether a record is what its own hash says; None where it has none. A hash under a damaged name is one."""

    def rest(left_out: str) -> str:
        return sha256_of({name: value for name, value in record.items() if name != left_out})

    if "sha256" in record:
        return record["sha256"] == rest("sha256")
    hashes = [name for name, value in record.items() if isinstance(value, str) and len(value) == 64]
    return False if any(record[name] == rest(name) for name in hashes) else None


def check_settings(stored: Any, new: Any) -> list[Difference]:
    """The settings that differ, in path order; empty exactly when the normalised values are equal.

    Paths are dotted (`training.learning_rate`, `arms.tce.pool[0].keep`); a name that needs it is quoted. Lists of
    tables are compared entry by entry when they are equally long, other lists as a whole.
    """
    found: list[Difference] = []
    _compare(normalised(stored), normalised(new), "", found)
    return found


def _compare(old: Any, new: Any, path: str, found: list[Difference]) -> None:
    if isinstance(old, dict) and isinstance(new, dict):
        for name in sorted({*old, *new}):
            part = name if _BARE.fullmatch(name) else json.dumps(name)
            _compare(old.get(name, ABSENT), new.get(name, ABSENT), f"{path}.{part}" if path else part, found)
    elif _tables(old) and _tables(new) and len(old) == len(new):
        for index, (left, right) in enumerate(zip(old, new, strict=True)):
            _compare(left, right, f"{path}[{index}]", found)
    elif not _equal(old, new):
        found.append(Difference(path=path, old=old, new=new))


def _tables(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(part, dict) for part in value)


def _equal(old: Any, new: Any) -> bool:
    # In Python True == 1; as settings they are different things.
    if isinstance(old, dict) and isinstance(new, dict):
        return old.keys() == new.keys() and all(_equal(old[name], new[name]) for name in old)
    if isinstance(old, list) and isinstance(new, list):
        return len(old) == len(new) and all(_equal(*pair) for pair in zip(old, new, strict=True))
    return isinstance(old, bool) == isinstance(new, bool) and bool(old == new)


def _package_version() -> str:
    from factfade import __version__

    return __version__


@dataclass(frozen=True, kw_only=True)
class StepKey:
    """What a step's output depends on.

    `version` is the integer in the step's code that changes with its meaning. `settings` are resolved, `inputs`
    maps a role ("checkpoint", "completions") to a content hash. `libraries` maps names to versions ("torch":
    "2.13.0"): recorded and compared, outside the hash.
    """

    version: int
    settings: Mapping[str, Any]
    inputs: Mapping[str, str] = field(default_factory=dict)
    seed: int | None = None
    package: str = field(default_factory=_package_version)
    libraries: Mapping[str, str] = field(default_factory=dict)

    def fields(self) -> dict[str, Any]:
        """The hashed part as plain JSON data."""
        return normalised(
            {
                "version": self.version,
                "package": self.package,
                "settings": self.settings,
                "inputs": self.inputs,
                "seed": self.seed,
            }
        )

    @property
    def sha256(self) -> str:
        """Hash of `fields()`."""
        return sha256_of(self.fields())

    def differences(
        self, stored: Mapping[str, Any], libraries: Mapping[str, str], *, allow: Collection[str] = ()
    ) -> list[Difference]:
        """How the stored fields and libraries differ from this key, less the versions that are allowed by name."""
        old, new = dict(stored), self.fields()
        if PACKAGE in allow:
            old.pop("package", None)
            new.pop("package", None)
        found = check_settings(old, new)
        then = {name: version for name, version in libraries.items() if name not in allow}
        now = {name: version for name, version in self.libraries.items() if name not in allow}
        _compare({"libraries": then}, {"libraries": now}, "", found)
        return found


def refuse(differences: Sequence[Difference], *, what: str, hint: str = "") -> None:
    """Raise `SettingsChanged` when there are differences. `what` names the thing that was made otherwise."""
    if not differences:
        return
    versions = sorted(
        PACKAGE if d.path == "package" else d.path.removeprefix("libraries.")
        for d in differences
        if d.path == "package" or d.path.startswith("libraries.")
    )
    if not hint:
        hint = "set them back, or choose another folder for the new settings"
        if len(versions) == len(differences):
            allowed = " ".join(f"--allow {name}" for name in versions)
            hint = f"install the old versions again, or add: {allowed}"
    raise SettingsChanged(
        f"{what} was made with other settings:", differences=[d.texts() for d in differences], hint=hint
    )
