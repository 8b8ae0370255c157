"""From Synthea's CSV to a population."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resolver import database
from resolver.errors import DamagedError, InputError, ResolverError, RunError, SchemaError, UsageError
from resolver.progress import Progress
from synthea_runner import population
from synthea_runner import tables as reader
from synthea_runner.convert import convert
from synthea_runner.layout import LAYOUT

_SMALL = [
    "patients",
    "conditions",
    "devices",
    "medications",
    "supplies",
    "organizations",
    "providers",
    "payer_transitions",
]
SAMPLE = Path(__file__).parents[1] / "data" / "population"


@pytest.fixture
def raw(tables: Path, tmp_path: Path) -> Path:
    """A copy of the sample's smaller tables that a test may spoil."""
    folder = tmp_path / "csv"
    folder.mkdir()
    for table in _SMALL:
        shutil.copy(tables / f"{table}.csv", folder)
    return folder


def _spoil(raw: Path, table: str, change: Callable[[list[str]], list[str]]) -> None:
    path = raw / f"{table}.csv"
    path.write_text("".join(change(path.read_text().splitlines(keepends=True))))


def test_sample_is_what_its_manifest_says() -> None:
    """The tables that are checked in have the rows, columns and content of their manifest."""
    noted = population.read(SAMPLE)

    with duckdb.connect() as con:
        found = {path.stem: population.measure(con, path) for path in SAMPLE.glob("*.parquet")}

    assert found == noted.tables


def test_csv_becomes_the_sample_again(tables: Path, tmp_path: Path) -> None:
    """Shuffled rows and names with digits come out as the sample, byte for byte."""
    made = convert(tables, tmp_path / "population", Progress())

    assert made.tables == population.read(SAMPLE).tables
    for path in SAMPLE.glob("*.parquet"):
        assert (tmp_path / "population" / path.name).read_bytes() == path.read_bytes(), path.name
    assert population.read(tmp_path / "population") == made


def test_types(raw: Path, tmp_path: Path) -> None:
    """Dates are dates, times are times, codes are text with their leading zeros, money is decimal."""
    convert(raw, tmp_path / "out", Progress())

    patients, medications = (f"'{tmp_path}/out/{table}.parquet'" for table in ("patients", "medications"))
    with duckdb.connect() as con:
        born = con.execute(f"SELECT DISTINCT typeof(BIRTHDATE) FROM {patients}").fetchall()
        zips = con.execute(f"SELECT count(*) > 0 FROM {patients} WHERE ZIP LIKE '02%'").fetchall()
        kinds = con.execute(
            f"SELECT DISTINCT typeof(START), typeof(CODE), typeof(BASE_COST) FROM {medications}"
        ).fetchall()

    assert born == [("DATE",)]
    assert zips == [(True,)]
    assert kinds == [("TIMESTAMP", "VARCHAR", "DECIMAL(18,2)")]


def test_no_digits_on_names(raw: Path, tmp_path: Path) -> None:
    """Synthea's digits are on the names that go in, and on none that come out."""
    names = (
        "SELECT concat_ws(' ', FIRST, MIDDLE, LAST, MAIDEN) AS n FROM '{0}/patients.{1}' "
        "UNION ALL SELECT NAME FROM '{0}/providers.{1}' UNION ALL SELECT OWNER_NAME FROM '{0}/payer_transitions.{1}'"
    )
    convert(raw, tmp_path / "out", Progress())

    with duckdb.connect() as con:
        before, after = (
            con.execute(f"SELECT count(n) > 0, count(*) FILTER (n ~ '[0-9]') FROM ({names.format(*place)})").fetchall()[
                0
            ]
            for place in ((raw, "csv"), (tmp_path / "out", "parquet"))
        )

    assert before[1] > 0
    assert after == (True, 0)


def test_tables_can_be_left_out(raw: Path, tmp_path: Path) -> None:
    """A table that is left out is neither read nor listed."""
    made = convert(raw, tmp_path / "out", Progress(), leave_out=frozenset({"supplies"}))

    assert "supplies" not in made.tables
    assert not (tmp_path / "out" / "supplies.parquet").exists()


def test_a_mean_of_nothing_is_nothing(tables: Path, tmp_path: Path) -> None:
    """Synthea writes NaN for a payer without customers."""
    lines = (tables / "payers.csv").read_text().splitlines()
    cells = lines[1].split(",")
    at = lines[0].split(",").index("QOLS_AVG")
    cells[at] = "NaN"
    (tmp_path / "payers.csv").write_text("\n".join([lines[0], ",".join(cells)]) + "\n")

    with duckdb.connect() as con:
        written = reader.convert(con, tmp_path / "payers.csv", tmp_path / "payers.parquet")
        value = con.execute(f"SELECT QOLS_AVG FROM '{tmp_path}/payers.parquet'").fetchall()

    assert (written.rows, value) == (1, [(None,)])


