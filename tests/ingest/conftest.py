"""Runs the ingest stage over small files and reads back what it wrote."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pytest

from resolver import ingest, tables
from resolver.progress import Progress
from resolver.settings import parse
from resolver.stage import StageContext

OUTPUTS = ("records", "slices", "events", "rejected")

PATIENT = {
    "Id": "p1",
    "BIRTHDATE": "1980-02-03",
    "SSN": "999-12-3456",
    "FIRST": "Ada832",
    "LAST": "Smith929",
    "MAIDEN": "Jones1",
    "GENDER": "F",
    "RACE": "white",
    "ETHNICITY": "hispanic",
    "ADDRESS": "12 Main Street Apt 4",
    "CITY": "Boston",
    "STATE": "Massachusetts",
    "ZIP": "02115",
    "LAT": "42.1",
    "INCOME": "5150",
}


@dataclass(frozen=True)
class Result:
    facts: dict[str, Any]
    outputs: Mapping[str, Path]

    def rows(self, table: str) -> list[dict[str, Any]]:
        return query(f"FROM read_parquet('{self.outputs[table]}')")

    def only(self, table: str) -> dict[str, Any]:
        (row,) = self.rows(table)
        return row

    def reasons(self) -> list[str]:
        return [row["reason"] for row in self.rows("rejected")]


Run = Callable[..., Result]


def query(sql: str) -> list[dict[str, Any]]:
    with duckdb.connect() as con:
        cursor = con.execute(sql)
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def ingest_into(
    folder: Path,
    sources: Sequence[Mapping[str, Any]],
    base: Mapping[str, Path] | None = None,
    **settings: Any,
) -> Result:
    """One run of the stage with its files in `folder`, which must not be used twice."""
    parsed = parse(
        {
            "run": {"dir": str(folder), "threads": 2, "memory_gib": 1},
            "sources": list(sources),
            "ingest": {"max_rejected": 1, **settings},
        },
        base=folder,
        where="test",
    )
    (folder / "scratch").mkdir(parents=True)
    outputs = {name: folder / f"{name}.parquet" for name in OUTPUTS}
    facts = ingest.run(StageContext(parsed, {}, outputs, folder / "scratch", Progress(), base or {}))
    for name, path in outputs.items():
        tables.check(path, tables.TABLES[name])
    return Result(facts, outputs)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs the stage; a new folder for each call."""
    calls = iter(range(1000))

    def one(sources: Sequence[Mapping[str, Any]], base: Mapping[str, Path] | None = None, **settings: Any) -> Result:
        return ingest_into(tmp_path / f"run-{next(calls)}", sources, base, **settings)

    return one


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]], *, delimiter: str = ",", encoding: str = "utf-8") -> None:
    import csv

    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding=encoding) as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture
def write() -> Callable[..., None]:
    return write_csv


@pytest.fixture
def patient() -> dict[str, str]:
    """One row of Synthea's patients table."""
    return dict(PATIENT)


@pytest.fixture
def persons(tmp_path: Path, run: Run) -> Callable[..., Result]:
    """Runs the stage over rows with person fields as columns and `id` as the record's id."""

    def one(*rows: Mapping[str, Any], **settings: Any) -> Result:
        names = list(dict.fromkeys(name for row in rows for name in row))
        write_csv(tmp_path / "persons.csv", [{name: row.get(name, "") for name in names} for row in rows])
        fields = {name: name for name in names if name != "id"}
        source = {"kind": "table", "name": "desk", "path": str(tmp_path / "persons.csv"), "record_id": "id"}
        return run([{**source, "fields": fields}], **settings)

    return one
