"""`resolver check`: the profile of the data, what is lost, blocking, estimates, and what would make a run fail."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import duckdb
import pytest
from click.testing import CliRunner, Result

from resolver.check import estimate, profile
from resolver.cli.check import check
from resolver.cli.init import init
from resolver.ingest.opening import literal
from resolver.settings import parse

SAMPLE = Path(__file__).parents[1] / "data" / "population"
FIRST = ("ADA", "BOB", "EVE", "KIM", "LEE", "MAX", "PAM", "ROY", "SUE", "TOM")
LAST = ("SMITH", "JONES", "BROWN", "CLARK", "DAVIS", "EVANS", "GREEN", "HARRIS", "KING", "LEWIS", "MOORE")


def people(count: int) -> list[dict[str, str]]:
    """Rows of a registration table; every third person is registered twice."""
    persons = [
        {
            "first": FIRST[number % 10],
            "last": LAST[number // 10 % 11] + chr(65 + number % 26),
            "dob": f"19{40 + number % 60}-{1 + number % 12:02}-{1 + number % 28:02}",
            "ssn": f"999-{10 + number % 80}-{1000 + number * 7 % 9000}",
            "zip": f"0{2100 + number % 50}",
        }
        for number in range(count)
    ]
    rows = [{"id": f"a{number}", **person} for number, person in enumerate(persons)]
    return rows + [{"id": f"b{number}", **person} for number, person in enumerate(persons) if number % 3 == 0]


def config(folder: Path, rows: list[dict[str, str]], more: str = "") -> Path:
    with (folder / "people.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    path = folder / "my.yaml"
    fields = "{first_name: first, last_name: last, birth_date: dob, ssn: ssn, zip: zip}"
    path.write_text(
        "run: {dir: run, threads: 2, memory_gib: 1}\n"
        f"sources: [{{kind: table, name: desk, path: people.csv, record_id: id, fields: {fields}}}]\n{more}"
    )
    return path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(check, [str(argument) for argument in arguments], catch_exceptions=False)


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What check says of a table with some odd rows."""
    rows = people(300)
    rows[0] |= {"first": "UNKNOWN", "ssn": "999999999", "dob": "1900-01-01", "zip": "00000"}
    rows[1] |= {"first": "12345", "ssn": "666-12-3456", "dob": "1980-02-30"}
    rows[2] |= {"id": ""}
    rows.append(dict(rows[5]))
    result = run(config(tmp_path_factory.mktemp("check"), rows), "--json")
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_the_profile_tells_placeholders_from_impossible_values(checked: dict[str, Any]) -> None:
    """Per field: how full, how distinct, and why values could not be used."""
    fields = {row["field"]: row for row in checked["fields"]}

    assert checked["records"] == 399
    for name in ("first_name", "ssn", "birth_date"):
        assert (fields[name]["filled"], fields[name]["placeholders"], fields[name]["impossible"]) == (397, 1, 1)
    assert (fields["zip"]["placeholders"], fields["zip"]["distinct"]) == (1, 50)
    assert fields["phone"]["given"] == 0
    assert fields["sex"]["share"] == 0


def test_what_was_lost_is_counted_with_its_reason(checked: dict[str, Any]) -> None:
    """Rejected and repeated rows show up, and so does a record that says too little."""
    assert {row["why"]: row["rows"] for row in checked["lost"]} == {
        "no record id": 1,
        "repeats a record, value for value": 1,
    }
    assert checked["odd_records"]["fewer_than_two_telling_fields"] == 1  # the one of which little but the name is left
    assert checked["clinical"]["share_with_any"] == 0


def test_the_blocking_and_the_estimates(checked: dict[str, Any]) -> None:
    """Candidates per rule and in all, and from them time, memory, gray zone and GPU bill."""
    blocking, guess = checked["blocking"], checked["estimate"]

    assert blocking["candidates"] > 50
    assert all(rule["pairs"] >= 0 and rule["name"] for rule in blocking["rules"])
    assert guess["total_seconds"] == pytest.approx(sum(guess["seconds"].values()), abs=1)
    low, high = guess["gray_pairs"]["between"]
    assert low < guess["gray_pairs"]["about"] < high
    assert guess["gpu"]["dollars"] == pytest.approx(
        guess["gpu"]["seconds"] / 3600 * guess["gpu"]["dollars_per_hour"], abs=0.01
    )


