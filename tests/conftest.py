"""What many tests share: made-up records and histories, small enough to be read at once, and a run of the sample.

The sample is the bundled one of synthetic patients; it is run once per process.
"""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars as pl
import pytest

from resolver import database, pipeline, runs, sample, settings, tables
from resolver.progress import Progress
from resolver.settings import Settings

UNTIL_PUBLISH = pipeline.STAGES[: [stage.name for stage in pipeline.STAGES].index("publish") + 1]

FIRST = ("ADA", "BRUNO", "CLARA", "DARIO", "EDITH", "FELIX", "GRETA", "HUGO", "IDA", "JONAS", "KLARA", "LEO")
LAST = ("ABEL", "BRANDT", "CONRAD", "DORN", "EBERT", "FABER", "GEIGER", "HAUPT", "IHLE", "JANSEN", "KERN", "LORENZ")
TOWNS = ("ARNSDORF", "BERGHEIM", "CALDERN", "DORNBURG")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """The tests of one file run in one process, and so do those of tests/whole: what they share is made once."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return file.rpartition("/")[0] if "/whole/" in file else file

    config.option.loadscopereorder = False
    return ByFile(config, log)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take long begin first, so that no process waits for another at the end; else the order is random."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (item.path not in slow, "/whole/" not in item.path.as_posix()))


@dataclass(frozen=True)
class World:
    """A made-up data set on disk, in the layout of a run folder."""

    folder: Path
    person: np.ndarray[Any, Any]  # per record

    @property
    def records(self) -> Path:
        return self.folder / "records.parquet"

    @property
    def events(self) -> Path:
        return self.folder / "events.parquet"

    @property
    def pairs(self) -> Path:
        return self.folder / "pairs.parquet"


def _typo(rng: np.random.Generator, name: str) -> str:
    place = int(rng.integers(0, len(name)))
    return name[:place] + chr(65 + int(rng.integers(0, 26))) + name[place + 1 :]


def make(folder: Path, persons: int = 60, seed: int = 0, splink_noise: float = 3.0) -> World:
    """Persons with one to three records in as many sources, some with errors; pairs scored by a noisy Splink."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    events: list[dict[str, Any]] = []
    for person in range(persons):
        born = dt.date(1935, 1, 1) + dt.timedelta(days=int(rng.integers(0, 28_000)))
        clean = {
            "first_name": str(rng.choice(FIRST)),
            "last_name": str(rng.choice(LAST)),
            "birth_date": born,
            "sex": str(rng.choice(["F", "M"])),
            "ssn": f"{rng.integers(100_000_000, 899_999_999)}",
            "street": f"{rng.integers(1, 999)} MAIN ST",
            "city": str(rng.choice(TOWNS)),
            "zip": f"{rng.integers(10_000, 10_040)}",
        }
        height = float(rng.normal(170, 9))
        chronic = [f"C{code}" for code in rng.choice(40, 4, replace=False)]
        for source in rng.choice(5, int(rng.integers(1, 4)), replace=False):
            row: dict[str, Any] = dict(clean)
            if rng.random() < 0.5:
                row["first_name"] = _typo(rng, row["first_name"])
            if rng.random() < 0.5:
                row["last_name"] = _typo(rng, row["last_name"])
            for field in ("birth_date", "ssn", "street", "city", "zip"):
                if rng.random() < 0.35:
                    row[field] = None
            row |= {"person": person, "source": f"s{source}", "source_record_id": f"p{person:04}"}
            rows.append(row)
            start = dt.datetime(2015, 1, 1) + dt.timedelta(days=int(rng.integers(0, 1500)))
            base = {"who": f"s{source}:p{person:04}", "system": "SNOMED", "description": None, "stop": None}
            for number in range(6):
                day = start + dt.timedelta(days=90 * number, hours=int(rng.integers(0, 24)))
                events.append({**base, "kind": "encounter", "code": "E1", "start": day})
                code = chronic[number % len(chronic)]
                events.append({**base, "kind": "condition", "code": code, "start": day})
                value = round(height + float(rng.normal(0, 0.5)), 1)
                events.append(
                    {**base, "kind": "measurement", "system": "LOINC", "code": "8302-2", "start": day}
                    | {"value": value, "unit": "cm"}
                )
    frame = pl.DataFrame(rows, infer_schema_length=None).with_columns(
        record_id=pl.col("source") + ":" + pl.col("source_record_id")
    )
    frame = frame.sort("record_id").with_row_index("rid")
    happened = pl.DataFrame(events, infer_schema_length=None).join(frame.select("rid", who="record_id"), on="who")
    person = frame["person"].to_numpy()
    left, right = np.triu_indices(len(person), 1)
    true = person[left] == person[right]
    keep = true | (rng.random(len(left)) < 0.35)
    left, right, true = left[keep], right[keep], true[keep]
    logit = np.where(true, 4.0, -7.0) + rng.normal(0, splink_noise, len(left))
    _write(folder / "records.parquet", tables.RECORDS, frame)
    _write(folder / "events.parquet", tables.EVENTS, happened.sort("rid", "start", "kind", "code"))
    scored = pl.DataFrame({"left_rid": left, "right_rid": right, "rule": 1, "logit": logit})
    _write(folder / "pairs.parquet", tables.PAIRS, scored)
    return World(folder, person)


def _write(path: Path, table: tables.Table, frame: pl.DataFrame) -> None:
    with database.connect(memory_gib=1, threads=1) as con:
        missing = [pl.lit(None).alias(name) for name in table.names if name not in frame.columns]
        con.register("rows", frame.with_columns(missing))
        con.execute(f"COPY ({table.select('rows')}) TO {database.quote(path)} (FORMAT parquet)")


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="session")
def make_world() -> Callable[..., World]:
    return make


@dataclass(frozen=True)
class Finished:
    """A finished run and its config."""

    folder: Path

    @property
    def config(self) -> Path:
        return self.folder / "run.yaml"

    @property
    def run(self) -> Path:
        return self.folder / "run"

    def settings(self, *overrides: str) -> Settings:
        return settings.load(self.config, overrides)

    def go(self, *overrides: str) -> None:
        runs.execute(UNTIL_PUBLISH, self.settings(*overrides), Progress(), base=pipeline.no_base)

    def copy(self, folder: Path) -> Finished:
        shutil.copytree(self.run, folder / "run")
        return made(folder)

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """SQL over the tables of the run."""
        with duckdb.connect() as con:
            for table in ("records", "pairs", "verdicts", "decisions", "clusters", "cuts"):
                con.execute(f"CREATE VIEW {table} AS FROM read_parquet('{self.run}/{table}.parquet')")
            return con.execute(sql).fetchall()

    def rewrite(self, table: str, sql: str) -> None:
        """Replace a table by a query over it."""
        path, other = self.run / f"{table}.parquet", self.run / f"{table}.new"
        with duckdb.connect() as con:
            con.execute(f"CREATE VIEW {table} AS FROM read_parquet('{path}')")
            con.execute(f"COPY ({sql}) TO '{other}' (FORMAT parquet)")
        other.replace(path)

    def record_id(self, rid: int) -> str:
        return str(self.query(f"SELECT record_id FROM records WHERE rid = {rid}")[0][0])


def made(folder: Path) -> Finished:
    folder.mkdir(parents=True, exist_ok=True)
    finished = Finished(folder)
    finished.config.write_text(sample.config(finished.run), encoding="utf-8")
    return finished


@pytest.fixture(scope="session")
def sample_run(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A run of the bundled sample as far as the index; not to be changed."""
    result = made(tmp_path_factory.mktemp("sample"))
    result.go()
    return result
