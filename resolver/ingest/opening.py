"""Opens CSV and Parquet files as SQL, and puts lines that can't be read into `rejected`.

A CSV file is first copied into a Parquet file in the scratch folder with only the wanted columns, so that all that
follows reads one format and memory stays bounded. Knows nothing of what columns mean.
"""

from __future__ import annotations

import csv
import difflib
import io
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb

from resolver import database
from resolver.errors import InputError, SchemaError

DELIMITERS = (",", ";", "\t", "|")
HEAD_BYTES = 1 << 16

# DuckDB's kinds of unreadable lines, as reasons that can be counted.
UNREADABLE = {
    "INVALID ENCODING": "text is not in the file's encoding",
    "TOO MANY COLUMNS": "too many columns",
    "MISSING COLUMNS": "too few columns",
    "UNQUOTED VALUE": "a quote that is not closed",
    "LINE SIZE OVER MAXIMUM": "line too long",
}
OTHER_UNREADABLE = "line can't be read"
BAD_JSON = "line is not JSON"
WRONG_RESOURCE = "another type of resource than the file's name says"

MAX_JSON_LINE = 1 << 24

REJECTED_DDL = 'source VARCHAR, "file" VARCHAR, "row" BIGINT, source_record_id VARCHAR, reason VARCHAR, content VARCHAR'


@dataclass(frozen=True)
class Opened:
    """A file that SQL can read."""

    path: Path
    table: str  # SQL: what to put behind FROM
    row: str  # SQL: the row's number from 1, null where lines before it could not be read
    columns: Mapping[str, str]  # those that can be read: name -> DuckDB type
    names: tuple[str, ...]  # all that the file has
    total: int
    unreadable: int

    def find(self, column: str) -> str | None:
        """The column's name as the file spells it, whatever the case."""
        if column in self.columns:
            return column
        return next((name for name in self.columns if name.lower() == column.lower()), None)

    def text(self, column: str | None, *, digits: int | None = None) -> str:
        """SQL for a column as text. `digits`: how many a number had before a program took its leading zeros off."""
        found = self.find(column) if column else None
        if found is None:
            return "CAST(NULL AS VARCHAR)"
        kind, named = self.columns[found], database.name(found)
        if kind == "VARCHAR":
            return named
        if kind in ("DOUBLE", "FLOAT") or kind.startswith("DECIMAL"):
            whole = f"{named} = trunc({named}) AND abs({named}) < 1e15"
            named = f"CASE WHEN {whole} THEN CAST(CAST({named} AS BIGINT) AS VARCHAR) ELSE CAST({named} AS VARCHAR) END"
            kind = "BIGINT" if digits else kind
        text = f"CAST({named} AS VARCHAR)"
        if digits and kind.rstrip("U").endswith(("INT", "INTEGER")):
            return f"CASE WHEN length({text}) < {digits} THEN lpad({text}, {digits}, '0') ELSE {text} END"
        return text


