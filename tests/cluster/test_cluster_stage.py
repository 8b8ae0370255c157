"""The cluster stage reads decisions and writes clusters and cuts as declared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

from resolver import cluster, tables
from resolver.progress import Progress
from resolver.settings import parse
from resolver.stage import Facts, StageContext

Pair = tuple[int, int, float, float | None]


def run(
    folder: Path,
    sources: list[str],
    pairs: list[Pair],
    copies: frozenset[tuple[int, int]] = frozenset(),
    **section: Any,
) -> Facts:
    """Run the stage over records with these sources and pairs of (left, right, logit, human).

    `copies` are the pairs that link proposed as copies of one registration."""
    settings = parse(
        {
            "run": {"dir": str(folder), "memory_gib": 1.0, "threads": 1},
            "sources": [{"kind": "synthea", "path": "."}],
            "cluster": section,
        },
        base=folder,
        where="test",
    )
    kinds = {"left_rid": pl.Int32, "right_rid": pl.Int32, "logit": pl.Float64, "human": pl.Float64}
    decided = pl.DataFrame(pairs, schema=kinds, orient="row")
    proposed = [int(pair[:2] not in copies) for pair in pairs]
    content = {
        "records": pl.DataFrame({"rid": range(len(sources)), "source": sources}),
        "pairs": decided.select("left_rid", "right_rid", rule=pl.Series(proposed, dtype=pl.Int16), logit=pl.lit(0.0)),
        "decisions": decided,
    }
    with duckdb.connect() as con:
        for name, frame in content.items():
            con.register("frame", frame)
            con.execute(f"CREATE TABLE {name} ({tables.TABLES[name].ddl})")
            con.execute(f"INSERT INTO {name} BY NAME FROM frame")
            con.execute(f"COPY {name} TO '{folder / name}.parquet'")
    outputs = {name: folder / f"{name}.parquet" for name in ("clusters", "cuts")}
    inputs = {name: folder / f"{name}.parquet" for name in ("records", "pairs", "decisions")}
    facts = cluster.run(StageContext(settings, inputs, outputs, folder, Progress()))
    for name, path in outputs.items():
        tables.check(path, tables.TABLES[name])
    return facts


def read(folder: Path, name: str) -> list[tuple[Any, ...]]:
    with duckdb.connect() as con:
        return con.execute(f"FROM '{folder / name}.parquet'").fetchall()


def test_writes_persons_and_cuts(tmp_path: Path) -> None:
    """Agreeing records become one person, an outweighed pair becomes a cut, and the facts count both."""
    pairs: list[Pair] = [(0, 1, 6.0, None), (1, 2, 2.0, None), (0, 2, -7.0, None), (2, 3, -4.0, None)]
    facts = run(tmp_path, ["a", "b", "c", "a"], pairs)

    assert read(tmp_path, "clusters") == [(0, 0), (1, 0), (2, 2), (3, 3)]
    # Of the seven that speak against it seven tenths count, as by default.
    assert read(tmp_path, "cuts") == [(1, 2, 2.0, pytest.approx(2 - 7 * 0.7), "other pairs speak against it")]
    assert (facts["records"], facts["persons"], facts["sizes"]) == (4, 3, {"1": 2, "2": 1})
    assert facts["cuts"] == {"other pairs speak against it": 1}


def test_what_a_person_said_holds(tmp_path: Path) -> None:
    """A person's no parts a strong pair, a person's yes joins a weak one, and contradictions are counted."""
    pairs: list[Pair] = [(0, 1, -88.0, -100.0), (2, 3, 95.0, 100.0), (3, 4, 95.0, 100.0), (2, 4, -90.0, -100.0)]
    facts = run(tmp_path, ["a"] * 5, pairs)

    assert read(tmp_path, "clusters") == [(0, 0), (1, 1), (2, 2), (3, 2), (4, 2)]
    assert facts["human_conflicts"] == 1


def test_copies_of_one_registration_are_one_person(tmp_path: Path) -> None:
    """Copies paired with the first ten alone go with them, however many; another record of theirs stays with them."""
    first, late = range(10), range(10, 400)
    among = [(a, b, 9.0, None) for a in first for b in first if a < b]
    copies: list[Pair] = [(a, b, 9.0, None) for b in late for a in first]
    other: list[Pair] = [(a, 400, 7.0, None) for a in first]
    pairs = [(left, right) for left, right, *_ in copies]
    facts = run(tmp_path, ["a"] * 400 + ["b"], sorted(among + copies + other), frozenset(pairs), same_source=-1)

    assert (facts["persons"], facts["copies"]) == (1, 390)


def test_a_copy_that_a_person_parted_stays_apart(tmp_path: Path) -> None:
    """What a person said of a copy holds as for any record; copies that nothing speaks for stay alone."""
    first, late = range(10), (10, 11)
    pairs: list[Pair] = [(a, b, 9.0, None) for a in first for b in first if a < b]
    pairs += [(a, 10, -91.0, -100.0) for a in first] + [(a, 11, 0.5, None) for a in first]
    run(tmp_path, ["a"] * 12, sorted(pairs), frozenset((a, b) for a in first for b in late), same_source=-1)

    assert [cluster for _, cluster in read(tmp_path, "clusters")] == [0] * 10 + [10, 11]


@pytest.mark.parametrize(("cost", "persons"), [(0, 1), (-5, 2)])
def test_two_records_of_one_source_cost_what_the_config_says(tmp_path: Path, cost: float, persons: int) -> None:
    """A pair of one source is joined or not by the cost that is set, and listed as a cut where it is not."""
    facts = run(tmp_path, ["a", "a"], [(0, 1, 3.0, None)], same_source=cost)

    assert facts["persons"] == persons
    assert facts["same_source_logit"] == cost
    assert facts["cuts"] == ({} if persons == 1 else {"two records of one source": 1})


def test_empty_input_gives_empty_tables(tmp_path: Path) -> None:
    """No records and no pairs make no persons, and the files are there all the same."""
    assert run(tmp_path, [], [])["persons"] == 0
    assert read(tmp_path, "clusters") == read(tmp_path, "cuts") == []
