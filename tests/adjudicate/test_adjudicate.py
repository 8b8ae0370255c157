"""The cascade of judges: who is asked about which pairs, and what becomes of their answers."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

from resolver import adjudicate, judges, mpi, tables
from resolver.errors import UsageError
from resolver.judges.learned import Learned
from resolver.progress import Progress
from resolver.settings import parse
from resolver.stage import Facts, StageContext

PAIRS = [(0, 1, 8.0), (0, 2, 1.0), (1, 2, -2.0), (2, 3, -9.0)]
EVERYTHING = (-math.inf, math.inf)

Pair = tuple[int, int]


@dataclass
class Script:
    """What a made-up judge says, and what it was asked."""

    says: Mapping[Pair, float]
    role: str = "adds"
    asks: tuple[float, float] | None = None
    fingerprint: str = "f1"
    brings: Sequence[Pair] = ()
    line: tuple[float, float] | None = None
    at_once: bool = False
    asked: list[list[tuple[int, int, float]]] = field(default_factory=list)
    stood: list[list[tuple[int, int, float]]] = field(default_factory=list)


def judge_of(name: str, script: Script) -> type:
    class Scripted:
        part = "llm"
        role = script.role
        asks = script.asks
        fingerprint = script.fingerprint
        line = script.line
        at_once = script.at_once

        def __init__(self, evidence: judges.Evidence) -> None:
            self.evidence = evidence

        def brings(self) -> pl.DataFrame | None:
            rows = list(script.brings)
            return pl.DataFrame(rows, schema=["left_rid", "right_rid"], orient="row") if rows else None

        def judge(self, pairs: pl.DataFrame) -> pl.DataFrame:
            script.asked.append(pairs.rows())
            assert self.evidence.standing is not None
            script.stood.append(self.evidence.standing().rows())
            known = [(left, right) for left, right, _ in pairs.rows() if (left, right) in script.says]
            rows = [(*pair, script.says[pair], "ok") for pair in known]
            kinds = {"left_rid": pl.Int64, "right_rid": pl.Int64, "logit": pl.Float64, "status": pl.String}
            return pl.DataFrame(rows, schema=kinds, orient="row")

    Scripted.name = name  # type: ignore[attr-defined]
    return Scripted


@dataclass
class Court:
    folder: Path
    monkeypatch: pytest.MonkeyPatch
    facts: Facts = field(default_factory=dict)

    def appoint(self, **scripts: Script) -> None:
        """Make these the judges that entry points name."""

        class Entry:
            def __init__(self, name: str, script: Script) -> None:
                self.name, self.script = name, script

            def load(self) -> type:
                return judge_of(self.name, self.script)

        found = [Entry(name, script) for name, script in scripts.items()]
        self.monkeypatch.setattr(metadata, "entry_points", lambda group: found if group == judges.GROUP else [])

    def run(self, *names: str, base: Mapping[str, Path] | None = None, hashes: str = "hhhh") -> list[tuple[Any, ...]]:
        """Adjudicate the pairs over four records; the verdicts."""
        settings = parse(
            {
                "run": {"dir": "run", "threads": 1, "memory_gib": 0.5},
                "sources": [{"kind": "synthea", "path": "data"}],
                "adjudicate": {"judges": list(names)},
            },
            base=self.folder,
            where="test",
        )
        made = {name: self.folder / f"{name}.parquet" for name in ("records", "events", "pairs")}
        with duckdb.connect() as con:
            for name, path in made.items():
                con.execute(f"CREATE TABLE {name} ({tables.TABLES[name].ddl})")
                if name == "records":
                    for rid, content in enumerate(hashes):
                        con.execute(
                            "INSERT INTO records (rid, record_id, source, content_hash) VALUES (?, ?, 's', ?)",
                            [rid, f"s:{rid}", content],
                        )
                if name == "pairs":
                    con.executemany("INSERT INTO pairs VALUES (?, ?, 1, ?)", [list(pair) for pair in PAIRS])
                con.execute(f"COPY {name} TO '{path}'")
        Learned("none", "a test").save(self.folder / "learned.json")
        scratch = self.folder / "scratch"
        scratch.mkdir(exist_ok=True)
        outputs = {
            "verdicts": self.folder / "verdicts.parquet",
            "judges.json": self.folder / "judges.json",
            adjudicate.POPULATION: self.folder / adjudicate.POPULATION,
            adjudicate.COUNTS: self.folder / adjudicate.COUNTS,
        }
        inputs = made | {"learned.json": self.folder / "learned.json"}
        self.facts = adjudicate.run(StageContext(settings, inputs, outputs, scratch, Progress(), base or {}))
        tables.check(outputs["verdicts"], tables.VERDICTS)
        with duckdb.connect() as con:
            return con.execute(f"FROM '{outputs['verdicts']}'").fetchall()


@pytest.fixture
def court(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Court:
    return Court(tmp_path, monkeypatch)


def test_a_judge_is_asked_about_what_is_open(court: Court) -> None:
    """Without bounds of its own a judge sees the gray pairs alone, with the log-odds as they stand."""
    script = Script({})
    court.appoint(one=script)
    court.run("one")

    assert script.asked == [[(0, 2, 1.0), (1, 2, -2.0)]]
    assert court.facts["judges"]["one"] == {"asked": 2, "carried_over": 0, "fingerprint": "f1"}


def test_no_evidence_no_row(court: Court) -> None:
    """A pair of which a judge says nothing has no row, not a zero."""
    court.appoint(one=Script({(0, 2): 3.0}))

    assert court.run("one") == [(0, 2, "one", "f1", 3.0, "ok")]
    assert court.facts["judges"]["one"]["ok"] == 1


@pytest.mark.parametrize(
    ("role", "left"),
    [
        ("adds", [(0, 2, 4.0), (1, 2, -2.0)]),
        ("revises", [(0, 1, 1.0), (0, 2, 3.0), (1, 2, -2.0), (2, 3, -1.0)]),
    ],
)
def test_the_next_judge_sees_what_is_left(court: Court, role: str, left: list[tuple[int, int, float]]) -> None:
    """A judge that adds moves a pair by its evidence, one that revises puts it in place; the next sees the result."""
    first = Script({(0, 1): 1.0, (0, 2): 3.0, (2, 3): -1.0}, role=role, asks=EVERYTHING)
    second = Script({}, asks=(-4.0, 4.5))
    court.appoint(first=first, second=second)
    court.run("first", "second")

    assert second.asked == [left]


def test_what_makes_evidence_of_a_logit(court: Court) -> None:
    """A judge says by which line its raw logits become evidence: the next judge sees them so, and decide is told."""
    first = Script({(0, 1): 1.0, (0, 2): 3.0}, asks=EVERYTHING, line=(0.5, 2.0))
    second = Script({}, asks=EVERYTHING)
    court.appoint(first=first, second=second)
    verdicts = court.run("first", "second")

    assert second.asked == [[(0, 1, 10.5), (0, 2, 4.5), (1, 2, -2.0), (2, 3, -9.0)]]
    assert [row[4] for row in verdicts] == [1.0, 3.0]  # raw
    assert json.loads((court.folder / "judges.json").read_text()) == {"first": {"slope": 0.5, "intercept": 2.0}}


def test_a_judge_can_see_all_pairs_together(court: Court, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that must choose gets its pairs at once, and where every pair stands, asked about or not."""
    monkeypatch.setattr(adjudicate, "CHUNK", 1)
    first = Script({(0, 2): 3.0}, asks=EVERYTHING)
    second = Script({}, asks=(-3.0, 5.0), at_once=True)
    court.appoint(first=first, second=second)
    court.run("first", "second")

    assert [len(asked) for asked in first.asked] == [1, 1, 1, 1]
    assert second.asked == [[(0, 2, 4.0), (1, 2, -2.0)]]
    assert second.stood == [[(0, 1, 8.0), (0, 2, 4.0), (1, 2, -2.0), (2, 3, -9.0)]]


