"""Files that appear whole or not at all, who may read them, their digests, and locks that name their holder.

Knows nothing of stages or tables.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from resolver.errors import DamagedError, LockedError, ResolverError, RunError


def digest(path: Path) -> str:
    """SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_bytes(content: bytes) -> str:
    """SHA-256 of what is in memory."""
    return hashlib.sha256(content).hexdigest()


def digest_of(value: Any) -> str:
    """SHA-256 of a JSON-able value, independent of the order of keys."""
    return digest_bytes(json.dumps(value, sort_keys=True, default=str).encode())


def temporary(path: Path) -> Path:
    """The name under which `path` is written before it is renamed into place."""
    return path.with_name(f".{path.name}.tmp")


def target(name: str) -> str:
    """What a file that is being written will be called; any other name as it is."""
    path = Path(name)
    if path.name.startswith(".") and path.name.endswith(".tmp"):
        return str(path.with_name(path.name[1 : -len(".tmp")]))
    return name


def commit(written: Path, path: Path) -> None:
    """Rename a finished file into place, on disk before the name changes."""
    with written.open("rb") as file:
        os.fsync(file.fileno())
    written.replace(path)


@contextlib.contextmanager
def private() -> Iterator[None]:
    """Within, files and folders that this process makes are for its owner alone: they hold records of patients.

    An umask that keeps others out already is a choice, and stays: with 027 the owner's group may read.
    """
    before = os.umask(0o077)
    try:
        if before & 0o007 == 0o007:
            os.umask(before)
        yield
    finally:
        os.umask(before)


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A temporary name to write to; renamed to `path` if the block succeeds, removed if it does not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = temporary(path)
    try:
        yield scratch
        commit(scratch, path)
    finally:
        scratch.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    with whole(path) as scratch:
        scratch.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    write_text(path, json.dumps(value, indent=2, default=str) + "\n")


def read_json(path: Path, *, missing: ResolverError, do: str) -> Any:
    """What a JSON file holds. `missing` is raised where there is none, `do` says what helps where it can't be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise missing from None
    except (OSError, ValueError):
        raise DamagedError(f"{path} can't be read.", do=do) from None


@contextlib.contextmanager
def lock(path: Path, what: str) -> Iterator[int]:
    """Hold `path` as a lock file; a second holder is refused with the first one's pid and start.

    The operating system drops the lock when the process ends, however it ends, so a lock is never stale.
    Gives the open file's descriptor: a child process that inherits it holds the lock as long as it lives.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        file = path.open("a+", encoding="utf-8")
    except OSError as error:
        raise RunError(f"{what} can't be locked: {path}: {error.strerror}.", do="Check its permissions.") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise
            file.seek(0)
            holder = file.read().strip() or "another process"
            raise LockedError(f"{what} is in use by {holder}.", do="Wait for it to end, or stop it.") from error
        file.seek(0)
        file.truncate()
        file.write(f"process {os.getpid()}, started {time.strftime('%Y-%m-%d %H:%M:%S')}")
        file.flush()
        yield file.fileno()
