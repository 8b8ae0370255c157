"""An address is one thing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Rows = list[dict[str, Any]]
Record = Callable[..., dict[str, Any]]
Run = Callable[..., Any]

OLD = {"street": "12 OAK ST", "unit": "APT 4", "city": "SALEM", "state": "MA", "zip": "01970"}
NEW = {"street": "880 HARBOR RD", "city": "AUSTIN", "state": "TX", "zip": "73301"}


def movers(record: Record) -> Rows:
    """Persons with two homes in different towns: so streets that differ say that towns do."""
    rows: Rows = []
    for number in range(40):
        one = {"street": f"{number + 5} ELM ST", "city": "LOWELL", "state": "MA", "zip": "01850"}
        two = {"street": f"{number + 300} BAY RD", "city": "DALLAS", "state": "TX", "zip": "75201"}
        rows += [record(f"mover {number}", source, **home) for source, home in zip("abc", (one, one, two), strict=True)]
    return rows


def test_an_address_is_taken_whole(run: Run, record: Record) -> None:
    """The town of one home never stands beside the street of another, though each part be tied."""
    rows = [record(1, "a", **OLD), record(1, "b", **NEW), record(1, "c", **NEW)]

    found = run(rows + movers(record))

    assert {part: found.value(0, part) for part in NEW} == NEW
    assert found.value(0, "unit") is None
    assert found.value(0, "street_number") == "880"


def test_what_only_another_home_tells_stays_empty_where_people_move(run: Run, record: Record) -> None:
    """Where streets that differ mean other towns, the chosen street's missing ZIP is not borrowed."""
    here = {part: value for part, value in NEW.items() if part != "zip"}
    rows = [record(1, "a", **OLD), record(1, "b", **here), record(1, "c", **here)]

    found = run(rows + movers(record))

    assert found.value(0, "street") == "880 HARBOR RD"
    assert found.value(0, "city") == "AUSTIN"
    assert found.value(0, "zip") is None


def test_a_missing_zip_is_borrowed_where_homes_agree_on_it(run: Run, record: Record, crowd: Rows) -> None:
    """Where records with different streets still agree on the ZIP, one of them fills it in."""
    stable: Rows = []
    for number in range(40):
        home = {"city": "SALEM", "state": "MA", "zip": "01970"}
        stable += [
            record(f"stable {number}", "a", street=f"{number + 5} ELM ST", **home),
            record(f"stable {number}", "b", street=f"{number + 5} ELM ST", **home),
            record(f"stable {number}", "c", street=f"{number + 700} PINE AVE", **home),
        ]
    rows = [
        record(1, "a", street="12 OAK ST"),
        record(1, "b", street="12 OAK ST"),
        record(1, "c", street="880 HARBOR RD", zip="01970"),
    ]

    found = run(rows + stable + crowd)

    assert found.value(0, "street") == "12 OAK ST"
    assert found.value(0, "zip") == "01970"


def test_a_record_without_a_street_still_tells_the_town(run: Run, record: Record) -> None:
    """A record that has only the town fills the town in, even where people move."""
    rows = [record(1, "a", street="12 OAK ST"), record(1, "b", city="SALEM")]

    found = run(rows + movers(record))

    assert found.value(0, "city") == "SALEM"


def test_a_slip_in_the_street_is_the_same_home(run: Run, record: Record) -> None:
    """The ZIP of a record with the street misspelt belongs to the street chosen."""
    rows = [
        record(1, "a", street="12 OAK ST", city="SALEM"),
        record(1, "b", street="12 OAK ST"),
        record(1, "c", street="12 OAKK ST", zip="01970"),
    ]

    found = run(rows + movers(record))

    assert found.value(0, "street") == "12 OAK ST"
    assert found.value(0, "zip") == "01970"
