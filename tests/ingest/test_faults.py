"""What is wrong with sources: each row ends in a record or in `rejected`, each broken file in one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from resolver.errors import InputError

Run = Callable[..., Any]


def table(path: Path, **more: object) -> list[dict[str, object]]:
    fields = {"first_name": "first", "last_name": "last"}
    return [{"kind": "table", "path": str(path), "name": "desk", "record_id": "id", "fields": fields, **more}]


def test_rows_without_id_or_field_are_rejected(persons: Run) -> None:
    """A row without an id, or without any usable field, is in `rejected` with its content."""
    result = persons(
        {"id": "1", "last_name": "Smith"},
        {"id": " ", "last_name": "Jones"},
        {"id": "3", "last_name": "unknown"},
        {"id": "x" * 300, "last_name": "Brown"},
    )

    assert [row["source_record_id"] for row in result.rows("records")] == ["1"]
    assert sorted(result.reasons()) == ["no record id", "no usable field", "record id is longer than 256 characters"]
    rejected = {row["reason"]: row for row in result.rows("rejected")}
    assert json.loads(rejected["no record id"]["content"])["last_name"] == "Jones"
    assert len(rejected["record id is longer than 256 characters"]["source_record_id"]) == 256


def test_repeated_ids(persons: Run) -> None:
    """Rows that repeat a record collapse; of rows that differ the first stays and the others are rejected."""
    result = persons(
        {"id": "1", "last_name": "Smith"},
        {"id": "1", "last_name": "Smith"},
        {"id": "1", "last_name": "Jones"},
        *({"id": "2", "last_name": "Brown"} for _ in range(50)),
    )

    assert [row["last_name"] for row in result.rows("records")] == ["SMITH", "BROWN"]
    assert result.reasons() == ["record id was there before, with other content"]
    assert result.facts["sources"]["desk"]["repeated"] == 50


def test_unreadable_lines_are_rejected_with_their_number(tmp_path: Path, run: Run) -> None:
    """Lines of other width or encoding are rejected with number and text; the rest of the file is read."""
    path = tmp_path / "p.csv"
    path.write_bytes(b"id,first,last\n1,Ada,Smith\n2,Bo\n3,a,b,c\n4,J\xff\xfe,Lee\n5,Eve,Brown\n")
    result = run(table(path))

    assert [row["source_record_id"] for row in result.rows("records")] == ["1", "5"]
    found = {row["row"]: (row["reason"], json.loads(row["content"])) for row in result.rows("rejected")}
    assert found[2] == ("too few columns", "2,Bo")
    assert found[3] == ("too many columns", "3,a,b,c")
    assert found[4][0] == "text is not in the file's encoding"
    assert result.facts["sources"]["desk"]["person_rows"] == 5


def test_two_kinds_of_line_end_in_one_file(tmp_path: Path, run: Run) -> None:
    """A file of which one program wrote a part and another the rest is read to its end, its bad lines rejected."""
    path = tmp_path / "p.csv"
    path.write_bytes(b'id,first,last\n1,Ada,Smith\n2,Bo,"Le\ne"\r\n3,Eve\r\n4,J\xff\xfe,Lee\n5,Kim,Brown\n')
    result = run(table(path))

    assert [row["source_record_id"] for row in result.rows("records")] == ["1", "2", "5"]
    assert sorted(result.reasons()) == ["text is not in the file's encoding", "too few columns"]


def test_impossible_events_are_rejected(tmp_path: Path, run: Run, write: Run) -> None:
    """Events of nobody, without code, with an impossible date or value are rejected; an odd end is only dropped."""
    write(tmp_path / "p.csv", [{"id": "1", "first": "Ada", "last": "Smith"}])
    good = {"id": "1", "code": "c", "start": "2020-01-02", "stop": "9999-12-31", "value": "1.5"}
    rows = [
        good,
        {**good, "start": ""},
        {**good, "start": "2020"},
        {**good, "start": "1900-01-01"},
        {**good, "id": "2"},
        {**good, "code": ""},
        {**good, "start": "2020-02-30"},
        {**good, "start": "0001-01-01"},
        {**good, "start": "9999-12-31"},
        {**good, "value": "nan"},
        {**good, "value": "high"},
    ]
    write(tmp_path / "e.csv", rows)
    event = {"path": str(tmp_path / "e.csv"), "event": "measurement", "record_id": "id"}
    event |= {name: name for name in ("code", "start", "stop", "value")}
    result = run(table(tmp_path / "p.csv", events=[event]))

    assert [row["stop"] for row in result.rows("events")] == [None] * 4
    assert sum(row["start"] is None for row in result.rows("events")) == 3
    assert sorted(result.reasons()) == [
        *["event of no known record", "event without code or words"],
        *["impossible date of event"] * 3,
        *["measured value is missing or no number"] * 2,
    ]


def test_too_many_rejected_rows_stop_the_run(tmp_path: Path, run: Run, write: Run) -> None:
    """Past the share that the settings allow, the run stops with one line that counts the reasons."""
    write(
        tmp_path / "p.csv", [{"id": str(number) if number else "", "first": "A", "last": "B"} for number in range(10)]
    )

    assert len(run(table(tmp_path / "p.csv"), max_rejected=0.1).rows("records")) == 9
    with pytest.raises(InputError, match=r"1 of 10 rows of records can't be used.*1 no record id.*max_rejected"):
        run(table(tmp_path / "p.csv"), max_rejected=0.09)


@pytest.mark.parametrize("content", ["", "id,first,last\n"])
def test_an_empty_input_is_one_line(tmp_path: Path, run: Run, content: str) -> None:
    """A file without rows, or without anything, stops the run with one line."""
    (tmp_path / "p.csv").write_text(content)

    with pytest.raises(InputError, match=r"is empty|no record that can be used"):
        run(table(tmp_path / "p.csv"))


def test_one_record_is_enough(persons: Run) -> None:
    """A single record passes through."""
    assert persons({"id": "1", "last_name": "Smith"}).only("records")["rid"] == 0


def test_values_never_act(persons: Run, tmp_path: Path) -> None:
    """SQL, HTML, formulas, paths and control characters in a field stay text."""
    hostile = [
        "'; DROP TABLE person; --",
        '"><script>alert(1)</script>',
        "=HYPERLINK(1)",
        "../../etc/passwd",
        "a\x00b",
        "{'a': 1}",
        "%s %d {0} $1 \\1",
    ]
    result = persons(*({"id": value, "last_name": value, "street": value} for value in hostile))

    assert sorted(row["raw_last_name"] for row in result.rows("records")) == sorted(hostile)
    assert sorted(row["source_record_id"] for row in result.rows("records")) == sorted(hostile)


def test_names_without_end_are_no_names(persons: Run) -> None:
    """A value of ten thousand characters is null in its normal form and cut in its raw one."""
    record = persons({"id": "1", "last_name": "x" * 10_000, "first_name": "Ada"}).only("records")

    assert (record["first_name"], record["last_name"], len(record["raw_last_name"])) == ("ADA", None, 256)


def test_a_path_with_pattern_characters_is_one_file(tmp_path: Path, run: Run, write: Run) -> None:
    """Brackets and stars in a path mean themselves."""
    write(tmp_path / "a[1]*" / "p?.csv", [{"id": "1", "first": "Ada", "last": "Smith"}])
    write(tmp_path / "a1" / "p1.csv", [{"id": "2", "first": "Eve", "last": "Smith"}])

    assert run(table(tmp_path / "a[1]*" / "p?.csv")).only("records")["first_name"] == "ADA"


@pytest.mark.parametrize("damage", ["cut", "middle", "text"])
def test_a_damaged_parquet_file_is_one_line(tmp_path: Path, run: Run, damage: str) -> None:
    """A Parquet file that is cut, overwritten or none at all is named; no value of it is quoted."""
    path = tmp_path / "p.parquet"
    with duckdb.connect() as con:
        con.execute(
            f"COPY (SELECT range AS id, 'Secret' || md5(range::VARCHAR) AS first, md5('x' || range) AS last "
            f"FROM range(5000)) TO '{path}'"
        )
    content = bytearray(path.read_bytes())
    if damage == "cut":
        content = content[: len(content) // 2]
    elif damage == "middle":
        content[100:40_000] = bytes(39_900)
    else:
        content = bytearray(b"id,first,last\n1,Secret,Smith\n")
    path.write_bytes(content)

    with pytest.raises(InputError) as caught:
        run(table(path))
    assert "p.parquet" in str(caught.value)
    assert "Secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_column_of_another_type_is_read_as_text(tmp_path: Path, run: Run) -> None:
    """Numbers, times and booleans in a name's column are text; a nested column is not there."""
    path = tmp_path / "p.parquet"
    with duckdb.connect() as con:
        con.execute(f"COPY (SELECT 1 AS id, 42 AS first, true AS last, [1, 2] AS list) TO '{path}'")
    assert run(table(path)).only("records")["raw_first_name"] == "42"

    with pytest.raises(InputError, match="no column list"):
        run([{**table(path)[0], "fields": {"last_name": "list"}}])
