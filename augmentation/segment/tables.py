"""Cuts each table of a population among the facilities: rows follow their encounter, else their time.

Reads the tables `records` and `visits` of the plan. Every row of a table lands in exactly one facility; insurance
periods are the exception: each facility gets the part of them that lies in the time in which it knew the person, and
reference tables are copied to all. Knows nothing of how the plan was made.
"""

from __future__ import annotations

from pathlib import Path

import duckdb

from augmentation.population import FURTHER_PATIENT_COLUMNS, PARQUET, Layout, Table, moment, spelled
from resolver.database import name, quote
from resolver.errors import InputError, SchemaError
from resolver.files import whole

# Columns of an address, that a person who moved had otherwise before.
ADDRESS_COLUMNS = ("ADDRESS", "CITY", "STATE", "COUNTY", "FIPS", "ZIP", "LAT", "LON")


def write_patients(con: duckdb.DuckDBPyConnection, layout: Layout, facility: int, persons: Table, moved: Path) -> int:
    """The clean patients of a facility: the persons under local ids, at the address that they had when last seen."""
    former = [column for column in ADDRESS_COLUMNS if column in persons.columns]
    replaced = {
        column: f"CASE WHEN m.person_id IS NULL THEN t.{name(column)} ELSE m.{name(column)} END" for column in former
    }
    return _copy(
        con,
        f"""SELECT {persons.select(Id="r.record_id", **replaced)}
            FROM {persons.source} t
            JOIN records r ON r.person = t.Id AND r.facility = {facility}
            LEFT JOIN read_parquet({quote(moved)}) m ON m.person_id = t.Id AND r.last < m.moved_on
            ORDER BY 1""",
        layout.facility(facility) / "patients.parquet",
    )


def gather_adrift(con: duckdb.DuckDBPyConnection, table: Table) -> None:
    """`adrift`: the rows that name no encounter, each at the record where the person was last seen before it.

    A row from before the first encounter goes to the first, and a person without encounters has one record.
    """
    if table.encounter is not None:
        condition = f"nullif(CAST(t.{name(table.encounter)} AS VARCHAR), '') IS NULL"
    else:
        condition = "true"
    if table.patient is None or (table.time is None and table.encounter is None):
        raise SchemaError(
            f"{table.path} names patients, but neither encounters nor times that could give its rows to a facility.",
            do="Take the file out of the population's folder.",
        )
    at = moment(f"t.{name(table.time)}") if table.time else "CAST(NULL AS TIMESTAMP)"
    con.execute(f"""
        CREATE OR REPLACE TEMP TABLE adrift AS
        SELECT t.* EXCLUDE (at_), v.record_id AS record_, v.facility AS facility_
        FROM (SELECT t.*, coalesce({at}, TIMESTAMP '0001-01-02') AS at_ FROM {table.source} t WHERE {condition}) t
        ASOF JOIN (
            SELECT person, record_id, facility,
                CASE WHEN row_number() OVER (PARTITION BY person ORDER BY came, encounter) = 1
                    THEN TIMESTAMP '0001-01-01' ELSE came END AS came
            FROM (SELECT person, record_id, facility, came, encounter FROM visits
                UNION ALL SELECT person, record_id, facility, NULL, NULL FROM records WHERE encounters = 0)
        ) v ON v.person = t.{name(table.patient)} AND t.at_ >= v.came""")


def write_events(con: duckdb.DuckDBPyConnection, layout: Layout, facility: int, table: Table) -> int:
    """The rows of one facility, in a fixed order: those of its encounters, and those adrift that are its."""
    path = layout.facility(facility) / f"{table.name}.parquet"
    local = [column for column in (table.patient, *FURTHER_PATIENT_COLUMNS) if column in table.columns]

    def columns(record: str) -> str:
        # A further patient column may be empty, or hold somebody else's id, which stays out.
        return table.select(
            **{
                str(column): record
                if column == table.patient
                else f"CASE WHEN t.{name(str(column))} = t.{name(str(table.patient))} THEN {record} END"
                for column in local
            }
        )

    query = f"SELECT {columns('t.record_')} FROM adrift t WHERE t.facility_ = {facility}"
    if table.encounter is not None:
        query = f"""
            SELECT {columns("v.record_id")} FROM {table.source} t
            JOIN visits v ON v.encounter = t.{name(table.encounter)} AND v.facility = {facility}
                AND v.person = t.{name(str(table.patient))}
            UNION ALL {query}"""
    return _copy(con, f"SELECT * FROM ({query}) ORDER BY {table.order}", path)


def write_periods(con: duckdb.DuckDBPyConnection, layout: Layout, facility: int, table: Table) -> int:
    """Insurance periods, cut to the time from a record's first to its last encounter: a facility learns no more."""
    start, end = (f"t.{name(column)}" for column in ("START_DATE", "END_DATE"))
    began, ended = moment(start), f"coalesce({moment(end)}, TIMESTAMP '9999-12-31')"
    first = spelled("r.first", start, table.columns["START_DATE"])
    last = spelled("r.last", start, table.columns["END_DATE"])
    replaced = {
        str(table.patient): "r.record_id",
        "START_DATE": f"CASE WHEN {began} < r.first THEN {first} ELSE {start} END",
        "END_DATE": f"CASE WHEN {ended} > r.last THEN {last} ELSE {end} END",
    }
    owner = ""
    if "OWNER_NAME" in table.columns:
        # Whoever was made a look-alike goes by the new name here too.
        replaced["OWNER_NAME"] = "CASE WHEN t.OWNER_NAME = o.old THEN o.new ELSE t.OWNER_NAME END"
        owner = f"LEFT JOIN renamed o ON o.person = t.{name(str(table.patient))}"
    return _copy(
        con,
        f"""SELECT * FROM (SELECT {table.select(**replaced)}
            FROM {table.source} t
            JOIN records r ON r.person = t.{name(str(table.patient))} AND r.facility = {facility} {owner}
            WHERE r.encounters = 0 OR ({began} <= r.last AND {ended} >= r.first)) ORDER BY {table.order}""",
        layout.facility(facility) / f"{table.name}.parquet",
    )


def is_periods(table: Table) -> bool:
    return {"START_DATE", "END_DATE"} <= table.columns.keys() and table.encounter is None and table.patient is not None


def refuse_strays(con: duckdb.DuckDBPyConnection, table: Table, written: int) -> None:
    """Every row must have landed once; say why one did not."""
    (rows,) = con.execute(f"SELECT count(*) FROM {table.source}").fetchall()[0]
    if written == rows:
        return
    raise InputError(
        f"{table.path}: of {rows:,} rows {written:,} have a place; the others name a patient or an encounter that the"
        " population does not have, or an encounter of another patient.",
        do="Convert the population again.",
    )


def copy_reference(con: duckdb.DuckDBPyConnection, layout: Layout, facility: int, table: Table) -> int:
    query = f"SELECT * FROM {table.source} ORDER BY {table.order}"
    return _copy(con, query, layout.facility(facility) / f"{table.name}.parquet")


def _copy(con: duckdb.DuckDBPyConnection, query: str, path: Path) -> int:
    with whole(path) as scratch:
        (rows,) = con.execute(f"COPY ({query}) TO {quote(scratch)} {PARQUET}").fetchall()[0]
    return int(rows)
