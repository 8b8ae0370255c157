"""Reads the truth and lays it beside the records of the run. The only place that opens a truth file.

A truth file names records by <source>:<id>, or by the source's own id where no two sources share one.
Knows nothing of results.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import numpy.typing as npt

from resolver.database import quote
from resolver.errors import InputError

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Truth:
    person: Ints  # per record, a number for its person; -1 where the truth does not know the record
    ids: list[str]  # the person's id in the truth file, by number
    unmatched: int  # rows of the truth file without a record in this run


def reader(path: Path) -> str:
    """SQL that reads a CSV or Parquet file as text."""
    if path.suffix.lower() in (".parquet", ".pq"):
        return f"read_parquet({quote(path)})"
    return f"read_csv({quote(path)}, all_varchar = true, header = true)"


def columns(con: duckdb.DuckDBPyConnection, path: Path, what: str, needed: tuple[str, ...]) -> dict[str, str]:
    """The columns of a file, by lower-case name; an error where it can't be read or lacks one."""
    if not path.exists():
        raise InputError(
            f"There is no {what} {path}.", do="Correct it in the config under evaluate, or on the command line."
        )
    try:
        found = [str(row[0]) for row in con.execute(f"DESCRIBE FROM {reader(path)}").fetchall()]
    except duckdb.Error:
        raise InputError(f"The {what} {path} is neither readable CSV nor Parquet.") from None
    names = {name.lower(): name for name in found}
    for name in needed:
        if name not in names:
            raise InputError(f"The {what} {path} has no column {name}; it has {', '.join(found) or 'none'}.")
    return names


def read(con: duckdb.DuckDBPyConnection, path: Path, records: str) -> Truth:
    """The truth about the records in `records` (SQL that reads the table)."""
    names = columns(con, path, "truth file", ("record_id", "person_id"))
    key, person = (f'CAST("{names[name]}" AS VARCHAR)' for name in ("record_id", "person_id"))
    try:
        con.execute(
            f"CREATE OR REPLACE TEMP TABLE truth AS SELECT DISTINCT {key} AS key, {person} AS person "
            f"FROM {reader(path)} WHERE {key} IS NOT NULL AND {person} IS NOT NULL"
        )
    except duckdb.Error:
        raise InputError(f"The truth file {path} can't be read to its end.") from None
    double = _one(con, "SELECT count(*) FROM (SELECT key FROM truth GROUP BY key HAVING count(*) > 1)")
    if double:
        raise InputError(
            f"The truth file {path} gives {double} records to more than one person.",
            do="Name records by <source>:<id> where two sources share an id.",
        )
    con.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE named AS
        SELECT r.rid, coalesce(f.person, o.person) AS person, f.key IS NULL AND o.key IS NOT NULL AS by_own_id,
            coalesce(f.key, o.key) AS key
        FROM (SELECT rid, record_id, source_record_id FROM {records}) r
        LEFT JOIN truth f ON f.key = r.record_id
        LEFT JOIN truth o ON o.key = r.source_record_id"""
    )
    shared = _one(con, "SELECT count(*) FROM (SELECT key FROM named WHERE by_own_id GROUP BY key HAVING count(*) > 1)")
    if shared:
        raise InputError(
            f"{shared} ids of the truth file {path} are those of records in several sources.",
            do="Name these records by <source>:<id>.",
        )
    numbers = con.execute(
        "SELECT rid, CASE WHEN person IS NULL THEN -1 ELSE dense_rank() OVER (ORDER BY person NULLS LAST) - 1 END AS p "
        "FROM named ORDER BY rid"
    ).fetchnumpy()["p"]
    numbers = np.asarray(numbers, dtype=np.int64)
    if len(numbers) and (numbers < 0).all():
        raise InputError(
            f"The truth file {path} knows none of the records of this run.",
            do="Its record_id must be the source's own id or <source>:<id>.",
        )
    ids = [
        str(row[0])
        for row in con.execute("SELECT DISTINCT person FROM named WHERE person IS NOT NULL ORDER BY 1").fetchall()
    ]
    unmatched = _one(con, "SELECT count(*) FROM truth WHERE key NOT IN (SELECT key FROM named WHERE key IS NOT NULL)")
    return Truth(numbers, ids, unmatched)


def _one(con: duckdb.DuckDBPyConnection, query: str) -> int:
    ((count,),) = con.execute(query).fetchall()
    return int(count)
