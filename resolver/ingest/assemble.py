"""Makes `records`, `slices`, `events` and `rejected` of what the readers found, and sees that no row goes astray.

The work is done in a database file in the scratch folder, so that millions of records need little memory.
Knows nothing of kinds of sources, nor of what a value means: that is normalise.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import duckdb

from resolver import tables
from resolver.database import quote
from resolver.errors import InputError
from resolver.ingest import normalise, raw
from resolver.ingest.opening import REJECTED_DDL, literal, machine_is_full
from resolver.stage import StageContext
from resolver.tables import EVENTS, PERSON_FIELDS, RECORDS, REJECTED, SLICES

# Reasons, fixed so that they can be counted. Those of unreadable lines are in opening.py.
NO_ID = "no record id"
LONG_ID = "record id is longer than 256 characters"
NO_FIELD = "no usable field"
OTHER_CONTENT = "record id was there before, with other content"
NO_RECORD = "event of no known record"
NO_CODE = "event without code or words"
NO_DATE = "impossible date of event"
NO_VALUE = "measured value is missing or no number"

SAME_CONTENT = "same"  # not rejected: the record is there already, value for value

FIELDS = tuple(name for name, _, _ in PERSON_FIELDS)
RAW = tuple(f"raw_{name}" for name in FIELDS)


# 64 bits of MD5, which no version of the database changes; they are summed per record, whatever the order.
EVENT_HASH = """CAST(md5_number(concat_ws(chr(31), kind, system, code, coalesce(epoch_us(start), 0),
    coalesce(epoch_us(stop), 0), coalesce(value, 0), coalesce(unit, ''), coalesce(description, ''))) >> 64
    AS UBIGINT)"""


class File(NamedTuple):
    number: int
    batch: raw.Batch
    rows: raw.Rows


class Assembly:
    """The tables of one run, from the first row to the finished files."""

    def __init__(self, con: duckdb.DuckDBPyConnection, base: Mapping[str, Path]) -> None:
        self.con = con
        self.base = base  # records, slices and events of the last run, where this one brings only changes
        self.files: list[File] = []
        for name in ("records", "slices", "events"):
            if base:
                tables.check(base[name], tables.TABLES[name])
        fields = ", ".join([f"{name} {kind}" for name, kind, _ in PERSON_FIELDS] + [f"{name} VARCHAR" for name in RAW])
        con.execute(f"CREATE TABLE rejected ({REJECTED_DDL})")
        con.execute(
            f"""CREATE TABLE person (file INTEGER, row BIGINT, record_id VARCHAR, source VARCHAR, id VARCHAR, {fields},
            updated_at TIMESTAMP, race VARCHAR, ethnicity VARCHAR, hash VARCHAR, reason VARCHAR)"""
        )
        con.execute(
            """CREATE TABLE event (file INTEGER, row BIGINT, rid INTEGER, kind VARCHAR, system VARCHAR, code VARCHAR,
            description VARCHAR, start TIMESTAMP, stop TIMESTAMP, value DOUBLE, unit VARCHAR, hash UBIGINT,
            source VARCHAR, id VARCHAR, reason VARCHAR, content VARCHAR)"""
        )

    def add_persons(self, files: Sequence[File], placeholders: tuple[str, ...]) -> None:
        """Rows of person files that share their date formats."""
        normal = normalise.persons(_union(files), date_formats=files[0].batch.date_formats, placeholders=placeholders)
        content = ", ".join(f"coalesce({name}, '')" for name in RAW)
        usable = " OR ".join(f"{name} IS NOT NULL" for name in FIELDS)
        self._insert(
            "person",
            f"""SELECT file, row, source || ':' || id, source, id, {", ".join(FIELDS)}, {", ".join(RAW)},
                updated_at, race, ethnicity, md5(concat_ws(chr(31), {content}, coalesce(epoch_us(updated_at), 0))),
                CASE WHEN id IS NULL THEN {quote(NO_ID)}
                    WHEN length(id) > {normalise.MAX_LENGTH} THEN {quote(LONG_ID)}
                    WHEN NOT ({usable}) THEN {quote(NO_FIELD)} END
            FROM ({normal})""",
            files,
        )

    def number_records(self) -> int:
        """Put rows aside that repeat an id, and give the others their numbers; how many there are."""
        self.con.execute(
            """CREATE TABLE repeated AS
            SELECT rowid AS place, hash = first_value(hash) OVER same AS same_content
            FROM person
            WHERE reason IS NULL AND record_id IN (
                SELECT record_id FROM person WHERE reason IS NULL GROUP BY record_id HAVING count(*) > 1)
            WINDOW same AS (PARTITION BY record_id ORDER BY file, row, rowid)
            QUALIFY row_number() OVER same > 1"""
        )
        self.con.execute(
            f"""UPDATE person
            SET reason = CASE WHEN same_content THEN {quote(SAME_CONTENT)} ELSE {quote(OTHER_CONTENT)} END
            FROM repeated WHERE person.rowid = repeated.place"""
        )
        old = ""
        if self.base:
            records = f"read_parquet({quote(literal(self.base['records']))})"
            self.con.execute(
                f"""CREATE TABLE carried AS SELECT record_id, rid AS old_rid FROM {records}
                WHERE record_id NOT IN (SELECT record_id FROM person WHERE reason IS NULL)"""
            )
            old = "UNION ALL SELECT record_id, NULL, NULL FROM carried"
        self.con.execute(
            f"""CREATE TABLE known AS
            SELECT CAST(row_number() OVER (ORDER BY record_id) - 1 AS INTEGER) AS rid, record_id, source, id
            FROM (SELECT record_id, source, id FROM person WHERE reason IS NULL {old})"""
        )
        return int(self.con.execute("SELECT count(*) FROM known").fetchall()[0][0])

    def add_events(self, files: Sequence[File]) -> None:
        """Rows of event files that share their date formats."""
        normal = normalise.events(_union(files), date_formats=files[0].batch.date_formats)
        bad = "CASE WHEN reason IS NOT NULL THEN"
        self._insert(
            "event",
            f"""SELECT file, {bad} row END, rid, kind, system, code, description, start, stop, value, unit,
                {EVENT_HASH}, {bad} source END, {bad} id END, reason,
                {bad} to_json(struct_pack(kind := kind, code := code, description := description, start := raw_start,
                    stop := raw_stop, value := raw_value, unit := unit)) END
            FROM (
                SELECT normal.*, known.rid, CASE WHEN known.rid IS NULL THEN {quote(NO_RECORD)}
                    WHEN code IS NULL THEN {quote(NO_CODE)} WHEN bad_start THEN {quote(NO_DATE)}
                    WHEN kind = 'measurement' AND normal.value IS NULL THEN {quote(NO_VALUE)} END AS reason
                FROM ({normal}) AS normal LEFT JOIN known ON known.source = normal.source AND known.id = normal.id
            )""",
            files,
        )

    def reject(self) -> None:
        """Move what can't be used into `rejected`."""
        files = f"MAP {{{', '.join(f'{file.number}: {quote(file.rows.file)}' for file in self.files)}}}"
        fields = ", ".join(f"{name} := raw_{name}" for name in FIELDS)
        for table, content in (("person", f"to_json(struct_pack({fields}))"), ("event", "content")):
            self.con.execute(
                f"""INSERT INTO rejected
                SELECT source, {files}[file], row, left(id, {normalise.MAX_LENGTH}), reason, {content}
                FROM {table} WHERE reason IS NOT NULL AND reason <> {quote(SAME_CONTENT)}"""
            )

    def write(self, context: StageContext) -> dict[str, int]:
        """The four outputs; the number of rows of each."""
        con = self.con
        con.execute(
            """CREATE TABLE history AS
            SELECT rid, sum(hash) AS hash, count(*) AS events, max(start) AS last
            FROM event WHERE reason IS NULL GROUP BY rid"""
        )
        kept = ", ".join(f"person.{name}" for name in (*FIELDS, *RAW))
        records = f"""
            SELECT known.rid, person.record_id, person.source, person.id AS source_record_id,
                md5(concat_ws(chr(31), person.hash, coalesce(history.hash, 0), coalesce(history.events, 0)))
                    AS content_hash,
                {kept}, coalesce(person.updated_at, history.last) AS updated_at
            FROM person JOIN known USING (record_id) LEFT JOIN history ON history.rid = known.rid
            WHERE person.reason IS NULL"""
        slices = """SELECT known.rid, race, ethnicity FROM person JOIN known USING (record_id) WHERE reason IS NULL"""
        events = """SELECT rid, kind, system, code, description, start, stop, value, unit, hash
            FROM event WHERE reason IS NULL"""
        return {
            "records": context.write(
                con,
                RECORDS.select(f"({self._with_base(records, 'records')})") + " ORDER BY rid",
                "records",
                group=20_480,
            ),
            "slices": context.write(
                con, SLICES.select(f"({self._with_base(slices, 'slices')})") + " ORDER BY rid", "slices"
            ),
            "events": context.write(
                con,
                EVENTS.select(f"({self._with_base(events, 'events')})") + " ORDER BY rid, start, hash, kind, code",
                "events",
            ),
            "rejected": context.write(
                con,
                REJECTED.select("rejected") + ' ORDER BY source, "file", "row", source_record_id, reason, content',
                "rejected",
            ),
        }

    def carried(self) -> dict[str, int]:
        """How many rows the run took over from the last one."""
        if not self.base:
            return {"records": 0, "events": 0}
        events = f"read_parquet({quote(literal(self.base['events']))})"
        counts = self.con.execute(
            f"""SELECT (SELECT count(*) FROM carried),
                (SELECT count(*) FROM {events} WHERE rid IN (SELECT old_rid FROM carried))"""
        ).fetchall()[0]
        return {"records": int(counts[0]), "events": int(counts[1])}

    def _with_base(self, query: str, name: str) -> str:
        """The query, and below it the rows of the last run's table that this run carries over."""
        if not self.base:
            return query
        old = f"read_parquet({quote(literal(self.base[name]))})"
        number = "old.* EXCLUDE (rid, record_id)" if name == "records" else "old.* EXCLUDE (rid)"
        record_id = ", old.record_id" if name == "records" else ""
        return f"""{query} UNION ALL BY NAME
            SELECT known.rid{record_id}, {number}
            FROM {old} AS old JOIN carried ON carried.old_rid = old.rid
                JOIN known ON known.record_id = carried.record_id"""

    def _insert(self, table: str, query: str, files: Sequence[File]) -> None:
        try:
            self.con.execute(f"INSERT INTO {table} {query}")
        except duckdb.Error as error:
            if machine_is_full(error):
                raise
            # What the database says may quote a value.
            raise InputError(_which(self.con, files), do="Write it again.") from error
        numbers = [file.number for file in files]
        arrived = dict(
            self.con.execute(
                f"SELECT file, count(*) FROM {table} WHERE file BETWEEN ? AND ? GROUP BY file",
                [min(numbers), max(numbers)],
            ).fetchall()
        )
        for file in files:
            rows, added = file.rows, arrived.get(file.number, 0)
            left_out = rows.total - rows.unreadable - added
            if left_out < 0 or (left_out and not rows.filtered):
                raise InputError(
                    f"{rows.file} of {file.batch.name} has {rows.total:,} rows; {added + rows.unreadable:,} arrived.",
                    do="Run again when nothing writes to the sources.",
                )
        self.files.extend(files)


def _union(files: Sequence[File]) -> str:
    return "(" + " UNION ALL ".join(f"SELECT {file.number} AS file, * FROM ({file.rows.query})" for file in files) + ")"


def _which(con: duckdb.DuckDBPyConnection, files: Sequence[File]) -> str:
    """The file that can't be read."""
    for file in files:
        try:
            con.execute(f"SELECT max(hash(COLUMNS(*))) FROM ({file.rows.query})").fetchall()
        except duckdb.Error:
            what = "can't be read to its end: it is damaged, or holds text that is not UTF-8"
            return f"{file.rows.file} of {file.batch.name} {what}."
    return f"Files of {files[0].batch.name} can't be read."
