"""Any CSV or Parquet file with a column map."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from resolver.errors import InputError, SchemaError, UsageError

Run = Callable[..., Any]


def source(path: Path, fields: dict[str, str], **more: object) -> list[dict[str, object]]:
    return [{"kind": "table", "path": str(path), "name": "desk", "record_id": "nr", "fields": fields, **more}]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1", "utf-16"])
def test_delimiter_and_encoding(tmp_path: Path, run: Run, write: Run, encoding: str) -> None:
    """The delimiter is found out, the encoding is as the config says, and days may come first."""
    path = tmp_path / "persons.csv"
    rows = [{"nr": "1", "Nachname": "Müller; Lüdenscheidt", "geboren": "03.02.1980"}]
    write(path, rows, delimiter=";", encoding=encoding)
    said = {} if encoding.startswith("utf-8") else {"encoding": encoding}
    result = run(source(path, {"last_name": "Nachname", "birth_date": "geboren"}, **said))

    assert result.only("records")["last_name"] == "MULLER LUDENSCHEIDT"
    assert result.only("records")["birth_date"] == dt.date(1980, 2, 3)


def test_own_date_formats_hold_for_records_and_events(tmp_path: Path, run: Run, write: Run) -> None:
    """Dates of records and of their events are read with the source's own formats first."""
    write(tmp_path / "p.csv", [{"nr": "1", "born": "03/02/1980", "touched": "04/02/2020"}])
    write(tmp_path / "e.csv", [{"nr": "1", "what": "Diabetes mellitus", "when": "05/02/2020 10:30"}])
    events = [{"path": str(tmp_path / "e.csv"), "event": "condition", "record_id": "nr"}]
    events[0] |= {"description": "what", "start": "when"}
    fields = {"birth_date": "born"}
    result = run(source(tmp_path / "p.csv", fields, date_formats=["%d/%m/%Y"], updated_at="touched", events=events))

    assert result.only("records")["birth_date"] == dt.date(1980, 2, 3)
    assert result.only("records")["updated_at"] == dt.datetime(2020, 2, 4)
    event = result.only("events")
    assert event["start"].date() == dt.date(2020, 2, 5)
    assert (event["system"], event["code"], event["description"]) == ("TEXT", "DIABETES MELLITUS", "Diabetes mellitus")


def test_one_file_may_hold_several_facilities(tmp_path: Path, run: Run, write: Run) -> None:
    """A source column names the facility row by row, and events follow it."""
    rows = [{"nr": "1", "site": site, "name": "Smith"} for site in ("east", "west", "")]
    write(tmp_path / "p.csv", rows)
    write(tmp_path / "e.csv", [{"nr": "1", "site": "west", "code": "E11", "at": "2020-01-02"}])
    event = {"path": str(tmp_path / "e.csv"), "event": "condition", "record_id": "nr", "source": "site"}
    event |= {"code": "code", "system": "ICD-10", "start": "at"}
    result = run(source(tmp_path / "p.csv", {"last_name": "name"}, source="site", events=[event]))

    assert [row["record_id"] for row in result.rows("records")] == ["desk:1", "east:1", "west:1"]
    assert (result.only("events")["rid"], result.only("events")["system"]) == (2, "ICD10")


def test_numbers_get_back_the_zeros_that_a_spreadsheet_took(tmp_path: Path, run: Run) -> None:
    """Numeric columns of SSN and ZIP have nine and five digits again; ids written as 7.0 are 7."""
    path = tmp_path / "p.parquet"
    with duckdb.connect() as con:
        con.execute(
            f"COPY (SELECT 7.0::DOUBLE AS nr, 12345678 AS social, 2115.0::DOUBLE AS post, DATE '1980-02-03' AS born) "
            f"TO '{path}'"
        )
    record = run(source(path, {"ssn": "social", "zip": "post", "birth_date": "born"})).only("records")

    assert record["source_record_id"] == "7"
    assert (record["ssn"], record["zip"], record["birth_date"]) == (None, "02115", dt.date(1980, 2, 3))
    assert record["raw_ssn"] == "012345678"


def test_compound_fields_are_taken_apart(tmp_path: Path, run: Run, write: Run) -> None:
    """A name and an address in one column each fill their parts, and stay beside them as they came."""
    write(tmp_path / "p.csv", [{"nr": "1", "who": "Smith, Ada", "where": "12 Main St, Boston, MA 02115"}])
    record = run(source(tmp_path / "p.csv", {"full_name": "who", "address": "where"})).only("records")

    assert (record["first_name"], record["last_name"], record["raw_last_name"]) == ("ADA", "SMITH", "Smith, Ada")
    assert (record["street"], record["city"], record["zip"]) == ("12 MAIN ST", "BOSTON", "02115")
    assert record["raw_street"] == "12 Main St, Boston, MA 02115"


def test_a_wrong_map_is_one_clear_line(tmp_path: Path, run: Run, write: Run) -> None:
    """Columns and fields that do not exist are named, with the nearest that does."""
    path = tmp_path / "p.csv"
    write(path, [{"nr": "1", "surname": "Smith"}])

    with pytest.raises(SchemaError, match=r"no column surnames; the nearest is surname\."):
        run(source(path, {"last_name": "surnames"}))
    with pytest.raises(UsageError, match="field lastname, which is none; did you mean last_name"):
        run(source(path, {"lastname": "surname"}))
    with pytest.raises(InputError, match="There is no file"):
        run(source(tmp_path / "q.csv", {"last_name": "surname"}))
    event = {"path": str(path), "event": "condition", "record_id": "nr", "start": "nr"}
    with pytest.raises(UsageError, match="neither a code nor a description"):
        run(source(path, {"last_name": "surname"}, events=[event]))


def test_words_for_the_sex_of_one_source(tmp_path: Path, run: Run, write: Run) -> None:
    """What the config says of a word goes before what the word usually means; the others keep their meaning."""
    path = tmp_path / "persons.csv"
    write(path, [{"nr": str(n), "last": "A", "sexo": word} for n, word in enumerate(("H", "m ", "female"))])
    result = run(source(path, {"last_name": "last", "sex": "sexo"}, sexes={"h": "M", "M": "F"}))

    assert [row["sex"] for row in result.rows("records")] == ["M", "F", "F"]


def test_a_header_line_in_the_middle_is_no_record(tmp_path: Path, run: Run, write: Run) -> None:
    """Where files were put together with their headers, the further ones are rejected, not taken for persons."""
    path = tmp_path / "persons.csv"
    path.write_text("nr,last,zip\n1,ABEL,01001\nnr,last,zip\n2,BAKER,01002\n", encoding="utf-8")
    result = run(source(path, {"last_name": "last", "zip": "zip"}))

    assert [row["last_name"] for row in result.rows("records")] == ["ABEL", "BAKER"]
    assert [(row["row"], row["reason"]) for row in result.rows("rejected")] == [(2, "no record id")]


@pytest.mark.parametrize(("said", "hint"), [({"delimiter": "|"}, "its delimiter may be another"), ({}, "encoding")])
def test_a_missing_column_may_be_the_fault_of_delimiter_or_encoding(
    tmp_path: Path, run: Run, write: Run, said: dict[str, str], hint: str
) -> None:
    """Where the header came out as one column, or with letters of another encoding, the message says so."""
    path = tmp_path / "persons.csv"
    write(path, [{"nr": "1", "straße": "Weg 1"}], delimiter=";", encoding="latin-1")
    with pytest.raises(SchemaError, match=hint):
        run(source(path, {"street": "straße"}, **said))
