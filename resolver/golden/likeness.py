"""In which of a field's ways two values of it differ (resolver/golden/fields.py names the ways).

Works on distinct pairs of values, in SQL. Knows nothing of persons or of how often anything occurs.
"""

from __future__ import annotations

import duckdb
import numpy as np
import polars as pl

from resolver.golden import fields
from resolver.golden.fields import Field
from resolver.golden.sql import ask

FORM_OF = -1  # not an error: a part of the value that agrees with it (an initial, the last four digits)

# `seen` was written where `right` is right.
NAME = """CASE
    WHEN length(seen) = 1 AND starts_with("right", seen) THEN -1
    WHEN damerau_levenshtein(seen, "right") = 1 THEN 0
    WHEN length(seen) > 2 AND length("right") > length(seen) + 1 AND starts_with("right", seen) THEN 4
    WHEN damerau_levenshtein(seen, "right") = 2 THEN 1
    WHEN damerau_levenshtein(seen, "right") = 3 AND length("right") > 3 THEN 2
    WHEN damerau_levenshtein(seen, "right") = 4 AND length("right") > 5 THEN 3
    ELSE {other} END"""
BIRTH_DATE = """CASE
    WHEN substr(seen, 1, 4) = substr("right", 1, 4) AND substr(seen, 6, 2) = substr("right", 9, 2)
        AND substr(seen, 9, 2) = substr("right", 6, 2) THEN 0
    WHEN damerau_levenshtein(replace(seen, '-', ''), replace("right", '-', '')) = 1
        THEN CASE WHEN hamming(seen, "right") = 1 THEN 2 ELSE 1 END
    WHEN abs(CAST(seen AS DATE) - CAST("right" AS DATE)) <= 62 THEN 3
    WHEN substr(seen, 6) = substr("right", 6) THEN 4
    WHEN damerau_levenshtein(substr(seen, 1, 4), substr("right", 1, 4)) <= 1 AND (
        substr(seen, 6, 2) = substr("right", 9, 2) AND substr(seen, 9, 2) = substr("right", 6, 2)
        OR abs(date_part('doy', CAST(seen AS DATE)) - date_part('doy', CAST("right" AS DATE))) <= 62) THEN 5
    WHEN substr(seen, 1, 4) = substr("right", 1, 4) THEN 6
    ELSE {other} END"""
DIGITS = """CASE
    WHEN length(seen) < length("right") AND ends_with("right", seen) THEN -1
    WHEN damerau_levenshtein(seen, "right") = 1
        THEN CASE WHEN length(seen) = length("right") AND hamming(seen, "right") = 2 THEN 0 ELSE 1 END
    WHEN damerau_levenshtein(seen, "right") = 2 THEN 2
    WHEN damerau_levenshtein(seen, "right") = 3 AND length("right") > 5 THEN 3
    ELSE {other} END"""
STREET = """CASE
    WHEN damerau_levenshtein(seen, "right") <= 2
        OR least(length(seen), length("right")) > 6
            AND (starts_with(seen, "right") OR starts_with("right", seen)) THEN 0
    WHEN regexp_extract(seen, '^[0-9]+') <> '' AND regexp_extract(seen, '^[0-9]+') = regexp_extract("right", '^[0-9]+')
        THEN 1
    WHEN regexp_replace(seen, '^[0-9]+ *', '') = regexp_replace("right", '^[0-9]+ *', '') THEN 2
    ELSE {other} END"""
TEXT = """CASE
    WHEN damerau_levenshtein(seen, "right") = 1 THEN 0
    WHEN damerau_levenshtein(seen, "right") = 2 AND length("right") > 3 THEN 1
    WHEN damerau_levenshtein(seen, "right") = 3 AND length("right") > 5 THEN 2
    ELSE {other} END"""

SQL = {
    fields.NAME: NAME,
    fields.FAMILY_NAME: NAME,
    fields.BIRTH_DATE: BIRTH_DATE,
    fields.DIGITS: DIGITS,
    fields.STREET: STREET,
    fields.TEXT: TEXT,
    fields.FLAG: "{other}",
}

LONGEST = 60  # letters compared; the edit distance takes time with the square of it


def levels(con: duckdb.DuckDBPyConnection, field: Field, seen: pl.Series, right: pl.Series) -> np.ndarray:
    """Number of the level for each row; FORM_OF where `seen` is a part of `right`."""
    if len(seen) == 0:
        return np.zeros(0, dtype=np.int8)
    way = SQL[field.levels].format(other=field.other)
    pairs = pl.DataFrame({"n": np.arange(len(seen)), "s": seen, "r": right})
    found = ask(
        con,
        f"""SELECT {way} AS level FROM
        (SELECT n, substr(s, 1, {LONGEST}) AS seen, substr(r, 1, {LONGEST}) AS "right" FROM pairs)
        ORDER BY n""",
        pairs=pairs,
    )
    return found["level"].to_numpy().astype(np.int8)
