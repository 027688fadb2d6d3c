"""Data sets of the Hugging Face hub, rows only: no data set's own code runs, and a revision is always a commit.

The packages come with the extra `hub` and are imported when a hub data set is read, never before.
"""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

from factfade.errors import DataError, MissingExtra

_COMMIT = re.compile(r"[0-9a-f]{40}")
_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[\w.-]{1,96}")


def check_name(name: str, revision: str) -> None:
    """ValueError unless the name is "owner/name" and the revision empty or a 40-digit commit."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"a hub data set is named owner/name, not {name!r}")
    if revision and not _COMMIT.fullmatch(revision):
        raise ValueError(f"revision must be a commit of 40 hexadecimal digits, not {revision!r}")


@lru_cache(maxsize=64)
def commit(name: str, revision: str) -> str:
    """The commit that is read: the named one, else the newest one on the hub (needs the network)."""
    if revision:
        return revision
    refuse_offline(name)
    try:
        api: Any = importlib.import_module("huggingface_hub")
    except ModuleNotFoundError as error:
        raise MissingExtra(f"the hub data set {name}", extra="hub") from error
    try:
        found = api.HfApi().dataset_info(name).sha
    except Exception as error:  # every library below has its own exceptions for an absent network
        raise _unreachable(name, error) from error
    if not found or not _COMMIT.fullmatch(found):
        raise DataError("the hub gave no commit for this data set", file=name, hint="name a revision")
    return found


def rows(name: str, revision: str, subset: str | None, split: str) -> Iterator[Mapping[str, Any]]:
    """Rows of one split in the data set's order."""
    try:
        datasets: Any = importlib.import_module("datasets")
    except ModuleNotFoundError as error:
        raise MissingExtra(f"the hub data set {name}", extra="hub") from error
    try:
        table = datasets.load_dataset(name, subset, split=split, revision=commit(name, revision))
    except DataError:
        raise
    except Exception as error:  # as above
        raise _unreachable(name, error) from error
    yield from table


def refuse_offline(name: str) -> None:
    """DataError where the environment says that the hub must not be asked."""
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "TRUE", "YES", "ON"}:
        raise DataError(
            "the newest revision of a hub data set is asked for, and HF_HUB_OFFLINE is set",
            file=name,
            hint="name its revision (and download it before), or use a local file: kind text, jsonl or parquet",
        )


def _unreachable(name: str, error: Exception) -> DataError:
    reason = (str(error).splitlines() or [""])[0][:200]
    return DataError(
        f"the hub data set cannot be read ({type(error).__name__}: {reason})",
        file=name,
        hint="check name, subset, split and network; offline use a local file: kind text, jsonl or parquet",
    )
