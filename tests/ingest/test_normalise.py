"""Raw values and their normal forms."""

from __future__ import annotations

import datetime as dt
import re

import duckdb
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from resolver.ingest import normalise, raw, vocabulary


def normal(rows: list[dict[str, str]], **options: tuple[str, ...]) -> list[dict[str, object]]:
    """Rows of raw fields in, rows of normal fields out."""
    with duckdb.connect() as con:
        con.execute("SET TimeZone = 'UTC'")
        con.execute(
            "CREATE TABLE raw_rows (file INTEGER, row BIGINT, "
            + ", ".join(f"{name} VARCHAR" for name in raw.PERSON_COLUMNS if name != "row")
            + ")"
        )
        names = [name for name in raw.PERSON_COLUMNS if name != "row"]
        values = [[0, number, *(row.get(name) for name in names)] for number, row in enumerate(rows)]
        con.executemany(f"INSERT INTO raw_rows VALUES ({', '.join('?' * (len(names) + 2))})", values)
        cursor = con.execute(f"SELECT * FROM ({normalise.persons('raw_rows', **options)}) ORDER BY row")
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def one(field: str, value: str, **options: tuple[str, ...]) -> object:
    return normal([{field: value}], **options)[0][field]


VALUES = [
    ("first_name", "Abel832", "ABEL"),
    ("first_name", " José-María ", "JOSE MARIA"),
    ("first_name", "Jose\u0301", "JOSE"),
    ("last_name", "O’Brien", "OBRIEN"),
    ("last_name", "Weiß Łódzki Ærø", "WEISS LODZKI AERO"),
    ("first_name", "MRS. ANN", "ANN"),
    ("first_name", "UNKNOWN", None),
    ("first_name", "Baby Boy", None),
    ("first_name", "BABYGIRL B", None),
    ("last_name", "TEST", None),
    ("last_name", "n/a", None),
    ("last_name", "xxxx", None),
    ("last_name", "Zzztest", None),
    ("last_name", "Lee", "LEE"),
    ("last_name", "Smith Jr.", "SMITH"),
    ("last_name", "Groß", "GROSS"),
    ("last_name", "x" * 10_000, None),
    ("suffix", "Jr.", "JR"),
    ("suffix", "3rd", "III"),
    ("suffix", "MD", None),
    ("sex", "female", "F"),
    ("sex", "männlich", "M"),
    ("sex", "U", None),
    ("ssn", "999-12-3456", "999123456"),
    ("ssn", "900 12 3456", "900123456"),
    ("ssn", "000-12-3456", None),
    ("ssn", "666-12-3456", None),
    ("ssn", "999-00-3456", None),
    ("ssn", "999-12-0000", None),
    ("ssn", "123-45-6789", None),
    ("ssn", "999999999", None),
    ("ssn", "99912345", None),
    ("ssn_last4", "3456", "3456"),
    ("ssn_last4", "0000", None),
    ("street", "12 North Main Street, Apt. 4B", "12 N MAIN ST"),
    ("street", "P.O. Box 77", "PO BOX 77"),
    ("street", "Homeless", None),
    ("unit", "Apt #4b", "4B"),
    ("city", "St. Louis", "ST LOUIS"),
    ("state", "Massachusetts", "MA"),
    ("state", "ma", "MA"),
    ("zip", "02115-1234", "02115"),
    ("zip", "021151234", "02115"),
    ("zip", "2115", "02115"),
    ("zip", "02115.0", "02115"),
    ("zip", "00000", None),
    ("zip", "D-35390", "35390"),
    ("zip", "sw1a 1aa", "SW1A1AA"),
    ("zip", "K1A 0B1", "K1A0B1"),
    ("zip", "1012 AB", "1012AB"),
    ("zip", "100-0001", "1000001"),
    ("zip", "02115 MA", None),
    ("zip", "unknown", None),
    ("phone", "+1 (617) 555-1234 x12", "6175551234"),
    ("phone", "617.555.1234", "6175551234"),
    ("phone", "555-1234", None),
    ("phone", "0000000000", None),
    ("phone", "0123456789", None),
    ("phone", "1234567890", None),
    ("phone", "030/1234567", "301234567"),
    ("phone", "+49 30 1234567", "301234567"),
    ("phone", "0049 (0)30 1234567", "301234567"),
    ("phone", "06 12 34 56 78", "612345678"),
    ("phone", "+33 6 12 34 56 78", "612345678"),
    ("phone", "+45 12 34 56 78", "512345678"),
    ("email", " Ada@Example.ORG ", "ada@example.org"),
    ("email", "none@none.com", None),
    ("email", "ada at example", None),
    ("member_id", "ab-12 3", "AB123"),
    ("member_id", "0000", None),
]

