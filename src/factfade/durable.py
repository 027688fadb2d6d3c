"""Every durable write of factfade: atomic files, folders, renames, removals and locks.

A file that is written here is either the old one or the new one, whatever happens: the bytes go to a temporary
name in the same folder, are flushed and fsynced, renamed, and the folder is fsynced. A test can
make the n-th call fail (`hooked`), or kill the process there or at a named boundary (`reach`):

    FACTFADE_DIE_AT="17"          SIGKILL at the 17th durable call of the process
    FACTFADE_DIE_AT="rename:3"    SIGKILL at the third call (or boundary) of that name

Errors of the disk become `OutOfSpace` or `StorageFailed`, with what to do about them.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import itertools
import json
import os
import secrets
import shutil
import signal
import socket
import time
from collections import Counter
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

from factfade.errors import Locked, OutOfSpace, StorageFailed

DIE_AT = "FACTFADE_DIE_AT"
TEMPORARY_SUFFIX = ".tmp"

Hook = Callable[[str, Path, int], None]
"""(name of the call, path, its number in this process, from 1): may raise an OSError in place of the call."""

_hook: Hook | None = None
_calls: Counter[str] = Counter()
_reached: Counter[str] = Counter()
_serial = itertools.count()


def reach(point: str) -> None:
    """Pass a named boundary between durable calls, such as "synthesize.batch": the process dies there when
    FACTFADE_DIE_AT says so."""
    _reached[point] += 1
    _die_if_wanted(f"{point}:{_reached[point]}")


def _call(point: str, path: Path) -> None:
    """Count a durable call, die there when the environment says so, let a test's hook fail it."""
    _calls[point] += 1
    number = _calls.total()
    _die_if_wanted(str(number), f"{point}:{_calls[point]}")
    if _hook is not None:
        _hook(point, path, number)


def _die_if_wanted(*names: str) -> None:
    if os.environ.get(DIE_AT) in names:
        os.kill(os.getpid(), signal.SIGKILL)


@contextlib.contextmanager
def hooked(hook: Hook) -> Generator[None]:
    """Install a test's hook; the numbering of calls starts at 1 inside."""
    global _hook
    before = _hook
    _hook = hook
    _calls.clear()
    try:
        yield
    finally:
        _hook = before


@contextlib.contextmanager
def _guard(point: str, path: Path, *, needed: int | None = None) -> Generator[None]:
    """Pass a point and translate what the operating system says. `needed` are the bytes about to be written."""
    try:
        _call(point, path)
        yield
    except OSError as error:
        raise _translated(error, point, path, needed) from error


def out_of_space(error: BaseException, path: Path, *, needed: int | None = None) -> OutOfSpace | None:
    """`OutOfSpace` for an exception that says that the disk is full, whichever library raised it; else None."""
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    if not full and "No space left on device" not in str(error):
        return None
    free = _free_bytes(path)
    amounts = f" ({needed:,} bytes needed)" if needed else ""
    amounts += "" if free is None else f" ({free:,} bytes free)"
    hint = "free some space and type the same command again: what is committed is kept"
    return OutOfSpace(f"no space left for {path}{amounts}", path=path, hint=hint)


def _translated(error: OSError, point: str, path: Path, needed: int | None) -> StorageFailed:
    said = error.strerror or str(error)
    if full := out_of_space(error, path, needed=needed):
        return full
    hints = {
        errno.EACCES: "check the permissions of the folder, or choose another one",
        errno.EPERM: "check the permissions of the folder, or choose another one",
        errno.EROFS: "the file system is read-only: choose another folder",
    }
    hint = hints.get(error.errno or 0, "check the disk, then type the same command again")
    return StorageFailed(f"{point} of {path} failed: {said}", path=path, hint=hint)


def _free_bytes(path: Path) -> int | None:
    for folder in (path, *path.parents):
        try:
            return shutil.disk_usage(folder).free
        except OSError:
            continue
    return None


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file atomically: afterwards it holds `data`, or what it held before."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{next(_serial)}{TEMPORARY_SUFFIX}")
    try:
        with _guard("open", temporary, needed=len(data)):
            handle = temporary.open("xb")
        with handle:
            with _guard("write", temporary, needed=len(data)):
                handle.write(data)
                handle.flush()
            with _guard("fsync", temporary, needed=len(data)):
                os.fsync(handle.fileno())
        with _guard("rename", path):
            temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_text(path: Path, text: str) -> None:
    """Write a text atomically, as UTF-8 with the line ends it has."""
    write_bytes(path, text.encode("utf-8"))


