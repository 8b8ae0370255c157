"""Which fields went wrong: golden values against the clean persons, and what missed pairs differ in.

Set-wise in DuckDB. Knows nothing of pairs' scores.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt

from resolver.errors import InputError
from resolver.evaluate import truth as truths
from resolver.ingest import normalise, raw
from resolver.tables import PERSON_FIELDS

FIELDS = tuple(name for name, _, _ in PERSON_FIELDS)
# Columns of Synthea's patients table.
CLEAN = {
    "first_name": "FIRST",
    "middle_name": "MIDDLE",
    "last_name": "LAST",
    "maiden_name": "MAIDEN",
    "birth_date": "BIRTHDATE",
    "sex": "GENDER",
    "ssn": "SSN",
    "street": "ADDRESS",
    "city": "CITY",
    "state": "STATE",
    "zip": "ZIP",
}
# What "all" adds up: fields that most records have and that registration gets wrong.
COUNTED = ("first_name", "last_name", "birth_date", "ssn", "street", "city", "zip")
COMPARED = ("first_name", "last_name", "maiden_name", "birth_date", "sex", "ssn", "street", "city", "zip", "phone")
MOST_PAIRS = 200_000  # compared field by field
EXAMPLES = 10
SPREAD = "ORDER BY hash(left_rid, right_rid), left_rid, right_rid"  # a sample that is the same every time


def load_persons(con: duckdb.DuckDBPyConnection, path: Path, ids: list[str]) -> None:
    """The table `clean`: per person number its fields as text, normalised the way ingest does it."""
    names = truths.columns(con, path, "table of persons", ("id", "first", "last", "birthdate"))
    found = {
        field: f'CAST("{names[column.lower()]}" AS VARCHAR)'
        for field, column in CLEAN.items()
        if column.lower() in names
    }
    found["id"] = f'CAST("{names["id"]}" AS VARCHAR)'
    query = raw.person_query("''", "0", found, truths.reader(path))
    try:
        con.execute(f"CREATE OR REPLACE TEMP TABLE given AS SELECT 0 AS file, * FROM ({query})")
        con.execute(f"CREATE OR REPLACE TEMP TABLE tidy AS {normalise.persons('given')}")
    except duckdb.Error:
        raise InputError(f"The table of persons {path} can't be read to its end.") from None
    _numbers(con, "people", {"id": np.array(ids, dtype=object), "person": np.arange(len(ids))})
    columns = ", ".join(f"CAST({name} AS VARCHAR) AS {name}" for name in FIELDS)
    con.execute(f"CREATE OR REPLACE TEMP TABLE clean AS SELECT p.person, {columns} FROM tidy JOIN people p USING (id)")


def golden(con: duckdb.DuckDBPyConnection, records: str, golden_table: str, golden_fields: str) -> dict[str, Any]:
    """Per field: how often the golden value is the right one, and how often the plainest vote is.

    Only persons count of whom some record has the right value. A cluster stands for the person that most of its records
    belong to. Needs the tables `clean` and `placed` (rid, person, cluster).
    """
    # Of a cluster's persons the one with most records, of equals the first.
    con.execute(
        """
        CREATE OR REPLACE TEMP TABLE stands AS
        SELECT cluster, arg_min(person, (-n, person)) AS person
        FROM (SELECT cluster, person, count(*) AS n FROM placed WHERE person >= 0 GROUP BY ALL) GROUP BY cluster"""
    )
    result: dict[str, Any] = {}
    checked: list[tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]] = []
    sums = np.zeros(3)
    for name in CLEAN:
        (row,) = con.execute(
            f"""
            WITH votes AS (
                SELECT p.cluster, CAST(r.{name} AS VARCHAR) AS value, count(*) AS n, min(r.rid) AS first
                FROM {records} r JOIN placed p USING (rid) WHERE r.{name} IS NOT NULL GROUP BY ALL),
            likely AS (SELECT cluster, arg_min(value, (-n, first)) AS value FROM votes GROUP BY cluster),
            judged AS (
                SELECT c.{name} AS right_value, l.value AS voted, CAST(g.{name} AS VARCHAR) AS chosen
                FROM stands s JOIN clean c USING (person)
                JOIN votes v ON v.cluster = s.cluster AND v.value = c.{name}
                JOIN likely l ON l.cluster = s.cluster
                JOIN {golden_table} g ON g.cluster = s.cluster)
            SELECT count(*), count(*) FILTER (chosen = right_value), count(*) FILTER (voted = right_value)
            FROM judged"""
        ).fetchall()
        if not row[0]:
            continue
        sure = con.execute(
            f"""
            SELECT f.confidence, f.value = c.{name} AS good
            FROM {golden_fields} f JOIN stands s USING (cluster) JOIN clean c USING (person)
            WHERE f.field = '{name}' AND c.{name} IS NOT NULL AND f.confidence IS NOT NULL ORDER BY f.cluster"""
        ).fetchnumpy()
        confidence = np.asarray(sure["confidence"], dtype=np.float64)
        good = np.asarray(sure["good"], dtype=bool)
        checked.append((confidence, good))
        sums += np.array(row, dtype=float) * (name in COUNTED)
        result[name] = {
            "persons": int(row[0]),
            "accuracy": round(row[1] / row[0], 6),
            "most_frequent": round(row[2] / row[0], 6),
            "mean_confidence": round(float(confidence.mean()), 6) if len(confidence) else None,
            "right_of_filled": round(float(good.mean()), 6) if len(good) else None,
        }
    if not result:
        return {}
    confidence, good = (np.concatenate(parts) for parts in zip(*checked, strict=True))
    return {
        "all": {
            "of": list(COUNTED),
            "accuracy": round(sums[1] / sums[0], 6) if sums[0] else None,
            "most_frequent": round(sums[2] / sums[0], 6) if sums[0] else None,
        },
        "fields": result,
        "confidence": _reliability(confidence, good),
    }


def _reliability(confidence: npt.NDArray[np.float64], good: npt.NDArray[np.bool_]) -> dict[str, Any]:
    edges = np.array([0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0000001])
    place = np.clip(np.digitize(confidence, edges) - 1, 0, len(edges) - 2)
    count, said, right = (
        np.bincount(place, weights=weights, minlength=len(edges) - 1)
        for weights in (np.ones(len(place)), confidence, good)
    )
    bins = [
        {
            "from": float(edges[one]),
            "to": min(1.0, float(edges[one + 1])),
            "fields": int(count[one]),
            "confidence": round(said[one] / count[one], 6),
            "right": round(right[one] / count[one], 6),
        }
        for one in range(len(count))
        if count[one]
    ]
    total = max(count.sum(), 1.0)
    ece = float(np.abs(said - right).sum() / total)
    return {"ece": round(ece, 6), "bins": bins}


def misses(con: duckdb.DuckDBPyConnection, records: str, decisions: str, pairs: str) -> dict[str, Any]:
    """Where true pairs were lost, and field by field how missed pairs and false links compare with found pairs.

    Needs `placed` (rid, person, cluster).
    """
    known = "SELECT rid, person, cluster FROM placed WHERE person >= 0"
    con.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE missed AS
        SELECT a.rid AS left_rid, b.rid AS right_rid FROM ({known}) a JOIN ({known}) b USING (person)
        WHERE a.rid < b.rid AND a.cluster <> b.cluster"""
    )
    con.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE wrong AS
        SELECT a.rid AS left_rid, b.rid AS right_rid FROM ({known}) a JOIN ({known}) b USING (cluster)
        WHERE a.rid < b.rid AND a.person <> b.person"""
    )
    con.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE right_ones AS
        SELECT left_rid, right_rid FROM {decisions} d
        JOIN ({known}) a ON a.rid = d.left_rid JOIN ({known}) b ON b.rid = d.right_rid
        WHERE a.person = b.person AND a.cluster = b.cluster
        {SPREAD} LIMIT {MOST_PAIRS}"""
    )
    lost = con.execute(
        f"""
        SELECT CASE WHEN p.left_rid IS NULL THEN 'never proposed' WHEN d.tier = 'non-match' THEN 'scored as non-match'
            WHEN d.tier = 'gray' THEN 'left gray' ELSE 'match that clustering cut' END AS where_lost, count(*)
        FROM missed m LEFT JOIN {pairs} p USING (left_rid, right_rid)
            LEFT JOIN {decisions} d USING (left_rid, right_rid)
        GROUP BY 1 ORDER BY 1"""
    ).fetchall()
    return {
        "missed": _count(con, "missed"),
        "false": _count(con, "wrong"),
        "lost": {str(where): int(count) for where, count in lost},
        "fields": {
            "missed": _compared(con, "missed", records),
            "false": _compared(con, "wrong", records),
            "found": _compared(con, "right_ones", records),
        },
        "examples": {"missed": _examples(con, "missed"), "false": _examples(con, "wrong")},
    }