def test_a_judge_brings_pairs(court: Court) -> None:
    """A pair that a judge knows and blocking did not propose is asked about with even odds, by others too."""
    first = Script({(0, 3): 5.0}, asks=EVERYTHING, brings=[(0, 3), (0, 1)])
    second = Script({}, asks=EVERYTHING)
    court.appoint(first=first, second=second)
    verdicts = court.run("first", "second")

    assert (0, 3, 0.0) in first.asked[0]
    assert (0, 3, 5.0) in second.asked[0]
    assert [row[:2] for row in verdicts] == [(0, 3)]


def test_what_a_person_said_of_a_pair_never_proposed(court: Court) -> None:
    """The judge `human` brings the pairs that people spoke of, proposed or not, and says nothing of others."""
    said = pl.DataFrame(
        {
            "left_record": ["s:0", "s:0", "s:1"],
            "right_record": ["s:1", "s:3", "gone:9"],
            "says": ["unlink", "link", "link"],
            "logit": [-mpi.LOGIT, mpi.LOGIT, mpi.LOGIT],
        }
    )
    court.monkeypatch.setattr(mpi, "human_verdicts", lambda path: said)
    court.monkeypatch.setattr(mpi, "verdicts_digest", lambda path: "said")

    assert court.run("human") == [
        (0, 1, "human", "said", -mpi.LOGIT, "ok"),
        (0, 3, "human", "said", mpi.LOGIT, "ok"),
    ]


