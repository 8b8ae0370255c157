"""A small synthetic registry for the link tests: persons made by counting, records with made-up errors."""

from __future__ import annotations

import datetime
import hashlib
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pytest

from resolver import link, settings, tables
from resolver.link import training
from resolver.progress import Progress
from resolver.stage import Facts, StageContext

OUTPUTS = ("pairs", "link_model.json", "link_tf.parquet")
_SYLLABLES = (
    "BA",
    "CO",
    "DEL",
    "FI",
    "GRAN",
    "HO",
    "JU",
    "KER",
    "LI",
    "MON",
    "NA",
    "PE",
    "RO",
    "SAL",
    "TU",
    "VER",
    "WI",
)


def word(draw: random.Random, syllables: int) -> str:
    return "".join(draw.choice(_SYLLABLES) for _ in range(syllables))


def broken(draw: random.Random, value: str) -> str:
    at = draw.randrange(len(value))
    return value[:at] + draw.choice("ABCDEFGHIKLMNOPRSTUVWXYZ") + value[at + 1 :]


def registry(persons: int, seed: int = 1) -> list[dict[str, Any]]:
    """Two records per person, sometimes three; `person` says whose they are."""
    draw = random.Random(seed)
    towns = [(word(draw, 3), f"{draw.randrange(10000, 99999)}") for _ in range(25)]
    firsts = [word(draw, 2) for _ in range(60)]
    lasts = [word(draw, 3) for _ in range(90)]
    rows: list[dict[str, Any]] = []
    for person in range(persons):
        town, postal = draw.choice(towns)
        base = {
            "first_name": draw.choice(firsts),
            "last_name": draw.choice(lasts),
            "birth_date": datetime.date(1935, 1, 1) + datetime.timedelta(days=draw.randrange(30000)),
            "sex": draw.choice("FM"),
            "ssn": f"{draw.randrange(10**8, 9 * 10**8)}",
            "street": f"{draw.randrange(1, 900)} {word(draw, 2)} ST",
            "city": town,
            "zip": postal,
            "phone": f"{draw.randrange(2 * 10**9, 9 * 10**9)}",
        }
        for copy in range(2 + (person % 5 == 0)):
            row = dict(base)
            for name, chance in (("first_name", 0.15), ("last_name", 0.12), ("street", 0.2)):
                if draw.random() < chance:
                    row[name] = broken(draw, row[name])
            if draw.random() < 0.1:
                row["birth_date"] += datetime.timedelta(days=draw.randrange(1, 50))
            for name, chance in (("ssn", 0.3), ("phone", 0.4), ("birth_date", 0.1), ("street", 0.2), ("sex", 0.02)):
                if draw.random() < chance:
                    row[name] = None
            rows.append(row | {"source": f"clinic_{copy}", "source_record_id": f"{person:05}", "person": person})
    return rows


