"""Everything that touches Splink: silent, and with failures that say nothing of the data.

Splink's errors quote whole SQL statements and the database's errors quote values, so neither may pass. Knows nothing of
where pairs come from.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping
from typing import Any

import duckdb

from resolver.errors import ResolverError, RunError
from resolver.link.comparisons import create_macros


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """Keep Splink from logging: its messages quote settings and SQL."""
    logger = logging.getLogger("splink")
    before = logger.disabled, logger.level, logger.propagate
    logger.setLevel(logging.CRITICAL + 1)
    logger.propagate = False
    try:
        yield
    finally:
        logger.disabled, logger.level, logger.propagate = before


@contextlib.contextmanager
def guarded(doing: str) -> Iterator[None]:
    """Turn any failure of Splink or the database into one line without values."""
    try:
        with silent():
            yield
    except (ResolverError, KeyboardInterrupt):
        raise
    except Exception as error:  # noqa: BLE001 - a library's message may quote a record
        raise _failure(doing, error) from None


def _failure(doing: str, error: BaseException) -> RunError:
    seen: BaseException | None = error
    while seen is not None:
        text = str(seen)
        if isinstance(seen, duckdb.OutOfMemoryException | MemoryError) or "Out of Memory" in text:
            return RunError(f"Memory ran out while {doing}.", do="Raise run.memory_gib, or lower run.threads.")
        if "No space left" in text or "out of disk space" in text.lower():
            return RunError(f"The disk is full: it happened while {doing}.", do="Free space beside the run folder.")
        seen = seen.__cause__
    return RunError(f"The database failed while {doing} ({type(error).__name__}).", do="Look at it with --debug.")


def linker(con: duckdb.DuckDBPyConnection, settings: Mapping[str, Any], table: str = "compared") -> Any:
    """A Splink linker over a table of records with frequencies."""
    from splink import Linker
    from splink.internals.duckdb.database_api import DuckDBAPI

    create_macros(con)
    # A cursor of its own: Splink's relations and a result still being fetched can't share a connection.
    api = DuckDBAPI(con.cursor())
    # Column frequencies come with the records: Splink is given empty lookups, so that it does not count them anew.
    made = Linker(api.register(table), dict(settings), log_level=None, validate_settings=False)
    for column in sorted({column.unquote().name for column in made._settings_obj._term_frequency_columns}):
        con.execute(f"CREATE OR REPLACE TABLE no_{column} ({column} VARCHAR, tf_{column} DOUBLE)")
        lookup = api.register(f"no_{column}", table_name=f"lookup_{column}")
        made.table_management.register_term_frequency_lookup(lookup, column)
    return made


def score(con: duckdb.DuckDBPyConnection, made: Any, pairs: str, least: float | None = None) -> str:
    """Score a table of pairs (join_key_l, join_key_r, match_key); the name of the table that Splink makes.

    The caller drops that table. `least` is a match weight: log-odds to the base of two.
    """
    made._db_api._registered_table_names.discard(pairs)
    registered = made._db_api.register(pairs, table_name=pairs)
    made.table_management.register_blocked_pairs_for_predict(registered)
    scored = made.inference.predict(threshold_match_weight=least, warning_mode="never")
    return str(scored.physical_name)
