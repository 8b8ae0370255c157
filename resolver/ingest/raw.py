"""The one shape that every kind of source is brought into before it is normalised.

A reader (synthea.py, fhir.py, table.py) gives SQL queries with these columns, all text as it came in. It decides what
is read, never what it means: that is normalise.py. It knows nothing of record numbers or of other sources.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from resolver.database import quote
from resolver.tables import COMPOUND_FIELDS, PERSON_FIELDS

FIELDS = (*(name for name, _, _ in PERSON_FIELDS), *COMPOUND_FIELDS)

PERSON_COLUMNS = ("source", "row", "id", *FIELDS, "race", "ethnicity", "updated_at")

EVENT_COLUMNS = (
    "source",
    "row",
    "id",
    "kind",
    "system",
    "code",
    "description",
    "start",
    "stop",
    "value",
    "unit",
)


@dataclass(frozen=True)
class Rows:
    """Rows of one file."""

    file: str  # name within the source, for `rejected`
    query: str  # SQL that gives PERSON_COLUMNS or EVENT_COLUMNS
    total: int  # rows that the file holds, those included that could not be read or are left out
    unreadable: int = 0  # of them, those that are in `rejected` already
    kind: str = "person"  # or a kind of event
    filtered: bool = False  # the query leaves rows out by rule


@dataclass(frozen=True)
class Batch:
    """All that one entry of `sources` holds for one facility."""

    name: str
    persons: tuple[Rows, ...]
    events: tuple[Rows, ...] = ()
    date_formats: tuple[str, ...] = ()
    left_out: tuple[str, ...] = field(default=())  # files that are there and are not read


def person_query(source: str, row: str, found: Mapping[str, str], table: str) -> str:
    """PERSON_COLUMNS from SQL expressions by name; what is not named is null. `source` is an expression too."""
    return _select(PERSON_COLUMNS, {**found, "source": source, "row": row}, table)


def event_query(source: str, row: str, kind: str, found: Mapping[str, str], table: str) -> str:
    return _select(EVENT_COLUMNS, {**found, "source": source, "row": row, "kind": quote(kind)}, table)


def _select(columns: tuple[str, ...], found: Mapping[str, str], table: str) -> str:
    unknown = sorted(found.keys() - set(columns))
    assert not unknown, f"no raw column {unknown}"
    parts = ", ".join(f'{found.get(name, "CAST(NULL AS VARCHAR)")} AS "{name}"' for name in columns)
    return f"SELECT {parts} FROM {table}"