def json_bytes(value: Any) -> bytes:
    """The bytes that `write_json` writes: sorted keys, one per line, ASCII, no NaN, a newline at the end."""
    return (json.dumps(value, sort_keys=True, indent=1, allow_nan=False) + "\n").encode("ascii")


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file atomically; equal values give equal bytes."""
    write_bytes(path, json_bytes(value))


def make_folder(path: Path) -> None:
    """Make a folder and its missing parents, each of them durable. An existing folder is fine."""
    missing = list(itertools.takewhile(lambda folder: not folder.is_dir(), (path, *path.parents)))
    for folder in reversed(missing):
        with _guard("mkdir", folder):
            folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)


def move(source: Path, target: Path) -> None:
    """Rename a file or a folder within one file system, durably. The target must not exist."""
    with _guard("rename", target):
        if target.exists() or target.is_symlink():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
        source.rename(target)
    sync_folder(target.parent)
    if source.parent != target.parent:
        sync_folder(source.parent)


def remove_tree(path: Path) -> None:
    """Remove a file, a link (never what it points to) or a folder with everything in it; absent is fine."""
    with _guard("remove", path):
        if path.is_symlink() or path.is_file():
            path.unlink()
        elif path.is_dir():
            shutil.rmtree(path)
        else:
            return
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable. File systems that cannot do it for folders are left alone."""
    with _guard("sync", path):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOTSUP):
                raise
        finally:
            os.close(descriptor)


def sync_tree(path: Path) -> None:
    """Make every file and name below a folder durable: for what a library wrote there by itself."""
    for folder, folders, files in os.walk(path, topdown=False):
        folders.sort()
        for name in sorted(files):
            file = Path(folder, name)
            with _guard("fsync", file), file.open("rb") as handle:
                os.fsync(handle.fileno())
        sync_folder(Path(folder))


def sha256_file(path: Path) -> tuple[str, int]:
    """Hex SHA-256 and number of bytes of a file, read once in blocks."""
    digest = hashlib.sha256()
    size = 0
    with path.open("rb", buffering=0) as handle:
        while block := handle.read(1 << 20):
            digest.update(block)
            size += len(block)
    return digest.hexdigest(), size


# ---------------------------------------------------------------------------------------------------------------
# Locks


def owner_record() -> dict[str, Any]:
    """Who this process is, for the lock file: host, pid, start (UTC), nonce."""
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "start": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "nonce": secrets.token_hex(8),
    }


def read_owner(path: Path) -> dict[str, Any]:
    """The record in a lock file; empty when there is none or it is damaged. It says nothing about being held."""
    try:
        record = json.loads(path.read_bytes()[:4096])
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


@contextlib.contextmanager
def lock(path: Path, *, wait: float = 0.0) -> Generator[dict[str, Any]]:
    """Hold the lock file `path` as the one writer; yields the owner record.

    It is the operating system's lock (flock), so it ends with the process, however that ends, and is never
    stale; the file itself stays. When another process holds it: `Locked`, at once or after `wait` seconds.
    """
    import fcntl  # here: the module must be importable where it is absent

    make_folder(path.parent)
    with _guard("lock", path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
    _held.add(descriptor)
    try:
        deadline = time.monotonic() + wait
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    raise _locked(path) from None
                time.sleep(min(0.1, max(0.0, deadline - time.monotonic())))
        record = owner_record()
        with _guard("write", path):
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json_bytes(record), 0)
        yield record
    finally:
        if descriptor in _held:  # not in a forked child, which has closed its copy
            _held.discard(descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_UN)  # also where a child still has a copy of the descriptor
            os.close(descriptor)


def _locked(path: Path) -> Locked:
    owner = read_owner(path)
    known = {name: str(owner.get(name, "unknown")) for name in ("pid", "host", "start")}
    return Locked(
        f"{path.parent} is being written by process {known['pid']} on {known['host']} since {known['start']}",
        owner=owner,
        hint="wait until it ends (or end it), then type the same command again",
    )


# A forked child inherits the descriptors and with them the locks, and would hold them after its parent's death.
_held: set[int] = set()


def _forget_locks() -> None:
    for descriptor in _held:
        with contextlib.suppress(OSError):
            os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_forget_locks)
