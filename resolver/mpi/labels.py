"""Answers to questions about pairs: each is a verdict of a person, and keeps with what chance its pair was asked.

An answer "same" or "different" is a link or an unlink like any other: it takes effect at once, binds every later run,
and is undone by its event. "unsure" is an event alone. Knows nothing of how pairs are chosen.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

import duckdb

from resolver.errors import LockedError, UsageError
from resolver.mpi import corrections, store
from resolver.mpi.schema import LABELS
from resolver.mpi.store import Change

T = TypeVar("T")
Answer = Literal["same", "different", "unsure"]
WHY = "asked by resolver label"


@dataclass(frozen=True)
class Asked:
    """A pair as it was asked: its records in that run, and what the run made of it."""

    left: str
    right: str
    left_hash: str
    right_hash: str
    together: bool
    logit: float
    weight: float  # pairs that the question stands for
    stands_for: float | None  # questions that this one speaks for; None where it was not drawn at random


@dataclass(frozen=True)
class Heard:
    """What the index holds of what people said."""

    verdicts: list[tuple[str, str, str]]  # left, right, link or unlink
    unsure: list[tuple[str, str]]
    earlier: list[tuple[bool, float, float, bool]]  # of other runs, drawn at random: together, logit, weight, same


def hear(path: Path, run_id: str) -> Heard:
    with store.read(path) as con:
        verdicts = con.execute("SELECT left_record, right_record, says FROM verdicts ORDER BY ALL").fetchall()
        if not _any(con):
            return Heard(verdicts, [], [])
        unsure = con.execute(
            """SELECT left_record, right_record FROM labels WHERE answer = 'unsure'
                AND event NOT IN (SELECT undoes FROM events WHERE undoes IS NOT NULL) ORDER BY ALL"""
        ).fetchall()
        earlier = con.execute(
            """SELECT together, logit, weight, answer = 'same' FROM labels SEMI JOIN verdicts USING (event)
                WHERE run_id <> ? AND stands_for IS NOT NULL ORDER BY event""",
            [run_id],
        ).fetchall()
    return Heard(verdicts, unsure, earlier)


def put(path: Path, why: str | None, do: Callable[[Change], T]) -> T:
    """One change of the index. Waits a little where somebody else is storing an answer just now."""
    until = time.monotonic() + store.PATIENCE_SECONDS
    while True:
        try:
            with store.write(path, why=why) as change:
                return do(change)
        except LockedError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)


def answer(change: Change, run_id: str, asked: Asked, says: Answer) -> int:
    """Put an answer on record; the event to undo to take it back."""
    con = change.con
    for record, known in ((asked.left, asked.left_hash), (asked.right, asked.right_hash)):
        row = con.execute("SELECT content_hash FROM records WHERE record_id = ?", [record]).fetchone()
        if row is None or row[0] != known:
            raise UsageError("A record of that pair has changed since the run.", do="Run the config again.")
    pair = sorted((asked.left, asked.right))
    row = con.execute(
        "SELECT event, who FROM verdicts WHERE left_record = ? AND right_record = ? ORDER BY event", pair
    ).fetchone()
    if row is not None:
        raise UsageError(f"That pair is answered already: event {row[0]}, by {row[1]}.")
    if says == "same":
        corrections.link(change, asked.left, asked.right)
    elif says == "different":
        corrections.unlink(change, asked.left, asked.right)
    else:
        change.log("unsure", person=corrections.person_of(con, pair[0]), record=pair[0], other_record=pair[1])
    con.execute(f"CREATE TABLE IF NOT EXISTS labels ({LABELS.ddl})")
    con.execute(
        "INSERT INTO labels VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [change.event, run_id, *pair, says, asked.together, asked.logit, asked.weight, asked.stands_for],
    )
    return change.event


def _any(con: duckdb.DuckDBPyConnection) -> bool:
    found = con.execute("SELECT 1 FROM duckdb_tables() WHERE table_name = 'labels'").fetchone()
    return found is not None
