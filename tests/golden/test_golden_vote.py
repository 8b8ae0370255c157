"""Which values win, and why."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

Rows = list[dict[str, Any]]
Record = Callable[..., dict[str, Any]]
Run = Callable[..., Any]


def test_a_misspelling_is_outvoted(run: Run, record: Record, crowd: Rows) -> None:
    """What two of three records say wins, and the third counts as a form of it."""
    rows = [record(1, "a", first_name="GRETA"), record(1, "b", first_name="GRETA"), record(1, "c", first_name="GREAT")]

    found = run(rows + crowd)

    row = found.row(0, "first_name")
    assert row["value"] == "GRETA"
    assert sorted(row["rids"][:2]) == [0, 1]
    assert row["rids"][2] == 2
    assert row["rivals"] == 1


def test_a_name_that_others_carry_beats_a_misspelling_of_it(run: Run, record: Record, crowd: Rows) -> None:
    """One record against one: the name that is known in the population wins, whichever comes first."""
    rows = [
        record(1, "a", first_name="URSXLA", last_name="JANKOWSKI"),
        record(1, "b", first_name="URSULA", last_name="JANKOWZKI"),
    ]

    found = run(rows + crowd)

    assert found.value(0, "first_name") == "URSULA"
    assert found.value(0, "last_name") == "JANKOWSKI"


def test_similar_forms_support_each_other(run: Run, record: Record) -> None:
    """Three misspellings of one name outweigh a different name that is written twice no more often than each."""
    births = ["1977-05-30", "1977-04-30", "1967-05-30", "1931-11-02"]
    rows = [
        record(1, source, birth_date=dt.date.fromisoformat(day)) for source, day in zip("abcd", births, strict=True)
    ]
    others = [
        record(f"other {n}", source, birth_date=dt.date(1950, 1, 2) + dt.timedelta(days=97 * n))
        for n in range(50)
        for source in "ab"
    ]

    found = run(rows + others)

    assert found.value(0, "birth_date") == dt.date(1977, 5, 30)


def test_a_default_value_never_wins(run: Run, record: Record, crowd: Rows) -> None:
    """What many persons carry and most are outvoted on is a placeholder, and loses even one against one."""
    names = ["GRETA", "HUGO", "IRENE", "JONAS", "KLARA", "LEON", "MARTA", "NORA"]
    rows: Rows = []
    for number in range(80):
        name = names[number % len(names)]
        rows += [
            record(number, "a", first_name=name),
            record(number, "b", first_name=name),
            record(number, "c", first_name="BABYBOY"),
        ]
    single = [record("newborn", "a", first_name="LEON"), record("newborn", "c", first_name="BABYBOY")]

    found = run(rows + single + crowd)

    assert found.value(len(rows), "first_name") == "LEON"
    assert found.golden.filter(found.golden["first_name"] == "BABYBOY").height == 0


def test_an_initial_supports_a_name_and_does_not_replace_it(run: Run, record: Record, crowd: Rows) -> None:
    """Two initials and one whole name give the name, with the initials among its sources."""
    rows = [record(1, source, middle_name=name) for source, name in zip("abc", ("P", "P", "PAULA"), strict=True)]

    row = run(rows + crowd).row(0, "middle_name")

    assert row["value"] == "PAULA"
    assert sorted(row["rids"]) == [0, 1, 2]


def test_a_married_name_beats_the_maiden_name_written_by_habit(run: Run, record: Record, crowd: Rows) -> None:
    """Where one record repeats the maiden name as last name, the other's name is the last name."""
    rows = [
        record(1, "a", first_name="RUTH", last_name="ENGEL", maiden_name="ENGEL"),
        record(1, "b", first_name="RUTH", last_name="NOVAK", maiden_name="ENGEL"),
    ]

    found = run(rows + crowd)

    assert found.value(0, "last_name") == "NOVAK"
    assert found.value(0, "maiden_name") == "ENGEL"


def test_swapped_names_are_put_back(run: Run, record: Record, crowd: Rows) -> None:
    """A record with first and last name in each other's place supports the right way round."""
    rows = [
        record(1, "a", first_name="NOVAK", last_name="RUTH"),
        record(1, "b", first_name="RUTH", last_name="NOVAK"),
        record(2, "a", first_name="OLSEN", last_name="SIMON"),
    ]

    found = run(rows + crowd)

    assert (found.value(0, "first_name"), found.value(0, "last_name")) == ("RUTH", "NOVAK")
    assert found.row(0, "first_name")["rids"] in ([0, 1], [1, 0])
    assert (found.value(2, "first_name"), found.value(2, "last_name")) == ("SIMON", "OLSEN")
    assert found.facts["swapped_names"] == 2


def test_an_event_before_birth_rules_a_date_out(run: Run, record: Record, crowd: Rows) -> None:
    """Nobody is treated before being born: the date after an event loses, and alone it is hardly believed."""
    rows = [
        record(1, "a", birth_date=dt.date(2016, 3, 9)),
        record(1, "b", birth_date=dt.date(2010, 3, 9)),
        record(2, "a", birth_date=dt.date(2016, 3, 9)),
        record(3, "a", birth_date=dt.date(2016, 3, 9)),
    ]
    events = [{"rid": rid, "kind": "condition", "code": "1", "start": dt.datetime(2012, 1, 5)} for rid in (1, 2)]

    found = run(rows + crowd, events)

    assert found.value(0, "birth_date") == dt.date(2010, 3, 9)
    assert found.row(2, "birth_date")["confidence"] < 0.2
    assert found.row(3, "birth_date")["confidence"] > 0.5


