"""Who goes where: the facilities of each person, the record of each encounter, the ids of the records.

Makes the tables `records` (one row per record) and `visits` (one row per encounter) in the database that it is given.

What hangs on what: a person's number of facilities, the order in which they prefer facilities, the point where a
double registration starts and the ids of records are drawn from (seed, person, facility), never from other persons.
So a person more or less changes nobody else's records, and a further facility changes only those persons for whom it
is among the first that they prefer. Knows nothing of the other tables.
"""

from __future__ import annotations

import duckdb

from augmentation import draws
from augmentation.population import Table, moment
from augmentation.settings import DuplicateSettings, SegmentSettings
from resolver.database import quote
from resolver.errors import InputError

# Where in a double-registered record's encounters the second registration starts: the first and the last such share.
EARLIEST, LATEST = 0.2, 0.8


def plan(
    con: duckdb.DuckDBPyConnection,
    persons: str,
    encounters: Table,
    settings: SegmentSettings,
    duplicates: DuplicateSettings,
    seed: int,
) -> None:
    """Fill `records` and `visits` from `persons` (SQL for a table with an Id) and the encounters."""
    _seen(con, persons, encounters)
    _preferences(con, persons, settings, seed)
    con.execute(f"CREATE OR REPLACE TEMP TABLE placed AS {_SPLITS[settings.split](settings, seed)}")
    _registrations(con, settings, duplicates, seed)


def _seen(con: duckdb.DuckDBPyConnection, persons: str, encounters: Table) -> None:
    """Each person's encounters, numbered in time."""
    con.execute(f"""
        CREATE OR REPLACE TEMP TABLE seen AS
        SELECT e.Id AS encounter, e.PATIENT AS person, came,
            row_number() OVER (PARTITION BY e.PATIENT ORDER BY came, e.Id) AS n,
            count(*) OVER (PARTITION BY e.PATIENT) AS total
        FROM (SELECT *, {moment("START")} AS came FROM {encounters.source}) e
        WHERE e.PATIENT IN (SELECT Id FROM {persons})""")
    (known, distinct), (rows,) = (
        con.execute("SELECT count(*), count(DISTINCT encounter) FROM seen WHERE came IS NOT NULL").fetchall()[0],
        con.execute(f"SELECT count(*) FROM {encounters.source}").fetchall()[0],
    )
    if known < rows:
        raise InputError(
            f"{encounters.path}: {rows - known:,} encounters have no start, or a patient that patients.parquet lacks.",
            do="Convert the population again.",
        )
    if distinct < rows:
        raise InputError(
            f"{encounters.path}: {rows - distinct:,} encounters share their Id with another.",
            do="Convert the population again.",
        )


def _preferences(con: duckdb.DuckDBPyConnection, persons: str, settings: SegmentSettings, seed: int) -> None:
    """`liked`: the facilities of a person in their order; `wanted`: how many of them the person visits."""
    steps, reached = [], 0.0
    for count, share in enumerate(settings.visited[:-1], start=1):
        reached += share
        steps.append(f"WHEN u < {reached!r} THEN {count}")
    wanted = f"CASE {' '.join(steps)} ELSE {len(settings.visited)} END" if steps else "1"
    con.execute(f"""
        CREATE OR REPLACE TEMP TABLE wanted AS
        SELECT person, {wanted} AS wanted
        FROM (SELECT Id AS person, {draws.uniform(draws.key("Id"), seed, "facilities visited")} AS u FROM {persons})""")
    con.execute(f"""
        CREATE OR REPLACE TEMP TABLE liked AS
        SELECT person, facility, slot FROM (
            SELECT person, facility,
                row_number() OVER (PARTITION BY person ORDER BY u, facility) - 1 AS slot
            FROM (
                SELECT Id AS person, facility,
                    {draws.uniform(draws.key("Id", "facility"), seed, "preference")} AS u
                FROM {persons}, range(1, {settings.facilities + 1}) f(facility)))
        WHERE slot < {len(settings.visited)}""")


def _primary_first(settings: SegmentSettings, seed: int) -> str:
    # A person can't visit more further facilities than there are encounters left for them.
    return f"""
        SELECT encounter, person, came,
            CASE WHEN n <= first OR k = 1 THEN 0 ELSE 1 + (n - first - 1) % (k - 1) END AS slot
        FROM (
            SELECT *, least(wanted, 1 + total - first) AS k FROM (
                SELECT *, greatest(1, CAST(floor(total * {settings.primary_share!r} + 1e-9) AS BIGINT)) AS first
                FROM seen JOIN wanted USING (person)))"""


