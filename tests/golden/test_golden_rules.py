"""The rules of the config."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest

from resolver.errors import SettingsError, UsageError

Rows = list[dict[str, Any]]
Record = Callable[..., dict[str, Any]]
Run = Callable[..., Any]


@pytest.fixture
def rows(record: Record) -> Rows:
    """The likeliest, the most frequent, the newest and the longest name are four different ones."""
    return [
        record(1, "a", first_name="RUTH", updated_at=dt.datetime(2001, 1, 1)),
        record(1, "a", first_name="RUTHX", updated_at=dt.datetime(2002, 1, 1)),
        record(1, "b", first_name="RUTHX", updated_at=dt.datetime(2003, 1, 1)),
        record(1, "c", first_name="RUHT", updated_at=dt.datetime(2009, 1, 1)),
        record(1, "d", first_name="RUTHALLA", updated_at=dt.datetime(2004, 1, 1)),
    ]


@pytest.mark.parametrize(
    ("method", "name"),
    [("most_frequent", "RUTHX"), ("most_recent", "RUHT"), ("longest", "RUTHALLA"), ("trusted_source", "RUTHALLA")],
)
def test_a_rule_decides_for_its_field(run: Run, rows: Rows, crowd: Rows, method: str, name: str) -> None:
    """Each method picks by what its name says."""
    settings = {"fields": {"first_name": {"method": method}}, "trusted_sources": ["d", "c"]}

    assert run(rows + crowd, **settings).value(0, "first_name") == name


def test_trust_from_the_config_decides_between_two(run: Run, record: Record) -> None:
    """The value of the source that is said to be right more often wins, whichever it is."""
    rows = [
        record(1, "a", ssn="212334455"),
        record(1, "b", ssn="212339955"),
    ]

    trusting_a = run(rows, source_trust={"a": 0.99, "b": 0.6})
    trusting_b = run(rows, source_trust={"a": 0.6, "b": 0.99})

    assert trusting_a.value(0, "ssn") == "212334455"
    assert trusting_b.value(0, "ssn") == "212339955"


def test_an_unsure_field_can_be_left_empty(run: Run, record: Record, crowd: Rows) -> None:
    """Below min_confidence a field is empty in both tables; the sure ones stay."""
    rows = [record(1, "a", first_name="RUTH", ssn="212334455"), record(1, "b", first_name="RUTH", ssn="798112233")]

    found = run(rows + crowd, min_confidence=0.8)

    assert found.value(0, "first_name") == "RUTH"
    assert found.value(0, "ssn") is None
    assert found.value(0, "ssn_last4") is None
    assert set(found.fields.filter(found.fields["cluster"] == 0)["field"]) == {"first_name"}


def test_few_values_can_be_weighed_per_person(run: Run, record: Record, crowd: Rows) -> None:
    """With max_values, what fewer records carry is left out, and still counts as a rival."""
    rows = [
        record(1, source, first_name=name)
        for source, name in zip("abcd", ("RUTH", "RUTH", "TEA", "URSULA"), strict=True)
    ]

    row = run(rows + crowd, max_values=2).row(0, "first_name")

    assert row["value"] == "RUTH"
    assert row["rivals"] == 2


def test_a_rule_for_an_unknown_field_is_refused(run: Run, rows: Rows) -> None:
    """The message names the field and those that there are."""
    with pytest.raises(SettingsError, match=r"fields\.nickname: there is no rule for it; there are first_name"):
        run(rows, fields={"nickname": {"method": "longest"}})


def test_a_source_that_is_not_there_is_refused(run: Run, rows: Rows) -> None:
    """A mistyped source would otherwise be trusted in silence."""
    with pytest.raises(UsageError, match="golden names the source z, and there is none"):
        run(rows, source_trust={"z": 0.9})


def test_trusted_source_needs_sources(run: Run, rows: Rows) -> None:
    """The method without an order of sources is refused."""
    with pytest.raises(SettingsError, match="trusted_source needs trusted_sources"):
        run(rows, fields={"ssn": {"method": "trusted_source"}})
