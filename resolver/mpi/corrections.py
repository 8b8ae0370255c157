"""What people change by hand: link, unlink, merge, split.

Each is put on record as a verdict on pairs of records, which binds every later run, and takes effect at once: persons
are merged or divided, and their golden values are voted anew until the next run. Names who, when and why.
Knows nothing of files or transactions; undo.py takes corrections back.
"""

from __future__ import annotations

from collections.abc import Sequence

import duckdb

from resolver.errors import RunError, UsageError
from resolver.mpi import golden, identities, ids, verdicts
from resolver.mpi.schema import FIELDS
from resolver.mpi.store import Change

MANY = 5  # events named in a message before it says how many more there are


def find_record(con: duckdb.DuckDBPyConnection, text: str, which: str = "That record") -> str:
    """The record that a person means: `source:id`, or the id alone where one record has it."""
    found = (
        con.execute("SELECT record_id FROM crosswalk WHERE record_id = ? LIMIT 1", [text]).fetchall()
        or con.execute(
            "SELECT record_id FROM crosswalk JOIN records USING (record_id) WHERE source_record_id = ? LIMIT 2", [text]
        ).fetchall()
    )
    if not found:
        raise UsageError(f"{which} is not in the index.", do="Write it as source:id, as mpi lookup shows it.")
    if len(found) > 1:
        raise UsageError(f"{which} is in several sources.", do="Write it as source:id.")
    return str(found[0][0])


def find_person(con: duckdb.DuckDBPyConnection, text: str) -> str:
    """The living person that an enterprise id leads to."""
    asked = ids.read(text)
    if asked is None:
        raise UsageError(
            "That is not an enterprise id: "
            + (
                "its check digit does not fit, so a character is wrong."
                if ids.looks_like(text)
                else "it has another form. An id is like P0000001Y; mpi lookup shows the one of a record."
            )
        )
    here: str | None = asked
    while here is not None:
        row = con.execute("SELECT status, forward FROM persons WHERE person_id = ?", [here]).fetchone()
        if row is None:
            raise UsageError(f"There is no person {asked} in the index.")
        if row[0] == "live":
            return here
        here = row[1]
    raise UsageError(f"{asked} is retired: none of its records is in the index any more.")


def link(change: Change, a: str, b: str) -> None:
    """These two records are one person, whatever the evidence says."""
    con = change.con
    _not_said(con, a, b, "link")
    event = change.log("linked", person=person_of(con, a), record=a, other_record=b)
    _say(change, event, "link", f"SELECT {_pair('?', '?')}", [a, b, a, b])
    one, other = sorted((person_of(con, a), person_of(con, b)))
    if one != other:
        merged = change.log("merged", person=one, other=other)
        move(change, records_of(con, other), one, merged)
        end(change, other, "merged", one)
        refresh(change, [one])
    settle(change)


def unlink(change: Change, a: str, b: str) -> None:
    """These two records are two persons. What hangs more on one than on the other goes with it."""
    con = change.con
    if a == b:
        raise UsageError("A record can't be unlinked from itself.")
    _not_said(con, a, b, "unlink")
    person = person_of(con, a)
    event = change.log("unlinked", person=person, record=a, other_record=b)
    _say(change, event, "unlink", f"SELECT {_pair('?', '?')}", [a, b, a, b])
    if person == person_of(con, b):
        pieces = _pieces(con, person)
        stays = max(pieces, key=len)
        for piece in pieces:
            if piece is not stays:
                leave(change, person, piece)
        refresh(change, [person])
    settle(change)


def merge(change: Change, one: str, other: str) -> None:
    """These two persons are one: the elder id stays."""
    if one == other:
        raise UsageError(f"Both ids lead to {one}: they are one person already.")
    link(change, records_of(change.con, one)[0], records_of(change.con, other)[0])


def split(change: Change, person: str, records: Sequence[str]) -> None:
    """These records leave the person and become a new one; none of them goes with any that stays."""
    con = change.con
    wanted = set(records)
    own = set(records_of(con, person))
    if wanted - own:
        raise UsageError(
            f"{len(wanted - own)} of the records named are not in {person}.", do="See: resolver mpi lookup."
        )
    if wanted == own:
        raise UsageError(f"These are all the records of {person}; leave out those that stay.")
    event = change.log("unlinked", person=person)
    apart(change, event, sorted(wanted), sorted(own - wanted))
    leave(change, person, sorted(wanted))
    refresh(change, [person])
    settle(change)


