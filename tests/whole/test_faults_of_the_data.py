"""Records that no one would expect: none, one, all the same, hostile, endless, shared by everyone."""

from __future__ import annotations

import csv
import datetime
import html
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pytest

PATIENT = {
    "Id": "1",
    "BIRTHDATE": "1980-02-03",
    "SSN": "219-09-9999",
    "FIRST": "Ada",
    "LAST": "Lindqvist",
    "MAIDEN": "",
    "GENDER": "F",
    "RACE": "white",
    "ETHNICITY": "nonhispanic",
    "ADDRESS": "12 Main Street",
    "CITY": "Springfield",
    "STATE": "Massachusetts",
    "ZIP": "01101",
    "PHONE": "4135550123",
}
HOSTILE = (
    "'; DROP TABLE records; --",
    '"><script>alert(1)</script>',
    '=HYPERLINK("http://example.com")',
    "@SUM(1+1)*cmd|' /C calc'!A0",
    "../../../../etc/passwd",
    "{{ 7 * 7 }}{% raw %}",
    "%s %d {0} $1 \\1 [red]",
    "Robert\"); COPY (SELECT 1) TO '/tmp/x' --",
)

Run = Callable[..., Any]


def write_patients(folder: Path, rows: Sequence[Mapping[str, str]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "patients.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(PATIENT))
        writer.writeheader()
        writer.writerows({**PATIENT, **row} for row in rows)


@pytest.fixture
def patients(tmp_path: Path, whole: Any) -> Run:
    """Runs over the given patients, one list per facility, with --json; how that ended."""

    def run(*facilities: Sequence[Mapping[str, str]], **sections: Any) -> Any:
        for number, rows in enumerate(facilities, 1):
            write_patients(tmp_path / "bed" / f"facility_{number}", rows)
        return whole.command("run", whole.config(tmp_path, tmp_path / "bed", **sections), "--json")

    return run


@pytest.fixture(scope="module")
def strange(people: Path, tmp_path_factory: pytest.TempPathFactory, whole: Any) -> Path:
    """A finished run over the facilities and one more, which holds every strange value at once; its folder."""
    folder = tmp_path_factory.mktemp("strange")
    bed = folder / "bed"
    bed.mkdir()
    for source in sorted(people.iterdir()):
        (bed / source.name).symlink_to(source)
    rows: list[dict[str, str]] = []
    for copy in ("a", "b"):
        rows += [
            {
                "Id": f"{copy}{number}{text}",
                **dict.fromkeys(("FIRST", "LAST", "ADDRESS", "CITY", "STATE"), text),
                "SSN": f"21909{number:02}11",
            }
            for number, text in enumerate(HOSTILE)
        ]
    rows.append({"Id": "long", **dict.fromkeys(("FIRST", "LAST", "MAIDEN", "ADDRESS", "CITY"), "Wolfe" * 2_000)})
    dates = ("0001-01-01", "1600-02-29", "9999-12-31", "2023-02-30", "1980-13-01", "0000-00-00", "-1-1-1", "99999999")
    rows += [{"Id": f"date{number}", "BIRTHDATE": date} for number, date in enumerate(dates)]
    write_patients(bed / "strange", rows)
    with (bed / "strange" / "patients.csv").open("ab") as file:
        line = ",".join({**PATIENT, "Id": "bytes"}.values()).encode().replace(b"Lindqvist", b"Lind\xffqvist")
        file.write(line + b"\r\n")
    assert whole.command("run", whole.config(folder, bed)).code == 0
    return folder


def test_strange_records_are_all_accounted_for(strange: Path, whole: Any) -> None:
    """Every row is a record or in `rejected`; what is not UTF-8 is rejected, the rest stays."""
    run = strange / "run"
    records = whole.query(f"SELECT count(*) FROM '{run}/records.parquet' WHERE source = 'strange'")
    rejected = whole.query(f"SELECT reason FROM '{run}/rejected.parquet'")

    assert records == [(2 * len(HOSTILE) + 1 + 8,)]
    assert rejected == [("text is not in the file's encoding",)]


def test_impossible_dates_are_no_dates(strange: Path, whole: Any) -> None:
    """Dates that do not exist, or that nobody alive was born on, are null beside their raw form."""
    found = whole.query(
        f"SELECT birth_date FROM '{strange}/run/records.parquet' WHERE source_record_id LIKE 'date%' ORDER BY rid"
    )

    assert found == [(None,)] * 8


def test_endless_names_don_t_get_far(strange: Path, whole: Any) -> None:
    """A name of ten thousand characters is no name, and takes no part in golden values."""
    run = strange / "run"
    (found,) = whole.query(
        f"SELECT first_name, last_name, length(raw_last_name) FROM '{run}/records.parquet'"
        " WHERE source_record_id = 'long'"
    )

    assert found == (None, None, 256)
    assert whole.query(f"SELECT max(length(value)) < 256 FROM '{run}/golden_fields.parquet'") == [(True,)]


def test_hostile_values_stay_values(strange: Path, whole: Any) -> None:
    """SQL, templates and paths are kept as they came, and two copies of them are one person."""
    run = strange / "run"
    rows = whole.query(
        f"SELECT raw_last_name, count(DISTINCT cluster) FROM '{run}/records.parquet'"
        f" JOIN '{run}/clusters.parquet' USING (rid)"
        " WHERE source = 'strange' AND regexp_matches(source_record_id, '^[ab][0-9]') GROUP BY ALL"
    )

    assert sorted(name for name, _ in rows) == sorted(HOSTILE)
    assert {persons for _, persons in rows} == {1}


def test_the_report_shows_hostile_values_as_text(strange: Path, whole: Any) -> None:
    """Whatever the report shows of them is escaped: no script, no tag of theirs, no template is run."""
    doubtful = [
        {"Id": str(number), "FIRST": "<b>Ada</b>", "LAST": HOSTILE[1 + 4 * (number % 2)], "SSN": "", "ZIP": ""}
        for number in range(6)
    ]
    bed = strange / "doubtful"
    write_patients(bed / "facility", doubtful)
    config = whole.config(strange / "again", bed, report={"title": "<script>alert(2)</script>"})
    assert whole.command("run", config).code == 0
    for run in (strange / "run", strange / "again" / "run"):
        page = (run / "report.html").read_text(encoding="utf-8")
        assert "<script" not in page.lower()
        assert "<b>Ada" not in page
        # A value may name an address, as text that nothing leads to.
        shown = page.replace("http://www.w3.org/", "").replace("LINK(&#34;http://example.com&#34;)", "")
        assert "http://" not in shown
    assert html.escape("<script>alert(2)</script>") in page
    assert "SCRIPT ALERT SCRIPT" in page


def test_a_csv_export_runs_no_formula(strange: Path, tmp_path: Path, whole: Any) -> None:
    """No cell of an exported CSV begins with a sign that a spreadsheet takes for a formula."""
    ended = whole.command(
        "mpi", "export", strange / "resolver.yaml", "--format", "csv", "--out", tmp_path / "out", "--json"
    )
    assert ended.code == 0, ended.err
    for path in (tmp_path / "out").glob("*.csv"):
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                for column, cell in row.items():
                    number = column not in ("source_record_id", "left_record", "right_record") and cell[1:2].isdigit()
                    assert not cell.startswith(("=", "+", "@", "\t", "\r")), column
                    assert not cell.startswith("-") or number, column


def test_no_record(patients: Run) -> None:
    """A source without rows is one line that says how to look at it."""
    ended = patients([])

    assert ended.code == 1
    assert "no record that can be used" in ended.line
    assert "resolver check" in ended.line


def test_no_folder(tmp_path: Path, whole: Any) -> None:
    """A source that is not there is one line with its path."""
    ended = whole.command("run", whole.config(tmp_path, tmp_path / "nowhere"))

    assert ended.code == 1
    assert str(tmp_path / "nowhere") in ended.line


def test_one_record(patients: Run, tmp_path: Path, whole: Any) -> None:
    """A single record goes the whole way and is one person in the index."""
    found = patients([{}]).json

    assert (found["records"], found["persons"], found["candidates"]) == (1, 1, 0)
    assert len(whole.crosswalk(tmp_path / "run" / "mpi.duckdb")) == 1


def test_all_records_identical(patients: Run, tmp_path: Path, whole: Any) -> None:
    """Sixty copies of one registration at three facilities are one person, and nothing breaks on them."""
    found = patients(*([{"Id": f"{one}"} for one in range(20)] for _ in range(3))).json

    assert (found["records"], found["persons"]) == (60, 1)


def test_one_person_listed_5_000_times(people: Path, tmp_path: Path, whole: Any) -> None:
    """A facility that lists one person 5,000 times gets that one person; everyone else is as they were."""
    bed = tmp_path / "bed"
    bed.mkdir()
    for source in sorted(people.iterdir()):
        (bed / source.name).symlink_to(source)
    write_patients(bed / "stuck", [{"Id": str(number)} for number in range(5_000)])
    found = whole.command("run", whole.config(tmp_path, bed), "--json").json
    stuck = [person for person in whole.persons(tmp_path / "run") if any(one.startswith("stuck:") for one in person)]

    assert found["records"] == 5_168
    assert [len(person) for person in stuck] == [5_000]
    assert found["candidates"] < 100_000


def test_a_hub_value(own_people: Path, tmp_path: Path, whole: Any, people: Path) -> None:
    """One phone for every record is found, named without its value and left out of blocking; the run goes on."""
    for path in own_people.glob("*/patients.parquet"):
        whole.edit(path, "SELECT * REPLACE ('6175550188' AS PHONE) FROM {}")
    config = whole.config(tmp_path, own_people, link={"max_block": 100})
    ended = whole.command("run", config)
    assert ended.code == 0
    hub = next(line for line in ended.out.splitlines() if line.strip().startswith("hub"))
    facts = json.loads((tmp_path / "run" / "manifest.json").read_text())["stages"]["link"]["facts"]

    assert "phone" in hub
    assert "168" in hub
    assert "6175550188" not in ended.out
    assert facts["hubs"] == [{"field": "phone", "values": 1, "records": 168}]
    assert facts["candidates"] < 168 * 167 / 2 / 3


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("SELECT * EXCLUDE (LAST) FROM {}", "no column LAST"),
        ("SELECT * RENAME (LAST AS LAST_NAME) FROM {}", "LAST_NAME"),
        ("SELECT * REPLACE ([LAST] AS LAST) FROM {}", "LAST"),
        ("SELECT * EXCLUDE (Id) FROM {}", "no column Id"),
    ],
    ids=["missing", "renamed", "of another type", "without ids"],
)
def test_a_column_that_is_not_there(own_people: Path, tmp_path: Path, whole: Any, change: str, said: str) -> None:
    """A column that is missing, renamed or nested is one line: file, column, the nearest name, what to do."""
    whole.edit(own_people / "facility_2" / "patients.parquet", change)
    ended = whole.command("run", whole.config(tmp_path, own_people))

    assert ended.code == 1
    assert "patients.parquet" in ended.line
    assert said in ended.line