def test_bad_values_are_told_by_line(raw: Path, tmp_path: Path) -> None:
    """A value that does not fit is told by file, line and column, never by what it says; nothing is left behind."""
    _spoil(raw, "conditions", lambda lines: [*lines[:3], lines[3].replace(lines[3][:10], "Secretname"), *lines[4:]])

    with pytest.raises(InputError) as caught:
        convert(raw, tmp_path / "out", Progress())

    assert "conditions.csv has lines that can't be read: line 4: START is not DATE." in str(caught.value)
    assert "Secret" not in str(caught.value)
    assert [path.name for path in (tmp_path / "out").iterdir()] == [".lock"]


def test_broken_lines_are_told(raw: Path, tmp_path: Path) -> None:
    """A file that ends within a line, or has a line too long, is refused with the lines."""
    _spoil(raw, "supplies", lambda lines: [lines[0], lines[1].strip() + ",more\n", *lines[2:-1], lines[-1][:12]])
    last = len((raw / "supplies.csv").read_text().splitlines())

    with pytest.raises(InputError, match=rf"line 2: too many columns; line {last:,}: too few columns\."):
        convert(raw, tmp_path / "out", Progress())


def test_many_bad_lines_are_counted(raw: Path, tmp_path: Path) -> None:
    """Only the first lines are named; the others are counted."""
    _spoil(raw, "supplies", lambda lines: [lines[0], *(line.replace(line[:10], "x") for line in lines[1:])])

    with pytest.raises(InputError, match=r"line 6: DATE is not DATE and .* further"):
        convert(raw, tmp_path / "out", Progress())


def test_missing_column(raw: Path, tmp_path: Path) -> None:
    """A header that lacks a column is refused with its name."""
    _spoil(raw, "devices", lambda lines: [lines[0].replace("UDI", "UID"), *lines[1:]])

    with pytest.raises(SchemaError, match=r"devices\.csv: the header lacks UDI"):
        convert(raw, tmp_path / "out", Progress())


def test_further_columns_stay_text(raw: Path, tmp_path: Path) -> None:
    """A column that a later Synthea adds is kept, as text."""
    _spoil(raw, "devices", lambda lines: [lines[0].strip() + ",NEW\n", *(f"{line.strip()},7\n" for line in lines[1:])])

    assert convert(raw, tmp_path / "out", Progress()).tables["devices"].columns["NEW"] == "VARCHAR"


def test_unknown_table(raw: Path, tmp_path: Path) -> None:
    """A table that nobody knows is refused rather than passed over, unless it is left out."""
    (raw / "extra.csv").write_text("a\n1\n")

    with pytest.raises(InputError, match="does not write: extra"):
        convert(raw, tmp_path / "out", Progress())
    convert(raw, tmp_path / "out", Progress(), leave_out=frozenset({"extra"}))


def test_unfinished_tables(raw: Path, tmp_path: Path) -> None:
    """Empty tables are those of a Synthea that had not finished."""
    (raw / "organizations.csv").write_text("")

    with pytest.raises(InputError, match=r"organizations\.csv is empty: Synthea had not finished"):
        convert(raw, tmp_path / "out", Progress())


def test_unfinished_generation(raw: Path, tmp_path: Path) -> None:
    """The folder of an interrupted generation is refused with how far it came."""
    record = {"status": "stopped", "options": {"population": 65, "seed": 1, "state": "Ohio"}}
    (tmp_path / "generation.json").write_text(json.dumps(record))
    (tmp_path / "synthea.log").write_text("1 -- Ann Lee (3 y/o F) Boston, Massachusetts  (1)\n")

    with pytest.raises(InputError, match=r"did not finish: 1 of 65 persons \(seed 1, Ohio\) were simulated"):
        convert(tmp_path, tmp_path / "out", Progress())


