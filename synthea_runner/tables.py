"""One Synthea table from CSV to Parquet: typed, sorted, counted, and explained where it can't be read.

Work is done by DuckDB, which streams and spills, so memory does not grow with the file.
Knows nothing of populations or of what tables mean.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from resolver.database import name, quote
from resolver.errors import DamagedError, InputError, RunError, SchemaError
from synthea_runner import content
from synthea_runner.layout import DIGITS_COME_OFF, LAYOUT, NOTHING, TEXT, in_order

ROW_GROUP = 122_880
BLOCK = 1 << 22  # bytes that are read at once to count rows
_SHOWN = 5  # faults that an error names
_COUNTED = 1000  # faults that are looked for


@dataclass(frozen=True)
class Written:
    """What is in a table's Parquet file."""

    rows: int
    content: str
    columns: dict[str, str]


def convert(
    con: duckdb.DuckDBPyConnection, csv: Path, parquet: Path, *, advance: Callable[[int], None] = lambda count: None
) -> Written:
    """Write `csv` to `parquet`; `advance` is told of the bytes of CSV that are done."""
    table = csv.stem
    columns = columns_of(csv)
    order = ", ".join(name(column) for column in in_order(tuple(columns)))
    values = ", ".join(_value(table, column) for column in columns)
    copy = (
        f"COPY (SELECT {values} FROM {_read(csv, columns)} ORDER BY {order}) TO {quote(parquet)} "
        f"(FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {ROW_GROUP})"
    )
    try:
        # Counting at the same time reads the file while it is in memory, and uses the core that sorting leaves idle.
        with ThreadPoolExecutor(max_workers=2) as pool:
            counting = pool.submit(count_rows, csv)
            _watch(con, pool.submit(con.execute, copy), csv.stat().st_size, advance)
            expected = counting.result()
    except duckdb.OutOfMemoryException:
        raise RunError(f"Memory ran out at {csv}.", do="Raise --memory-gib, or lower --threads.") from None
    except duckdb.IOException as error:
        if "No space left" in str(error):
            raise
        raise InputError(f"{csv} can't be read or {parquet.parent} can't be written.", do="Check both disks.") from None
    except duckdb.Error:
        # DuckDB's message quotes the row, so it goes no further.
        raise explain(con, csv, columns) from None
    rows, hashed, found = content.of_parquet(con, parquet)
    if rows != expected:
        raise DamagedError(
            f"{csv} has {expected:,} rows, and {rows:,} were written.", do="Generate the population again."
        )
    if found != columns:
        raise DamagedError(f"{parquet} was written with other columns; this is a fault of the program.")
    return Written(rows, hashed, found)


def columns_of(csv: Path) -> dict[str, str]:
    """Columns of a CSV file with the types they get. A column that Synthea 3.3.0 does not have stays text."""
    layout = LAYOUT[csv.stem]
    with csv.open("rb") as file:
        header = file.readline()
    if not header.strip():
        raise InputError(
            f"{csv} is empty: Synthea had not finished when it stopped.", do="Generate the population again."
        )
    names = header.decode("utf-8-sig", errors="replace").strip("\r\n").split(",")
    missing = [column for column in layout if column not in names]
    if missing or len(set(names)) < len(names):
        fault = f"lacks {', '.join(missing)}" if missing else "names a column twice"
        raise SchemaError(f"{csv}: the header {fault}.", do="It must be a table of Synthea 3.3.0, with its header.")
    return {column: layout.get(column, TEXT) for column in names}


def _value(table: str, column: str) -> str:
    if column in DIGITS_COME_OFF.get(table, ()):
        bare = f"regexp_replace({name(column)}, '[0-9]+', '', 'g')"
        return f"{bare} AS {name(column)}"
    return name(column)


def _read(csv: Path, columns: dict[str, str], further: str = "") -> str:
    nothing = ", ".join(quote(text) for text in ("", *NOTHING.get(csv.stem, ())))
    types = ", ".join(f"{quote(column)}: {quote(kind)}" for column, kind in columns.items())
    return (
        f"read_csv({quote(csv)}, columns = {{{types}}}, auto_detect = false, header = true, delim = ',', "
        f"quote = '\"', escape = '\"', nullstr = [{nothing}], strict_mode = true, encoding = 'utf-8', "
        f"dateformat = '%Y-%m-%d', timestampformat = '%Y-%m-%dT%H:%M:%SZ'{further})"
    )


