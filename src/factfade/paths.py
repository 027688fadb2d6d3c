"""Names that become folders, and paths that stay inside their root.

Names come from experiment files and from other people's folders; both may try to lead elsewhere. A name is checked
before it becomes part of a path, and a path is checked before anything is opened: no part of it may be a link that
leaves the root.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from pathlib import Path, PurePosixPath

from factfade.errors import ConfigError, UnsafePath
from factfade.text import safe_text

MAX_NAME = 64
_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
# Names that some file system or the run folder itself gives a meaning.
_DEVICES = frozenset({"con", "prn", "aux", "nul", *(f"{d}{i}" for d in ("com", "lpt") for i in range(10))})
_OURS = re.compile(
    r"(generation|seed)-[0-9]+|experiment\.toml|environment\.json|report\.html|stages\.json|session\.json"
)


def is_name(text: str) -> bool:
    """Whether the text may be a folder's name: lower case, digits, `_`, `-`, `.`, at most 64, not reserved."""
    return (
        _NAME.fullmatch(text) is not None
        and not text.endswith(".")
        and text.split(".")[0] not in _DEVICES
        and _OURS.fullmatch(text) is None
    )


def checked_name(text: str, *, what: str) -> str:
    """The name itself, or ConfigError with one that would do. `what` says what is named ("arm")."""
    if is_name(text):
        return text
    raise ConfigError(
        f"{safe_text(text, limit=80, keep='')!r} cannot be the name of an {what}"
        if what[:1] in "aeiou"
        else f"{safe_text(text, limit=80, keep='')!r} cannot be the name of a {what}",
        hint=f"use lower-case letters, digits, '_', '-' and '.', at most {MAX_NAME}: for example {slug(text)!r}",
    )


def slug(text: str) -> str:
    """A safe name for any text: itself when it is one, else what remains of it with a hash that keeps it unique."""
    if is_name(text):
        return text
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode("ascii").lower()
    plain = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:40].strip("-")
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:10]
    return f"{plain}-{digest}" if plain and is_name(f"{plain}-{digest}") else f"x-{digest}"


def checked_relative(text: str) -> PurePosixPath:
    """A relative path as it stands in a manifest, or UnsafePath: no root, no `..`, no backslash, no control byte."""
    path = PurePosixPath(text)
    plain = text == path.as_posix() and not any(c in "\\\0" or ord(c) < 32 for c in text)
    if not plain or path.is_absolute() or text == "." or ".." in path.parts:
        raise UnsafePath(f"{safe_text(text, limit=120, keep='')!r} is not a path inside its folder")
    return path


def inside(root: Path, *parts: str | PurePosixPath) -> Path:
    """`root / parts`, or UnsafePath when a part or a link on the way leads out of root.

    Links inside that stay inside are fine; the root itself may be reached through links (the user's choice).
    """
    path = root.joinpath(*(checked_relative(str(part)) for part in parts))
    if not path.resolve().is_relative_to(root.resolve()):
        raise UnsafePath(
            f"{safe_text(path, limit=200, keep='')} leads out of {root}",
            hint="remove the link, or copy what it points to into the folder",
        )
    return path


def inside_model(root: Path, name: str) -> Path:
    """`inside` for a file of a model's folder, where a hub cache's links are fine too.

    The cache keeps a snapshot's files as links: `models--OWNER--NAME/snapshots/REVISION/FILE -> ../../blobs/HASH`. Such
    a link may lead to the blobs of its own repository, and nowhere else out of the snapshot.
    """
    path = root / checked_relative(name)
    repository = hub_repository(root)
    if repository is not None and path.resolve().is_relative_to(repository / "blobs"):
        return path
    return inside(root, name)


def hub_repository(root: Path) -> Path | None:
    """The folder of the repository whose snapshot `root` is in a hub cache; None for any other folder."""
    real = root.resolve()
    repository = real.parent.parent
    ours = real.parent.name == "snapshots" and repository.name.startswith("models--")
    return repository if ours else None
