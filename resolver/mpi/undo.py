"""Takes events back.

A correction, and a whole run, is taken back exactly: every row that it closed counts again, every row that it opened
is closed. One event of a run (a merge, a split, a move, a record that joined) is taken back by putting its records
where they were and by saying so in verdicts, or the next run would do it again. What later events were built on stays,
and the message names them. An id that was issued stays issued: it forwards to where its records went, or is retired.
"""

from __future__ import annotations

from resolver.errors import UsageError
from resolver.mpi import corrections
from resolver.mpi.corrections import named
from resolver.mpi.schema import PERSON_KINDS
from resolver.mpi.store import Change

_KEYS = {"crosswalk": "record_id", "records": "record_id", "links": "left_record || chr(0) || right_record"}


def undo(change: Change, event: int) -> None:
    con = change.con
    row = con.execute("SELECT change, kind, run_id FROM events WHERE event = ?", [event]).fetchone()
    if row is None:
        raise UsageError(f"There is no event {event} in the index.", do="See: resolver mpi history")
    first, kind, run_id = int(row[0]), str(row[1]), row[2]
    undone = con.execute(
        "SELECT change FROM events WHERE undoes = ?"
        " AND change NOT IN (SELECT undoes FROM events WHERE undoes IS NOT NULL)",
        [event if run_id is not None and kind != "published" else first],
    ).fetchone()
    if undone is not None:
        raise UsageError(f"Event {event} was undone already, by event {undone[0]}.")
    if kind == "published":
        _whole_run(change, first, str(run_id))
    elif run_id is not None:
        _one_of_a_run(change, event, first, kind)
    else:
        _exactly(change, first)
    corrections.settle(change)


def undo_run(change: Change, run_id: str) -> None:
    row = change.con.execute("SELECT event FROM runs WHERE run_id = ?", [run_id]).fetchone()
    if row is None:
        raise UsageError(f"There is no run {run_id} in the index.", do="See: resolver mpi runs")
    undo(change, int(row[0]))


def _whole_run(change: Change, first: int, run_id: str) -> None:
    later = change.con.execute(
        "SELECT event FROM runs WHERE event > ? AND undone IS NULL ORDER BY event", [first]
    ).fetchall()
    if later:
        raise UsageError(
            f"Later runs were built on {run_id}: {named([row[0] for row in later])}.",
            do="Undo those first, the newest first.",
        )
    _exactly(change, first)
    change.con.execute("UPDATE runs SET undone = ? WHERE run_id = ?", [change.event, run_id])


def _exactly(change: Change, first: int) -> None:
    """Put every row back that a change touched."""
    con = change.con
    row = con.execute("SELECT max(event) FROM events WHERE change = ?", [first]).fetchone()
    assert row is not None
    last = int(row[0])
    con.execute(
        """CREATE OR REPLACE TEMP TABLE touched_persons AS
            SELECT DISTINCT person_id FROM (
                SELECT person_id, since, until FROM all_persons UNION ALL
                SELECT person_id, since, until FROM all_crosswalk)
            WHERE since BETWEEN $first AND $last OR until BETWEEN $first AND $last
        """,
        {"first": first, "last": last},
    )
    _refuse_if_built_on(change, last, "SELECT person_id FROM touched_persons")
    now = change.event
    persons = con.execute("SELECT person_id FROM touched_persons ORDER BY person_id").fetchall()
    change.next_event += max(len(persons), 1)
    con.execute(
        """INSERT INTO events
            SELECT ? + row_number() OVER (ORDER BY person_id) - 1, ?, 'undone', person_id, NULL, NULL, NULL, NULL,
                ?, ?, ?, ?
            FROM (FROM touched_persons UNION ALL SELECT NULL WHERE NOT EXISTS (FROM touched_persons)) ORDER BY ALL""",
        [now, now, change.happened_at, change.who, change.why, first],
    )
    span = {"first": first, "last": last, "now": now}
    _persons_back(change, first, last)
    for table in ("crosswalk", "records", "links", "verdicts"):
        closing = ""
        if table in _KEYS:
            # A later run may have written a row anew without any event; the row from before takes its place.
            closing = f""" OR (until IS NULL AND {_KEYS[table]} IN (
                SELECT {_KEYS[table]} FROM all_{table} WHERE until BETWEEN $first AND $last))"""
        con.execute(
            f"CREATE OR REPLACE TEMP TABLE again AS SELECT * REPLACE ($now AS since, NULL AS until) FROM all_{table}"
            " WHERE until BETWEEN $first AND $last AND since < $first",
            span,
        )
        con.execute(
            f"UPDATE all_{table} SET until = $now WHERE (until IS NULL AND since BETWEEN $first AND $last){closing}",
            span,
        )
        con.execute(f"INSERT INTO all_{table} SELECT * FROM again ORDER BY ALL")
    # A later run may have ended links that this change knew nothing of.
    con.execute(
        """UPDATE all_links k SET until = ? FROM crosswalk l, crosswalk r
            WHERE k.until IS NULL AND l.record_id = k.left_record AND r.record_id = k.right_record
            AND l.person_id <> r.person_id""",
        [now],
    )


