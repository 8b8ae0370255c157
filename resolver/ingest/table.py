"""Reads any CSV or Parquet file with a column map: one row per record, and tables of events beside it."""

from __future__ import annotations

from pathlib import Path

from resolver.database import quote
from resolver.errors import UsageError, instead
from resolver.ingest import raw
from resolver.ingest.opening import Opened, Opener, missing
from resolver.settings import TableSource
from resolver.settings.sources import EventTable

# Digits of numbers that spreadsheets rob of their leading zeros.
DIGITS = {"ssn": 9, "zip": 5, "ssn_last4": 4}


def files(source: TableSource) -> list[Path]:
    return [path for path in (source.path, *(table.path for table in source.events)) if path.is_file()]


def read(source: TableSource, opener: Opener) -> list[raw.Batch]:
    events = tuple(_events(table, source, opener) for table in source.events)
    return [raw.Batch(source.name, (_persons(source, opener),), events, source.date_formats)]


def _persons(source: TableSource, opener: Opener) -> raw.Rows:
    _known(source)
    extra = {"race": source.race, "ethnicity": source.ethnicity, "updated_at": source.updated_at}
    columns = {**source.fields, **{name: column for name, column in extra.items() if column}}
    wanted = [source.record_id, *columns.values(), *([source.source] if source.source else [])]
    opened = opener.open(source.path, source.name, wanted, delimiter=source.delimiter, encoding=source.encoding)
    missing(opened, wanted, f"Correct the columns of the source {source.name} in the config.")
    found = {name: opened.text(column, digits=DIGITS.get(name)) for name, column in columns.items()}
    if source.sexes and "sex" in found:
        words = ", ".join(f"{quote(word.strip().upper())}: {quote(sex)}" for word, sex in sorted(source.sexes.items()))
        found["sex"] = f"coalesce(MAP {{{words}}}[upper(trim({found['sex']}))], {found['sex']})"
    # Where files were put together, header lines stand in the middle: the name of the column is no id.
    found["id"] = f"nullif({opened.text(source.record_id)}, {quote(opened.find(source.record_id) or '')})"
    query = raw.person_query(_source(source.name, source.source, opened), opened.row, found, opened.table)
    return raw.Rows(source.path.name, query, opened.total, opened.unreadable)


def _events(table: EventTable, source: TableSource, opener: Opener) -> raw.Rows:
    if not (table.code or table.description):
        raise UsageError(
            f"The events in {table.path.name} have neither a code nor a description.",
            do="Name at least one of the two columns in the config.",
        )
    names = ("code", "description", "start", "stop", "value", "unit")
    columns = {name: column for name in names if (column := getattr(table, name))}
    wanted = [table.record_id, *columns.values(), *([table.source] if table.source else [])]
    same = source.delimiter if table.path.suffix == source.path.suffix else None
    opened = opener.open(table.path, source.name, wanted, delimiter=same, encoding=source.encoding)
    missing(opened, wanted, f"Correct the columns of {table.path.name} in the config.")
    found = {name: opened.text(column) for name, column in columns.items()}
    found["id"] = opened.text(table.record_id)
    found["system"] = quote(table.system) if table.system else "CAST(NULL AS VARCHAR)"
    query = raw.event_query(_source(source.name, table.source, opened), opened.row, table.event, found, opened.table)
    return raw.Rows(table.path.name, query, opened.total, opened.unreadable, table.event)


def _source(name: str, column: str | None, opened: Opened) -> str:
    return f"coalesce(nullif(trim({opened.text(column)}), ''), {quote(name)})" if column else quote(name)


def _known(source: TableSource) -> None:
    for field in sorted(source.fields.keys() - set(raw.FIELDS)):
        raise UsageError(f"The source {source.name} names a field {field}, which is none; {instead(field, raw.FIELDS)}")
