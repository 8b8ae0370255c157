"""An index in memory, fed with runs made of a few synthetic records."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from resolver import publish, settings, tables
from resolver.errors import ResolverError
from resolver.mpi import corrections, runs, schema, store, undo
from resolver.mpi.store import Change
from resolver.progress import Progress
from resolver.settings import Settings
from resolver.stage import StageContext

NAMES = ("ANNA", "BEN", "CLEO", "DAN", "EVE", "FAY", "GUS", "HAL")


def load(
    con: duckdb.DuckDBPyConnection,
    persons: Sequence[Sequence[str]],
    scores: Mapping[tuple[str, str], float] | None = None,
    hashes: Mapping[str, str] | None = None,
) -> None:
    """The tables of a run whose persons are these lists of record ids; pairs within a person score 5."""
    records = sorted(record for person in persons for record in person)
    rid = {record: number for number, record in enumerate(records)}
    for table in (tables.RECORDS, tables.CLUSTERS, tables.GOLDEN, tables.GOLDEN_FIELDS, tables.DECISIONS):
        con.execute(f"CREATE OR REPLACE TEMP TABLE in_{table.name} ({table.ddl})")
    rows: list[list[Any]] = []
    clusters: list[list[Any]] = []
    golden: list[list[Any]] = []
    fields: list[list[Any]] = []
    for person in persons:
        cluster = min(rid[record] for record in person)
        name = NAMES[sum(map(ord, "".join(sorted(person)))) % len(NAMES)]
        golden.append([cluster, len(person), name])
        fields.append([cluster, "first_name", name, 0.9, [cluster], 0])
        for record in person:
            source, _, own = record.partition(":")
            first = NAMES[sum(map(ord, record)) % len(NAMES)]
            rows.append([rid[record], record, source, own, (hashes or {}).get(record, "h"), first, "1980-02-03"])
            clusters.append([rid[record], cluster])
    decisions = {(a, b): 5.0 for person in persons for a in sorted(person) for b in sorted(person) if a < b} | dict(
        scores or {}
    )
    insert(con, "in_records", "rid, record_id, source, source_record_id, content_hash, first_name, birth_date", rows)
    insert(con, "in_clusters", "rid, cluster", clusters)
    insert(con, "in_golden", "cluster, records, first_name", golden)
    insert(con, "in_golden_fields", "cluster, field, value, confidence, rids, rivals", fields)
    insert(
        con,
        "in_decisions",
        "left_rid, right_rid, prior, demographics, logit, probability, tier, reason, fingerprint",
        [
            [rid[a], rid[b], -3.0, score + 3, score, 0.5, "match", "demographics agree", "f"]
            for (a, b), score in sorted(decisions.items())
        ],
    )


def insert(con: duckdb.DuckDBPyConnection, table: str, columns: str, rows: Sequence[Sequence[Any]]) -> None:
    if rows:
        marks = ", ".join("?" for _ in rows[0])
        values = ", ".join(f"({marks})" for _ in rows)
        con.execute(f"INSERT INTO {table} ({columns}) VALUES {values}", [value for row in rows for value in row])


class Index:
    """An index in memory; each call is one change, rolled back where it is refused."""

    def __init__(self) -> None:
        self.con = duckdb.connect(config={"threads": 1})
        schema.create(self.con, "test")

    @contextlib.contextmanager
    def change(self, why: str | None = None) -> Iterator[Change]:
        self.con.execute("BEGIN")
        row = self.con.execute("SELECT coalesce(max(event), 0) + 1 FROM events").fetchone()
        assert row is not None
        try:
            yield Change(self.con, int(row[0]), "tester", why, datetime(2024, 1, 1))
            self.con.execute("COMMIT")
        except BaseException:
            self.con.execute("ROLLBACK")
            raise

    def run(
        self,
        persons: Sequence[Sequence[str]],
        *,
        complete: bool = True,
        scores: Mapping[tuple[str, str], float] | None = None,
        hashes: Mapping[str, str] | None = None,
    ) -> runs.Run:
        load(self.con, persons, scores, hashes)
        self.complete = complete
        return self.run_again()

    def run_again(self) -> runs.Run:
        """What was loaded last, once more."""
        with self.change() as change:
            return runs.bring_in(change, complete=self.complete, config="c", content="x")

    def link(self, a: str, b: str) -> int:
        with self.change() as change:
            corrections.link(change, a, b)
        return change.event

    def unlink(self, a: str, b: str) -> int:
        with self.change() as change:
            corrections.unlink(change, a, b)
        return change.event

    def merge(self, one: str, other: str) -> int:
        with self.change() as change:
            corrections.merge(change, one, other)
        return change.event

    def split(self, person: str, *records: str) -> int:
        with self.change() as change:
            corrections.split(change, person, records)
        return change.event

    def undo(self, event: int) -> int:
        with self.change() as change:
            undo.undo(change, event)
        return change.event

    def refused(self, action: str, *arguments: Any) -> str | None:
        """What the index says where it refuses; None where it does not."""
        try:
            getattr(self, action)(*arguments)
        except ResolverError as error:
            return str(error)
        return None

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        return self.con.execute(query).fetchall()

    def one(self, query: str) -> Any:
        return self.rows(query)[0][0]

    def crosswalk(self, at: int | None = None) -> dict[str, str]:
        table = "crosswalk" if at is None else f"crosswalk_at({at})"
        return dict(self.rows(f"SELECT record_id, person_id FROM {table}"))

    def persons(self) -> set[frozenset[str]]:
        """The records of each person, whatever its id."""
        return {frozenset(row[0]) for row in self.rows("SELECT list(record_id) FROM crosswalk GROUP BY person_id")}

    def person(self, record: str) -> str:
        return self.crosswalk()[record]

    def state(self, at: int | None = None) -> dict[str, list[tuple[Any, ...]]]:
        """All that counts, without when it began. An id that was issued and taken back is no person."""
        suffix = "" if at is None else f"_at({at})"
        return {
            "persons": self.rows(
                f"SELECT * EXCLUDE (since) FROM persons{suffix} WHERE status <> 'retired' ORDER BY person_id"
            ),
            **{
                table: self.rows(f"SELECT * EXCLUDE (since) FROM {table}{suffix} ORDER BY ALL")
                for table in ("crosswalk", "records", "links", "verdicts")
            },
        }

    def kinds(self, event: int) -> list[str]:
        return [row[0] for row in self.rows(f"SELECT kind FROM events WHERE change = {event} ORDER BY event")]


class Site:
    """A run folder and an index on disk, with stage outputs made of a few synthetic records."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.index = folder / "index" / "mpi.duckdb"

    def settings(self, **ingest: Any) -> Settings:
        return settings.parse(
            {
                "run": {"dir": "run", "threads": 1, "memory_gib": 1},
                "sources": [{"kind": "synthea", "path": "data"}],
                "ingest": ingest,
                "index": {"path": str(self.index)},
            },
            base=self.folder,
            where="test",
        )

    def prepare(self, persons: Sequence[Sequence[str]], **options: Any) -> None:
        """Write what the stages before publish would have written."""
        (self.folder / "run").mkdir(exist_ok=True)
        with duckdb.connect() as con:
            load(con, persons, **options)
            for name in publish.READ:
                path = self.folder / "run" / f"{name}.parquet"
                path.unlink(missing_ok=True)  # a stage writes a new file, and never into the old one
                con.execute(f"COPY (FROM in_{name} ORDER BY ALL) TO '{path}'")

    def context(self, **ingest: Any) -> StageContext:
        run = self.folder / "run"
        scratch = run / "scratch"
        scratch.mkdir(exist_ok=True)
        inputs = {name: run / f"{name}.parquet" for name in publish.READ}
        return StageContext(
            self.settings(**ingest), inputs, {"publish.json": run / ".publish.json.tmp"}, scratch, Progress()
        )

    def publish(self, persons: Sequence[Sequence[str]] | None = None, **options: Any) -> dict[str, Any]:
        if persons is not None:
            self.prepare(persons, **options)
        return publish.run(self.context())

    def content(self) -> list[list[tuple[Any, ...]]]:
        """Everything that the index holds, but for times."""
        with store.read(self.index) as con:
            return [
                con.execute(f"SELECT COLUMNS(lambda c: c <> 'happened_at') FROM {name} ORDER BY ALL").fetchall()
                for name in schema.TABLES
            ]

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with store.read(self.index) as con:
            return con.execute(query).fetchall()


@pytest.fixture(scope="session")
def new_site() -> type[Site]:
    return Site


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.fixture(scope="session")
def new_index() -> type[Index]:
    return Index


@pytest.fixture
def index() -> Index:
    return Index()
