"""What holds of the golden tables whatever the records are."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from resolver import tables
from resolver.errors import DamagedError

Rows = list[dict[str, Any]]
Record = Callable[..., dict[str, Any]]
Run = Callable[..., Any]

NAMES = tuple(name for name, _, _ in tables.PERSON_FIELDS)
ANYTHING = settings(
    max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


def some(*values: Any) -> st.SearchStrategy[Any]:
    return st.none() | st.sampled_from(values)


@st.composite
def registries(draw: st.DrawFn) -> Rows:
    """Up to 25 records of up to 6 persons, with values that resemble each other, or none at all."""
    one = st.fixed_dictionaries(
        {
            "person": st.integers(0, 5),
            "source": st.sampled_from(["a", "b", "c"]),
            "first_name": some("RUTH", "RUHT", "R", "NOVAK", "TEA", "É", "A" * 80),
            "last_name": some("NOVAK", "NOWAK", "RUTH", "DE LA CRUZ"),
            "maiden_name": some("ENGEL", "NOVAK"),
            "birth_date": some(dt.date(1970, 2, 3), dt.date(1970, 3, 2), dt.date(1, 1, 1), dt.date(9999, 12, 31)),
            "sex": some("F", "M"),
            "ssn": some("212334455", "212334465", "798112233"),
            "street": some("12 OAK ST", "12 OAKK ST", "PO BOX 4", "7 ELM ST"),
            "unit": some("APT 1", "APT 2"),
            "city": some("SALEM", "BOSTON"),
            "zip": some("01970", "02101"),
            "phone": some("6175550000", "6175550001"),
            "email": some("a@example.org", "b@example.org"),
            "updated_at": some(dt.datetime(2000, 1, 1), dt.datetime(2020, 1, 1)),
        }
    )
    rows = draw(st.lists(one, min_size=1, max_size=25))
    for row in rows:
        row["ssn_last4"] = row["ssn"][-4:] if row["ssn"] else None
        row["street_number"] = row["street"].split()[0] if row["street"] and row["street"][0].isdigit() else None
    return rows


@ANYTHING
@given(rows=registries())
def test_every_golden_value_stands_in_a_record_of_the_person(run: Run, rows: Rows) -> None:
    """One row per person; each value comes from its field (a name from either name); sources and confidence fit."""
    found = run(rows)

    persons: dict[int, Rows] = {}
    for row in rows:
        persons.setdefault(row["person"], []).append(row)
    assert found.golden.height == len(persons)
    for golden in found.golden.to_dicts():
        mine = persons[rows[golden["cluster"]]["person"]]
        assert golden["records"] == len(mine)
        for name in NAMES:
            places = ("first_name", "last_name") if name in ("first_name", "last_name") else (name,)
            held = {row.get(place) for row in mine for place in places}
            assert golden[name] is None or golden[name] in held
        if golden["ssn"]:
            assert golden["ssn_last4"] == golden["ssn"][-4:]
        if golden["street_number"]:
            assert golden["street"].startswith(golden["street_number"])


@ANYTHING
@given(rows=registries())
def test_each_filled_field_has_its_sources(run: Run, rows: Rows) -> None:
    """golden_fields holds what golden holds, with a probability, records of that person, and rivals counted."""
    found = run(rows)

    filled = pl.concat(
        [found.golden.select("cluster", field=pl.lit(name), value=pl.col(name).cast(pl.String)) for name in NAMES]
    )
    both = filled.drop_nulls("value").join(found.fields, on=["cluster", "field", "value"], how="full")
    assert both.height == found.fields.height == filled.drop_nulls("value").height
    assert found.fields["confidence"].is_between(0, 1, closed="right").all()
    assert found.fields.select("cluster", "field").equals(
        found.fields.select("cluster", "field").sort("cluster", "field")
    )
    for row in found.fields.to_dicts():
        assert row["rids"]
        assert len(set(row["rids"])) == len(row["rids"])
        assert all(rows[rid]["person"] == rows[row["cluster"]]["person"] for rid in row["rids"])
        assert row["rivals"] >= 0


@ANYTHING
@given(rows=registries(), seed=st.integers(0, 2**32 - 1))
def test_the_order_of_records_is_irrelevant(run: Run, rows: Rows, seed: int) -> None:
    """The same records in another order give each person the same values, as sure."""
    before = run(rows)
    order = np.random.default_rng(seed).permutation(len(rows))
    shuffled = [rows[place] for place in order]
    after = run(shuffled)

    def by_person(found: Any, given_rows: Rows) -> dict[Any, Any]:
        named = {}
        for row in found.fields.to_dicts():
            named[given_rows[row["cluster"]]["person"], row["field"]] = (row["value"], round(row["confidence"], 4))
        return named

    assert by_person(before, rows) == by_person(after, shuffled)


def test_the_same_input_gives_the_same_files(run: Run, record: Record, crowd: Rows) -> None:
    """Two runs agree to the last digit."""
    rows = [record(1, "a", first_name="RUTH"), record(1, "b", first_name="RUHT"), *crowd]

    first, second = run(rows), run(rows)

    assert first.golden.equals(second.golden)
    assert first.fields.equals(second.fields)


def test_confidence_grows_with_agreement(run: Run, record: Record, crowd: Rows) -> None:
    """Three records that agree are surer than two, two than one, and one than two that differ."""
    rows = [record(3, source, ssn="212334455") for source in "abc"]
    rows += [record(2, source, ssn="313445566") for source in "ab"]
    rows += [record(1, "a", ssn="414556677")]
    rows += [record(0, "a", ssn="515667788"), record(0, "b", ssn="623778899")]

    found = run(rows + crowd)

    three, two, one, none = (found.row(cluster, "ssn")["confidence"] for cluster in (0, 3, 5, 6))
    assert three >= two > one > none


def test_confidence_is_what_it_says(run: Run, record: Record) -> None:
    """Of the values called 70 to 90 % sure, and of those above, about as many are right, in two kinds of data."""
    for wrong in (0.1, 0.35):
        random = np.random.default_rng(7)
        rows: Rows = []
        truth = []
        for number in range(1500):
            right = f"{random.integers(10**8, 8 * 10**8)}"
            truth.append((len(rows), right))
            for source in "abcd"[: random.integers(1, 4)]:
                digits = list(right)
                if random.random() < wrong:
                    place = random.integers(0, 9)
                    digits[place] = str((int(digits[place]) + random.integers(1, 10)) % 10)
                rows.append(record(number, source, ssn="".join(digits)))

        found = run(rows)

        true = pl.DataFrame(truth, schema={"cluster": pl.Int32, "right": pl.String}, orient="row")
        said = found.fields.filter(pl.col("field") == "ssn").join(true, on="cluster")
        said = said.with_columns(good=pl.col("value") == pl.col("right"))
        assert abs(said["confidence"].mean() - said["good"].mean()) < 0.04
        for low, high in ((0.4, 0.7), (0.7, 0.9), (0.9, 1.0)):
            part = said.filter(pl.col("confidence").is_between(low, high, closed="right"))
            if part.height > 100:
                assert abs(part["confidence"].mean() - part["good"].mean()) < 0.08


def test_a_person_with_thousands_of_records_stays_cheap(run: Run, record: Record, crowd: Rows) -> None:
    """5,000 records of one person, nearly all different, are done in seconds, and the value that repeats wins."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    rows = [
        record(1, "a", first_name=f"N{letters[n % 26]}{letters[n // 26 % 26]}{letters[n // 676 % 26]}O", sex="F")
        for n in range(4900)
    ]
    rows += [record(1, "b", first_name="RUTH", sex="F") for _ in range(100)]

    began = time.monotonic()
    found = run(rows + crowd)

    assert time.monotonic() - began < 20
    assert found.value(0, "first_name") == "RUTH"
    assert found.value(0, "sex") == "F"
    assert len(found.row(0, "sex")["rids"]) == 5000