DATES = [
    ("1980-02-03", dt.date(1980, 2, 3)),
    ("1980-02-03T00:00:00Z", dt.date(1980, 2, 3)),
    ("1980-02-03 00:00:00", dt.date(1980, 2, 3)),
    ("19800203", dt.date(1980, 2, 3)),
    ("02/03/1980", dt.date(1980, 2, 3)),
    ("2/3/1980", dt.date(1980, 2, 3)),
    ("25/12/1980", dt.date(1980, 12, 25)),
    ("3.2.1980", dt.date(1980, 2, 3)),
    ("3 Feb 1980", dt.date(1980, 2, 3)),
    ("February 3, 1980", dt.date(1980, 2, 3)),
    ("02/03/85", dt.date(1985, 2, 3)),
    ("02/03/35", dt.date(1935, 2, 3)),
    ("1980", None),
    ("1980-02", None),
    ("1980-02-30", None),
    ("0001-01-01", None),
    ("9999-12-31", None),
    ("2980-02-03", None),
    ("1900-01-01", None),
    ("yesterday", None),
    ("today", None),
]


@pytest.fixture(scope="module")
def forms() -> dict[tuple[str, str], dict[str, object]]:
    """Each value's row, by field and value: planning the query takes longer than running it, so it is run once."""
    cases = [(field, value) for field, value, *_ in VALUES] + [("birth_date", value) for value, _ in DATES]
    cases += [("full_name", value) for value, *_ in NAMES] + [("address", value) for value, *_ in ADDRESSES]
    return dict(zip(cases, normal([{field: value} for field, value in cases]), strict=True))


Forms = dict[tuple[str, str], dict[str, object]]


@pytest.mark.parametrize(("field", "value", "expected"), VALUES)
def test_a_value_takes_its_normal_form(forms: Forms, field: str, value: str, expected: object) -> None:
    """Case, accents, punctuation and abbreviations are one; what means unknown is null."""
    assert forms[field, value][field] == expected


@pytest.mark.parametrize(("value", "expected"), DATES)
def test_a_birth_date_is_read_in_many_forms(forms: Forms, value: str, expected: dt.date | None) -> None:
    """Usual ways to write a date are understood; impossible days and parts of dates are null, and kept as they came."""
    row = forms["birth_date", value]

    assert row["birth_date"] == expected
    assert row["raw_birth_date"] == value


def test_own_date_formats_come_first() -> None:
    """A source that writes the day first is read so."""
    assert one("birth_date", "03/02/1980", date_formats=("%d/%m/%Y",)) == dt.date(1980, 2, 3)
    assert one("birth_date", "03/02/85", date_formats=("%d/%m/%y",)) == dt.date(1985, 2, 3)


def test_own_placeholders_mean_unknown() -> None:
    """Values that a config lists as placeholders are null in every field."""
    assert one("city", "Not on file", placeholders=("NOT ON FILE",)) is None


NAMES = [
    ("SMITH, John A", "JOHN", "A", "SMITH", None),
    ("Smith, John, Jr", "JOHN", None, "SMITH", "JR"),
    ("Dr. Juan Carlos van der Berg III", "JUAN", "CARLOS", "VAN DER BERG", "III"),
    ("Ada Lovelace", "ADA", None, "LOVELACE", None),
    ("Maria de la Cruz", "MARIA", None, "DE LA CRUZ", None),
    ("Smith, Jr", None, None, "SMITH", "JR"),
    ("Cher", None, None, "CHER", None),
]


@pytest.mark.parametrize(("value", "first", "middle", "last", "suffix"), NAMES)
def test_a_full_name_is_taken_apart(forms: Forms, value: str, first: str, middle: str, last: str, suffix: str) -> None:
    """Both orders of a name are understood, with titles, particles and suffixes."""
    row = forms["full_name", value]

    assert (row["first_name"], row["middle_name"], row["last_name"], row["suffix"]) == (first, middle, last, suffix)