def test_the_run_need_not_ingest_again(tmp_path: Path) -> None:
    """What check read stays in the run folder as the ingest stage's result."""
    path = config(tmp_path, people(60))
    run(path, "--json")
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    before = (tmp_path / "run" / "records.parquet").stat().st_mtime_ns
    run(path, "--json")

    assert list(manifest["stages"]) == ["ingest"]
    assert (tmp_path / "run" / "records.parquet").stat().st_mtime_ns == before
    assert not list((tmp_path / "run").glob("check-*"))


def test_what_would_fail_ends_with_one(tmp_path: Path) -> None:
    """A truth file that is not there and an unknown judge are named, and the exit code is 1."""
    path = config(tmp_path, people(60), "evaluate: {truth: truth.csv}\nadjudicate: {judges: [oracle]}\n")
    result = run(path, "--json")

    assert result.exit_code == 1
    assert any("no truth file" in fault for fault in json.loads(result.stdout)["faults"])
    assert any("no judge oracle" in fault for fault in json.loads(result.stdout)["faults"])


def test_the_screen_holds_no_values(tmp_path: Path) -> None:
    """The tables show counts and names of columns, no name or number of a person."""
    result = run(config(tmp_path, people(60)))

    assert result.exit_code == 0
    assert "candidate pairs" in result.stdout
    assert "Ready: resolver run" in result.stdout
    assert not any(name in result.stdout + result.stderr for name in (*LAST, *FIRST[1:], "999-"))


def test_init_writes_what_check_accepts(tmp_path: Path) -> None:
    """The config that init writes for the bundled sample passes check, with clinical evidence and without faults."""
    made = CliRunner().invoke(init, [str(SAMPLE), "--out", str(tmp_path / "my.yaml")], catch_exceptions=False)
    result = run(tmp_path / "my.yaml", "--json")
    found = json.loads(result.stdout)

    assert (made.exit_code, result.exit_code, found["faults"]) == (0, 0, [])
    assert found["clinical"]["kinds"]["condition"]["records"] > 10
    assert "providers.parquet" in found["files_not_read"]


def test_persons_born_after_their_first_event_are_counted(tmp_path: Path) -> None:
    """A birth date behind the first event is odd."""
    with duckdb.connect() as con:
        columns = ", ".join(
            f"NULL AS {name}" for name in profile.normalise.FIELDS if name not in ("birth_date", "last_name")
        )
        con.execute(
            f"COPY (SELECT range AS rid, 'A' AS last_name, DATE '1980-02-03' AS birth_date, {columns} FROM range(2)) "
            f"TO '{tmp_path}/records.parquet'"
        )
        con.execute(
            "COPY (FROM (VALUES (0, TIMESTAMP '1979-01-01'), (0, NULL), (1, TIMESTAMP '1980-02-03')) AS t(rid, start)) "
            f"TO '{tmp_path}/events.parquet'"
        )
        found = profile.of_persons(con, tmp_path / "records.parquet", Path(literal(tmp_path / "events.parquet")))

    assert found == {"fewer_than_two_telling_fields": 0, "born_after_their_first_event": 1}


def test_a_disk_that_is_too_small_is_a_fault(tmp_path: Path) -> None:
    """More bytes than the disk has left are named with the folder."""
    settings = parse(
        {"run": {"dir": str(tmp_path)}, "sources": [{"kind": "synthea", "path": "x"}]}, base=tmp_path, where="test"
    )

    assert estimate.faults(settings, {"disk_gib": 0.001}) == []
    assert "GiB free" in estimate.faults(settings, {"disk_gib": 1e9})[0]