def test_columns_of_other_types(people: Path, own_people: Path, tmp_path: Path, whole: Any) -> None:
    """A date, a number of nine digits and a ZIP of five as such, not as text, give the same records."""
    path = own_people / "facility_1" / "patients.parquet"
    whole.edit(
        path,
        "SELECT * REPLACE (try_cast(BIRTHDATE AS DATE) AS BIRTHDATE, try_cast(ZIP AS INTEGER) AS ZIP,"
        " try_cast(replace(SSN, '-', '') AS DOUBLE) AS SSN) FROM {} WHERE Id NOT LIKE '%x'",
    )
    fields = "record_id, ssn, zip, birth_date"
    found = {}
    for name, bed in (("text", people), ("typed", own_people)):
        assert whole.command("run", whole.config(tmp_path / name, bed), "--only", "ingest").code == 0
        found[name] = whole.query(f"SELECT {fields} FROM '{tmp_path}/{name}/run/records.parquet' ORDER BY rid")
    readable = {row[0]: row for row in found["text"]}
    same = [row for row in found["typed"] if row == readable[row[0]]]

    # Text that is no date or number can't be kept in a typed column: some of the errors are of this kind.
    assert len(found["typed"]) == 168
    assert len(same) > 150


def test_too_much_is_lost(people: Path, own_people: Path, tmp_path: Path, whole: Any) -> None:
    """A source of which a tenth can't be used stops the run with the reasons and the setting that allows it."""
    whole.edit(
        own_people / "facility_1" / "patients.parquet",
        "SELECT * REPLACE (CASE WHEN row_number() OVER () > 17 THEN Id END AS Id) FROM {}",
    )
    ended = whole.command("run", whole.config(tmp_path, own_people))

    assert ended.code == 1
    assert "17 no record id" in ended.line
    assert "ingest.max_rejected" in ended.line


def test_a_database_can_hold_what_came_in(strange: Path) -> None:
    """The index of the strange records opens, and holds them all."""
    with duckdb.connect(str(strange / "run" / "mpi.duckdb"), read_only=True) as con:
        ((count,),) = con.execute("SELECT count(*) FROM records WHERE source = 'strange'").fetchall()
        ((born,),) = con.execute("SELECT min(birth_date) FROM persons").fetchall()
    assert count == 2 * len(HOSTILE) + 9
    assert born > datetime.date(1850, 1, 1)
