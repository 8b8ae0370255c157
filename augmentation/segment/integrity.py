"""Checks that a test bed hangs together: references resolve, no encounter is in two facilities, truth is whole.

Reads what was written, whichever step wrote it last. Counts only; no value gets into a message. Knows nothing of how
the test bed was made.
"""

from __future__ import annotations

from pathlib import Path

import duckdb

from augmentation.population import FURTHER_PATIENT_COLUMNS, Layout, Table, tables
from resolver.database import name, quote
from resolver.errors import DamagedError
from resolver.progress import Progress

# Columns that point into a table, beside those that name patients and encounters.
POINTERS = {"CLAIMID": "claims", "ORGANIZATION": "organizations", "PROVIDER": "providers"}


def check(con: duckdb.DuckDBPyConnection, layout: Layout, progress: Progress) -> dict[str, int]:
    """Check every facility and the truth; the number of facilities, records and references held against each other."""
    facilities = layout.facilities
    references = 0
    with progress.step("Integrity", total=len(facilities), unit="facilities") as step:
        con.execute("CREATE OR REPLACE TEMP TABLE had_patients (facility INTEGER, id VARCHAR)")
        con.execute("CREATE OR REPLACE TEMP TABLE had_encounters (id VARCHAR)")
        for number, folder in facilities.items():
            references += check_facility(con, folder)
            con.execute(
                f"INSERT INTO had_patients SELECT {number}, Id FROM read_parquet({quote(folder / 'patients.parquet')})"
            )
            con.execute(
                f"INSERT INTO had_encounters SELECT Id FROM read_parquet({quote(folder / 'encounters.parquet')})"
            )
            step.advance(1)
        _refuse(
            con,
            "SELECT count(*) - count(DISTINCT id) FROM had_encounters",
            f"{layout.out}: encounters are in two facilities",
        )
        records = _check_truth(con, layout)
        con.execute("DROP TABLE had_patients; DROP TABLE had_encounters")
    return {"facilities": len(facilities), "records": records, "references": references}


def check_facility(con: duckdb.DuckDBPyConnection, folder: Path) -> int:
    """Check one folder in Synthea's layout; the number of references that were followed."""
    found = tables(con, folder)
    for table in ("patients", "encounters"):
        _refuse(
            con,
            f"SELECT count(*) - count(DISTINCT Id) FROM {found[table].source}",
            f"{found[table].path}: rows lack an Id or share one",
        )
    return sum(_follow(con, table, found) for table in found.values())


def _follow(con: duckdb.DuckDBPyConnection, table: Table, found: dict[str, Table]) -> int:
    """Hold each reference of a table against the table that it points into."""
    checks: list[tuple[str, str]] = []  # column, SQL of a join that keeps what is amiss
    for column in (table.patient, *FURTHER_PATIENT_COLUMNS):
        if column in table.columns and table.name != "patients":
            checks.append((str(column), f"ANTI JOIN {found['patients'].source} p ON p.Id = t.{name(str(column))}"))
    if table.encounter is not None and table.name != "encounters":
        # Also whether the encounter is the same patient's.
        checks.append(
            (
                table.encounter,
                f"""ANTI JOIN {found["encounters"].source} e
                ON e.Id = t.{name(table.encounter)} AND e.PATIENT = t.{name(str(table.patient))}""",
            )
        )
    for column, target in POINTERS.items():
        if column in table.columns and target in found:
            checks.append((column, f"ANTI JOIN {found[target].source} x ON x.Id = t.{name(column)}"))
    followed = 0
    for column, join in checks:
        filled = f"nullif(CAST(t.{name(column)} AS VARCHAR), '') IS NOT NULL"
        _refuse(
            con,
            f"SELECT count(*) FROM {table.source} t {join} WHERE {filled}",
            f"{table.path}: {column} points at nothing, or at another patient's",
        )
        followed += int(con.execute(f"SELECT count(*) FROM {table.source} t WHERE {filled}").fetchall()[0][0])
    return followed


def _check_truth(con: duckdb.DuckDBPyConnection, layout: Layout) -> int:
    """Truth names every record of every facility once, and only persons that there are."""
    path, persons = layout.truth_table("truth"), layout.truth_table("persons")
    truth = f"read_parquet({quote(path)})"
    _refuse(con, f"SELECT count(*) - count(DISTINCT record_id) FROM {truth}", f"{path}: records are named twice")
    both = "t.record_id = p.id AND t.facility = p.facility"
    _refuse(
        con, f"SELECT count(*) FROM {truth} t ANTI JOIN had_patients p ON {both}", f"{path}: records are in no facility"
    )
    _refuse(con, f"SELECT count(*) FROM had_patients p ANTI JOIN {truth} t ON {both}", f"{path}: records are missing")
    _refuse(
        con,
        f"SELECT count(*) FROM {truth} t ANTI JOIN read_parquet({quote(persons)}) p ON p.Id = t.person_id",
        f"{path}: persons are unknown",
    )
    return int(con.execute(f"SELECT count(*) FROM {truth}").fetchall()[0][0])


def _refuse(con: duckdb.DuckDBPyConnection, query: str, what: str) -> None:
    (wrong,) = con.execute(query).fetchall()[0]
    if wrong:
        raise DamagedError(f"{what} ({wrong:,}).", do="Make the test bed again.")
