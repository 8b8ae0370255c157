"""Takes the index out: Parquet, CSV, or a plain crosswalk. FHIR is in fhir.py.

Each file appears whole or not at all. Text in CSV that a spreadsheet would run as a formula (it starts with = + - @, a
tab or a carriage return) gets an apostrophe in front; how many values that changed is in the result. Parquet holds
every value as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb

from resolver import files
from resolver.database import quote
from resolver.mpi import fhir
from resolver.mpi.queries import at
from resolver.mpi.schema import FIELDS, LINK_COLUMNS

_RISKY = r"^[=+\-@\t\r]"
CROSSWALK = ("source", "source_record_id", "person_id")


def export(con: duckdb.DuckDBPyConnection, kind: str, out: Path, moment: int | None = None) -> dict[str, Any]:
    """Write the index to a folder; rows per file, and what was changed for safety."""
    out.mkdir(parents=True, exist_ok=True)
    ways: dict[str, Callable[[], dict[str, Any]]] = {
        "parquet": lambda: {
            f"{name}.parquet": _write(con, query, out / f"{name}.parquet", "FORMAT parquet, COMPRESSION zstd")
            for name, query in _tables(moment).items()
        },
        "csv": lambda: _csv(con, out, _tables(moment)),
        "crosswalk": lambda: _csv(con, out, {"crosswalk": _crosswalk(moment)}),
        "fhir": lambda: fhir.export(con, out, moment),
    }
    return ways[kind]()


def _tables(moment: int | None) -> dict[str, str]:
    return {
        "persons": f"""SELECT person_id, status, forward, records, provisional, {", ".join(FIELDS)}
            FROM {at("persons", moment)} ORDER BY person_id""",
        "crosswalk": _crosswalk(moment),
        "links": f"""SELECT c.person_id, k.left_record, k.right_record, {", ".join(LINK_COLUMNS)}
            FROM {at("links", moment)} k JOIN {at("crosswalk", moment)} c ON c.record_id = k.left_record
            ORDER BY k.left_record, k.right_record""",
    }


def _crosswalk(moment: int | None) -> str:
    return f"""SELECT {", ".join(CROSSWALK)}
        FROM {at("crosswalk", moment)} JOIN {at("records", moment)} USING (record_id)
        ORDER BY source, source_record_id"""


def _csv(con: duckdb.DuckDBPyConnection, out: Path, tables: dict[str, str]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    changed = 0
    for name, query in tables.items():
        described = con.execute(f"DESCRIBE {query}").fetchall()
        risky = {str(row[0]): f"regexp_matches({row[0]}, {quote(_RISKY)})" for row in described if row[1] == "VARCHAR"}
        safe = [f"CASE WHEN {test} THEN chr(39) || {one} ELSE {one} END AS {one}" for one, test in risky.items()]
        total = " + ".join(f"count(*) FILTER ({test})" for test in risky.values())
        row = con.execute(f"SELECT {total} FROM ({query})").fetchone()
        changed += int(row[0]) if row else 0
        path = out / f"{name}.csv"
        result[path.name] = _write(
            con, f"SELECT * REPLACE ({', '.join(safe)}) FROM ({query})", path, "FORMAT csv, HEADER"
        )
    return {**result, "values_prefixed": changed}


def _write(con: duckdb.DuckDBPyConnection, query: str, path: Path, options: str) -> int:
    with files.whole(path) as scratch:
        row = con.execute(f"COPY ({query}) TO {quote(scratch)} ({options})").fetchone()
    return int(row[0]) if row else 0
