"""A hash of a table's content that does not depend on the order of rows, the file's packing or DuckDB's version.

Each row is written as text: its values in the order of columns, the control character 31 between them, 30 in place of
nothing. The MD5 digests of these texts, read as little-endian numbers, are added up modulo 2^128. Adding, unlike XOR,
notices a row that is there twice. This guards against accidents, not against forgery.
Knows nothing of populations.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import duckdb

from resolver.database import name, quote

_BETWEEN = "chr(31)"  # control characters, which no value holds
_NOTHING = "chr(30)"
_LOW = "18446744073709551615::UHUGEINT"
MODULUS = 2**128


def row_text(columns: Iterable[str]) -> str:
    """SQL for a row as text: each value as DuckDB writes it, which for these types is ISO 8601 or plain digits."""
    values = ", ".join(f"coalesce(CAST({name(column)} AS VARCHAR), {_NOTHING})" for column in columns)
    return f"concat_ws({_BETWEEN}, {values})"


def of_rows(con: duckdb.DuckDBPyConnection, source: str, text: str) -> tuple[int, str]:
    """Rows of `source` and the hash of them all; `text` is SQL that writes a row as text."""
    found = con.execute(
        f"SELECT count(*), coalesce(sum(CAST(h & {_LOW} AS HUGEINT)), 0), coalesce(sum(CAST(h >> 64 AS HUGEINT)), 0) "
        f"FROM (SELECT md5_number({text}) AS h FROM {source})"
    ).fetchone()
    assert found is not None
    rows, low, high = (int(value) for value in found)
    return rows, f"{(low + (high << 64)) % MODULUS:032x}"


def columns_of(con: duckdb.DuckDBPyConnection, path: Path) -> dict[str, str]:
    """Names and types of a Parquet file's columns."""
    described = con.execute(f"DESCRIBE FROM read_parquet({quote(path)})").fetchall()
    return {str(row[0]): str(row[1]) for row in described}


def of_parquet(con: duckdb.DuckDBPyConnection, path: Path) -> tuple[int, str, dict[str, str]]:
    """Rows, hash and columns of a Parquet file, read back from the disk."""
    columns = columns_of(con, path)
    rows, content = of_rows(con, f"read_parquet({quote(path)})", row_text(columns))
    return rows, content, columns


def of_lines(con: duckdb.DuckDBPyConnection, path: Path) -> tuple[int, str]:
    """The same for a text file, each line a row. Used for NDJSON."""
    source = (
        f"read_csv({quote(path)}, columns={{'line': 'VARCHAR'}}, auto_detect=false, header=false, "
        "delim='\\0', quote='', escape='', max_line_size=67108864, buffer_size=134217728)"
    )
    return of_rows(con, source, "line")
