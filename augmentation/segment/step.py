"""The step that gives a population to facilities. Knows nothing of errors in the records."""

from __future__ import annotations

from typing import Any

import duckdb

from augmentation.population import Layout, tables, unquoted
from augmentation.segment import tables as cut
from augmentation.segment import visits
from augmentation.settings import AugmentSettings
from resolver.database import quote
from resolver.errors import UsageError
from resolver.progress import Progress

Facts = dict[str, Any]


def segment(con: duckdb.DuckDBPyConnection, settings: AugmentSettings, layout: Layout, progress: Progress) -> Facts:
    """Write facility_N/<table>.parquet and truth/truth.parquet from the population and truth/persons.parquet.

    The persons, their look-alikes and their former addresses come from `augmentation.lookalikes`, which runs first.
    Returns the number of records, of persons registered twice, and of rows per table and facility.
    """
    if settings.population.dir is None:
        raise UsageError("The config names no population.", do="Set population.dir.")
    found = tables(con, settings.population.dir)
    persons_path = layout.truth_table("persons")
    persons = f"read_parquet({quote(persons_path)})"
    facilities = range(1, settings.segment.facilities + 1)
    rows: dict[str, dict[int, int]] = {}

    label, work = "Facilities", len(found) * len(facilities)
    with unquoted(settings.population.dir), progress.step(label, total=work, unit="tables") as step:
        visits.plan(con, persons, found["encounters"], settings.segment, settings.duplicates, settings.seed)
        visits.write_truth(con, str(layout.truth_table("truth")))
        _renamed(con, found["patients"].source, persons)
        patients = type(found["patients"])("patients", persons_path, found["patients"].columns)
        for table in found.values():
            rows[table.name] = {}
            periods = cut.is_periods(table)
            if not (table.is_reference or periods or table.name == "patients"):
                cut.gather_adrift(con, table)
            for facility in facilities:
                if table.name == "patients":
                    moved = layout.truth_table("former_addresses")
                    written = cut.write_patients(con, layout, facility, patients, moved)
                elif table.is_reference:
                    written = cut.copy_reference(con, layout, facility, table)
                elif periods:
                    written = cut.write_periods(con, layout, facility, table)
                else:
                    written = cut.write_events(con, layout, facility, table)
                rows[table.name][facility] = written
                step.advance(1)
            if not (table.is_reference or periods or table.name == "patients"):
                cut.refuse_strays(con, table, sum(rows[table.name].values()))
        facts = _facts(con)
        con.execute("DROP TABLE IF EXISTS adrift; DROP TABLE visits; DROP TABLE records; DROP TABLE renamed")
    return {**facts, "rows": rows}


def _renamed(con: duckdb.DuckDBPyConnection, patients: str, persons: str) -> None:
    """`renamed`: the name of a person before and after they were made a look-alike, where it changed."""
    con.execute(f"""
        CREATE OR REPLACE TEMP TABLE renamed AS
        SELECT q.Id AS person, concat_ws(' ', q.FIRST, q.LAST) AS old, concat_ws(' ', p.FIRST, p.LAST) AS new
        FROM {patients} q JOIN {persons} p USING (Id) WHERE old <> new""")


def _facts(con: duckdb.DuckDBPyConnection) -> Facts:
    (facts,) = con.execute("""
        SELECT count(*), count(DISTINCT person), count(*) FILTER (registration = 2), count(*) FILTER (encounters = 0)
        FROM records""").fetchall()
    (pairs,) = con.execute(
        "SELECT sum(n * (n - 1) // 2) FROM (SELECT count(*) n FROM records GROUP BY person)"
    ).fetchall()
    visited = con.execute("""
        SELECT facilities, count(*) FROM (SELECT count(DISTINCT facility) AS facilities FROM records GROUP BY person)
        GROUP BY 1 ORDER BY 1""").fetchall()
    names = ("records", "persons", "registered_twice", "records_without_encounters")
    return {
        **dict(zip(names, facts, strict=True)),
        "true_pairs": int(pairs[0] or 0),
        "facilities_visited": dict(visited),
    }
