"""Who is who from run to run: gives every cluster of a run its enterprise id, and says what happened to whom.

Each person is inherited by the cluster with most of its records; of several persons with one heir the eldest stays and
the others forward to it; a cluster that inherits nobody gets a new id. All in SQL, over temporary tables:

    incoming   record_id, rid, part      the clusters of this run, verdicts of people obeyed
    named      part, person_id, fresh    the person of each cluster
    losers     person_id, winner         persons that end here and forward to another
    moves      record_id, old, new, kind what changes for a record
    logged     event, kind, ...          the events, numbered

Knows nothing of golden values or of files.
"""

from __future__ import annotations

import duckdb

from resolver.mpi import ids
from resolver.mpi.schema import RUN_KINDS
from resolver.mpi.store import Change

# A record that left and came back is counted for the person it was last with, but weighs less than one that stayed.
_HELD = (
    "CREATE OR REPLACE TEMP TABLE held AS SELECT record_id, person_id, true AS live FROM crosswalk",
    """CREATE OR REPLACE TEMP TABLE lapsed AS
        SELECT record_id, arg_max(person_id, since) AS person_id FROM all_crosswalk
        SEMI JOIN incoming USING (record_id) ANTI JOIN held USING (record_id) GROUP BY record_id""",
    """INSERT INTO held
        WITH RECURSIVE chain(start, person_id) AS (
            SELECT DISTINCT person_id, person_id FROM lapsed
            UNION ALL
            SELECT c.start, p.forward FROM chain c JOIN persons p USING (person_id) WHERE p.forward IS NOT NULL)
        SELECT l.record_id, c.person_id, false FROM lapsed l JOIN chain c ON c.start = l.person_id
        JOIN persons p ON p.person_id = c.person_id WHERE p.forward IS NULL""",
)

_NAMED = (
    """CREATE OR REPLACE TEMP TABLE parts AS
        SELECT part, min(record_id) AS first_record, count(*)::INTEGER AS records FROM incoming GROUP BY part""",
    """CREATE OR REPLACE TEMP TABLE shares AS
        SELECT person_id, part, count(*) FILTER (live) AS live, count(*) FILTER (NOT live) AS lapsed
        FROM held JOIN incoming USING (record_id) GROUP BY ALL""",
    # Of two equal shares, the one that has less of others is more like the person that was.
    """CREATE OR REPLACE TEMP TABLE heirs AS
        SELECT person_id, part, live FROM (SELECT *, sum(live) OVER (PARTITION BY part) - live AS others FROM shares)
        JOIN parts USING (part)
        QUALIFY row_number() OVER (PARTITION BY person_id ORDER BY live DESC, others, lapsed DESC, first_record) = 1""",
    """CREATE OR REPLACE TEMP TABLE named AS
        SELECT part, person_id, false AS fresh FROM heirs
        QUALIFY row_number() OVER (PARTITION BY part ORDER BY live > 0 DESC, person_id) = 1""",
    f"""INSERT INTO named
        SELECT part, {ids.sql("number")}, true FROM (
            SELECT part, (SELECT coalesce(max(number), 0) FROM all_persons)
                + row_number() OVER (ORDER BY first_record) AS number
            FROM parts ANTI JOIN heirs USING (part))""",
    """CREATE OR REPLACE TEMP TABLE losers AS
        SELECT h.person_id, n.person_id AS winner FROM heirs h JOIN named n USING (part)
        WHERE h.person_id <> n.person_id""",
    """CREATE OR REPLACE TEMP TABLE back AS
        SELECT n.person_id FROM named n JOIN persons p USING (person_id) WHERE p.status <> 'live'""",
)

_MOVES = """CREATE OR REPLACE TEMP TABLE moves AS
    SELECT i.record_id, h.person_id AS old, n.person_id AS new,
        CASE
            WHEN h.person_id IS NULL AND n.fresh THEN 'created'
            WHEN h.person_id IS NULL AND b.person_id IS NOT NULL THEN 'revived'
            WHEN h.person_id IS NULL THEN 'joined'
            WHEN l.winner = n.person_id THEN 'merged'
            WHEN n.fresh THEN 'split'
            ELSE 'moved'
        END AS kind
    FROM incoming i JOIN named n USING (part)
    LEFT JOIN (FROM held WHERE live) h USING (record_id)
    LEFT JOIN losers l ON l.person_id = h.person_id
    LEFT JOIN back b ON b.person_id = n.person_id
    WHERE h.person_id IS DISTINCT FROM n.person_id
    UNION ALL
    SELECT record_id, person_id, NULL, 'left' FROM held ANTI JOIN incoming USING (record_id) WHERE live"""

