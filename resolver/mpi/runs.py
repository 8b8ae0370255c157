"""Brings a run into the index: records, persons, crosswalk, links and events, as one change.

Reads the relations in_records, in_clusters, in_golden, in_golden_fields and in_decisions of the connection, which have
the columns of resolver/tables.py. Only what differs from the index is written, so a run that changes nothing leaves no
trace but its own row. Knows nothing of files or transactions.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import duckdb

import resolver
from resolver.errors import RunError
from resolver.mpi import golden, identities, profile, verdicts
from resolver.mpi.schema import FIELDS, LINK_COLUMNS
from resolver.mpi.store import Change

_RECORD_COLUMNS = ("source", "source_record_id", "content_hash", "updated_at", *FIELDS)
_PERSON_COLUMNS = ("status", "forward", "records", "provisional", *FIELDS, "confidence")


@dataclass(frozen=True)
class Run:
    """What the index says of a run."""

    run_id: str
    number: int
    event: int
    last_event: int
    content: str
    counts: dict[str, Any]


def last(con: duckdb.DuckDBPyConnection) -> Run | None:
    """The last run that still stands."""
    row = con.execute(
        "SELECT run_id, number, event, last_event, content, counts FROM runs WHERE undone IS NULL"
        " ORDER BY number DESC LIMIT 1"
    ).fetchone()
    if row is None:
        return None
    return Run(str(row[0]), int(row[1]), int(row[2]), int(row[3]), str(row[4]), json.loads(row[5]))


def next_id(con: duckdb.DuckDBPyConnection) -> str:
    """What the next run will be called: R1, R2, ... Numbers are not used again, not even those of undone runs."""
    row = con.execute("SELECT coalesce(max(number), 0) + 1 FROM runs").fetchone()
    assert row is not None
    return f"R{row[0]}"


def bring_in(change: Change, *, complete: bool, config: str, content: str) -> Run:
    """Publish a run. `complete`: records that it does not hold are gone; otherwise they stay where they are."""
    con = change.con
    run_id = next_id(con)
    _incoming(con, complete)
    against = verdicts.enforce(con, _edges())
    _records(change, complete)
    counts: dict[str, Any] = {"records": 0, "persons": 0, **identities.assign(change, run_id)}
    _persons(change)
    _links(change, complete)
    fault = identities.check(con)
    if fault is not None:
        raise RunError(f"After this run, {fault}; this is a fault of the program. The index is as it was.")
    row = con.execute("SELECT count(*), count(DISTINCT person_id) FROM crosswalk").fetchone()
    assert row is not None
    counts |= {"records": int(row[0]), "persons": int(row[1]), "verdicts_enforced": against}
    counts["profile"] = profile.of(con)
    number = int(run_id[1:])
    last_event = change.next_event - 1
    con.execute(
        "INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL)",
        [
            run_id,
            number,
            change.event,
            last_event,
            change.happened_at,
            resolver.__version__,
            config,
            "all" if complete else "changes",
            content,
            counts["records"],
            counts["persons"],
            json.dumps(counts),
        ],
    )
    return Run(run_id, number, change.event, last_event, content, counts)


def _incoming(con: duckdb.DuckDBPyConnection, complete: bool) -> None:
    """record_id, rid, part: every record that there will be, and the cluster that it is in."""
    con.execute(
        """CREATE OR REPLACE TEMP TABLE incoming AS
            SELECT r.record_id, r.rid::BIGINT AS rid, c.cluster::BIGINT AS part
            FROM in_records r JOIN in_clusters c USING (rid)"""
    )
    row = con.execute(
        """SELECT (SELECT count(*) FROM in_records), (SELECT count(*) FROM in_clusters), count(*),
            count(DISTINCT record_id), count(DISTINCT part), (SELECT count(*) FROM in_golden) FROM incoming"""
    ).fetchone()
    assert row is not None
    if len(set(row[:4])) > 1 or row[4] != row[5]:
        raise RunError(
            "records, clusters and golden of this run don't fit together.", do="Run again with --from cluster."
        )
    con.execute("CREATE OR REPLACE TEMP TABLE altered (part BIGINT)")
    con.execute("CREATE OR REPLACE TEMP TABLE kept (part BIGINT, person_id VARCHAR)")
    if complete:
        return
    # Records that this run does not hold go with a record that they are linked to by a person, else where most of their
    # own person's records went, or stay as they are.
    verdicts.bind(con)
    for step in (
        """CREATE OR REPLACE TEMP TABLE absent AS
            SELECT record_id, person_id, -1 - row_number() OVER (ORDER BY record_id) AS rid
            FROM crosswalk ANTI JOIN incoming USING (record_id)""",
        """CREATE OR REPLACE TEMP TABLE drawn AS
            SELECT person_id, part FROM (
                SELECT c.person_id, i.part, count(*) AS records FROM crosswalk c JOIN incoming i USING (record_id)
                WHERE c.person_id IN (SELECT person_id FROM absent) GROUP BY ALL)
            QUALIFY row_number() OVER (PARTITION BY person_id ORDER BY records DESC, part) = 1""",
        "INSERT INTO kept SELECT min(rid), person_id FROM absent ANTI JOIN drawn USING (person_id) GROUP BY person_id",
        """CREATE OR REPLACE TEMP TABLE going AS
            SELECT a.record_id, a.rid, a.person_id, coalesce(t.part, d.part) AS part, k.part AS own FROM absent a
            LEFT JOIN (
                SELECT b.record_id, min(i.part) OVER (PARTITION BY b.bundle) AS part
                FROM bound b LEFT JOIN incoming i USING (record_id)) t USING (record_id)
            LEFT JOIN drawn d USING (person_id) LEFT JOIN kept k USING (person_id)""",
        "INSERT INTO incoming SELECT record_id, rid, coalesce(part, own) FROM going",
        "INSERT INTO altered SELECT DISTINCT part FROM going WHERE part IS NOT NULL",
        """INSERT INTO altered SELECT DISTINCT own FROM going WHERE part IS NULL
            AND person_id IN (SELECT person_id FROM going WHERE part IS NOT NULL)""",
    ):
        con.execute(step)


def _edges() -> str:
    """Scored pairs by record id, for the few parts that verdicts take apart."""
    return (
        "SELECT l.record_id AS left_record, r.record_id AS right_record, d.logit FROM in_decisions d"
        " JOIN in_question_rids l ON l.rid = d.left_rid JOIN in_question_rids r ON r.rid = d.right_rid"
    ).replace("in_question_rids", "(SELECT record_id, rid FROM incoming SEMI JOIN at_odds USING (part))")


def _records(change: Change, complete: bool) -> None:
    con = change.con
    _next_states(con, "records", "record_id", _RECORD_COLUMNS, "in_records")
    _write_states(change, "records", ("record_id",), ("record_id", *_RECORD_COLUMNS))
    if complete:
        con.execute(
            """UPDATE all_records a SET until = ? WHERE until IS NULL
                AND NOT EXISTS (SELECT 1 FROM in_records r WHERE r.record_id = a.record_id)""",
            [change.event],
        )


def _persons(change: Change) -> None:
    con = change.con
    fields = ", ".join(FIELDS)
    confidence = ", ".join(f"{name} := max(f.confidence) FILTER (f.field = '{name}')::FLOAT" for name in FIELDS)
    con.execute(
        "CREATE OR REPLACE TEMP VIEW voters AS SELECT part, record_id FROM incoming SEMI JOIN altered USING (part)"
    )
    con.execute(
        f"""CREATE OR REPLACE TEMP TABLE next_golden AS
            SELECT cluster AS part, false AS provisional, {fields}, confidence
            FROM in_golden LEFT JOIN (
                SELECT cluster, struct_pack({confidence}) AS confidence FROM in_golden_fields f GROUP BY cluster)
            USING (cluster) WHERE cluster NOT IN (SELECT part FROM altered)
            UNION ALL BY NAME
            SELECT k.part, p.provisional, {fields}, p.confidence FROM kept k JOIN persons p USING (person_id)
            WHERE k.part NOT IN (SELECT part FROM altered)"""
    )
    if con.execute("FROM altered LIMIT 1").fetchone() is not None:
        con.execute(
            "INSERT INTO next_golden BY NAME SELECT *, true AS provisional FROM (" + golden.vote("voters", "part") + ")"
        )
    con.execute(
        f"""CREATE OR REPLACE TEMP VIEW next_persons AS
            SELECT person_id, 'live' AS status, NULL::VARCHAR AS forward, parts.records, provisional,
                {fields}, confidence
            FROM named JOIN parts USING (part) JOIN next_golden USING (part)
            UNION ALL BY NAME
            SELECT person_id, 'merged' AS status, winner AS forward, 0 AS records, false AS provisional FROM losers
            UNION ALL BY NAME
            SELECT person_id, 'retired' AS status, 0 AS records, false AS provisional
            FROM logged WHERE kind = 'retired'"""
    )
    _next_states(con, "persons", "person_id", _PERSON_COLUMNS, "next_persons")
    con.execute(
        f"""CREATE OR REPLACE TEMP TABLE changed AS
            SELECT c.person_id, coalesce(p.number, n.number) AS number, coalesce(p.created, e.event) AS created,
                {", ".join(f"c.{one}" for one in _PERSON_COLUMNS)}
            FROM changed c LEFT JOIN persons p USING (person_id)
            LEFT JOIN (SELECT person_id, event FROM logged WHERE kind = 'created') e USING (person_id)
            LEFT JOIN ({_numbers()}) n USING (person_id)"""
    )
    _write_states(change, "persons", ("person_id",), ("person_id", "number", *_PERSON_COLUMNS, "created"))


def _numbers() -> str:
    """Numbers of the ids that this run issued, in the order in which they were."""
    return """SELECT person_id, (SELECT coalesce(max(number), 0) FROM all_persons)
        + row_number() OVER (ORDER BY person_id) AS number FROM named WHERE fresh"""


def _links(change: Change, complete: bool) -> None:
    """Evidence within persons. A pair that this run can't score, as it lacks a record of it, keeps what it has."""
    con = change.con
    columns = ", ".join(f"d.{name}" for name in LINK_COLUMNS)
    con.execute(
        f"""CREATE OR REPLACE TEMP TABLE next_links AS
            SELECT l.record_id AS left_record, r.record_id AS right_record, {columns}
            FROM in_decisions d JOIN incoming l ON l.rid = d.left_rid
            JOIN incoming r ON r.rid = d.right_rid AND r.part = l.part"""
    )
    pair = ("left_record", "right_record")
    _next_states(con, "links", pair, LINK_COLUMNS, "next_links")
    _write_states(change, "links", pair, (*pair, *LINK_COLUMNS))
    stays = (
        ""
        if complete
        else """ AND NOT (
            (a.left_record IN (SELECT record_id FROM absent) OR a.right_record IN (SELECT record_id FROM absent))
            AND EXISTS (SELECT 1 FROM crosswalk l JOIN crosswalk r ON r.person_id = l.person_id
                WHERE l.record_id = a.left_record AND r.record_id = a.right_record))"""
    )
    con.execute(
        f"""UPDATE all_links a SET until = ? WHERE until IS NULL AND since < ? AND NOT EXISTS (
            SELECT 1 FROM next_links n
            WHERE n.left_record = a.left_record AND n.right_record = a.right_record){stays}""",
        [change.event, change.event],
    )