class Opener:
    """Opens files for one run of the stage."""

    def __init__(self, con: duckdb.DuckDBPyConnection, scratch: Path) -> None:
        self.con = con
        self.scratch = scratch
        self.copies = 0

    def open(
        self,
        path: Path,
        source: str,
        wanted: Iterable[str],
        *,
        delimiter: str | None = None,
        encoding: str = "utf-8",
    ) -> Opened:
        if not path.is_file():
            raise InputError(f"There is no file {path}.", do="Correct the path under sources in the config.")
        if path.suffix.lower() in (".parquet", ".pq"):
            return self._parquet(path)
        return self._csv(path, source, set(wanted), delimiter, encoding)

    def json_lines(self, path: Path, source: str, resource: str, selected: str) -> Opened:
        """A file of one FHIR resource per line; `selected` is SQL over `line`, and makes the columns."""
        said = "json_extract_string(text, '$.resourceType')"
        wrong = f"""CASE WHEN NOT json_valid(text) THEN {database.quote(BAD_JSON)}
            WHEN {said} IS DISTINCT FROM {database.quote(resource)} THEN {database.quote(WRONG_RESOURCE)} END"""
        reader = (
            f"read_csv({database.quote(literal(path))}, auto_detect = false, header = false, "
            "columns = {'text': 'VARCHAR'}, delim = '\x01', quote = '', escape = '', "
            f"max_line_size = {MAX_JSON_LINE}, buffer_size = {2 * MAX_JSON_LINE}, "
            "store_rejects = true, rejects_limit = 0)"
        )
        copy = self._copy(
            f"""SELECT wrong, CASE WHEN wrong IS NOT NULL THEN text END AS refused, {selected} FROM (
                SELECT text, wrong, CASE WHEN wrong IS NULL THEN text END AS line
                FROM (SELECT text, {wrong} AS wrong FROM {reader} WHERE trim(text) <> ''))""",
            path,
        )
        unreadable = self._keep_rejects(source, path)
        wrong_rows = self.con.execute(
            f"""INSERT INTO rejected SELECT ?, ?, file_row_number + 1, NULL, wrong, to_json(refused)
            FROM read_parquet({database.quote(literal(copy))}, file_row_number = true)
            WHERE wrong IS NOT NULL ORDER BY file_row_number""",
            [source, path.name],
        ).fetchall()[0][0]
        opened = self._parquet(copy, unreadable, path)
        return replace(
            opened, table=f"(FROM {opened.table} WHERE wrong IS NULL)", unreadable=unreadable + int(wrong_rows)
        )

    def count(self, table: str) -> int:
        return int(self.con.execute(f"SELECT count(*) FROM {table}").fetchall()[0][0])

    def _copy(self, query: str, path: Path) -> Path:
        """What the query reads from a text file, as Parquet."""
        self.copies += 1
        copy = self.scratch / f"read-{self.copies}.parquet"
        try:
            self.con.execute(f"COPY ({query}) TO {database.quote(copy)} (FORMAT parquet)")
        except duckdb.Error as error:
            if machine_is_full(error):
                raise
            # What the database says may quote a value.
            raise InputError(f"{path} can't be read.", do="Check its delimiter, quotes and encoding.") from error
        return copy

    def _parquet(
        self, path: Path, unreadable: int = 0, origin: Path | None = None, names: tuple[str, ...] = ()
    ) -> Opened:
        file = database.quote(literal(path))
        try:
            found = self.con.execute(f"DESCRIBE FROM read_parquet({file})").fetchall()
            counted = self.con.execute(f"SELECT sum(num_rows) FROM parquet_file_metadata({file})").fetchall()
        except duckdb.Error:
            raise InputError(f"{path} is not a readable Parquet file.", do="Write it again.") from None
        nested = [
            str(row[0]) for row in found if str(row[1]).endswith("[]") or str(row[1]).startswith(("STRUCT", "MAP"))
        ]
        columns = {str(row[0]): str(row[1]) for row in found if str(row[0]) not in nested}
        return Opened(
            origin or path,
            f"read_parquet({file}, file_row_number = true)",
            "CAST(NULL AS BIGINT)" if unreadable else "file_row_number + 1",
            columns,
            names or tuple(columns),
            int(counted[0][0] or 0) + unreadable,
            unreadable,
        )

    def _csv(self, path: Path, source: str, wanted: set[str], delimiter: str | None, encoding: str) -> Opened:
        head = read_head(path, encoding)
        if not head.strip():
            raise InputError(f"{path} is empty.", do="Export it again with its header line.")
        delimiter = delimiter or find_delimiter(head)
        header = read_header(head, delimiter)
        low = {name.lower() for name in wanted}
        kept = [name for name in header if name.lower() in low]
        types = "{" + ", ".join(f"{database.quote(name)}: 'VARCHAR'" for name in header) + "}"
        selected = ", ".join(map(database.name, kept)) or "NULL AS nothing"
        reader = f"""read_csv({database.quote(literal(path))}, auto_detect = false, header = true,
            columns = {types}, delim = {database.quote(delimiter)}, quote = '"', escape = '"',
            encoding = '{encoding}', store_rejects = true, rejects_limit = 0, strict_mode = """
        try:
            copy = self._copy(f"SELECT {selected} FROM {reader} true)", path)
        except InputError:
            # Two kinds of line end in one file, or a quote in the middle of a word.
            self.con.execute("DROP TABLE IF EXISTS reject_errors; DROP TABLE IF EXISTS reject_scans")
            copy = self._copy(f"SELECT {selected} FROM {reader} false)", path)
        unreadable = self._keep_rejects(source, path)
        return self._parquet(copy, unreadable, path, tuple(header))

    def _keep_rejects(self, source: str, path: Path) -> int:
        reasons = " ".join(
            f"WHEN {database.quote(kind)} THEN {database.quote(text)}" for kind, text in UNREADABLE.items()
        )
        count = self.con.execute(
            f"""INSERT INTO rejected
            SELECT ?, ?, min(line) - 1, NULL, first(reason ORDER BY reason), to_json(first(csv_line ORDER BY reason))
            FROM (
                SELECT line, byte_position, csv_line,
                    CASE CAST(error_type AS VARCHAR) {reasons} ELSE {database.quote(OTHER_UNREADABLE)} END AS reason
                FROM reject_errors
            ) GROUP BY line ORDER BY line""",
            [source, path.name],
        ).fetchall()
        self.con.execute("DROP TABLE reject_errors; DROP TABLE reject_scans")
        return int(count[0][0])


