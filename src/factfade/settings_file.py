"""Settings out of files: TOML of bounded size, overrides, and errors that say what to type. pydantic's edge."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from factfade import registry
from factfade.errors import ConfigError

M = TypeVar("M", bound=BaseModel)
MAX_FILE_BYTES = 1_000_000


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    found = dict(base)
    for key, value in over.items():
        old = found.get(key)
        found[key] = merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return found


def read_toml(path: str | Path) -> dict[str, Any]:
    """The plain data of a TOML file of bounded size; ConfigError with what to do instead."""
    file = Path(path)
    try:
        raw = file.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"cannot read {file}: {error.strerror}", hint="give the path of an experiment's TOML file"
        ) from error
    if len(raw) > MAX_FILE_BYTES:
        raise ConfigError(f"{file} is larger than {MAX_FILE_BYTES} bytes", hint="an experiment file is a page of TOML")
    try:
        return tomllib.loads(raw.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"{file} is no valid TOML: {error}", hint="see examples/ for one that is") from error


def validated(model: type[M], data: dict[str, Any], overrides: Sequence[str] = (), *, where: str = "the settings") -> M:
    """A model of sections out of plain data, `section.key=value` overrides applied before; errors as in `parse`."""
    for text in overrides:
        _override(data, text)
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise readable(error, model, where) from error


def to_toml(data: Mapping[str, Any]) -> str:
    """Plain data as TOML, without what is None (TOML has no word for it: absent is the default)."""
    import tomli_w

    return tomli_w.dumps(_without_none(data))


def _without_none(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _without_none(v) for k, v in value.items() if v is not None}
    return [_without_none(v) for v in value] if isinstance(value, list) else value


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def readable(error: ValidationError, model: type[BaseModel], where: str) -> ConfigError:
    """The first thing that is wrong, with its place, what stands there, and the nearest known key."""
    first = error.errors()[0]
    location = ".".join(str(p) for p in first["loc"])
    if first["type"] == "extra_forbidden":
        hint = registry.nearest(str(first["loc"][-1]), _known(model, first["loc"][:-1]))
        return ConfigError(f"{where}: unknown key {location!r}", hint=hint)
    place = f"{where}: {location}" if location else where
    return ConfigError(
        f"{place}: {first['msg']} (got {_short(first['input'])})", hint="docs/concepts.md lists every setting"
    )


def _known(model: type[BaseModel] | None, path: Sequence[Any]) -> list[str]:
    """The keys that are known at a place of the file, for the hint of an unknown one."""
    for part in path:
        if model is not None and part in model.model_fields:
            annotation = model.model_fields[part].annotation
            inner = (annotation, *getattr(annotation, "__args__", ()))
            model = next((a for a in inner if isinstance(a, type) and issubclass(a, BaseModel)), None)
    return list(model.model_fields) if model else []


def _override(data: dict[str, Any], text: str) -> None:
    key, sign, value = text.partition("=")
    path = key.strip().split(".")
    if not sign or len(path) < 2 or not all(path):
        raise ConfigError(
            f"cannot read the override {_short(text)}", hint="write section.key=value, e.g. -o training.epochs=1"
        )
    try:
        parsed = tomllib.loads(f"v = {value.strip()}")["v"]
    except tomllib.TOMLDecodeError:
        parsed = value.strip()
    if isinstance(parsed, float) and not math.isfinite(parsed):
        raise ConfigError(f"{key}: the value must be finite", hint="write a number")
    place = data
    for part in path[:-1]:
        place = place.setdefault(part, {})
        if not isinstance(place, dict):
            raise ConfigError(f"{key}: {part!r} is no section", hint="write section.key=value")
    place[path[-1]] = parsed
