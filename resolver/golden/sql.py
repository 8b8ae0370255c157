"""Asks DuckDB about polars frames, and gives polars frames back. Knows nothing of golden records."""

from __future__ import annotations

import duckdb
import polars as pl


def ask(con: duckdb.DuckDBPyConnection, query: str, **frames: pl.DataFrame) -> pl.DataFrame:
    """The result of a query that may name the frames as tables."""
    for name, frame in frames.items():
        con.register(name, frame.to_arrow())
    try:
        answer = con.sql(query).to_arrow_table()
    finally:
        for name in frames:
            con.unregister(name)
    found = pl.from_arrow(answer)
    assert isinstance(found, pl.DataFrame)
    return found