ADDRESSES = [
    ("12 Main St Apt 4, Boston, MA 02115-1234", "12 MAIN ST", "4", "BOSTON", "MA", "02115"),
    ("12 Main St, Apt 4, Boston, Massachusetts 02115, USA", "12 MAIN ST", "4", "BOSTON", "MA", "02115"),
    ("12 Main St, Boston", "12 MAIN ST", None, "BOSTON", None, None),
    ("12 Main St", "12 MAIN ST", None, None, None, None),
]


@pytest.mark.parametrize(("value", "street", "unit", "city", "state", "zip_code"), ADDRESSES)
def test_an_address_is_taken_apart(
    forms: Forms, value: str, street: str, unit: str, city: str, state: str, zip_code: str
) -> None:
    """A whole address in one field gives street, unit, town, state and ZIP."""
    row = forms["address", value]

    assert (row["street"], row["unit"], row["city"], row["state"], row["zip"]) == (street, unit, city, state, zip_code)
    assert row["street_number"] == "12"


def test_the_last_four_digits_are_used_where_only_they_are_shown() -> None:
    """A masked number gives its last four digits, a whole one too, a placeholder none."""
    rows = normal([{"ssn": "***-**-3456"}, {"ssn": "999-12-3456"}, {"ssn": "123-45-6789"}])

    assert [row["ssn_last4"] for row in rows] == ["3456", "3456", None]


def test_john_doe_is_nobody() -> None:
    """The name given to the unknown is no name, but the family name Doe is one."""
    rows = normal([{"first_name": "Jane", "last_name": "Doe"}, {"first_name": "Rosa", "last_name": "Doe"}])

    assert [(row["first_name"], row["last_name"]) for row in rows] == [(None, None), ("ROSA", "DOE")]


WORDS = [
    *vocabulary.STREET_WORDS,
    *vocabulary.STREET_WORDS.values(),
    *vocabulary.SUFFIXES,
    *vocabulary.STATES,
    *vocabulary.NO_NAMES,
    *(
        "APT 4",
        "UNIT 5B",
        "# 7",
        "PO BOX 12",
        "BOX 9",
        "APT",
        "NO",
        "12",
        "12B",
        "MR",
        "DR",
        "VAN",
        "DE LA",
        "DOE",
        "JOHN",
    ),
    *(
        "-",
        "ß",
        "#",
        "/",
        ".",
        ",",
        "'",
        "é",
        "X",
        "XXX",
        "(617) 555 1234",
        "1234",
        "00000",
        "@",
        "a@b.co",
        "1980-02-03",
    ),
]
TEXT = st.one_of(
    st.lists(st.sampled_from(WORDS), max_size=6).flatmap(
        lambda words: st.sampled_from([" ", ", ", ""]).map(lambda by: by.join(words))
    ),
    st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=20),
)
FIELDS = (
    *("first_name", "middle_name", "last_name", "maiden_name", "suffix", "sex", "ssn", "ssn_last4", "street", "unit"),
    *("city", "state", "zip", "phone", "email", "member_id", "birth_date"),
)
# Few examples of many rows: planning the query takes longer than running it. To shrink one would take minutes.
QUICK = settings(deadline=None, max_examples=4, phases=[Phase.generate], suppress_health_check=list(HealthCheck))


@QUICK
@given(st.lists(st.lists(TEXT, min_size=len(FIELDS), max_size=len(FIELDS)), min_size=30, max_size=30))
def test_normalising_twice_changes_nothing(values: list[list[str]]) -> None:
    """The normal form of a normal form is itself, and a name is of plain letters whatever came in."""
    once = normal([dict(zip(FIELDS, row, strict=True)) for row in values])
    again = normal([{name: str(row[name]) for name in FIELDS if row[name] is not None} for row in once])

    assert [{name: row[name] for name in FIELDS} for row in again] == [
        {name: row[name] for name in FIELDS} for row in once
    ]
    for name in (row[field] for row in once for field in ("first_name", "last_name", "city")):
        assert name is None or re.fullmatch("[A-Z]+( [A-Z]+)*", str(name))
