"""Synthea's tables: layouts, types of columns, and what is read of them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from resolver import ingest
from resolver.errors import InputError, SchemaError, UsageError
from resolver.ingest import forbidden
from resolver.settings import parse

SAMPLE = Path(__file__).parents[1] / "data" / "population"
Run = Callable[..., Any]


def source(path: Path, **more: object) -> dict[str, object]:
    return {"kind": "synthea", "path": str(path), **more}


def copy(name: str, target: Path, query: str) -> None:
    target.mkdir(parents=True, exist_ok=True)
    with duckdb.connect() as con:
        con.execute(f"CREATE VIEW sample AS FROM read_parquet('{SAMPLE}/{name}.parquet')")
        options = "(FORMAT csv)" if (target / name).with_suffix(".csv").exists() else "(FORMAT parquet)"
        con.execute(f"COPY ({query}) TO '{target}/{name}.parquet' {options}")


def test_text_typed_and_csv_tables_give_the_same(tmp_path: Path, run: Run) -> None:
    """Whether columns are text, typed, or CSV, the same records and events come out, content hash included."""
    with duckdb.connect() as con:
        for name in ("patients", "conditions", "observations", "medications"):
            con.execute(f"CREATE TABLE {name} AS FROM read_parquet('{SAMPLE}/{name}.parquet')")
            text = f"SELECT CAST(COLUMNS(*) AS VARCHAR) FROM {name}"
            for folder in ("text", "csv", "typed"):
                (tmp_path / folder).mkdir(exist_ok=True)
            con.execute(f"COPY ({text}) TO '{tmp_path}/text/{name}.parquet'")
            con.execute(f"COPY ({text}) TO '{tmp_path}/csv/{name}.csv' (HEADER)")
            con.execute(f"COPY {name} TO '{tmp_path}/typed/{name}.parquet'")
    results = [run([source(tmp_path / folder, name="s")]) for folder in ("text", "csv", "typed")]

    assert len(results[0].rows("records")) > 10
    for table in ("records", "slices", "events"):
        assert results[0].rows(table) == results[1].rows(table) == results[2].rows(table)


def test_facility_folders_are_sources_of_their_own(
    tmp_path: Path, run: Run, write: Run, patient: dict[str, str]
) -> None:
    """A folder of folders gives one source per facility; other folders and tables of ids are left alone."""
    for facility in ("east", "west"):
        write(tmp_path / "data" / facility / "patients.csv", [patient])
    write(tmp_path / "data" / "east" / "providers.csv", [{"Id": "x"}])
    (tmp_path / "data" / "truth").mkdir()
    result = run([source(tmp_path / "data")])

    assert [(row["rid"], row["record_id"]) for row in result.rows("records")] == [(0, "east:p1"), (1, "west:p1")]
    assert result.facts["sources"]["east"]["files_not_read"] == ["providers.csv"]


def test_a_patient_becomes_a_record(tmp_path: Path, run: Run, write: Run, patient: dict[str, str]) -> None:
    """Normal forms stand beside raw values; race and ethnicity go to the slices."""
    write(tmp_path / "data" / "patients.csv", [patient])
    result = run([source(tmp_path / "data")])
    record = result.only("records")

    assert (record["first_name"], record["raw_first_name"]) == ("ADA", "Ada832")
    assert (record["birth_date"], record["sex"], record["ssn"]) == (dt.date(1980, 2, 3), "F", "999123456")
    assert (record["street"], record["street_number"], record["unit"]) == ("12 MAIN ST", "12", "4")
    assert record["middle_name"] is None
    assert result.only("slices") == {"rid": 0, "race": "white", "ethnicity": "hispanic"}


def test_only_measured_observations_are_read(tmp_path: Path, run: Run, write: Run, patient: dict[str, str]) -> None:
    """Numeric vital signs and laboratory values become measurements; surveys and forbidden codes do not."""
    write(tmp_path / "data" / "patients.csv", [patient])
    base = {"DATE": "2020-01-02T03:04:05Z", "PATIENT": "p1", "UNITS": "cm", "TYPE": "numeric", "VALUE": "170.5"}
    height = {"CATEGORY": "vital-signs", "CODE": "8302-2", "DESCRIPTION": "Body Height"}
    rows = [
        {**base, **height},
        {**base, **height, "CATEGORY": "survey"},
        {**base, **height, "TYPE": "text", "VALUE": "tall"},
        {**base, **height, "CODE": "63586-2"},
        {**base, **height, "CODE": "56799-0"},
        {**base, **height, "CODE": "8289-1"},
    ]
    write(tmp_path / "data" / "observations.csv", rows)
    result = run([source(tmp_path / "data")])
    event = result.only("events")

    assert (event["kind"], event["system"], event["code"], event["value"]) == ("measurement", "LOINC", "8302-2", 170.5)
    assert event["start"] == dt.datetime(2020, 1, 2, 3, 4, 5)
    assert result.facts["sources"]["data"]["left_out"] == 5
    assert result.only("records")["updated_at"] == event["start"]


def test_a_missing_column_is_named_with_its_neighbour(
    tmp_path: Path, run: Run, write: Run, patient: dict[str, str]
) -> None:
    """A renamed column stops the run with one line that names it and the nearest one."""
    patient["FIRSTNAME"] = patient.pop("FIRST")
    write(tmp_path / "data" / "patients.csv", [patient])

    with pytest.raises(SchemaError, match=r"no column FIRST; the nearest is FIRSTNAME\. .*fields"):
        run([source(tmp_path / "data")])

    assert run([source(tmp_path / "data", fields={"first_name": "FIRSTNAME"})]).only("records")["first_name"] == "ADA"
    assert run([source(tmp_path / "data", fields={"first_name": ""})]).only("records")["first_name"] is None


def test_columns_left_out_by_default_are_read_on_request(
    tmp_path: Path, run: Run, write: Run, patient: dict[str, str]
) -> None:
    """Middle name is read where the config names its column; an artefact of the simulator never is."""
    patient |= {"MIDDLE": "Byron1", "PASSPORT": "X1"}
    write(tmp_path / "data" / "patients.csv", [patient])

    assert run([source(tmp_path / "data", fields={"middle_name": "MIDDLE"})]).only("records")["middle_name"] == "BYRON"
    for column in ("PASSPORT", "lat", "INCOME"):
        with pytest.raises(UsageError, match=f"{column} must not be used to match"):
            run([source(tmp_path / "data", fields={"member_id": column})])
    with pytest.raises(UsageError, match="no person field frist_name"):
        run([source(tmp_path / "data", fields={"frist_name": "FIRST"})])


def test_missing_sources_say_what_to_give(tmp_path: Path, run: Run, write: Run, patient: dict[str, str]) -> None:
    """No folder, a folder without patients, and two sources of one name each stop the run with one line."""
    with pytest.raises(InputError, match="There is no folder"):
        run([source(tmp_path / "nowhere")])
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"holds no patients\.csv"):
        run([source(tmp_path / "empty")])
    write(tmp_path / "data" / "patients.csv", [patient])
    with pytest.raises(UsageError, match="Two sources are called data"):
        run([source(tmp_path / "data"), source(tmp_path / "data")])


def test_watches_name_every_file_that_is_read(tmp_path: Path, write: Run, patient: dict[str, str]) -> None:
    """A change of any file that is read shows in what the stage watches, a file of ids does not."""
    for name in ("patients", "conditions", "providers"):
        write(tmp_path / f"{name}.csv", [patient])
    settings = parse({"run": {"dir": "run"}, "sources": [source(tmp_path)]}, base=tmp_path, where="test")
    before = ingest.watches(settings)
    write(tmp_path / "conditions.csv", [patient, patient])

    assert [Path(path).name for path in before] == ["conditions.csv", "patients.csv"]
    assert ingest.watches(settings) != before


def test_nothing_forbidden_reaches_the_tables(tmp_path: Path, run: Run) -> None:
    """No value of a forbidden column or code is in records or events, whatever column it would be in."""
    result = run([source(SAMPLE)])
    read = [value for table in ("records", "events") for row in result.rows(table) for value in row.values()]
    found = {str(value).upper() for value in read if value is not None}
    assert len(found) > 1000
    for table in ("patients", "encounters", "medications", "devices", "procedures", "immunizations"):
        columns = forbidden.PATIENT_COLUMNS if table == "patients" else forbidden.EVENT_COLUMNS
        with duckdb.connect() as con:
            cursor = con.execute(f"SELECT * FROM read_parquet('{SAMPLE}/{table}.parquet')")
            names = [column[0] for column in cursor.description]
            rows = cursor.fetchall()
        for name in sorted(columns.intersection(names)):
            values = {str(row[names.index(name)]).upper() for row in rows if row[names.index(name)] is not None}
            # Short words and round numbers are equal by chance: M, S, 0.00.
            telling = {value for value in values if len(value) > 6 and name not in ("RACE", "ETHNICITY", "DEATHDATE")}
            assert not telling & found, f"{name} of {table} was read"
    assert not forbidden.OBSERVATION_CODES & found


def test_every_table_of_ids_is_left_alone(tmp_path: Path, run: Run) -> None:
    """Tables that hold only shared ids and money are never opened."""
    read = {Path(path).stem for path in ingest.watches(_settings(SAMPLE))}

    assert "patients" in read
    assert not read & forbidden.TABLES


def _settings(path: Path) -> Any:
    return parse({"run": {"dir": "run"}, "sources": [source(path)]}, base=Path("/"), where="test")