def _count(con: duckdb.DuckDBPyConnection, table: str) -> int:
    ((count,),) = con.execute(f"SELECT count(*) FROM {table}").fetchall()
    return int(count)


def _examples(con: duckdb.DuckDBPyConnection, table: str) -> list[list[int]]:
    """A few of the pairs as record numbers, spread over the run."""
    rows = con.execute(f"SELECT left_rid, right_rid FROM {table} {SPREAD} LIMIT {EXAMPLES}").fetchall()
    return [[int(left), int(right)] for left, right in rows]


def _compared(con: duckdb.DuckDBPyConnection, table: str, records: str) -> dict[str, dict[str, float]]:
    """Share of the pairs in which a field is equal, near (up to two edits), different, or missing on a side."""
    states = []
    for name in COMPARED:
        a, b = f"CAST(a.{name} AS VARCHAR)", f"CAST(b.{name} AS VARCHAR)"
        near = f"damerau_levenshtein(left({a}, 60), left({b}, 60)) <= 2" if name != "sex" else "false"
        states.append(
            f"CASE WHEN a.{name} IS NULL OR b.{name} IS NULL THEN 0 WHEN a.{name} = b.{name} THEN 1 "
            f"WHEN {near} THEN 2 ELSE 3 END AS {name}"
        )
    counts = ", ".join(f"count(*) FILTER ({name} = {number})" for name in COMPARED for number in range(4))
    (row,) = con.execute(
        f"""
        WITH drawn AS (FROM {table} {SPREAD} LIMIT {MOST_PAIRS}),
        seen AS (
            SELECT {", ".join(states)}
            FROM drawn m JOIN {records} a ON a.rid = m.left_rid JOIN {records} b ON b.rid = m.right_rid)
        SELECT count(*), {counts} FROM seen"""
    ).fetchall()
    if not row[0]:
        return {}
    shares = np.array(row[1:], dtype=float).reshape(len(COMPARED), 4) / row[0]
    return {
        name: dict(zip(("missing", "equal", "near", "different"), (round(float(one), 6) for one in part), strict=True))
        for name, part in zip(COMPARED, shares, strict=True)
        if part[0] < 1
    }


def _numbers(con: duckdb.DuckDBPyConnection, name: str, columns: dict[str, Any]) -> None:
    import pyarrow as pa

    con.register(f"_{name}", pa.table(columns))
    con.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS FROM _{name}")
    con.unregister(f"_{name}")


def place(con: duckdb.DuckDBPyConnection, person: npt.NDArray[np.int64], cluster: npt.NDArray[np.int64]) -> None:
    """The table `placed`: per record its true person (-1 if unknown) and its cluster."""
    _numbers(con, "placed", {"rid": np.arange(len(person), dtype=np.int32), "person": person, "cluster": cluster})
