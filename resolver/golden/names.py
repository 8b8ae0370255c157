"""Finds records whose first and last name stand in each other's place.

A record counts as swapped where other records of the person have the two the other way round, or where its first name
is known as a last name and its last name as a first name among all records. Knows nothing of the vote.
"""

from __future__ import annotations

import duckdb
import numpy as np
import polars as pl

from resolver.golden.sql import ask

BEFORE = -5.0  # log-odds that a record is swapped before anything is looked at
BOTH = 5.0  # what another record of the person adds that has both names the other way round
ONE = 2.0  # the same, with one of the names


def swapped(con: duckdb.DuckDBPyConnection, first: pl.Series, last: pl.Series, person_of: np.ndarray) -> np.ndarray:
    """Per record: are its names swapped?"""
    names = pl.DataFrame({"n": np.arange(len(first)), "person": person_of, "x": first, "y": last})
    found = ask(
        con,
        f"""
        WITH own AS (SELECT n, person, x, y FROM names WHERE x IS NOT NULL AND y IS NOT NULL AND x <> y),
        firsts AS (SELECT x AS name, count(DISTINCT person) AS persons FROM names WHERE x IS NOT NULL GROUP BY ALL),
        lasts AS (SELECT y AS name, count(DISTINCT person) AS persons FROM names WHERE y IS NOT NULL GROUP BY ALL),
        -- Only a name that is also used in the other place can stand there by right.
        doubtful AS (
            SELECT * FROM own WHERE x IN (SELECT name FROM lasts) OR y IN (SELECT name FROM firsts)
        ),
        -- Counted first, so that a person with thousands of records stays cheap.
        kinds AS (SELECT person, x, y, count(*) AS records FROM own GROUP BY ALL),
        inside AS (
            SELECT d.n,
                sum(CASE WHEN o.x = d.y AND o.y = d.x THEN {BOTH} WHEN o.x = d.y OR o.y = d.x THEN {ONE}
                    WHEN o.x = d.x AND o.y = d.y THEN -{BOTH} WHEN o.x = d.x OR o.y = d.y THEN -{ONE} ELSE 0 END
                    * (o.records - (o.x = d.x AND o.y = d.y)::INT)) AS points,
                -- How often the person's own records put the names there, so that they are not counted as others.
                max(o.x = d.y)::INT AS y_first, max(o.y = d.x)::INT AS x_last
            FROM doubtful d JOIN kinds o USING (person) GROUP BY ALL
        )
        SELECT d.n AS n
        FROM doubtful d LEFT JOIN inside i USING (n)
        LEFT JOIN firsts fx ON fx.name = d.x LEFT JOIN firsts fy ON fy.name = d.y
        LEFT JOIN lasts gx ON gx.name = d.x LEFT JOIN lasts gy ON gy.name = d.y
        WHERE {BEFORE} + greatest(-12, least(12, coalesce(i.points, 0)))
            + ln((coalesce(fy.persons, 0) - coalesce(i.y_first, 0) + 0.5)
                * (coalesce(gx.persons, 0) - coalesce(i.x_last, 0) + 0.5)
                / (coalesce(fx.persons, 1) - 0.5) / (coalesce(gy.persons, 1) - 0.5)) > 0
        ORDER BY d.n""",
        names=names,
    )
    mask = np.zeros(len(first), dtype=bool)
    mask[found["n"].to_numpy()] = True
    return mask