_LOGGED = """CREATE OR REPLACE TEMP TABLE logged AS
    SELECT {first} + row_number() OVER (ORDER BY list_position({kinds}, kind), person_id, other_id, record_id) AS event,
        * FROM (
        SELECT 'created' AS kind, person_id, NULL::VARCHAR AS other_id, NULL::VARCHAR AS record_id
            FROM named WHERE fresh
        UNION ALL SELECT 'revived', person_id, NULL, NULL FROM back
        UNION ALL SELECT 'merged', winner, person_id, NULL FROM losers
        UNION ALL SELECT DISTINCT 'split', new, old, NULL FROM moves WHERE kind = 'split'
        UNION ALL SELECT kind, coalesce(new, old), CASE kind WHEN 'moved' THEN old END, record_id
            FROM moves WHERE kind IN ('joined', 'moved', 'left')
        UNION ALL SELECT 'retired', person_id, NULL, NULL FROM persons
            ANTI JOIN named USING (person_id) ANTI JOIN losers USING (person_id) WHERE status = 'live')"""

_PLACED = """CREATE OR REPLACE TEMP TABLE placed AS
    SELECT m.*, e.event FROM moves m JOIN logged e ON e.kind = m.kind AND e.person_id = coalesce(m.new, m.old)
        AND e.other_id IS NOT DISTINCT FROM CASE WHEN m.kind IN ('merged', 'split', 'moved') THEN m.old END
        AND e.record_id IS NOT DISTINCT FROM CASE WHEN m.kind IN ('joined', 'moved', 'left') THEN m.record_id END"""


def assign(change: Change, run_id: str) -> dict[str, int]:
    """Turn `incoming` into events and a new crosswalk; how many events of each kind there were."""
    con = change.con
    for step in (*_HELD, *_NAMED, _MOVES):
        con.execute(step)
    kinds = "[" + ", ".join(f"'{kind}'" for kind in RUN_KINDS) + "]"
    con.execute(_LOGGED.format(first=change.event, kinds=kinds))
    con.execute(_PLACED)
    con.execute(
        """INSERT INTO events
            SELECT ?, ?, 'published', NULL, NULL, NULL, NULL, ?, ?, ?, ?, NULL""",
        [change.event, change.event, run_id, change.happened_at, change.who, change.why],
    )
    con.execute(
        """INSERT INTO events
            SELECT event, ?, kind, person_id, other_id, record_id, NULL, ?, ?, ?, NULL, NULL
            FROM logged ORDER BY event""",
        [change.event, run_id, change.happened_at, change.who],
    )
    con.execute(
        """UPDATE all_crosswalk c SET until = p.event FROM placed p
            WHERE c.record_id = p.record_id AND c.until IS NULL AND p.old IS NOT NULL"""
    )
    con.execute(
        """INSERT INTO all_crosswalk
            SELECT record_id, new, event, NULL FROM placed WHERE new IS NOT NULL ORDER BY record_id"""
    )
    found = dict(con.execute("SELECT kind, count(*) FROM logged GROUP BY kind").fetchall())
    change.next_event = change.event + 1 + sum(found.values())
    return {kind: int(found.get(kind, 0)) for kind in RUN_KINDS[1:]}


def check(con: duckdb.DuckDBPyConnection) -> str | None:
    """What is wrong with the index, in words; None if every record is in one living person and all ids resolve."""
    faults = {
        "a record is in two persons": "SELECT 1 FROM crosswalk GROUP BY record_id HAVING count(*) > 1",
        "a record is in a person that does not live": """SELECT 1 FROM crosswalk
            ANTI JOIN (FROM persons WHERE status = 'live') USING (person_id)""",
        "a person lives without records": """SELECT 1 FROM persons
            ANTI JOIN crosswalk USING (person_id) WHERE status = 'live'""",
        "a person has two states": "SELECT 1 FROM persons GROUP BY person_id HAVING count(*) > 1",
        "a merged person forwards to nobody": "SELECT 1 FROM persons WHERE status = 'merged' AND forward IS NULL",
        "a living person forwards to another": "SELECT 1 FROM persons WHERE status = 'live' AND forward IS NOT NULL",
        "an id got lost": "SELECT 1 FROM all_persons ANTI JOIN persons USING (person_id)",
        "a record in a person is not described": "SELECT 1 FROM crosswalk ANTI JOIN records USING (record_id)",
    }
    for fault, query in faults.items():
        if con.execute(f"SELECT 1 FROM ({query}) LIMIT 1").fetchone() is not None:
            return fault
    return None
