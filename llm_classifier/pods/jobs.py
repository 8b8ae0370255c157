"""The durable record of jobs: what they are, how they stand, every pod ever intended for them, and money.

One SQLite file with a writer at a time. Knows nothing of providers or of what the work is.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from llm_classifier.pods.names import PodName
from resolver import files
from resolver.errors import DamagedError, RunError

State = Literal[
    "new",  # known; nothing has left this machine
    "prepared",  # the input lies at the bridge
    "launching",  # a pod is intended; it may be about to be made
    "launch-unknown",  # a pod may have been made: the answer was lost
    "provisioning",  # a pod is there; its worker has not been heard
    "running",  # the worker was heard
    "collecting",  # the worker says it is done
    "releasing",  # no work is wanted of its pods any more; they are being ended
    "retry",  # all pods are gone; another attempt may follow
    "succeeded",
    "failed",
    "cancelled",
]
OVER: tuple[State, ...] = ("succeeded", "failed", "cancelled")

SCHEMA = """
CREATE TABLE IF NOT EXISTS jobs (
    key TEXT PRIMARY KEY, kind TEXT NOT NULL, state TEXT NOT NULL, why TEXT NOT NULL, attempt INTEGER NOT NULL,
    after TEXT NOT NULL, created REAL NOT NULL, changed REAL NOT NULL, cancelled INTEGER NOT NULL, terms TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS pods (
    name TEXT PRIMARY KEY, job TEXT NOT NULL REFERENCES jobs, machine TEXT NOT NULL, region TEXT NOT NULL,
    intended REAL NOT NULL, deadline REAL NOT NULL, price REAL NOT NULL, reserved REAL NOT NULL,
    asked REAL, id TEXT, last_seen REAL, missed REAL, gone REAL);
CREATE TABLE IF NOT EXISTS log (at REAL NOT NULL, job TEXT NOT NULL, line TEXT NOT NULL);
"""
# Columns that came later; a record that lacks them gets them.
ADDED = {
    "provider": "TEXT NOT NULL DEFAULT ''",
    "image": "TEXT NOT NULL DEFAULT ''",
    "facts": "TEXT NOT NULL DEFAULT '{}'",
    "said": "TEXT NOT NULL DEFAULT ''",
    "heard": "REAL",
}


@dataclass(frozen=True)
class Terms:
    """What a job may take. Part of the record, so that a later call, or another machine, keeps to the same."""

    hours: float = 2.0
    """A pod's deadline, from the moment it is intended."""

    grace_minutes: float = 20.0
    """How long after its deadline a pod may take to be gone: paid for, and so reserved."""

    boot_minutes: float = 20.0
    """How long a pod may take until its worker is heard."""

    stall_minutes: float = 10.0
    """How long a worker may be silent."""

    settle_minutes: float = 5.0
    """How long a provider may take to list a pod that it made, or to unlist one that it ended."""

    attempts: int = 3
    """How many pods may be tried in turn, those that were refused not counted."""

    cap: float = 5.0
    """The most that the job may cost, in USD, all attempts together."""


@dataclass(frozen=True)
class Job:
    key: str
    kind: str
    state: State
    why: str  # one line, for people
    attempt: int
    after: State  # what follows when releasing is done
    created: float
    changed: float
    cancelled: bool
    terms: Terms = field(default_factory=Terms)

    @property
    def over(self) -> bool:
        return self.state in OVER


@dataclass(frozen=True)
class Intent:
    """A pod that was, or might have been, made."""

    name: str
    job: str
    machine: str
    region: str
    intended: float
    deadline: float
    price: float  # USD per hour: the highest that is known to be, or may be, billed
    reserved: float  # USD
    asked: float | None = None  # when the provider was asked to make it
    id: str | None = None
    last_seen: float | None = None
    missed: float | None = None  # since when it has not been listed
    gone: float | None = None
    provider: str = ""
    image: str = ""
    facts: str = "{}"  # what the provider last said of it, as JSON
    said: str = ""  # its worker's last heartbeat, as far as it tells one from another
    heard: float | None = None  # when that came, by our clock: the worker's may be wrong

    def cost(self, now: float) -> float:
        """USD so far, by our clock: never less than what is billed while the price is right.

        Of a pod that was found gone, nobody knows since when. It ends itself by its deadline, and what was reserved
        covers that; past it, it is known to have lived only as long as it was listed.
        """
        if self.asked is None or (self.gone is not None and self.last_seen is None):
            return 0.0
        covered = self.intended + self.reserved / self.price * 3600 if self.price else self.deadline
        last = now if self.gone is None else max(self.last_seen or 0.0, min(self.gone, covered))
        return self.price * max(0.0, last - self.asked) / 3600


class Jobs:
    """All jobs of one file. `change` is the only way to write: all of a step, or nothing."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            # Autocommit: transactions are opened by `change` alone.
            self._con = sqlite3.connect(path, isolation_level=None, timeout=10)
            self._con.row_factory = sqlite3.Row
            self._con.execute("PRAGMA journal_mode = WAL")
            self._con.execute("PRAGMA synchronous = FULL")
            self._con.executescript(SCHEMA)
            self._complete()
        except sqlite3.DatabaseError as error:
            raise DamagedError(
                f"{path} is not a record of jobs ({type(error).__name__}).",
                do="Move it away; `resolver pods reap` ends what it knew of.",
            ) from error
        path.chmod(0o600)

    def close(self) -> None:
        self._con.close()

    def _complete(self) -> None:
        there = {row["name"] for row in self._con.execute("PRAGMA table_info(pods)")}
        for name, kind in ADDED.items():
            if name not in there:
                with contextlib.suppress(sqlite3.OperationalError):  # another process was faster
                    self._con.execute(f"ALTER TABLE pods ADD COLUMN {name} {kind}")

    @contextlib.contextmanager
    def held(self, key: str) -> Iterator[None]:
        """Work on a job alone: a second process is told who is at it."""
        with files.lock(self.path.with_name(f".{self.path.name}.{key[:12]}.lock"), f"Job {key[:12]}"):
            yield

    @contextlib.contextmanager
    def change(self) -> Iterator[None]:
        try:
            self._con.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            raise RunError(
                f"{self.path} can't be written ({error}).", do="Make room, or wait, and try again."
            ) from error
        try:
            yield
        except BaseException:
            self._con.execute("ROLLBACK")
            raise
        self._con.execute("COMMIT")

    def get(self, key: str) -> Job | None:
        row = self._con.execute("SELECT * FROM jobs WHERE key = ?", [key]).fetchone()
        return None if row is None else _job(row)

    def all(self) -> list[Job]:
        return [_job(row) for row in self._con.execute("SELECT * FROM jobs ORDER BY created, key")]

    def add(self, key: str, kind: str, terms: Terms, now: float) -> Job:
        """The job of this key: the one that is there, or a new one."""
        with self.change():
            self._con.execute(
                "INSERT INTO jobs VALUES (?, ?, 'new', 'known', 1, 'failed', ?, ?, 0, ?) ON CONFLICT DO NOTHING",
                [key, kind, now, now, json.dumps(asdict(terms))],
            )
        found = self.get(key)
        assert found is not None
        return found

    def reopen(self, key: str, terms: Terms, now: float) -> None:
        """Do a job that is over once more, on these terms. What it has cost still counts."""
        with self.change():
            (used,) = self._con.execute(
                "SELECT count(*) FROM pods WHERE job = ? AND asked IS NOT NULL", [key]
            ).fetchone()
            terms = replace(terms, attempts=terms.attempts + used)  # as many again
            self._con.execute(
                "UPDATE jobs SET state = 'retry', why = 'asked for again', cancelled = 0, changed = ?, terms = ?,"
                " attempt = attempt + 1 WHERE key = ? AND state IN ('succeeded', 'failed', 'cancelled')",
                [now, json.dumps(asdict(terms)), key],
            )

    def cancel(self, key: str) -> None:
        with self.change():
            self._con.execute("UPDATE jobs SET cancelled = 1 WHERE key = ?", [key])

    def move(self, job: Job, state: State, why: str, now: float, **more: Any) -> Job:
        """Inside `change`: a job's new state and the reason."""
        moved = replace(job, state=state, why=why, changed=now, **more)
        self._con.execute(
            "UPDATE jobs SET state = ?, why = ?, attempt = ?, after = ?, changed = ? WHERE key = ?",
            [moved.state, moved.why, moved.attempt, moved.after, moved.changed, moved.key],
        )
        self._con.execute("INSERT INTO log VALUES (?, ?, ?)", [now, job.key, f"{job.state} -> {state}: {why}"])
        return moved

    def intend(self, name: PodName, intent: Intent) -> None:
        """Inside `change`: a pod is about to be asked for."""
        self._write(replace(intent, name=str(name)), "INSERT")

    def put(self, intent: Intent) -> None:
        """Inside `change`."""
        self._write(intent, "INSERT OR REPLACE")

    def pods(self, key: str | None = None) -> list[Intent]:
        where, values = ("", []) if key is None else ("WHERE job = ?", [key])
        rows = self._con.execute(f"SELECT * FROM pods {where} ORDER BY intended, name", values)
        return [Intent(**dict(row)) for row in rows]

    def log(self, key: str) -> list[tuple[float, str]]:
        return [
            (row[0], row[1])
            for row in self._con.execute("SELECT at, line FROM log WHERE job = ? ORDER BY rowid", [key])
        ]

    def _write(self, intent: Intent, how: str) -> None:
        values = asdict(intent)
        columns = ", ".join(values)
        self._con.execute(
            f"{how} INTO pods ({columns}) VALUES ({', '.join('?' for _ in values)})", list(values.values())
        )


def _job(row: sqlite3.Row) -> Job:
    values = dict(row)
    return Job(**{**values, "cancelled": bool(values["cancelled"]), "terms": Terms(**json.loads(values["terms"]))})
