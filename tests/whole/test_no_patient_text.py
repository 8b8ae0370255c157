"""Whatever a run says, or writes outside its data files, holds no text of patients.

Markers are planted in every column of every table of a test bed in CSV, and looked for afterwards.
"""

from __future__ import annotations

import csv
import dataclasses
import datetime
import hashlib
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import pytest

from resolver import decide, evaluate, golden, pipeline
from resolver.learn import SHIPPED
from resolver.link import training
from resolver.mpi import runs as index_runs
from resolver.stage import StageContext

# These hold patients by their nature: the tables, the index, and the report.
DATA_FILES = (".parquet", ".duckdb", ".duckdb.wal", "report.html")
DIGITS = {"SSN": 9, "ZIP": 5, "PHONE": 10, "VALUE": 9, "CODE": 9, "FIPS": 7, "MEMBERID": 11}
FIXED = {"GENDER": "F", "CATEGORY": "vital-signs", "TYPE": "numeric", "STATE": "Massachusetts"}
BORN = datetime.date(1931, 3, 1)

Spoil = Callable[[pytest.MonkeyPatch], None]


class Markers:
    """Gives out values that occur nowhere else, and knows them again."""

    def __init__(self) -> None:
        self.given: dict[str, str] = {}
        self.searched: dict[str, list[str]] = {}  # a text is searched once, however often it was copied

    def of(self, column: str, where: str) -> str:
        number = len(self.given)
        if "DATE" in column or column in ("START", "STOP"):
            day = BORN + datetime.timedelta(days=number)
            self.given |= {day.strftime(form): where for form in ("%Y-%m-%d", "%Y%m%d", "%m/%d/%Y")}
            return day.isoformat()
        if column in DIGITS:
            value = str(618_033_988_749 + 7_919_777 * number)[-DIGITS[column] :]
            if column == "ZIP":
                value = "0" + value[1:]  # so that no size or count of a run is taken for it
        else:
            value = "Qzx" + "".join(chr(ord("a") + number // 26**place % 26) for place in range(3)) + "vk"
        self.given[value.lower()] = where
        return value

    def found_in(self, text: str) -> list[str]:
        """Where each marker in a text was planted. Digits count if they are a number of their own."""
        key = hashlib.sha256(f"{len(self.given)} {text}".encode()).hexdigest()
        if key not in self.searched:
            low = text.lower()
            words = set(re.findall(r"qzx[a-z]{3}vk", low))
            numbers = set(re.findall(r"(?<![\d.])\d[\d/-]*\d(?![\d.])", low))
            known = self.given.keys() & (words | numbers)
            self.searched[key] = sorted(f"{self.given[marker]}: {marker}" for marker in known)
        return self.searched[key]


@pytest.fixture(scope="module")
def markers() -> Markers:
    return Markers()


@pytest.fixture(scope="module")
def marked(bed: Path, tmp_path_factory: pytest.TempPathFactory, markers: Markers) -> Path:
    """The test bed with one more person, at all facilities, of whom every column of every table is a marker.

    Everyone has that person's phone, so that there is a hub, and of each table one marked row can't be used.
    """
    out = tmp_path_factory.mktemp("marked") / "bed"
    known: dict[tuple[str, str], str] = {}

    def value(table: str, column: str, again: bool = True) -> str:
        if again and (table, column) in known:
            return known[table, column]
        marker = FIXED.get(column) or markers.of(column, f"{table}.{column}")
        return known.setdefault((table, column), marker) if again else marker

    phone = value("patients", "PHONE")
    whose: list[str] = []
    for facility in sorted(bed.glob("facility_*")):
        (out / facility.name).mkdir(parents=True)
        patient = markers.of("Id", "patients.Id")
        for path in sorted(facility.glob("*.parquet")):
            target = out / facility.name / f"{path.stem}.csv"
            with duckdb.connect() as con:
                shared = f" REPLACE ('{phone}' AS PHONE)" if path.stem == "patients" else ""
                con.execute(f"COPY (SELECT *{shared} FROM '{path}') TO '{target}' (HEADER)")
                columns = [row[0] for row in con.execute(f"DESCRIBE FROM '{path}'").fetchall()]
            owner = "Id" if path.stem == "patients" else "PATIENT"
            good = {column: value(path.stem, column) for column in columns} | {owner: patient}
            bad = {column: value(path.stem, column, again=False) for column in columns} | {owner: " "}
            with target.open("a", newline="", encoding="utf-8") as file:
                csv.DictWriter(file, columns, extrasaction="ignore").writerows([good, bad])
                file.write(markers.of("LAST", f"{path.stem}, a line cut short") + "\n")
            with target.open("ab") as raw:
                line = [markers.of("LAST", f"{path.stem}, not UTF-8"), *["\xff"] * (len(columns) - 1)]
                raw.write(",".join(line).encode("latin-1") + b"\n")
        whose.append(f"SELECT '{facility.name}:{patient}', '{value('truth', 'person_id')}'")
    truth = f"SELECT facility || ':' || record_id AS record_id, person_id FROM '{bed}/truth/truth.parquet'"
    with duckdb.connect() as con:
        con.execute(f"COPY ({' UNION ALL '.join([truth, *whose])}) TO '{out}/truth.parquet'")
    return out


@pytest.fixture(scope="module")
def marked_run(marked: Path, tmp_path_factory: pytest.TempPathFactory, whole: Any) -> tuple[Path, list[Any]]:
    """The folder of a finished run over the marked test bed, and what commands said on the way. Read only."""
    folder = tmp_path_factory.mktemp("job")
    truth = marked / "truth.parquet"
    config = whole.config(folder, marked, link={"max_block": 100}, evaluate={"truth": str(truth)})
    said = [
        whole.command("--debug", "run", config),
        whole.command("run", config, "--json"),
        whole.command("check", config),
        whole.command("evaluate", config),
        whole.command("report", config),
    ]
    return folder, said


def written_outside_data(folder: Path) -> dict[str, str]:
    """What lies in a folder besides data files, by name."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.name.endswith(DATA_FILES):
            text = path.read_bytes().decode("utf-8", errors="replace")
            found[str(path.relative_to(folder))] = (
                _without_the_model_that_ships(text) if path.name == "learned.json" else text
            )
    return found


def _without_the_model_that_ships(text: str) -> str:
    """Trees that are the package's own, word for word, were there before any patient; they are full of numbers."""
    learned, shipped = json.loads(text), json.loads(SHIPPED.read_text(encoding="utf-8"))
    for name in ("demographic", "joint"):
        if learned[name] and learned[name]["trees"] == shipped[name]["trees"]:
            learned[name]["trees"] = []
    return json.dumps(learned)


def assert_clean(markers: Markers, folder: Path, *ended: Any) -> None:
    for one in ended:
        assert markers.found_in(one.out + one.err) == []
    leaks = {name: markers.found_in(text) for name, text in written_outside_data(folder).items()}
    for name in leaks:
        if name.endswith("learned.json"):  # trees count to five digits, as ZIPs do
            leaks[name] = [place for place in leaks[name] if "ZIP: " not in place]
    assert {name: found for name, found in leaks.items() if found} == {}


def test_a_run_tells_nothing_of_patients(marked_run: tuple[Path, list[Any]], markers: Markers) -> None:
    """All that a whole run prints, logs at any level and writes beside its data is free of markers."""
    folder, said = marked_run

    assert [one.code for one in said] == [0] * 5, said
    assert {f"run/{name}" for name in ("manifest.json", "metrics.json", "link_model.json", "learned.json")} <= set(
        written_outside_data(folder)
    )
    assert json.loads((folder / "run" / "manifest.json").read_text())["stages"]["link"]["facts"]["hubs"]
    assert "other" in json.loads((folder / "run" / "metrics.json").read_text())["slices"]["race"]
    assert_clean(markers, folder, *said)


def test_the_data_are_full_of_markers(marked_run: tuple[Path, list[Any]], markers: Markers, whole: Any) -> None:
    """The marked person is found at all facilities, and marked rows are among the rejected: the search can fail."""
    run = marked_run[0] / "run"
    found = whole.query(
        f"SELECT count(*), count(DISTINCT cluster) FROM '{run}/records.parquet'"
        f" JOIN '{run}/clusters.parquet' USING (rid) WHERE first_name LIKE 'QZX%'"
    )
    ((rejected,),) = whole.query(f"SELECT string_agg(content) FROM '{run}/rejected.parquet'")

    assert found == [(3, 1)]
    assert len({place.partition(":")[0] for place in markers.found_in(rejected)}) > 20
    assert markers.found_in((run / "report.html").read_text(encoding="utf-8"))


def failing(stage: Any, name: str) -> Spoil:
    """A stage in which the database refuses a value, and says which."""

    def fail(context: StageContext) -> dict[str, Any]:
        records = context.inputs.get("records") or context.settings.run.dir / "records.parquet"
        with context.connect() as con:
            con.execute(f"SELECT CAST(last_name AS INTEGER) FROM '{records}' WHERE last_name LIKE 'QZX%'").fetchall()
        return dict(stage.run(context))

    def spoil(monkeypatch: pytest.MonkeyPatch) -> None:
        changed = tuple(dataclasses.replace(one, run=fail) if one.name == name else one for one in pipeline.STAGES)
        monkeypatch.setattr(pipeline, "STAGES", changed)

    return spoil


def quoting(module: Any, name: str, table: str) -> Spoil:
    """A function that gets a connection and makes the database quote a value of a record."""

    def fail(first: Any, *_: Any, **__: Any) -> None:
        con = getattr(first, "con", first)
        con.execute(f"SELECT CAST(last_name AS INTEGER) FROM {table} WHERE last_name LIKE 'QZX%'").fetchall()

    return lambda monkeypatch: monkeypatch.setattr(module, name, fail)


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(quoting(training, "train", "fields"), id="link"),
        pytest.param(failing(decide, "decide"), id="decide"),
        pytest.param(failing(golden, "golden"), id="golden"),
        pytest.param(quoting(index_runs, "_records", "in_records"), id="publish"),
        pytest.param(failing(evaluate, "evaluate"), id="evaluate"),
    ],
)
def test_a_stage_that_fails_tells_nothing_of_patients(
    marked_run: tuple[Path, list[Any]],
    tmp_path: Path,
    markers: Markers,
    whole: Any,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
    spoil: Spoil,
) -> None:
    """Where the database quotes a value in its error, neither the line nor the traceback on demand passes it on."""
    folder = Path(shutil.copytree(marked_run[0], tmp_path / "job"))
    stage = request.node.callspec.id
    (folder / "run" / "mpi.duckdb").unlink()
    spoil(monkeypatch)
    plain = whole.command("run", folder / "resolver.yaml", "--full", "--from", stage)
    debug = whole.command("--debug", "run", folder / "resolver.yaml", "--full", "--from", stage)

    assert (plain.code, debug.code) == (1, 1)
    assert plain.line
    assert "Traceback" in debug.err
    assert "ConversionException" in debug.err
    assert_clean(markers, folder, plain, debug)


def renamed(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"LAST", b"SURNAME"))


def no_csv(path: Path) -> None:
    path.write_text(path.read_text(encoding="utf-8", errors="replace").replace(",", '"') * 3, encoding="utf-8")


def mostly_bad(path: Path) -> None:
    path.write_bytes(path.read_bytes() + path.read_bytes().splitlines(keepends=True)[-2] * 100)


@pytest.mark.parametrize("spoil", [renamed, no_csv, mostly_bad])
def test_a_source_that_fails_tells_nothing_of_patients(
    marked: Path, tmp_path: Path, markers: Markers, whole: Any, spoil: Callable[[Path], None]
) -> None:
    """A source that stops a run, and the `check` that says why, are told of without its text."""
    bed = Path(shutil.copytree(marked, tmp_path / "bed"))
    spoil(bed / "facility_1" / "patients.csv")
    config = whole.config(tmp_path / "job", bed)
    said = [whole.command("run", config), whole.command("--debug", "run", config), whole.command("check", config)]

    assert [one.code for one in said] == [1, 1, 1]
    assert said[0].line
    assert_clean(markers, tmp_path / "job", *said)
