"""What is known beforehand about each field of a person: how its values go wrong, and how they resemble each other.

The figures here are starting points. The shares of errors are fitted to the data at hand (resolver/golden/vote.py),
from how the records of one person differ, without labels. Knows nothing of records.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Level:
    """One way in which a wrong value differs from the right one."""

    name: str
    share: float  # of the errors of the field, to start with
    forms: float  # how many values lie this way from a given one: an error hits one of them
    alike: bool = True  # is such a value still a form of the right one, that speaks for it?


# The last level of a field is always `other`: a value that has nothing to do with the right one. It has no number of
# forms; how likely a given value is there is counted in the data.
OTHER = Level("other", 0.15, math.nan, alike=False)

NAME = (
    Level("one edit", 0.35, 400),
    Level("two edits", 0.20, 8e4),
    Level("three edits", 0.10, 1e7, alike=False),
    Level("four edits", 0.05, 1e9, alike=False),
    Level("short form", 0.05, 8),
    OTHER,
)
FAMILY_NAME = (
    *NAME[:-1],
    Level("maiden name", 0.10, 1, alike=False),
    Level("near maiden name", 0.05, 20, alike=False),
    OTHER,
)
BIRTH_DATE = (
    Level("day and month swapped", 0.15, 1),
    Level("two digits swapped", 0.15, 6),
    Level("one digit", 0.30, 40),
    Level("within two months", 0.15, 130, alike=False),
    Level("same day of another year", 0.05, 110, alike=False),
    Level("year and day both near", 0.05, 2000, alike=False),
    Level("same year", 0.05, 365, alike=False),
    OTHER,
)
DIGITS = (
    Level("two digits swapped", 0.35, 8),
    Level("one digit", 0.35, 81),
    Level("two edits", 0.10, 4e3),
    Level("three edits", 0.05, 1e5, alike=False),
    OTHER,
)
STREET = (
    Level("two edits", 0.30, 5e3),
    Level("same number", 0.15, 1e5, alike=False),
    Level("other number, same street", 0.10, 1e4, alike=False),
    OTHER,
)
TEXT = (
    Level("one edit", 0.40, 400),
    Level("two edits", 0.20, 8e4),
    Level("three edits", 0.05, 1e7, alike=False),
    OTHER,
)
FLAG = (OTHER,)


@dataclass(frozen=True)
class Field:
    name: str
    levels: tuple[Level, ...]
    error: float  # share of values that are wrong, to start with
    token: str  # SQL over `value`: the part whose frequency in the population says something
    language: bool = False  # unseen values are judged letter by letter
    holders: bool = False  # one person's own: others who carry the value speak against it
    outdated: float = 0.0  # share of values that a year makes outdated, to start with
    distinct: float = 1e6  # how many values there are, roughly, beyond what the token tells

    @property
    def other(self) -> int:
        return len(self.levels) - 1


FIELDS: tuple[Field, ...] = (
    Field("first_name", NAME, 0.15, "value", language=True),
    Field("middle_name", NAME, 0.15, "value", language=True),
    Field("last_name", FAMILY_NAME, 0.15, "value", language=True, outdated=0.01),
    Field("maiden_name", NAME, 0.15, "value", language=True),
    Field("suffix", FLAG, 0.05, "value", distinct=1),
    # A default date (1 January, or the day the system was installed) is known by how often it loses.
    Field("birth_date", BIRTH_DATE, 0.10, "substr(value, 6)", distinct=100),
    Field("sex", FLAG, 0.01, "value", distinct=1),
    Field("ssn", DIGITS, 0.10, "substr(value, 1, 3)", holders=True),
    Field("street", STREET, 0.10, "regexp_replace(value, '^[0-9]+ *', '')", outdated=0.05, distinct=1e4),
    Field("phone", DIGITS, 0.10, "substr(value, 1, 3)", outdated=0.05, distinct=1e7),
    Field("email", TEXT, 0.10, "regexp_extract(value, '[^@]*$')", outdated=0.05),
    Field("member_id", TEXT, 0.10, "''", holders=True, outdated=0.10, distinct=1e9),
)

# Parts of an address that follow from the street that was chosen: see resolver/golden/address.py.
PLACE_FIELDS: tuple[Field, ...] = (
    Field("unit", TEXT, 0.10, "value", distinct=1),
    Field("city", TEXT, 0.05, "value", distinct=1),
    Field("state", FLAG, 0.02, "value", distinct=1),
    Field("zip", DIGITS, 0.05, "value", distinct=1),
)

BY_NAME = {field.name: field for field in (*FIELDS, *PLACE_FIELDS)}
