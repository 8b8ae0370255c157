"""Runs the golden stage on records written as small dicts."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from resolver import golden, tables
from resolver.progress import Progress
from resolver.settings import parse
from resolver.stage import Facts, StageContext

POLARS = {
    "VARCHAR": pl.String,
    "INTEGER": pl.Int32,
    "DATE": pl.Date,
    "TIMESTAMP": pl.Datetime("us"),
    "DOUBLE": pl.Float64,
}

FIRST = "ADA BELA CARMEN DORA EMIL FELIX GRETA HUGO IRENE JONAS KLARA LEON MARTA NORA OTTO PAULA RUTH SIMON TEA URSULA"
LAST = "ABBOTT BRANDT CORTEZ DUARTE ENGEL FISCHER GRUBER HANSEN IVERSEN JANKOWSKI KELLER LINDGREN MORALES NOVAK OLSEN"
CITY = "SALEM BOSTON WORCESTER LOWELL QUINCY"


@dataclass(frozen=True)
class Result:
    golden: pl.DataFrame
    fields: pl.DataFrame
    facts: Facts

    def value(self, cluster: int, field: str) -> Any:
        return self.golden.filter(pl.col("cluster") == cluster)[field].item()

    def row(self, cluster: int, field: str) -> dict[str, Any]:
        return self.fields.filter((pl.col("cluster") == cluster) & (pl.col("field") == field)).row(0, named=True)


def frame(table: tables.Table, rows: Sequence[dict[str, Any]]) -> pl.DataFrame:
    schema = {column.name: POLARS[column.type] for column in table.columns}
    return pl.DataFrame([{name: row.get(name) for name in schema} for row in rows], schema=schema)


def record(person: Any, source: str = "a", **values: Any) -> dict[str, Any]:
    """A record; what follows from other fields is filled in as ingest does."""
    if values.get("ssn"):
        values.setdefault("ssn_last4", values["ssn"][-4:])
    if values.get("street") and values["street"][0].isdigit():
        values.setdefault("street_number", values["street"].split()[0])
    return {"person": person, "source": source, **values}


def crowd(persons: int = 120) -> list[dict[str, Any]]:
    """Other people, two records each that agree: what a population of right values looks like."""
    rows = []
    first, last, city = FIRST.split(), LAST.split(), CITY.split()
    for number in range(persons):
        values = {
            "first_name": first[number * 7 % len(first)],
            "last_name": last[number * 11 % len(last)],
            "birth_date": dt.date(1940, 1, 1) + dt.timedelta(days=number * 211),
            "sex": "FM"[number % 2],
            "ssn": f"{100000000 + number * 7919 * 31:09d}",
            "street": f"{number + 10} {last[number * 5 % len(last)]} ST",
            "city": city[number % len(city)],
            "state": "MA",
            "zip": f"{1000 + number % len(city):05d}",
        }
        rows += [record(f"crowd {number}", source, **values) for source in ("a", "b")]
    return rows


@pytest.fixture(name="record")
def record_() -> Callable[..., dict[str, Any]]:
    return record


@pytest.fixture(name="crowd")
def crowd_() -> list[dict[str, Any]]:
    return crowd()


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Result]:
    """Run the stage; a person's cluster is the place of the person's first record."""

    def go(
        rows: Sequence[dict[str, Any]],
        events: Sequence[dict[str, Any]] = (),
        **settings: Any,
    ) -> Result:
        clusters: dict[Any, int] = {}
        filled = []
        for rid, row in enumerate(rows):
            clusters.setdefault(row["person"], rid)
            identity = {"rid": rid, "record_id": f"{row['source']}:{rid:06d}", "source_record_id": f"{rid:06d}"}
            filled.append({**row, **identity, "content_hash": str(rid)})
        frame(tables.RECORDS, filled).write_parquet(tmp_path / "records.parquet")
        frame(tables.EVENTS, events).write_parquet(tmp_path / "events.parquet")
        frame(
            tables.CLUSTERS, [{"rid": rid, "cluster": clusters[row["person"]]} for rid, row in enumerate(rows)]
        ).write_parquet(tmp_path / "clusters.parquet")
        content = {
            "run": {"dir": str(tmp_path), "threads": 2, "memory_gib": 1},
            "sources": [{"kind": "synthea", "path": "nowhere"}],
            "golden": settings,
        }
        names = ("golden", "golden_fields")
        scratch = tmp_path / "scratch"
        scratch.mkdir(exist_ok=True)
        context = StageContext(
            parse(content, base=tmp_path, where="test"),
            {name: tmp_path / f"{name}.parquet" for name in ("records", "events", "clusters")},
            {name: tmp_path / f"{name}.parquet" for name in names},
            scratch,
            Progress(),
        )
        facts = golden.run(context)
        tables.check(tmp_path / "golden.parquet", tables.GOLDEN)
        tables.check(tmp_path / "golden_fields.parquet", tables.GOLDEN_FIELDS)
        return Result(*(pl.read_parquet(tmp_path / f"{name}.parquet") for name in names), facts)

    return go