def _next_states(
    con: duckdb.DuckDBPyConnection,
    table: str,
    key: str | tuple[str, ...],
    columns: tuple[str, ...],
    source: str,
) -> None:
    """`changed`: rows of `source` that the index does not hold in just this form."""
    keys = (key,) if isinstance(key, str) else key
    same = " AND ".join(f"now.{name} = next.{name}" for name in keys)
    names = ", ".join((*keys, *columns))
    differs = " OR ".join(f"now.{name} IS DISTINCT FROM next.{name}" for name in columns)
    con.execute(
        f"""CREATE OR REPLACE TEMP TABLE changed AS SELECT {", ".join(f"next.{name}" for name in (*keys, *columns))}
            FROM (SELECT {names} FROM {source}) next LEFT JOIN {table} now ON {same}
            WHERE now.since IS NULL OR {differs}"""
    )


def _write_states(change: Change, table: str, keys: tuple[str, ...], columns: tuple[str, ...]) -> None:
    """Close the rows that `changed` replaces, and add it."""
    same = " AND ".join(f"a.{name} = c.{name}" for name in keys)
    change.con.execute(
        f"UPDATE all_{table} a SET until = ? FROM changed c WHERE a.until IS NULL AND {same}", [change.event]
    )
    names = ", ".join(columns)
    change.con.execute(
        f"INSERT INTO all_{table} BY NAME SELECT {names}, {change.event} AS since, NULL AS until FROM changed"
        f" ORDER BY {', '.join(keys)}"
    )
