"""The Master Patient Index: who is who, since when, and why.

    ids.py          enterprise ids with a check digit
    schema.py       the tables and what they mean
    store.py        opening, locking, transactions
    identities.py   clusters of a run -> persons with lasting ids, and events
    runs.py         a run comes in: records, persons, crosswalk, links
    profile.py      what a run was like, to hold the next one against
    verdicts.py     what people said of pairs, and how it binds
    corrections.py  link, unlink, merge, split
    labels.py       answers to questions about pairs
    undo.py         taking an event back
    queries.py      look-ups and histories
    exports.py      Parquet, CSV, crosswalk;  fhir.py: FHIR R4
    snapshot.py     the last run's files, kept for the runs that add to it

What other stages may use is here: the verdicts of people, and the base of an incremental run.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import polars as pl

LOGIT = 100.0  # log-odds of a person's word: more than any evidence comes to


def verdicts_digest(path: Path) -> str:
    """Changes when, and only when, what people say of any pair changes. The same for no index and for no verdicts."""
    from resolver.mpi import store, verdicts

    with store.read_if_any(path) as con:
        return "none" if con is None else verdicts.digest(con)


def human_verdicts(path: Path) -> pl.DataFrame:
    """left_record, right_record (left < right), says (link or unlink), logit: what people say now."""
    import polars as pl

    from resolver.mpi import store

    rows = []
    with store.read_if_any(path) as con:
        if con is not None:
            rows = con.execute(
                "SELECT left_record, right_record, says FROM verdicts ORDER BY left_record, right_record"
            ).fetchall()
    said = pl.DataFrame(rows, schema=dict.fromkeys(("left_record", "right_record", "says"), pl.String), orient="row")
    return said.with_columns(logit=pl.when(pl.col("says") == "link").then(LOGIT).otherwise(-LOGIT))


@dataclass(frozen=True)
class LastRun:
    """The last run that the index holds."""

    run_id: str
    content: str  # digest of what it published


def last_run(path: Path) -> LastRun | None:
    """The last run that stands in the index; None where there is no index, or none stands."""
    from resolver.mpi import runs, store

    with store.read_if_any(path) as con:
        found = None if con is None else runs.last(con)
    return None if found is None else LastRun(found.run_id, found.content)


def base(path: Path, say: Callable[[str], None] = lambda reason: None) -> dict[str, Path] | None:
    """The files of the last published run by name (records, pairs, ...), for a run that adds to it.

    None where there is nothing to add to; `say` is then told why, unless nothing was published yet.
    """
    from resolver.mpi import snapshot

    found = last_run(path)
    if found is None:
        return None
    kept, reason = snapshot.find(path, found.run_id, found.content)
    if kept is None:
        say(f"The last run can't be added to: {reason}.")
    return kept


def profiles(path: Path, run_id: str) -> dict[str, Any]:
    """What a run was like (now) and the last one before it that stands (before, run_before); None where unknown.

    Runs over all records and runs over changes only are not held against each other.
    """
    from resolver.mpi import store

    found: dict[str, Any] = {"now": None, "before": None, "run_before": None}
    with store.read_if_any(path) as con:
        rows = (
            []
            if con is None
            else con.execute(
                """SELECT o.run_id, o.counts FROM runs r JOIN runs o ON o.number <= r.number AND o.input = r.input
                    AND (o.undone IS NULL OR o.run_id = r.run_id) WHERE r.run_id = ? ORDER BY o.number DESC LIMIT 2""",
                [run_id],
            ).fetchall()
        )
    if rows:
        found["now"] = json.loads(rows[0][1]).get("profile")
    if len(rows) > 1:
        found |= {"run_before": str(rows[1][0]), "before": json.loads(rows[1][1]).get("profile")}
    return found