def person_of(con: duckdb.DuckDBPyConnection, record: str) -> str:
    row = con.execute("SELECT person_id FROM crosswalk WHERE record_id = ?", [record]).fetchone()
    assert row is not None
    return str(row[0])


def records_of(con: duckdb.DuckDBPyConnection, person: str) -> list[str]:
    rows = con.execute("SELECT record_id FROM crosswalk WHERE person_id = ? ORDER BY record_id", [person]).fetchall()
    return [str(row[0]) for row in rows]


def move(change: Change, records: Sequence[str], person: str, event: int) -> None:
    """Put records into a person; links to what they leave behind end."""
    con = change.con
    con.execute("CREATE OR REPLACE TEMP TABLE moving AS SELECT unnest(?::VARCHAR[]) AS record_id", [list(records)])
    con.execute(
        "UPDATE all_crosswalk c SET until = ? FROM moving m WHERE c.record_id = m.record_id AND c.until IS NULL",
        [event],
    )
    con.execute(
        "INSERT INTO all_crosswalk SELECT record_id, ?, ?, NULL FROM moving ORDER BY record_id", [person, event]
    )
    con.execute(
        """UPDATE all_links k SET until = ? FROM crosswalk l, crosswalk r
            WHERE k.until IS NULL AND l.record_id = k.left_record AND r.record_id = k.right_record
            AND l.person_id <> r.person_id AND (
                k.left_record IN (SELECT record_id FROM moving) OR k.right_record IN (SELECT record_id FROM moving))""",
        [change.event],
    )


def leave(change: Change, person: str, records: Sequence[str]) -> str:
    """Make a new person of some of a person's records; its id."""
    con = change.con
    row = con.execute("SELECT coalesce(max(number), 0) + 1 FROM all_persons").fetchone()
    assert row is not None
    new = ids.encode(int(row[0]))
    created = change.log("created", person=new)
    con.execute(
        """INSERT INTO all_persons BY NAME SELECT ? AS person_id, ?::BIGINT AS number, 'live' AS status, 0 AS records,
            true AS provisional, ?::BIGINT AS created, ?::BIGINT AS since, NULL AS until""",
        [new, int(row[0]), created, change.event],
    )
    move(change, records, new, change.log("split", person=new, other=person))
    refresh(change, [new])
    return new


def end(change: Change, person: str, status: str, forward: str | None) -> None:
    """A person lives no more: it forwards to another, or is retired."""
    _next_state(
        change,
        [person],
        "SELECT person_id, number, ? AS status, ? AS forward, 0 AS records, false AS provisional, created FROM persons"
        " SEMI JOIN touched USING (person_id)",
        [status, forward],
    )


def refresh(change: Change, persons: Sequence[str]) -> None:
    """Count and vote anew for persons whose records changed."""
    con = change.con
    con.execute("CREATE OR REPLACE TEMP TABLE refreshed AS SELECT unnest(?::VARCHAR[]) AS person_id", [list(persons)])
    con.execute(
        "CREATE OR REPLACE TEMP TABLE members AS SELECT person_id, record_id FROM crosswalk"
        " SEMI JOIN refreshed USING (person_id)"
    )
    _next_state(
        change,
        persons,
        f"""SELECT person_id, p.number, 'live' AS status, c.records, true AS provisional, p.created,
                {", ".join(f"v.{name}" for name in FIELDS)}
            FROM persons p JOIN ({golden.vote("members", "person_id")}) v USING (person_id)
            JOIN (SELECT person_id, count(*)::INTEGER AS records FROM members GROUP BY ALL) c USING (person_id)""",
        [],
    )


def _next_state(change: Change, persons: Sequence[str], query: str, values: list[object]) -> None:
    con = change.con
    con.execute("CREATE OR REPLACE TEMP TABLE touched AS SELECT unnest(?::VARCHAR[]) AS person_id", [list(persons)])
    con.execute(f"CREATE OR REPLACE TEMP TABLE next_state AS {query}", values)
    replace_states(change, "next_state")


def replace_states(change: Change, states: str) -> None:
    """Give persons the states that `states` holds, in place of those they have."""
    con = change.con
    # A state that began with this very change was never seen by anyone, so it makes room without a trace.
    con.execute(
        f"DELETE FROM all_persons WHERE since = ? AND person_id IN (SELECT person_id FROM {states})", [change.event]
    )
    con.execute(
        f"UPDATE all_persons p SET until = ? FROM {states} s WHERE p.person_id = s.person_id AND p.until IS NULL",
        [change.event],
    )
    con.execute(
        f"INSERT INTO all_persons BY NAME SELECT *, ?::BIGINT AS since, NULL AS until FROM {states}", [change.event]
    )