def _random(settings: SegmentSettings, seed: int) -> str:
    return f"""
        SELECT encounter, person, came,
            CAST(floor({draws.uniform("k", seed, "facility of the encounter")} * wanted) AS BIGINT) AS slot
        FROM (SELECT *, {draws.key("encounter")} AS k FROM seen JOIN wanted USING (person))"""


def _moves(settings: SegmentSettings, seed: int) -> str:
    """Moves are drawn uniformly over the time in which the person was seen: longer gaps are likelier to hold one."""
    return f"""
        SELECT encounter, person, came, n, slot FROM (
            SELECT *, CAST(sum(CAST(place <= wanted - 1 AND n > 1 AS INTEGER))
                OVER (PARTITION BY person ORDER BY n ROWS UNBOUNDED PRECEDING) AS BIGINT) AS slot
            FROM (
                SELECT *, row_number() OVER (PARTITION BY person ORDER BY n = 1, race, n) AS place FROM (
                    SELECT *, -ln(1 - {draws.uniform("k", seed, "move")})
                        / (1 + epoch(came) - lag(epoch(came), 1, epoch(came)) OVER years) AS race
                    FROM (SELECT *, {draws.key("encounter")} AS k FROM seen JOIN wanted USING (person))
                    WINDOW years AS (PARTITION BY person ORDER BY n))))"""


def _last_move(settings: SegmentSettings, seed: int) -> str:
    return f"""
        SELECT encounter, person, came,
            CASE WHEN slot = last THEN last ELSE (n - 1) % last END AS slot
        FROM (SELECT *, max(slot) OVER (PARTITION BY person) AS last FROM ({_moves(settings, seed)}))"""


_SPLITS = {"primary_first": _primary_first, "random": _random, "moves": _moves, "last_move": _last_move}


def duplicate_rate(duplicates: DuplicateSettings, facility: int, seed: int) -> float:
    """Share of the persons of a facility that it has registered twice."""
    drawn = draws.uniform_of(seed, "rate of double registrations", facility)
    return duplicates.least + (duplicates.most - duplicates.least) * drawn


def _registrations(
    con: duckdb.DuckDBPyConnection, settings: SegmentSettings, duplicates: DuplicateSettings, seed: int
) -> None:
    rates = " ".join(
        f"WHEN {facility} THEN {duplicate_rate(duplicates, facility, seed)!r}"
        for facility in range(1, settings.facilities + 1)
    )
    record = draws.identifier(seed, "record", "person", "facility", "registration")
    con.execute(f"""
        CREATE OR REPLACE TEMP TABLE visits AS
        SELECT encounter, person, came, facility, {record} AS record_id, registration FROM (
            SELECT *, CASE WHEN double AND n > least(greatest(floor(total * ({EARLIEST} + {LATEST - EARLIEST!r}
                * {draws.uniform("k", seed, "second registration")})), 1), total - 1) THEN 2 ELSE 1 END AS registration
            FROM (
                SELECT *, total > 1 AND {draws.uniform("k", seed, "registered twice")}
                    < CASE facility {rates} END AS double
                FROM (
                    SELECT encounter, person, came, CAST(facility AS INTEGER) AS facility,
                        {draws.key("person", "facility")} AS k,
                        row_number() OVER (PARTITION BY person, facility ORDER BY came, encounter) AS n,
                        count(*) OVER (PARTITION BY person, facility) AS total
                    FROM placed JOIN liked USING (person, slot))))""")
    con.execute(f"""
        CREATE OR REPLACE TEMP TABLE records AS
        SELECT record_id, facility, person, registration, min(came) AS first, max(came) AS last, count(*) AS encounters
        FROM visits GROUP BY ALL
        UNION ALL
        SELECT {record}, facility, person, registration, NULL, NULL, 0
        FROM (SELECT person, CAST(facility AS INTEGER) AS facility, 1 AS registration FROM liked WHERE slot = 0)
        WHERE person NOT IN (SELECT person FROM seen)""")
    con.execute("DROP TABLE placed; DROP TABLE seen; DROP TABLE liked; DROP TABLE wanted")


def write_truth(con: duckdb.DuckDBPyConnection, path: str) -> None:
    """Which person each record is of."""
    con.execute(f"""
        COPY (SELECT record_id, facility, person AS person_id FROM records ORDER BY record_id)
        TO {quote(path)} (FORMAT parquet)""")
