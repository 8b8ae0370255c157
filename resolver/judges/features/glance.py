"""What is seen of two records at a glance: which fields are the same, how birth dates lie, and Splink's score.

Each record is a row of numbers: one per value, one per set of letters that names are made of, one per string of digits.
So a pair costs a microsecond or two and no text is read. It is enough to tell the sure non-matches among candidates,
which are most of them. Reads the table that demographic.py makes of the records.
"""

from __future__ import annotations

from string import ascii_uppercase
from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray

from resolver.judges.features import Feature
from resolver.judges.features.demographic import FIELDS, SPLINK

INITIALS = ("first_name", "middle_name", "last_name")
LETTERS = {
    "given_name": ("first_name", "middle_name"),
    "family_name": ("last_name", "maiden_name"),
    "whole_name": ("first_name", "middle_name", "last_name", "maiden_name"),
}
DIGITS = {"birth_date": "birth_digits", "ssn": "ssn", "phone": "phone", "zip": "zip"}

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]
Table = NDArray[np.float32]

FEATURES: tuple[Feature, ...] = (
    *(Feature(f"{field}_equal", f"same {field.replace('_', ' ')}", 1) for field in FIELDS),
    *(Feature(f"{field}_initial", f"same initial of {field.replace('_', ' ')}", 1) for field in INITIALS),
    Feature("birth_date_gap", "days between the birth dates", -1),
    Feature("birth_date_parts", "how many of year, month and day are the same", 1),
    Feature("birth_date_swapped", "day and month swapped", 1),
    Feature("family_name_crossed", "one side's last name is the other's maiden name", 1),
    Feature("given_name_crossed", "one side's first name is the other's middle or last name", 1),
    *(
        Feature(f"{names}_alike", f"share of letters that both sides have in the {names.replace('_', ' ')}", 1)
        for names in LETTERS
    ),
    *(Feature(f"{field}_digits", f"digits of {field.replace('_', ' ')} that differ", -1) for field in DIGITS),
    Feature("fields_equal", "fields that are the same", 1),
    Feature("fields_other", "fields that are not", -1),
    SPLINK,
)

names = tuple(feature.name for feature in FEATURES)

BLOCK = 5_000  # pairs worked on at once, so that what is between stays in the processor's near memory

# The number of a value that is not there; hashes of values are not below 0.
_NONE = -1
_NUMBERED = {
    **{field: f"CAST(hash({field}) >> 33 AS INTEGER)" for field in FIELDS},
    **{f"{field}_initial": f"unicode({field})" for field in INITIALS},
    **{
        f"{name}_letters": " + ".join(
            f"CAST(contains(concat_ws(' ', {', '.join(fields)}), '{letter}') AS INTEGER) * {1 << at}"
            for at, letter in enumerate(ascii_uppercase)
        )
        for name, fields in LETTERS.items()
    },
    "day": "date_diff('day', DATE '1800-01-01', birth_date)",
    **{part: f"{part}(birth_date)" for part in ("year", "month", "dayofmonth")},
}
_PLACE = {name: place for place, name in enumerate(_NUMBERED)}


class GlanceFeatures:
    """Computes the features of pairs from an array with a row per record."""

    def __init__(self, con: duckdb.DuckDBPyConnection) -> None:
        """`con` holds the table `person_fields`."""
        columns = ", ".join(
            f"CAST(CASE WHEN {_source(name)} IS NULL THEN {_NONE} ELSE {sql} END AS INTEGER) AS {name}"
            for name, sql in _NUMBERED.items()
        )
        found = con.sql(f"SELECT {columns} FROM person_fields ORDER BY rid").fetchnumpy()
        self.numbers = np.stack([np.asarray(found[name], dtype=np.int32) for name in _NUMBERED], axis=1)
        # Four bits a digit; of longer strings than fit nothing is known.
        packed = ", ".join(f"coalesce(try_cast('0x' || {one} AS BIGINT), {_NONE}) AS {one}" for one in DIGITS.values())
        digits = con.sql(f"SELECT {packed} FROM person_fields ORDER BY rid").fetchnumpy()
        self.digits = np.stack([np.asarray(digits[one], dtype=np.int64) for one in DIGITS.values()], axis=1)

    def of(self, left: Ints, right: Ints, splink: NDArray[np.float64]) -> Table:
        """One row per pair. `left`, `right`: places of records in the order of rid. `splink`: its scores, if there."""
        table = np.empty((len(left), len(FEATURES)), dtype=np.float32)
        for start in range(0, len(left), BLOCK):
            rows = slice(start, start + BLOCK)
            self._fill(table[rows], left[rows], right[rows], splink[rows])
        return table

    def _fill(self, table: Table, left: Ints, right: Ints, splink: NDArray[np.float64]) -> None:
        one, other = self.numbers[left], self.numbers[right]
        known = (one != _NONE) & (other != _NONE)
        same = (one == other) & known
        compared = len(FIELDS) + len(INITIALS)
        table[:, :compared] = same[:, :compared]
        table[:, :compared][~known[:, :compared]] = np.nan

        def crossed(field: str, with_field: str) -> Flags:
            a, b = _PLACE[field], _PLACE[with_field]
            there: Flags = (one[:, a] == other[:, b]) & (one[:, a] != _NONE)
            back: Flags = (other[:, a] == one[:, b]) & (other[:, a] != _NONE)
            return there | back

        def birth(values: Any) -> Table:
            return np.where(known[:, _PLACE["birth_date"]], values, np.nan).astype(np.float32)

        year, month, day = (_PLACE[part] for part in ("year", "month", "dayofmonth"))
        swapped = (one[:, month] == other[:, day]) & (one[:, day] == other[:, month]) & same[:, year]
        equal = same[:, : len(FIELDS)].sum(axis=1)
        rest = (
            birth(np.abs(one[:, _PLACE["day"]] - other[:, _PLACE["day"]])),
            birth(same[:, [year, month, day]].sum(axis=1)),
            birth(swapped),
            crossed("last_name", "maiden_name"),
            crossed("first_name", "middle_name") | crossed("first_name", "last_name"),
            *(_alike(one[:, _PLACE[f"{name}_letters"]], other[:, _PLACE[f"{name}_letters"]]) for name in LETTERS),
            *_apart(self.digits[left], self.digits[right]).T,
            equal,
            known[:, : len(FIELDS)].sum(axis=1) - equal,
            splink,
        )
        for place, values in enumerate(rest, start=compared):
            table[:, place] = values


def _alike(one: NDArray[np.int32], other: NDArray[np.int32]) -> NDArray[np.float32]:
    """Share of the letters of two sets that are in both; no number where a side has none."""
    both, either = np.bitwise_count(one & other), np.bitwise_count(one | other)
    share = both.astype(np.float32) / np.maximum(either, 1)
    return np.where((one > 0) & (other > 0), share, np.float32(np.nan))


def _apart(one: Ints, other: Ints) -> Table:
    """How many digits differ, place by place."""
    bits = one ^ other
    bits |= bits >> 1
    bits |= bits >> 2
    count = np.bitwise_count(bits & 0x1111111111111111).astype(np.float32)
    return np.where((one == _NONE) | (other == _NONE), np.float32(np.nan), count)


def _source(name: str) -> str:
    """The field that a number is made of."""
    if name in FIELDS:
        return name
    if name.endswith("_letters"):
        return f"nullif(concat_ws('', {', '.join(LETTERS[name.removesuffix('_letters')])}), '')"
    return name.removesuffix("_initial") if name.endswith("_initial") else "birth_date"