def _refuse_if_built_on(change: Change, last: int, persons: str) -> None:
    kinds = ", ".join(f"'{kind}'" for kind in PERSON_KINDS)
    later = change.con.execute(
        f"""SELECT event FROM events WHERE event > ? AND event < ? AND kind IN ({kinds})
            AND (person_id IN ({persons}) OR other_id IN ({persons})) ORDER BY event""",
        [last, change.event],
    ).fetchall()
    if later:
        raise UsageError(
            f"Later events were built on it: {named([row[0] for row in later])}.",
            do="Undo those first, the latest before the others; or use mpi split, merge, link and unlink.",
        )


def _persons_back(change: Change, first: int, last: int) -> None:
    """Persons as they were before; those that were not yet there forward to whom they came from, or are retired.

    Where a run came in since, golden values from before are older than the records: it is only until the next one.
    """
    con = change.con
    bounds = {"first": first, "last": last}
    con.execute(
        """CREATE OR REPLACE TEMP TABLE again AS
            SELECT * EXCLUDE (since, until) REPLACE (provisional OR (status = 'live' AND EXISTS (
                SELECT 1 FROM runs WHERE event > $last AND undone IS NULL)) AS provisional)
            FROM all_persons WHERE until BETWEEN $first AND $last AND since < $first""",
        bounds,
    )
    con.execute(
        """INSERT INTO again BY NAME
            SELECT p.person_id, p.number, 'retired' AS status, s.other_id AS forward, 0 AS records,
                false AS provisional, p.created
            FROM persons p SEMI JOIN touched_persons USING (person_id) LEFT JOIN (
                SELECT person_id, min(other_id) AS other_id FROM events
                WHERE kind = 'split' AND event BETWEEN $first AND $last
                AND other_id IN (SELECT person_id FROM again WHERE status = 'live') GROUP BY person_id) s
            USING (person_id)
            WHERE p.created BETWEEN $first AND $last""",
        bounds,
    )
    corrections.replace_states(change, "again")


def _one_of_a_run(change: Change, event: int, first: int, kind: str) -> None:
    con = change.con
    if kind not in ("merged", "split", "moved", "joined"):
        raise UsageError(
            f"Event {event} ({kind}) can't be undone by itself: it follows from what the sources hold.",
            do="Correct its records with mpi link, unlink, merge or split, or undo the whole run.",
        )
    row = con.execute(
        """SELECT e.person_id, e.other_id, (SELECT max(event) FROM events WHERE change = e.change)
            FROM events e WHERE event = ?""",
        [event],
    ).fetchone()
    assert row is not None
    gained, lost, last = str(row[0]), row[1], int(row[2])
    involved = [gained] if lost is None else [gained, lost]
    _refuse_if_built_on(change, last, ", ".join(f"'{person}'" for person in involved))
    records = [
        str(found[0])
        for found in con.execute(
            "SELECT record_id FROM all_crosswalk WHERE since = ? AND until IS NULL ORDER BY record_id", [event]
        ).fetchall()
    ]
    if not records:
        raise UsageError(f"Event {event} moved no record that is still there.")
    rest = [record for record in corrections.records_of(con, gained) if record not in set(records)]
    undone = change.log("undone", person=gained, other=lost, undoes=event)
    if kind == "joined":
        if not rest:
            raise UsageError(f"Event {event} can't be undone: {gained} has no other record left.")
        corrections.apart(change, undone, records, rest)
        corrections.leave(change, gained, records)
        home = gained
    else:
        home = str(lost) if kind == "merged" else corrections.find_person(con, str(lost))
        if home == gained:
            raise UsageError(f"Event {event} can't be undone: {lost} was merged into {gained} in the same run.")
        anchors = corrections.records_of(con, home)
        if anchors:
            corrections.together(change, undone, anchors[0], records)
        corrections.apart(change, undone, records, rest)
        corrections.move(change, records, home, undone)
        corrections.refresh(change, [home])
        _as_before(change, home, first)
    if rest:
        corrections.refresh(change, [gained])
        _as_before(change, gained, first)
    else:
        corrections.end(change, gained, "merged", home)


def _as_before(change: Change, person: str, first: int) -> None:
    """Golden values from before the run, where the person has just the records of then."""
    con = change.con
    now, then = (
        con.execute(
            f"SELECT list(record_id ORDER BY record_id) FROM crosswalk{at} WHERE person_id = ?", [person]
        ).fetchone()
        for at in ("", f"_at({first - 1})")
    )
    if now == then:
        con.execute(
            f"CREATE OR REPLACE TEMP TABLE again AS SELECT p.* EXCLUDE (since) FROM persons_at({first - 1}) p"
            " WHERE person_id = ?",
            [person],
        )
        corrections.replace_states(change, "again")