def machine_is_full(error: duckdb.Error) -> bool:
    """Whether memory or disk ran out, of which the command line tells; all else is the file's fault."""
    return isinstance(error, duckdb.OutOfMemoryException) or "No space left" in str(error)


def literal(path: Path | str) -> str:
    """A path with which DuckDB finds exactly this file, though it holds characters of a pattern."""
    return "".join(f"[{mark}]" if mark in "*?[" else mark for mark in str(path))


def read_head(path: Path, encoding: str) -> str:
    """The first lines of a text file."""
    with path.open("rb") as file:
        data = file.read(HEAD_BYTES)
    return data.decode("utf-8-sig" if encoding == "utf-8" else encoding, errors="replace")


def read_header(head: str, delimiter: str) -> list[str]:
    """Names of the columns; each once, none empty."""
    names: list[str] = []
    try:
        header = next(csv.reader(io.StringIO(head), delimiter=delimiter), [])
    except csv.Error:  # no text at all
        header = []
    for position, name in enumerate(header):
        name = name.strip() or f"column_{position + 1}"
        while name in names:
            name += "_again"
        names.append(name)
    return names


def find_delimiter(head: str) -> str:
    """The delimiter that splits the header into most columns."""
    return max(DELIMITERS, key=lambda mark: len(read_header(head, mark)))


def missing(opened: Opened, columns: Iterable[str], do: str) -> None:
    """Stop with one line if a column is not there, naming the nearest one that is."""
    for column in columns:
        if opened.find(column) is None:
            by_low = {name.lower(): name for name in opened.names}
            # LAST_NAME is nearer to LAST than LAT is, whatever the letters say.
            near = [name for name in by_low if column.lower() in re.split(r"[^a-z0-9]+", name)]
            near += difflib.get_close_matches(column.lower(), by_low, n=1)
            hint = f"; the nearest is {by_low[near[0]]}" if near else ""
            if len(opened.names) == 1:
                hint = "; it has one column, so its delimiter may be another"
            elif "\ufffd" in "".join(opened.names):
                hint += "; its header is not in the encoding that the config says"
            raise SchemaError(f"{opened.path} has no column {column}{hint}.", do=do)
