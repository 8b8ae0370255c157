"""Opens the index: one writer at a time, each change one transaction; readers never change anything.

Turns what can go wrong with the file into one plain line. Knows nothing of persons.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import duckdb

import resolver
from resolver import database, files
from resolver.errors import DamagedError, LockedError, RunError
from resolver.mpi import schema

PATIENCE_SECONDS = 5.0  # a reader, or a writer that meets one, waits this long: look-ups take a fraction of it
READ_MEMORY_GIB = 2.0  # look-ups need little; exports spill


@dataclass
class Change:
    """A transaction under way: its connection, and what all of its events share."""

    con: duckdb.DuckDBPyConnection
    event: int  # number of its first event
    who: str
    why: str | None
    happened_at: datetime

    def __post_init__(self) -> None:
        self.next_event = self.event

    def log(
        self,
        kind: str,
        *,
        person: str | None = None,
        other: str | None = None,
        record: str | None = None,
        other_record: str | None = None,
        undoes: int | None = None,
    ) -> int:
        """Put one event on record; its number."""
        number = self.next_event
        self.con.execute(
            "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, NULL, ?, ?, ?, ?)",
            [
                number,
                self.event,
                kind,
                person,
                other,
                record,
                other_record,
                self.happened_at,
                self.who,
                self.why,
                undoes,
            ],
        )
        self.next_event += 1
        return number


@contextlib.contextmanager
def read_if_any(path: Path) -> Iterator[duckdb.DuckDBPyConnection | None]:
    """The index, to look into; None where there is none.

    A run that was killed before its first commit leaves a file without one.
    """
    if not path.exists():
        yield None
        return
    con = _open(path, read_only=True, memory_gib=READ_MEMORY_GIB, threads=1, spill=None)
    try:
        if _is_empty(con):
            yield None
        else:
            _check_format(con, path)
            yield con
    except duckdb.Error as error:
        raise _explained(error, path) from error
    finally:
        con.close()


@contextlib.contextmanager
def read(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """The index, to look into. Waits a little for a writer, then says who it is."""
    if not path.exists():
        raise RunError(f"There is no index {path}.", do="Make one with: resolver run CONFIG")
    con = _open(path, read_only=True, memory_gib=READ_MEMORY_GIB, threads=database.cores(), spill=None)
    try:
        _check_format(con, path)
        yield con
    except duckdb.Error as error:
        raise _explained(error, path) from error
    finally:
        con.close()


@contextlib.contextmanager
def write(
    path: Path,
    *,
    why: str | None = None,
    new: bool = False,
    memory_gib: float = READ_MEMORY_GIB,
    threads: int | None = None,
    spill: Path | None = None,
) -> Iterator[Change]:
    """One change of the index: committed if the block succeeds, else the index stays as it was.

    `new` makes the index where there is none.
    """
    if not new and not path.exists():
        raise RunError(f"There is no index {path}.", do="Make one with: resolver run CONFIG")
    with files.lock(path.with_name(path.name + ".lock"), f"The index {path}"):
        con = _open(path, read_only=False, memory_gib=memory_gib, threads=threads or database.cores(), spill=spill)
        try:
            con.execute("BEGIN")
            if new and _is_empty(con):
                schema.create(con, f"resolver {resolver.__version__}")
            _check_format(con, path)
            last = con.execute("SELECT coalesce(max(event), 0) FROM events").fetchone()
            assert last is not None
            now = datetime.now(UTC).replace(tzinfo=None, microsecond=0)
            yield Change(con, int(last[0]) + 1, user(), why, now)
            con.execute("COMMIT")
        except duckdb.Error as error:
            raise _explained(error, path) from error
        finally:
            # Closing without COMMIT rolls back. A full disk can also make the checkpoint at the end fail: what was
            # committed is in the write-ahead log by then, and the next one to open the index takes it from there.
            with contextlib.suppress(duckdb.Error):
                con.close()


def user() -> str:
    """Who is at work, as the operating system knows them."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container without a user table
        return f"uid {os.getuid()}"


def _open(
    path: Path, *, read_only: bool, memory_gib: float, threads: int, spill: Path | None
) -> duckdb.DuckDBPyConnection:
    until = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return database.connect(path, memory_gib=memory_gib, threads=threads, spill=spill, read_only=read_only)
        except duckdb.Error as error:
            if "lock" not in str(error) or time.monotonic() > until:
                raise _explained(error, path) from error
            time.sleep(0.05)


def _is_empty(con: duckdb.DuckDBPyConnection) -> bool:
    return not _tables(con)


def _tables(con: duckdb.DuckDBPyConnection) -> set[str]:
    return {str(row[0]) for row in con.execute("SELECT table_name FROM duckdb_tables() WHERE NOT temporary").fetchall()}


def _check_format(con: duckdb.DuckDBPyConnection, path: Path) -> None:
    if _is_empty(con):
        raise RunError(f"There is no index in {path} yet.", do="Make one with: resolver run CONFIG")
    if not _tables(con) >= {"about", *schema.TABLES}:
        raise RunError(f"{path} is a database, but not an index.", do="Set index.path to another file.")
    row = con.execute("SELECT value FROM about WHERE key = 'format'").fetchone()
    if row is None or int(row[0]) > schema.FORMAT:
        raise RunError(f"{path} was made by a newer version of this program.", do="Install that version.")


def _explained(error: duckdb.Error, path: Path) -> RunError:
    """One line for what DuckDB says of the file; its own words can quote values, so they are not passed on."""
    text = str(error)
    if "lock" in text and "PID" in text:
        pid = text.partition("PID ")[2].partition(")")[0]
        return LockedError(f"The index {path} is in use by process {pid}.", do="Try again when it is done.")
    if "No space left" in text or "File too large" in text:
        return RunError(f"The disk of the index {path} is full; the index is as it was.", do="Make room and try again.")
    if "Permission denied" in text or "Read-only file system" in text or "read-only" in text:
        return RunError(f"The index {path} can't be written: permission denied.", do="Check who owns it.")
    if isinstance(error, duckdb.OutOfMemoryException):
        return RunError(f"The database ran out of memory at the index {path}.", do="Raise run.memory_gib.")
    if isinstance(error, duckdb.IOException | duckdb.SerializationException | duckdb.FatalException):
        return DamagedError(
            f"{path} is not a readable index.",
            do="Restore it from a copy, or move it away: the next run makes a new one.",
        )
    return RunError(f"{type(error).__name__} in the index {path}; it is as it was.", do="Run again with --debug.")