def write_records(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """The rows as a `records` table, numbered in the order of their ids."""
    full = []
    for row in rows:
        values = {column.name: row.get(column.name) for column in tables.RECORDS.columns}
        values["record_id"] = f"{row['source']}:{row['source_record_id']}"
        values["ssn_last4"] = row.get("ssn_last4") or (row["ssn"][-4:] if row.get("ssn") else None)
        street = row.get("street")
        values["street_number"] = street.split(" ")[0] if street and street[0].isdigit() else None
        values["content_hash"] = hashlib.sha256(repr(sorted(row.items(), key=str)).encode()).hexdigest()[:32]
        full.append(values)
    full.sort(key=lambda values: values["record_id"])
    for rid, values in enumerate(full):
        values["rid"] = rid
    with duckdb.connect() as con:
        con.execute(f"CREATE TABLE records ({tables.RECORDS.ddl})")
        if full:
            marks = ", ".join("?" for _ in tables.RECORDS.columns)
            con.executemany(f"INSERT INTO records VALUES ({marks})", [[*values.values()] for values in full])
        con.execute(f"COPY (FROM records ORDER BY rid) TO '{path}' (FORMAT parquet)")
    return path


def write_events(path: Path, rows: Sequence[Sequence[Any]] = ()) -> Path:
    with duckdb.connect() as con:
        con.execute(f"CREATE TABLE events ({tables.EVENTS.ddl})")
        if rows:
            con.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", [list(row) for row in rows])
        con.execute(f"COPY (FROM events ORDER BY rid) TO '{path}' (FORMAT parquet)")
    return path


class Linked:
    """A finished link stage: where its files lie, and what it said."""

    def __init__(self, folder: Path, facts: Facts, trained: training.Trained | None = None) -> None:
        self.folder, self.facts, self.trained = folder, facts, trained
        self.files = {
            "records": folder / "records.parquet",
            "events": folder / "events.parquet",
            "pairs": folder / "pairs.parquet",
            "link_model.json": folder / "link_model.json",
            "link_tf.parquet": folder / "link_tf.parquet",
        }

    def pairs(self) -> list[tuple[int, int, int, float]]:
        with duckdb.connect() as con:
            return con.execute(f"FROM read_parquet('{self.files['pairs']}')").fetchall()

    def ids(self) -> list[str]:
        with duckdb.connect() as con:
            return [
                record_id
                for (record_id,) in con.execute(
                    f"SELECT record_id FROM read_parquet('{self.files['records']}') ORDER BY rid"
                ).fetchall()
            ]

    def people(self, rows: Sequence[Mapping[str, Any]]) -> list[int]:
        """The person of each rid."""
        whose = {f"{row['source']}:{row['source_record_id']}": row["person"] for row in rows}
        return [whose[record_id] for record_id in self.ids()]


Run = Callable[..., Linked]


def run_link(
    folder: Path,
    rows: Sequence[Mapping[str, Any]],
    events: Sequence[Sequence[Any]] = (),
    base: Mapping[str, Path] | None = None,
    **options: Any,
) -> Linked:
    folder.mkdir(parents=True, exist_ok=True)
    scratch = folder / "scratch"
    scratch.mkdir(exist_ok=True)
    records = write_records(folder / "records.parquet", rows)
    happened = write_events(folder / "events.parquet", events)
    made = settings.parse(
        {
            "run": {"dir": str(folder), "threads": 2, "memory_gib": 2},
            "sources": [{"kind": "synthea", "path": "nowhere"}],
            "link": options,
        },
        base=folder,
        where="test",
    )
    outputs = {name: folder / (name if "." in name else f"{name}.parquet") for name in OUTPUTS}
    context = StageContext(
        made, {"records": records, "events": happened}, outputs, scratch, Progress(), dict(base or {})
    )
    return Linked(folder, link.run(context))


@pytest.fixture
def records(tmp_path: Path) -> Callable[[Sequence[Mapping[str, Any]]], Path]:
    """Writes rows as a `records` table."""
    return lambda rows: write_records(tmp_path / "records.parquet", rows)


@pytest.fixture(scope="session")
def rows() -> list[dict[str, Any]]:
    return registry(200)


@pytest.fixture(scope="session")
def linked(tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]]) -> Linked:
    """The link stage over the registry, trained; shared by tests that only read it."""
    kept: list[training.Trained] = []
    train = training.train

    def keeping(*given: Any) -> training.Trained:
        kept.append(train(*given))
        return kept[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "train", keeping)
        found = run_link(tmp_path_factory.mktemp("linked"), rows)
    found.trained = kept[0]
    return found


@pytest.fixture
def taught(linked: Linked, monkeypatch: pytest.MonkeyPatch) -> None:
    """What training learned from the registry, in place of training anew: for tests of what comes after it."""
    monkeypatch.setattr(training, "train", lambda *given: linked.trained)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs the link stage in a folder of its own."""
    made: list[int] = []

    def go(rows: Sequence[Mapping[str, Any]], **options: Any) -> Linked:
        made.append(len(made))
        return run_link(tmp_path / str(len(made)), rows, **options)

    return go
