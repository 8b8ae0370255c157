"""What results are broken down by: groups of records by sex, race, ethnicity, age and source.

Groups of pairs with truth are counted elsewhere (counts.py); here is what the run expects of each group without it.
"""

from __future__ import annotations

from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt

from resolver.evaluate import standing

NAMES = ("sex", "race", "ethnicity", "age_band", "source")
FEWEST = 10  # records with one race or ethnicity for it to be named: columns mapped wrongly hold names of persons
AGES = ((0, 18), (18, 40), (40, 65), (65, 80), (80, 200))
SUREST = 8.0  # log-odds from which on one question is as sure as another


def lay(con: duckdb.DuckDBPyConnection, records: str, slices: str) -> None:
    """The table `sliced`: per record its group by each name."""
    bands = " ".join(f"WHEN age < {end} THEN '{begin} to {end - 1}'" for begin, end in AGES[:-1])
    con.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE sliced AS
        WITH today AS (SELECT max(coalesce(updated_at, birth_date)) AS day FROM {records}),
        aged AS (SELECT r.*, date_diff('year', birth_date, CAST(day AS DATE)) AS age FROM {records} r, today)
        SELECT a.rid, coalesce(a.sex, 'unknown') AS sex, {_named("s.race")} AS race,
            {_named("s.ethnicity")} AS ethnicity, a.source AS source,
            CASE WHEN age IS NULL THEN 'unknown' {bands} ELSE '{AGES[-1][0]} and over' END AS age_band
        FROM aged a LEFT JOIN {slices} s USING (rid)"""
    )


def estimated(
    con: duckdb.DuckDBPyConnection, records: str, slices: str, decisions: str, clusters: str
) -> dict[str, dict[str, Any]]:
    """Expected precision and recall by group; a pair counts half for each of its records. Leaves `sliced`."""
    lay(con, records, slices)
    standing.lay(con, decisions, clusters)
    chance = f"weight / (1 + exp(-greatest(least(logit, {SUREST}), -{SUREST})))"
    con.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE expected AS
        WITH ends AS (
            SELECT unnest([left_rid, right_rid]) AS rid, together, weight / 2 AS pairs, {chance} / 2 AS right_ones
            FROM standing)
        SELECT rid, coalesce(sum(right_ones) FILTER (together), 0) AS inside,
            coalesce(sum(right_ones) FILTER (NOT together), 0) AS lost,
            coalesce(sum(pairs) FILTER (together), 0) AS predicted
        FROM ends GROUP BY rid"""
    )
    result: dict[str, dict[str, Any]] = {}
    for name in NAMES:
        rows = con.execute(
            f"""
            SELECT {name}, count(*), count(DISTINCT cluster), coalesce(sum(inside), 0), coalesce(sum(lost), 0),
                coalesce(sum(predicted), 0)
            FROM sliced JOIN {clusters} USING (rid) LEFT JOIN expected USING (rid)
            GROUP BY {name} ORDER BY count(*) DESC, {name} LIMIT 50"""
        ).fetchall()
        result[name] = {
            str(value): {
                "records": int(count),
                "persons": int(persons),
                "precision": round(inside / predicted, 6) if predicted else None,
                "recall": round(inside / (inside + lost), 6) if inside + lost else None,
                "predicted": round(predicted, 1),
                "true": round(inside + lost, 1),
            }
            for value, count, persons, inside, lost, predicted in rows
        }
    con.execute("DROP TABLE standing")
    con.execute("DROP TABLE expected")
    return result


def numbered(
    con: duckdb.DuckDBPyConnection, laid: Any, count: int
) -> dict[str, tuple[npt.NDArray[np.int64], list[str]]]:
    """From `sliced`: per record the number of its value, and the names of the values."""
    result = {}
    for name in NAMES:
        names = [str(row[0]) for row in con.execute(f"SELECT DISTINCT {name} FROM sliced ORDER BY 1").fetchall()]
        codes = con.execute(
            f"SELECT dense_rank() OVER (ORDER BY {name}) - 1 AS code FROM sliced ORDER BY rid"
        ).fetchnumpy()["code"]
        result[name] = (np.asarray(codes, dtype=np.int64), names)
    many = np.zeros(count, dtype=np.int64)
    many[laid.rid] = np.minimum(laid.in_person, 10)
    result["records_per_person"] = (many, ["0", *map(str, range(1, 10)), "10 and more"])
    return result


def _named(column: str) -> str:
    """SQL: the value, or `other` where hardly any record shares it."""
    return (
        f"CASE WHEN {column} IS NULL THEN 'unknown'"
        f" WHEN count(*) OVER (PARTITION BY {column}) < {FEWEST} THEN 'other' ELSE {column} END"
    )