def _watch(con: duckdb.DuckDBPyConnection, running: Future[Any], size: int, advance: Callable[[int], None]) -> None:
    """Wait for DuckDB, and pass on how much of `size` it says is done."""
    told = 0
    try:
        while not wait([running], timeout=0.1).done:
            share = con.query_progress()
            if share > 0 and (done := int(size * min(share, 100.0) / 100)) > told:
                advance(done - told)
                told = done
    except KeyboardInterrupt:
        con.interrupt()
        raise
    running.result()
    advance(size - told)


def explain(con: duckdb.DuckDBPyConnection, csv: Path, columns: dict[str, str]) -> InputError:
    """Which lines of a CSV file can't be read, and why, without their values."""
    source = _read(csv, columns, f", store_rejects = true, rejects_limit = {_COUNTED}, parallel = false")
    try:
        con.execute(f"SELECT count(COLUMNS(*)) FROM {source}").fetchall()
        faults = con.execute(
            "SELECT DISTINCT ON (line) line, column_name, CAST(error_type AS VARCHAR) "
            "FROM reject_errors ORDER BY line, column_name"
        ).fetchall()
    except duckdb.Error:
        faults = []
    finally:
        con.execute("DROP TABLE IF EXISTS reject_errors")
        con.execute("DROP TABLE IF EXISTS reject_scans")
    if not faults:
        return InputError(f"{csv} is not readable as CSV in UTF-8.", do="Generate the population again.")
    shown = "; ".join(_fault(columns, *fault) for fault in faults[:_SHOWN])
    more = f" and {len(faults) - _SHOWN:,}{' or more' if len(faults) >= _COUNTED else ''} further" * (
        len(faults) > _SHOWN
    )
    return InputError(f"{csv} has lines that can't be read: {shown}{more}.", do="Generate the population again.")


def _fault(columns: dict[str, str], line: int, column: str | None, kind: str) -> str:
    what = {
        "MISSING COLUMNS": "too few columns",
        "TOO MANY COLUMNS": "too many columns",
        "UNQUOTED VALUE": "a quote in the wrong place",
        "LINE SIZE OVER MAXIMUM": "longer than a line may be",
        "INVALID ENCODING": "not UTF-8",
        "INVALID STATE": "a quote in the wrong place",
    }.get(kind)
    if what is None:
        what = f"{column} is not {columns.get(str(column), 'valid')}"
    return f"line {line:,}: {what}"


def count_rows(csv: Path) -> int:
    """Rows of a CSV file without its header, counted without a CSV reader, to hold the reader's count against."""
    return sum(_line_ends(csv)) - 1


def _line_ends(csv: Path) -> Iterator[int]:
    """Line ends per block that end a row: those outside of quotes, after a line that is not blank."""
    last = b"\n"  # a line end at the very start would be a blank line
    quoted = False
    with csv.open("rb") as file:
        for block in iter(lambda: file.read(BLOCK), b""):
            text = block
            if quoted or b'"' in block:
                text, quoted = _without_quoted(block, quoted)
            text = text.replace(b"\r", b"") if b"\r" in text else text
            joined = last + text
            blank = sum(len(run) - 1 for run in re.findall(rb"\n\n+", joined)) if b"\n\n" in joined else 0
            yield joined.count(b"\n", 1) - blank
            last = joined[-1:]
    yield int(last != b"\n")


def _without_quoted(block: bytes, quoted: bool) -> tuple[bytes, bool]:
    """The block without line ends inside quotes, and whether it ends inside quotes."""
    parts = block.split(b'"')
    kept = [
        part if (index % 2 == 0) != quoted else part.replace(b"\n", b"").replace(b"\r", b"")
        for index, part in enumerate(parts)
    ]
    return b'"'.join(kept), quoted != (len(parts) % 2 == 0)
