"""Made-up people: as many as asked for, the same however they are made, with truth and errors that hold."""

from __future__ import annotations

import functools
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from augmentation.people import persons as households
from augmentation.people import write
from augmentation.people.names import given, surnames
from augmentation.people.persons import block, persons
from augmentation.presets import load
from resolver.progress import Progress

RECORDS = 3_000


@pytest.fixture
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of a few households, so that little data has several."""
    monkeypatch.setattr(households, "HOUSEHOLDS", 250)


def make(out: Path, records: int = RECORDS, preset: str = "realistic", threads: int = 1, seed: int = 0) -> Path:
    write.people(records, out, load(preset, (f"threads={threads}", f"seed={seed}")), Progress())
    return out


def patients(out: Path) -> pl.DataFrame:
    found = (
        pl.read_parquet(path).with_columns(facility=pl.lit(int(path.parent.name.removeprefix("facility_")), pl.Int32))
        for path in sorted(out.glob("facility_*/patients.parquet"))
    )
    return pl.concat(found).sort("Id")


@pytest.mark.usefixtures("small_blocks")
def test_as_many_records_as_asked_for(tmp_path: Path) -> None:
    """The number of records is met to the last one; truth is a partition; facilities agree."""
    out = make(tmp_path / "bed")
    records, truth = patients(out), pl.read_parquet(out / "truth" / "truth.parquet").sort("record_id")

    assert len(records) == RECORDS
    assert records["Id"].is_unique().all()
    assert records["Id"].to_list() == truth["record_id"].to_list()
    assert records["facility"].to_list() == truth["facility"].to_list()
    twice = truth.group_by("person_id", "facility").len()["len"]
    assert twice.max() == 2
    assert 0.06 < (twice == 2).mean() < 0.14


@pytest.mark.usefixtures("small_blocks")
def test_more_records_begin_with_the_same(tmp_path: Path) -> None:
    """A larger set starts with the households of a smaller one."""
    few = patients(make(tmp_path / "few", 1_000))
    many = patients(make(tmp_path / "many", 2_000))

    assert few.join(many, on=few.columns, how="semi", nulls_equal=True).height == len(few)


@pytest.mark.usefixtures("small_blocks")
def test_threads_do_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One process and two write the same, to the byte."""
    small = "from augmentation.people import persons; persons.HOUSEHOLDS = 250"
    pool = functools.partial(ProcessPoolExecutor, initializer=exec, initargs=(small,))
    monkeypatch.setattr(write, "ProcessPoolExecutor", pool)
    one, two = make(tmp_path / "one", 1_000), make(tmp_path / "two", 1_000, threads=2)

    names = sorted(str(path.relative_to(one)) for path in one.rglob("*.parquet"))
    assert len(names) == 7
    assert all((one / name).read_bytes() == (two / name).read_bytes() for name in names)


@pytest.mark.usefixtures("small_blocks")
def test_errors_explain_every_difference(tmp_path: Path) -> None:
    """Records of one person without an error on a field have the same in it, and each error is on a record's value."""
    out = make(tmp_path / "bed", preset="clinfuse")
    errors = pl.read_parquet(out / "truth" / "errors.parquet")
    records = patients(out).join(pl.read_parquet(out / "truth" / "truth.parquet"), left_on="Id", right_on="record_id")

    assert errors.filter(pl.col("before").eq_missing(pl.col("after"))).is_empty()
    for name in ("FIRST", "LAST", "BIRTHDATE", "SSN", "ADDRESS", "GENDER"):
        touched = errors.filter(pl.col("field") == name)
        clean = records.join(touched, left_on="Id", right_on="record_id", how="anti")
        assert clean.group_by("person_id").agg(pl.col(name).n_unique())[name].max() == 1
        last = touched.sort("step").group_by("record_id").last()
        held = records.join(last, left_on="Id", right_on="record_id")
        assert held.filter(pl.col(name).ne_missing(pl.col("after"))).is_empty()


def test_households_live_together() -> None:
    """A household has one address; its members mostly one family name; SSNs are each given once; ages are possible."""
    people = block(0, 1)
    made = pl.DataFrame(persons(people, 1)).with_columns(household=pl.Series(people.household))

    per_home = made.group_by("household").agg(pl.col("ADDRESS").n_unique(), pl.col("LAST").n_unique(), size=pl.len())
    assert per_home["ADDRESS"].max() == 1
    assert (per_home.filter(pl.col("size") > 1)["LAST"] == 1).mean() > 0.6
    assert made["SSN"].is_unique().all()
    assert made["SSN"].str.contains(r"^9\d\d-\d\d-\d{4}$").all()
    assert made["BIRTHDATE"].min() > "1920-01-01"
    assert made["BIRTHDATE"].max() < "2026-01-01"
    others = people.relatives
    assert (people.household[others[others >= 0]] == people.household[others >= 0]).all()
    assert ((others < 0) == (people.size == 1)).all()


def test_names_are_as_unequal_as_they_should_be() -> None:
    """The commonest family name is borne by .8 % of people, and 20,000 people have thousands of family names."""
    draws = np.random.default_rng(1).random(20_000)
    names, counts = np.unique(surnames().draw(draws).astype(str), return_counts=True)

    assert len(names) > 5_000
    assert counts.max() / len(draws) == pytest.approx(0.008, abs=0.002)
    assert surnames().values[0] == "Smith"
    assert surnames().upto[999] == pytest.approx(0.44, abs=0.01)
    assert len(set(given("F").values) | set(given("M").values)) > 6_000