def apart(change: Change, event: int, some: Sequence[str], others: Sequence[str]) -> None:
    """No record of the one list goes with any of the other."""
    _say(
        change,
        event,
        "unlink",
        f"SELECT {_pair('a', 'b')} FROM (SELECT unnest(?::VARCHAR[]) AS a), (SELECT unnest(?::VARCHAR[]) AS b)",
        [list(some), list(others)],
    )


def together(change: Change, event: int, anchor: str, records: Sequence[str]) -> None:
    """All these records go with the anchor."""
    _say(
        change,
        event,
        "link",
        f"SELECT {_pair('a', 'b')} FROM (SELECT unnest(?::VARCHAR[]) AS a), (SELECT ? AS b)",
        [list(records), anchor],
    )


def settle(change: Change) -> None:
    """Refuse a change that breaks what people said, or the index."""
    broken = change.con.execute(
        """SELECT DISTINCT v.event FROM verdicts v
            JOIN crosswalk l ON l.record_id = v.left_record JOIN crosswalk r ON r.record_id = v.right_record
            WHERE (v.says = 'link') <> (l.person_id = r.person_id) ORDER BY ALL"""
    ).fetchall()
    _refuse_against(change, [int(row[0]) for row in broken] or verdicts.contradiction(change.con))
    fault = identities.check(change.con)
    if fault is not None:
        raise RunError(f"After this correction, {fault}; this is a fault of the program. The index is as it was.")


def _refuse_against(change: Change, events: Sequence[int]) -> None:
    """Refuse a change if there are verdicts that it goes against."""
    if not events:
        return
    before = [event for event in events if event < change.event] or list(events)
    raise UsageError(
        f"That goes against what people said before: {named(before)}.",
        do=f"Take it back first: resolver mpi undo CONFIG {before[0]}",
    )


def named(events: Sequence[int]) -> str:
    """Events in words."""
    shown = ", ".join(str(event) for event in events[:MANY])
    more = f" and {len(events) - MANY} more" if len(events) > MANY else ""
    return f"event{'s' if len(events) > 1 else ''} {shown}{more}"


def _pair(a: str, b: str) -> str:
    return f"least({a}::VARCHAR, {b}::VARCHAR) AS left_record, greatest({a}::VARCHAR, {b}::VARCHAR) AS right_record"


def _say(change: Change, event: int, says: str, pairs: str, values: list[object]) -> None:
    change.con.execute(
        f"""INSERT INTO all_verdicts
            SELECT left_record, right_record, ?, ?, ?, ?, ?, NULL FROM ({pairs}) p
            ANTI JOIN (FROM verdicts WHERE says = ?) v USING (left_record, right_record)
            WHERE left_record <> right_record ORDER BY ALL""",
        [says, event, change.who, change.why, change.event, *values, says],
    )
    _refuse_against(change, verdicts.contradiction(change.con))


def _not_said(con: duckdb.DuckDBPyConnection, a: str, b: str, says: str) -> None:
    if a == b:
        raise UsageError("These are the same record.")
    left, right = sorted((a, b))
    row = con.execute(
        "SELECT event FROM verdicts WHERE left_record = ? AND right_record = ? AND says = ?", [left, right, says]
    ).fetchone()
    if row is not None:
        raise UsageError(f"That is on record already, as event {row[0]}.")


def _pieces(con: duckdb.DuckDBPyConnection, person: str) -> list[list[str]]:
    """The records of a person, divided as the verdicts on them ask."""
    records = records_of(con, person)

    def within(query: str) -> list[tuple[str, str, object]]:
        return con.execute(
            f"{query} WHERE list_contains($records, left_record) AND list_contains($records, right_record)"
            " ORDER BY ALL",
            {"records": records},
        ).fetchall()

    said = within("SELECT left_record, right_record, says FROM verdicts")
    return verdicts.divide(
        records,
        [(a, b, float(str(logit))) for a, b, logit in within("SELECT left_record, right_record, logit FROM links")],
        [(a, b) for a, b, says in said if says == "link"],
        [(a, b) for a, b, says in said if says == "unlink"],
    )
