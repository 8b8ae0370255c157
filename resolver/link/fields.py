"""The columns that comparisons and blocking rules read, made from `records`, and how frequent values are.

This is the one place that says which columns of `records` the link stage opens. Knows nothing of Splink.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import duckdb

from resolver.database import quote
from resolver.link.comparisons import EDITED, signs

# Longer values carry no more evidence, and edit distances cost the product of both lengths.
LONGEST = 60

TEXT = (
    "first_name",
    "middle_name",
    "last_name",
    "maiden_name",
    "sex",
    "ssn",
    "ssn_last4",
    "street",
    "street_number",
    "city",
    "zip",
    "phone",
    "email",
    "member_id",
)
READ = (*TEXT, "birth_date")

# Columns whose values differ in frequency, for agreement on a rare value says more. For the first group every value
# counts. Values of the second are one person's, or a household's: there only those count that many records share, for
# that is the mark of a default.
NAMES = ("first_name", "middle_name", "last_name", "city", "zip")
IDENTIFIERS = ("birth_digits", "ssn", "street", "phone", "email", "member_id")
SHARED = 12  # records from which on a value of the second group is taken for a default

FREQUENCIES = "frequencies"  # table: field, value, frequency


def prepare(con: duckdb.DuckDBPyConnection, records: Path, rids: str | None = None) -> None:
    """Make table `fields`: one row per record, with what is compared. `rids`: SQL list, to read those records alone."""
    columns = ",\n".join(
        f"nullif(left({column}, {LONGEST}), '') AS {column}" for column in TEXT if column != "ssn_last4"
    )
    where = f"WHERE rid IN ({rids})" if rids is not None else ""
    con.execute(f"""
        CREATE OR REPLACE TABLE fields AS
        SELECT rid, {columns},
            coalesce(nullif(left(ssn_last4, {LONGEST}), ''), right(ssn, 4)) AS ssn_last4,
            birth_date,
            strftime(birth_date, '%Y%m%d') AS birth_digits,
            strftime(birth_date, '%Y%d%m') AS birth_swapped
        FROM read_parquet({quote(records)}) {where}
        ORDER BY rid""")


COPIES = 10
_IDENTIFYING = "coalesce(birth_digits, ssn, street, phone, email, member_id)"


def set_crowds_apart(con: duckdb.DuckDBPyConnection) -> int:
    """Make table `crowd` (rid, first): copies of a record beyond the tenth, with each of the first ten; their number.

    One person listed 5,000 times would make every value of theirs a hub. The copies are paired with the first ten
    alone and take no part in blocking and training, so that the rest of the person's records still find each other.
    """
    same = ", ".join((*TEXT, "birth_date"))
    con.execute(f"""
        CREATE OR REPLACE TABLE crowd AS
        WITH alike AS (
            SELECT rid, hash({same}) AS same FROM fields
            WHERE coalesce(first_name, last_name) IS NOT NULL AND {_IDENTIFYING} IS NOT NULL),
        many AS (
            SELECT rid, same, row_number() OVER (PARTITION BY same ORDER BY rid) AS copy
            FROM alike
            SEMI JOIN (SELECT same FROM alike GROUP BY same HAVING count(*) > {COPIES}) AS crowded USING (same))
        SELECT late.rid, early.rid AS first
        FROM many AS late JOIN many AS early USING (same)
        WHERE late.copy > {COPIES} AND early.copy <= {COPIES}""")
    row = con.execute("SELECT count(DISTINCT rid) FROM crowd").fetchone()
    return int(row[0]) if row else 0


def filled(con: duckdb.DuckDBPyConnection) -> Mapping[str, int]:
    """In how many records each column is filled."""
    columns = (*TEXT, "birth_digits")
    row = con.execute(f"SELECT {', '.join(f'count({column})' for column in columns)} FROM fields").fetchone()
    assert row is not None
    return dict(zip(columns, map(int, row), strict=True))


def count_frequencies(con: duckdb.DuckDBPyConnection) -> None:
    """Make the table of frequencies from all of `fields` but the crowds.

    A value's frequency is its share among the records other than the two that are compared: in a few thousand records
    most holders of a rare value are one person, and counting them in would call it common.
    """
    con.execute("CREATE OR REPLACE VIEW counted AS FROM fields ANTI JOIN crowd USING (rid)")
    parts = []
    for column in (*NAMES, *IDENTIFIERS):
        least = SHARED if column in IDENTIFIERS else 2
        parts.append(f"""
            SELECT '{column}' AS field, {column} AS value,
                greatest(count(*) - 2, 0.5) / greatest((SELECT count({column}) FROM counted), 1) AS frequency
            FROM counted WHERE {column} IS NOT NULL GROUP BY {column} HAVING count(*) >= {least}""")
    con.execute(f"CREATE OR REPLACE TABLE {FREQUENCIES} AS {' UNION ALL '.join(parts)} ORDER BY field, value")


def read_frequencies(con: duckdb.DuckDBPyConnection, path: Path, alone: bool = False) -> None:
    """Take the frequencies of a model. `alone`: only those of values in `fields`, for a handful of records."""
    source = f"read_parquet({quote(path)})"
    if alone:
        wanted = " UNION ".join(
            f"SELECT '{column}' AS field, {column} AS value FROM fields WHERE {column} IS NOT NULL"
            for column in (*NAMES, *IDENTIFIERS)
        )
        values = con.execute(f"SELECT DISTINCT value FROM ({wanted})").fetchall()
        con.execute(
            f"CREATE OR REPLACE TABLE {FREQUENCIES} AS FROM {source} WHERE value IN (SELECT unnest($values))",
            {"values": [value for (value,) in values]},
        )
        return
    con.execute(f"CREATE OR REPLACE TABLE {FREQUENCIES} AS FROM {source}")


def compared(con: duckdb.DuckDBPyConnection, rarest: Mapping[str, float]) -> None:
    """Make table `compared`: `fields`, with each value's frequency as Splink expects it (tf_<column>) and its signs.

    `rarest` is the frequency of a name that the model has not counted, by column.
    """
    columns, joins = [], []
    for column in (*NAMES, *IDENTIFIERS):
        joins.append(
            f"LEFT JOIN {FREQUENCIES} AS f_{column} ON f_{column}.field = '{column}' AND f_{column}.value = {column}"
        )
        frequency = f"f_{column}.frequency"
        if column in NAMES:
            frequency = f"coalesce({frequency}, {rarest[column]!r})"
        columns.append(f"CASE WHEN {column} IS NOT NULL THEN {frequency} END AS tf_{column}")
    columns += [f"{signs(column)} AS {column}_signs" for column in EDITED]
    con.execute(
        f"CREATE OR REPLACE TABLE compared AS SELECT fields.*, {', '.join(columns)} FROM fields {' '.join(joins)}"
    )
    con.execute("CREATE OR REPLACE VIEW uncrowded AS FROM compared ANTI JOIN crowd USING (rid)")


def rarest(counts: Mapping[str, int]) -> dict[str, float]:
    """The frequency of a name that occurs once, by column: half a holder among the others."""
    return {column: float(f"{0.5 / max(counts[column], 1):.6g}") for column in NAMES}