def test_an_unknown_judge(court: Court) -> None:
    """A judge that does not exist is one line that lists those that do."""
    court.appoint(one=Script({}), two=Script({}))

    with pytest.raises(UsageError, match=r"no judge three; there are one, two\..*adjudicate.judges"):
        court.run("three")


def test_the_judges_that_come_along_are_found() -> None:
    """The names in the default settings are entry points of the package."""
    assert [judges.find(name).name for name in ("demographic", "clinical", "human")] == [
        *("demographic", "clinical", "human")
    ]


def kept(court: Court) -> dict[str, Path]:
    """The files of the last run, put aside as a base."""
    base = {}
    for name in ("records", "verdicts"):
        base[name] = court.folder / f"base_{name}.parquet"
        (court.folder / f"{name}.parquet").rename(base[name])
    return base


@pytest.mark.parametrize(
    ("fingerprint", "hashes", "asked"),
    [
        ("f1", "hhhh", []),
        ("f2", "hhhh", [(0, 2), (1, 2)]),
        ("f1", "hxhh", [(1, 2)]),
        ("f1", "hhxh", [(0, 2), (1, 2)]),
    ],
    ids=["the same", "another judge", "one record changed", "their common record changed"],
)
def test_verdicts_stand_until_something_changes(court: Court, fingerprint: str, hashes: str, asked: list[Pair]) -> None:
    """A verdict of the published run stands for the same judge and two unchanged records; the others are asked for."""
    court.appoint(one=Script({(0, 2): 3.0, (1, 2): -1.0}))
    court.run("one")
    base = kept(court)
    again = Script({(0, 2): 4.0, (1, 2): -4.0}, fingerprint=fingerprint)
    court.appoint(one=again)
    verdicts = {row[:2]: row[4] for row in court.run("one", base=base, hashes=hashes)}

    assert [(left, right) for rows in again.asked for left, right, _ in rows] == asked
    assert verdicts == {
        pair: (again.says[pair] if pair in asked else old) for pair, old in {(0, 2): 3.0, (1, 2): -1.0}.items()
    }
    assert court.facts["judges"]["one"]["carried_over"] == 2 - len(asked)


def test_what_failed_is_asked_again(court: Court) -> None:
    """A verdict that failed in the published run does not stand: the judge may be well again."""
    court.appoint(one=Script({(0, 2): 3.0, (1, 2): -1.0}))
    court.run("one")
    base = kept(court)
    failed = pl.read_parquet(base["verdicts"]).with_columns(logit=pl.lit(None, pl.Float64), status=pl.lit("failed"))
    failed.write_parquet(base["verdicts"])
    again = Script({(0, 2): 4.0})
    court.appoint(one=again)
    verdicts = court.run("one", base=base)

    assert [(left, right) for rows in again.asked for left, right, _ in rows] == [(0, 2), (1, 2)]
    assert [row[4:] for row in verdicts] == [(4.0, "ok")]


def test_many_pairs_come_in_chunks(court: Court, monkeypatch: pytest.MonkeyPatch) -> None:
    """A judge gets no more pairs at once than a chunk holds, all of them once, in order."""
    monkeypatch.setattr(adjudicate, "CHUNK", 3)
    script = Script({(0, 1): 1.0}, asks=EVERYTHING)
    court.appoint(one=script)
    court.run("one")

    assert [len(rows) for rows in script.asked] == [3, 1]
    assert [row for rows in script.asked for row in rows] == PAIRS
