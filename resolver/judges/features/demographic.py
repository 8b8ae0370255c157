"""What names, dates, identifiers and addresses of two records have in common, as numbers.

Reads the normalised person fields of `records` and Splink's score of the pairs, and nothing else: not state, not
slices, not events. How common a value is counts by how many records carry it, not by its share, so that the numbers
mean the same in a town and in a country. Splink's score is there because its weights are estimated from the run's own
data: it tells how often fields are wrong here, which a model that was fitted elsewhere can't know.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
from numpy.typing import NDArray

from resolver.database import quote
from resolver.judges.features import Feature

FIELDS = (
    "first_name",
    "middle_name",
    "last_name",
    "maiden_name",
    "suffix",
    "birth_date",
    "sex",
    "ssn",
    "ssn_last4",
    "street",
    "street_number",
    "unit",
    "city",
    "zip",
    "phone",
    "email",
    "member_id",
)
COUNTED = (
    *("first_name", "last_name", "birth_date", "ssn", "street", "city", "zip"),
    *("phone", "email", "member_id"),
)


# What is made of the fields of a record once, since every pair would make it anew.
_MADE = {
    "birth_digits": "strftime(birth_date, '%Y%m%d')",
    "whole_name": "nullif(concat_ws(' ', first_name, last_name), '')",
    # Two letters or longer.
    "family_words": "list_filter(string_split(concat_ws(' ', last_name, maiden_name), ' '), lambda w: length(w) > 1)",
}
# Fields of l and r whose edit distances are looked at; each is worked out once for all features that read it.
EDITED = (
    *(
        (field, field)
        for field in (
            *("first_name", "middle_name", "last_name", "maiden_name", "birth_digits", "ssn", "ssn_last4"),
            *("street", "street_number", "city", "zip", "phone", "email", "member_id"),
        )
    ),
    *(("last_name", "maiden_name"), ("maiden_name", "last_name")),
    *(("first_name", "middle_name"), ("middle_name", "first_name")),
    *(("first_name", "last_name"), ("last_name", "first_name")),
)
# A swap of neighbours is one edit. To look for swaps costs ten times what other edits do, so it is done only where
# values are within so many edits of each other: further apart, a swap tells nothing.
NEAR = 4


@dataclass(frozen=True)
class _Computed:
    name: str
    sql: str  # of a pair of records l and r, and the edits between their fields
    says: str
    direction: int = 0


def _edit(left: str, right: str | None = None) -> str:
    """Edits between a field of l and a field of r: one of EDITED."""
    return f"edits_{left}_{right or left}"


def _share(left: str, right: str | None = None) -> str:
    """Edits as a share of the longer value."""
    return f"{_edit(left, right)} / greatest(length(l.{left}), length(r.{right or left}))"


def _common(field: str) -> str:
    """How common a shared value is; nothing where the two differ."""
    return f"CASE WHEN l.{field} = r.{field} THEN ln(l.n_{field}) END"


def _name(field: str, word: str) -> tuple[_Computed, ...]:
    left, right = f"l.{field}", f"r.{field}"
    return (
        _Computed(f"{field}_edits", f"least({_edit(field)}, 8)", f"edits between {word}s", -1),
        _Computed(f"{field}_share", _share(field), f"share of {word} that differs", -1),
        _Computed(f"{field}_winkler", f"jaro_winkler_similarity({left}, {right})", f"similarity of {word}s", 1),
        _Computed(f"{field}_initial", f"{left}[1] = {right}[1]", f"same initial of {word}", 1),
        _Computed(
            f"{field}_prefix",
            f"starts_with({left}, {right}) OR starts_with({right}, {left})",
            f"one {word} begins with the other",
            1,
        ),
    )


COMPUTED: tuple[_Computed, ...] = (
    *_name("first_name", "first name"),
    _Computed("first_name_common", _common("first_name"), "how common the shared first name is", -1),
    *_name("last_name", "last name"),
    _Computed("last_name_common", _common("last_name"), "how common the shared last name is", -1),
    _Computed(
        "maiden_name_edits",
        f"least({_edit('maiden_name')}, 8)",
        "edits between maiden names",
        -1,
    ),
    _Computed(
        "family_name_edits",
        f"least({_edit('last_name')}, {_edit('last_name', 'maiden_name')},"
        f" {_edit('maiden_name', 'last_name')}, {_edit('maiden_name')}, 8)",
        "edits between the nearest of last and maiden names",
        -1,
    ),
    _Computed(
        "family_name_shared_word",
        "list_has_any(l.family_words, r.family_words)",
        "a word of the last or maiden names is the same",
        1,
    ),
    _Computed(
        "given_name_share",
        f"least({_share('first_name')}, {_share('first_name', 'middle_name')}, {_share('middle_name', 'first_name')})",
        "share that differs of the nearest of first and middle names",
        -1,
    ),
    _Computed(
        "whole_name_letters",
        "jaccard(l.whole_name, r.whole_name)",
        "share of letters that both whole names have",
        1,
    ),
    _Computed(
        "swapped_name_share",
        f"({_share('first_name', 'last_name')} + {_share('last_name', 'first_name')}) / 2",
        "share of the names that differs if one side has first and last swapped",
        -1,
    ),
    _Computed(
        "middle_name_share",
        "CASE WHEN length(l.middle_name) = 1 OR length(r.middle_name) = 1"
        " THEN CAST(l.middle_name[1] <> r.middle_name[1] AS INTEGER)"
        f" ELSE {_share('middle_name')} END",
        "share of the middle name that differs",
        -1,
    ),
    _Computed("suffix_same", "l.suffix = r.suffix", "same suffix", 1),
    _Computed(
        "birth_date_days",
        "ln(1 + abs(date_diff('day', l.birth_date, r.birth_date)))",
        "days between the birth dates",
        -1,
    ),
    _Computed(
        "birth_date_edits",
        _edit("birth_digits"),
        "digits of the birth date that differ",
        -1,
    ),
    _Computed("birth_date_years", "least(abs(year(l.birth_date) - year(r.birth_date)), 12)", "years between them", -1),
    _Computed(
        "birth_date_month_day",
        "CAST(month(l.birth_date) = month(r.birth_date) AS INTEGER)"
        " + CAST(day(l.birth_date) = day(r.birth_date) AS INTEGER)",
        "same month, same day",
        1,
    ),
    _Computed(
        "birth_date_swapped",
        "month(l.birth_date) = day(r.birth_date) AND day(l.birth_date) = month(r.birth_date)"
        " AND year(l.birth_date) = year(r.birth_date)",
        "day and month swapped",
        1,
    ),
    _Computed("birth_date_common", _common("birth_date"), "how common the shared birth date is", -1),
    _Computed("sex_same", "l.sex = r.sex", "same sex", 1),
    _Computed("ssn_edits", _edit("ssn"), "digits of the SSN that differ", -1),
    _Computed("ssn_common", _common("ssn"), "how many records share the SSN", -1),
    _Computed("ssn_last4_edits", _edit("ssn_last4"), "digits of its last four that differ", -1),
    _Computed("street_share", _share("street"), "share of the street line that differs", -1),
    _Computed("street_winkler", "jaro_winkler_similarity(l.street, r.street)", "similarity of street lines", 1),
    _Computed("street_number_edits", _edit("street_number"), "digits of the house number", -1),
    _Computed("street_common", _common("street"), "how many records share the street line", -1),
    _Computed("unit_same", "l.unit = r.unit", "same unit", 1),
    _Computed("city_share", _share("city"), "share of the town that differs", -1),
    _Computed("city_common", _common("city"), "how common the shared town is", -1),
    _Computed("zip_edits", _edit("zip"), "digits of the ZIP that differ", -1),
    _Computed("zip_common", _common("zip"), "how common the shared ZIP is", -1),
    _Computed("phone_edits", _edit("phone"), "digits of the phone that differ", -1),
    _Computed("phone_common", _common("phone"), "how many records share the phone", -1),
    _Computed("email_share", _share("email"), "share of the e-mail that differs", -1),
    _Computed("email_common", _common("email"), "how many records share the e-mail", -1),
    _Computed("member_id_edits", _edit("member_id"), "characters of the member number that differ", -1),
    _Computed("member_id_common", _common("member_id"), "how many records share the member number", -1),
)


def _distances() -> str:
    """SQL: the pairs p, their records l and r, and the edits between fields of the two."""
    edits = [(_edit(left, right), f"l.{left}", f"r.{right}") for left, right in EDITED]
    plain = ", ".join(
        f"CASE WHEN {left} = {right} THEN 0 ELSE levenshtein({left}, {right}) END AS {name}"
        for name, left, right in edits
    )
    swaps = ", ".join(
        f"CASE WHEN {name} BETWEEN 2 AND {NEAR} THEN damerau_levenshtein({left}, {right}) ELSE {name} END AS {name}"
        for name, left, right in edits
    )
    return f"""
        SELECT p, l, r, {swaps} FROM (
            SELECT p, l, r, {plain} FROM asked_pairs p
            JOIN person_fields l ON l.rid = p.left_rid JOIN person_fields r ON r.rid = p.right_rid)"""


SPLINK = Feature("splink", "what Splink makes of names, dates, identifiers and addresses", 1)
FEATURES: tuple[Feature, ...] = (*(Feature(one.name, one.says, one.direction) for one in COMPUTED), SPLINK)


names = tuple(feature.name for feature in FEATURES)


class DemographicFeatures:
    """Computes the features of pairs, with the records held in DuckDB."""

    names = tuple(feature.name for feature in FEATURES)

    def __init__(
        self,
        con: duckdb.DuckDBPyConnection,
        records: Path,
        only: Sequence[int] | None = None,
        pairs: Path | None = None,
        counts: Path | None = None,
    ) -> None:
        """`counts`: where it is kept how common the values of each record are, as counted among all.

        `only`: hold these records alone, with what `counts` says of them. `pairs`: Splink's scores; without them that
        feature has no number.
        """
        self.con = con
        self.splink = "NULL" if pairs is None else "s.logit"
        self.scores = (
            ""
            if pairs is None
            else f"LEFT JOIN (SELECT left_rid, right_rid, logit FROM read_parquet({quote(pairs)})) s"
            " ON s.left_rid = p.left_rid AND s.right_rid = p.right_rid"
        )
        everyone = f"read_parquet({quote(records)})"
        columns = ", ".join((*FIELDS, *(f"{sql} AS {name}" for name, sql in _MADE.items())))
        kept = ", ".join(f"n_{field}" for field in COUNTED)
        if only is not None:
            if counts is None:
                raise ValueError("a few records alone do not tell how common their values are among all")
            wanted = ", ".join(map(str, only)) or "NULL"
            con.execute(
                f"CREATE OR REPLACE TABLE person_fields AS SELECT * FROM"
                f" (SELECT rid, {columns} FROM {everyone} WHERE rid IN ({wanted})) JOIN"
                f" (SELECT rid, {kept} FROM read_parquet({quote(counts)}) WHERE rid IN ({wanted})) USING (rid)"
                " ORDER BY rid"
            )
            return
        counted = ", ".join(f"count({field}) OVER (PARTITION BY {field}) AS n_{field}" for field in COUNTED)
        con.execute(
            f"CREATE OR REPLACE TABLE person_fields AS SELECT rid, {columns}, {counted} FROM {everyone} ORDER BY rid"
        )
        if counts is not None:
            con.execute(
                f"COPY (SELECT rid, {kept} FROM person_fields ORDER BY rid) TO {quote(counts)}"
                " (FORMAT parquet, COMPRESSION zstd)"
            )

    def births(self) -> pl.DataFrame:
        """rid, numbered from 0 in the order of the records held, and the day of birth, counted from 1900."""
        return self.con.sql(
            """
            SELECT row_number() OVER (ORDER BY rid) - 1 AS rid,
                date_diff('day', DATE '1900-01-01', birth_date) AS day FROM person_fields ORDER BY 1"""
        ).pl()

    def scores_of(self, pairs: pl.DataFrame) -> NDArray[np.float64]:
        """Splink's scores, in the order of `pairs`; not a number where there is none."""
        self.con.register("asked_pairs", pairs.select("left_rid", "right_rid").with_row_index("n"))
        try:
            found = self.con.sql(
                f"SELECT CAST({self.splink} AS DOUBLE) AS logit FROM asked_pairs p {self.scores} ORDER BY p.n"
            ).fetchnumpy()
        finally:
            self.con.unregister("asked_pairs")
        return np.ma.filled(np.ma.asarray(found["logit"], dtype=float), np.nan)

    def of(self, pairs: pl.DataFrame) -> pl.DataFrame:
        """left_rid, right_rid and one Float32 column per feature, in the order of `pairs`."""
        sql = {feature.name: feature.sql for feature in COMPUTED} | {SPLINK.name: self.splink}
        columns = ", ".join(f"CAST({sql[name]} AS FLOAT) AS {name}" for name in self.names)
        self.con.register("asked_pairs", pairs.select("left_rid", "right_rid").with_row_index("n"))
        try:
            return self.con.sql(
                f"SELECT p.left_rid, p.right_rid, {columns} FROM ({_distances()}) {self.scores} ORDER BY p.n"
            ).pl()
        finally:
            self.con.unregister("asked_pairs")