def test_lost_rows_are_noticed(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If fewer rows are written than the file has, the table is refused."""
    monkeypatch.setattr(reader, "count_rows", lambda path: 72)

    with pytest.raises(DamagedError, match=r"patients\.csv has 72 rows, and 71 were written"):
        convert(raw, tmp_path / "out", Progress())


@pytest.mark.parametrize("folder", ["missing", "empty"])
def test_nothing_to_convert(tmp_path: Path, folder: str) -> None:
    """A folder without tables is refused."""
    (tmp_path / "empty").mkdir()

    with pytest.raises(ResolverError, match=r"There is no folder|holds no Synthea tables"):
        convert(tmp_path / folder, tmp_path / "out", Progress())


def test_another_population_is_not_written_over(raw: Path, tmp_path: Path) -> None:
    """The same population may be converted again; another needs leave, and leaves no table of the first."""
    out = tmp_path / "out"
    convert(raw, out, Progress())
    convert(raw, out, Progress())
    (tmp_path / "metadata").mkdir()
    (tmp_path / "metadata" / "run.json").write_text('{"seed": 5, "version": "v3.2.0\\n"}')
    (raw / "supplies.csv").unlink()

    with pytest.raises(UsageError, match="holds another population"):
        convert(raw, out, Progress())
    made = convert(raw, out, Progress(), overwrite=True)

    assert made.made["options"]["seed"] == 5
    assert not (out / "supplies.parquet").exists()


def test_strange_files_are_left_alone(raw: Path, tmp_path: Path) -> None:
    """A folder that holds other files is refused."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.doc").touch()

    with pytest.raises(UsageError, match="holds other files"):
        convert(raw, tmp_path / "out", Progress())


def test_fhir_is_kept(raw: Path, tmp_path: Path) -> None:
    """With --fhir the NDJSON lies beside the tables, counted and hashed; names with digits are refused."""
    (tmp_path / "fhir").mkdir()
    patients = tmp_path / "fhir" / "Patient.ndjson"
    patients.write_text('{"name": [{"family": "Lee", "given": ["Ann"]}]}\n{"name": []}\n')

    made = convert(tmp_path, tmp_path / "out", Progress(), fhir=True)
    assert made.fhir["Patient"].rows == 2
    assert (tmp_path / "out" / "fhir" / "Patient.ndjson").read_text() == patients.read_text()

    patients.write_text('{"name": [{"family": "Lee712", "given": ["Ann"]}]}\n')
    with pytest.raises(InputError, match="Synthea's digits"):
        convert(tmp_path, tmp_path / "out", Progress(), fhir=True)


def test_fhir_that_is_not_there(raw: Path, tmp_path: Path) -> None:
    """FHIR that was never generated can't be kept."""
    with pytest.raises(InputError, match="Generate it with --fhir"):
        convert(tmp_path, tmp_path / "out", Progress(), fhir=True)


def test_too_little_memory(tables: Path, tmp_path: Path) -> None:
    """If memory runs out, the error names the table and the option."""
    with (
        database.connect(memory_gib=0.004, threads=1) as con,
        pytest.raises(RunError, match=r"Memory ran out at .*observations\.csv\. Raise --memory-gib"),
    ):
        con.execute("SET temp_directory = ''")
        reader.convert(con, tables / "observations.csv", tmp_path / "observations.parquet")


def test_progress_counts_all_of_the_csv(tables: Path, tmp_path: Path) -> None:
    """What the progress counts adds up to the size of the tables."""
    told: list[int] = []
    size = (tables / "patients.csv").stat().st_size

    with duckdb.connect() as con:
        reader.convert(con, tables / "patients.csv", tmp_path / "patients.parquet", advance=told.append)

    assert sum(told) == size


CELLS = st.text(st.sampled_from('ab",\n\r é'), max_size=6)


@given(st.lists(st.lists(CELLS, min_size=2, max_size=2), max_size=8), st.sampled_from(["\n", "\r\n"]), st.booleans())
@settings(deadline=None, max_examples=100)
def test_rows_are_counted_as_a_csv_reader_counts(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]], end: str, last_end: bool
) -> None:
    """Quoted line ends, blank lines and a missing last line end do not mislead the count."""
    path = tmp_path_factory.mktemp("count") / "x.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator=end, quoting=csv.QUOTE_ALL).writerows([["A", "B"], *rows])
        file.write(end * 2)
    if not last_end:
        path.write_bytes(path.read_bytes().rstrip(b"\r\n"))

    assert reader.count_rows(path) == len(rows)


def test_rows_are_counted_across_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A quote or a blank line at the edge of a block does not mislead the count."""
    text = 'A,B\n"x\n\ny",1\n\nz,"2"\n'
    for block in range(1, len(text)):
        monkeypatch.setattr(reader, "BLOCK", block)
        (tmp_path / "x.csv").write_text(text)

        assert reader.count_rows(tmp_path / "x.csv") == 2


def test_layout_sorts_by_patient() -> None:
    """Tables of events are sorted by patient first."""
    from synthea_runner.layout import in_order

    assert in_order(tuple(LAYOUT["observations"]))[0] == "PATIENT"
    assert in_order(tuple(LAYOUT["claims_transactions"]))[0] == "PATIENTID"
    assert in_order(tuple(LAYOUT["patients"]))[0] == "Id"
    assert all(set(in_order(tuple(columns))) == set(columns) for columns in LAYOUT.values())