def test_copies_in_one_source_do_not_outvote_three_others(run: Run, record: Record, crowd: Rows) -> None:
    """A source that lists a person four times counts as two records, not as four."""
    rows = [record(1, "a", ssn="212334455") for _ in range(4)]
    rows += [record(1, source, ssn="798112233") for source in "bcd"]

    assert run(rows + crowd).value(0, "ssn") == "798112233"


def test_one_record_and_all_alike(run: Run, record: Record) -> None:
    """One record is its own golden record; identical records give their one value."""
    values = {"first_name": "RUTH", "birth_date": dt.date(1970, 1, 2), "street": "12 OAK ST", "zip": "01970"}

    alone = run([record(1, "a", **values)])
    alike = run([record(1, "a", **values) for _ in range(50)])

    for found in (alone, alike):
        assert {name: found.value(0, name) for name in values} == values
        assert found.row(0, "first_name")["rivals"] == 0


def test_no_records_give_empty_tables(run: Run) -> None:
    """Nothing in, nothing out, in the declared columns."""
    found = run([])

    assert found.golden.height == found.fields.height == 0
    assert found.facts["persons"] == 0


def test_a_record_in_no_cluster_stops_the_stage(run: Run, record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    """No record may be lost: clusters must name each once."""
    rows = [record(None, "a", first_name="RUTH"), record(1, "a", first_name="TEA")]
    original = pl.DataFrame.write_parquet

    def short(frame: pl.DataFrame, file: Any, **options: Any) -> None:
        original(frame.head(1) if file.name == "clusters.parquet" else frame, file, **options)

    monkeypatch.setattr(pl.DataFrame, "write_parquet", short)

    with pytest.raises(DamagedError, match="does not name each of the 2 records once"):
        run(rows)


def test_persons_are_handled_in_parts(run: Run, record: Record, crowd: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    """With more records than a part holds, no person is lost or split, and the tables are in order."""
    whole = run(crowd)
    monkeypatch.setattr("resolver.golden.stage.PART", 40)

    parts = run(crowd)

    assert parts.golden.equals(whole.golden)
    assert parts.fields.drop("confidence").equals(whole.fields.drop("confidence"))