def test_events_of_infancy_pin_a_date_of_birth(run: Run, record: Record, crowd: Rows) -> None:
    """Between two dates, the one that puts a dose given to infants into infancy wins."""
    rows = [record(1, "a", birth_date=dt.date(2001, 6, 1)), record(1, "b", birth_date=dt.date(2010, 6, 1))]
    events = [{"rid": 0, "kind": "immunization", "code": "08", "start": dt.datetime(2010, 6, 3)}]
    infants: Rows = []
    for number in range(60):
        born = dt.date(1995, 1, 1) + dt.timedelta(days=number * 151)
        rid = len(rows) + len(crowd) + len(infants)
        infants.append(record(f"infant {number}", "a", birth_date=born))
        first = [(2, "immunization", "08")]
        later = [((number * 97 + kind * 811) % 9000, "encounter", f"visit {kind}") for kind in range(8)]
        for days, kind, code in first + later:
            start = dt.datetime.combine(born, dt.time()) + dt.timedelta(days=days)
            events.append({"rid": rid, "kind": kind, "code": code, "start": start})

    found = run(rows + crowd + infants, sorted(events, key=lambda event: event["rid"]))

    assert found.value(0, "birth_date") == dt.date(2010, 6, 1)


def test_a_number_that_others_hold_is_less_likely_ones_own(run: Run, record: Record, crowd: Rows) -> None:
    """Of two social security numbers, the one that several other persons carry too loses."""
    shared = [record(f"shared {n}", source, ssn="457555462") for n in range(6) for source in "ab"]
    rows = [record(1, "a", ssn="457555462"), record(1, "b", ssn="219099999")]

    found = run(rows + shared + crowd)

    assert found.value(0, "ssn") == "219099999"


def test_last_four_digits_vote_for_a_number_and_agree_with_it(run: Run, record: Record, crowd: Rows) -> None:
    """A record that has only the last four digits decides between two whole numbers."""
    rows = [
        record(1, "a", ssn="212334455"),
        record(1, "b", ssn="212334466"),
        record(1, "c", ssn_last4="4466"),
        record(2, "a", ssn_last4="7788"),
    ]

    found = run(rows + crowd)

    assert found.value(0, "ssn") == "212334466"
    assert found.value(0, "ssn_last4") == "4466"
    assert found.value(3, "ssn") is None
    assert found.value(3, "ssn_last4") == "7788"


def test_a_careless_record_is_less_believed_in_its_other_fields(run: Run, record: Record) -> None:
    """Where one record misspells both names, the other one's date of birth wins."""
    first, last = ("MARTA", "IRENE", "LEON", "GRETA", "TEA"), ("KELLER", "NOVAK", "HANSEN", "LINDGREN")
    others: Rows = []
    for number in range(90):
        born = dt.date(1950, 3, 4) + dt.timedelta(days=151 * number)
        given, family = first[number % 5], last[number % 4]
        others += [
            record(f"x{number}", "a", first_name=given, last_name=family, birth_date=born),
            record(f"x{number}", "b", first_name=given, last_name=family, birth_date=born),
            record(
                f"x{number}",
                "ab"[number % 2],
                first_name=given[:2] + "XQ"[number % 2] + given[3:],
                last_name=family[:1] + "WZ"[number % 2] + family[3:],
                birth_date=born + dt.timedelta(days=number % 7 + 1),
            ),
        ]
    good, bad = dt.date(1981, 7, 12), dt.date(1981, 7, 13)
    rows = [
        record(1, "a", first_name="MARTA", last_name="LINDGREN", birth_date=good),
        record(1, "b", first_name="MAXTA", last_name="LIZDGREN", birth_date=bad),
        record(2, "b", first_name="MARTA", last_name="LINDGREN", birth_date=bad),
        record(2, "a", first_name="MAXTA", last_name="LIZDGREN", birth_date=good),
    ]

    found = run(rows + others)

    assert found.value(0, "birth_date") == good
    assert found.value(2, "birth_date") == bad


def test_newer_wins_where_values_go_out_of_date(run: Run, record: Record) -> None:
    """Where telephones change with the years, the newer of two numbers wins; nothing else sets them apart."""
    rows: Rows = []
    for number in range(100):
        phones = (f"617{number:03d}1234", f"508{number:03d}9876")
        for source, phone, year in zip("ab", phones, (2005, 2024), strict=True):
            if number % 3 == 0:
                phone = phones[1]
            rows.append(record(number, source, phone=phone, updated_at=dt.datetime(year, 1, 1)))
        rows.append(record(number, "c", phone=phones[1], updated_at=dt.datetime(2023, 1, 1)))
    single = [
        record("one", "a", phone="6175550000", updated_at=dt.datetime(2024, 1, 1)),
        record("one", "b", phone="6175551111", updated_at=dt.datetime(2004, 1, 1)),
        record("two", "a", phone="6175552222", updated_at=dt.datetime(2004, 1, 1)),
        record("two", "b", phone="6175553333", updated_at=dt.datetime(2024, 1, 1)),
    ]

    found = run(rows + single)

    assert found.value(len(rows), "phone") == "6175550000"
    assert found.value(len(rows) + 2, "phone") == "6175553333"
    assert found.facts["outdated_per_year"]["phone"] > 0.02
