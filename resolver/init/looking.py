"""Looks at a file or folder and says which sources it holds. Reads the beginnings of files, and ids of events.

Knows nothing of how a config is written.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from resolver.database import cores, name, quote
from resolver.errors import InputError
from resolver.ingest import synthea
from resolver.ingest.opening import HEAD_BYTES, find_delimiter, literal, read_head, read_header
from resolver.init import columns

SAMPLED = 5000  # rows
TABLES = (".csv", ".tsv", ".txt", ".parquet", ".pq")
TRUTH = ("truth.parquet", "truth.csv", "truth/truth.parquet", "truth/truth.csv")


@dataclass
class Found:
    """What a path holds."""

    sources: list[dict[str, Any]] = field(default_factory=list)  # as a config has them, with absolute paths
    notes: dict[int, list[str]] = field(default_factory=dict)  # position of a source -> what to look at
    truth: Path | None = None
    not_used: list[Path] = field(default_factory=list)
    unread: dict[int, list[str]] = field(default_factory=dict)  # position of a source -> columns that nothing reads


def look(data: Path) -> Found:
    data = data.absolute()
    if not data.exists():
        raise InputError(f"There is nothing at {data}.", do="Give a file or a folder with records.")
    found = Found()
    if data.is_file():
        _tables([data], found)
    else:
        found.truth = next((data / one for one in TRUTH if (data / one).is_file()), None)
        _folder(data, found)
    if not found.sources:
        raise InputError(
            f"No records were recognised in {data}.",
            do="Give Synthea folders, FHIR NDJSON, or CSV or Parquet with ids and names, or write the config by hand.",
        )
    return found


def _folder(data: Path, found: Found) -> None:
    if _synthea(data, found):
        return
    folders = [data, *sorted(path for path in data.iterdir() if path.is_dir() and path.name != "truth")]
    for folder in folders:
        if any(re.fullmatch(r"Patient[._-]?.*\.ndjson", path.name) for path in folder.iterdir()):
            found.sources.append({"kind": "fhir", "path": folder, "name": _source_name(folder)})
    if found.sources:
        return
    _tables(sorted(path for path in data.iterdir() if path.suffix.lower() in TABLES and path != found.truth), found)


def _synthea(data: Path, found: Found) -> bool:
    patients = [
        path
        for folder in (data, *sorted(data.iterdir()))
        if folder.is_dir()
        for path in sorted(folder.glob("patients.*"))
    ]
    patients = [path for path in patients if path.suffix in synthea.SUFFIXES]
    headers = [{column.lower() for column in _sample(path)[0]} for path in patients]
    if not headers or not all(
        {"id", "birthdate", "first", "last"} & header == {"id", "birthdate", "first", "last"} for header in headers
    ):
        return False
    source: dict[str, Any] = {"kind": "synthea", "path": data}
    missing = [
        field for field, column in synthea.REQUIRED.items() if any(column.lower() not in header for header in headers)
    ]
    if missing:
        source["fields"] = dict.fromkeys(missing, "")
        found.notes[0] = [f"There is no column {synthea.REQUIRED[field]}." for field in missing]
    found.sources.append(source)
    return True


def _tables(paths: list[Path], found: Found) -> None:
    others: list[tuple[Path, dict[str, list[str]], dict[str, Any]]] = []
    people: list[tuple[dict[str, Any], columns.Persons]] = []
    for path in paths:
        try:
            sample, rows, how = _sample(path)
        except InputError:
            if len(paths) == 1:
                raise
            found.not_used.append(path)  # one odd file among others
            continue
        person = (
            None
            if {"record_id", "person_id"} == {column.lower() for column in sample}
            else columns.persons(sample, rows)
        )
        if person is None:
            others.append((path, sample, how))
            continue
        source: dict[str, Any] = {
            "kind": "table",
            "path": path,
            "name": _source_name(path),
            "record_id": person.record_id,
        }
        source |= {
            key: value for key in ("source", "updated_at", "race", "ethnicity") if (value := getattr(person, key))
        }
        source |= {"fields": person.fields, **how}
        if person.date_formats:
            source["date_formats"] = list(person.date_formats)
        if person.sexes:
            source["sexes"] = person.sexes
        read = {person.record_id, person.source, person.updated_at, person.race, person.ethnicity}
        found.unread[len(found.sources)] = [one for one in sample if one not in read | set(person.fields.values())]
        if person.notes:
            found.notes[len(found.sources)] = list(person.notes)
        people.append((source, person))
        found.sources.append(source)
    for path, sample, _ in others:
        if not any(_attach(path, sample, source) for source, _ in people):
            found.not_used.append(path)


def _attach(path: Path, sample: dict[str, list[str]], source: dict[str, Any]) -> bool:
    """Adds a table of events to the source whose records it belongs to."""
    known = {column: _known(values, source) for column, values in sample.items() if values}
    event = columns.events(path.stem, sample, known, source.get("source"))
    if event is None:
        return False
    entry: dict[str, Any] = {"path": path, "event": event.event, "record_id": event.record_id}
    entry |= {key: value for key in ("source", "system") if (value := getattr(event, key))}
    source.setdefault("events", []).append(entry | event.columns)
    return True


def _known(values: list[str], source: Mapping[str, Any]) -> set[str]:
    """Those of the values that are ids of the source's records."""
    how = {key: source[key] for key in ("delimiter", "encoding") if key in source}
    with _connect() as con:
        con.execute("CREATE TABLE asked AS SELECT DISTINCT unnest(?) AS id", [values])
        ids = f"SELECT CAST({name(source['record_id'])} AS VARCHAR) FROM {_reader(source['path'], how)}"
        try:
            return {row[0] for row in con.execute(f"SELECT id FROM asked WHERE id IN ({ids})").fetchall()}
        except duckdb.Error:
            raise InputError(
                f"{source['path']} can't be read.", do="Check its delimiter, quotes and encoding."
            ) from None


def _sample(path: Path) -> tuple[dict[str, list[str]], list[dict[str, str | None]], dict[str, Any]]:
    """Filled values by column and rows of a file's beginning, and how it is to be read."""
    how = {} if path.suffix.lower() in (".parquet", ".pq") else _how(path)
    with _connect() as con:
        try:
            cursor = con.execute(f"SELECT CAST(COLUMNS(*) AS VARCHAR) FROM {_reader(path, how)} LIMIT {SAMPLED}")
            names = [str(column[0]) for column in cursor.description]
            found = cursor.fetchall()
        except duckdb.Error:
            raise InputError(f"{path} can't be read.", do="Check that it is CSV or Parquet, and whole.") from None
    rows = [
        {key: (value.strip() or None) if value else None for key, value in zip(names, row, strict=True)}
        for row in found
    ]
    sample = {key: [value for row in rows if (value := row[key]) is not None] for key in names}
    usual = {"delimiter": ",", "encoding": "utf-8"}
    return sample, rows, {key: value for key, value in how.items() if usual[key] != value}


def _how(path: Path) -> dict[str, str]:
    """Delimiter and encoding of a text file."""
    encoding = find_encoding(path)
    head = read_head(path, encoding)
    if not head.strip():
        raise InputError(f"{path} is empty.", do="Export it again with its header line.")
    return {"delimiter": find_delimiter(head), "encoding": encoding}


def find_encoding(path: Path) -> str:
    """utf-16 where its mark is there, utf-8 where all bytes fit, else latin-1."""
    with path.open("rb") as file:
        start = file.read(2)
        if start in (b"\xff\xfe", b"\xfe\xff"):
            return "utf-16"
        file.seek(0)
        wrong = lines = 0
        for _ in range(64):
            for line in file.readlines(HEAD_BYTES):
                lines += 1
                try:
                    line.decode("utf-8")
                except UnicodeDecodeError:
                    wrong += 1
    # A line or two in a thousand are broken lines of UTF-8, which the run rejects.
    return "latin-1" if wrong > max(2, lines // 500) or (lines < 50 and wrong > lines // 20) else "utf-8"


def _reader(path: Path, how: Mapping[str, str]) -> str:
    file = quote(literal(path))
    if path.suffix.lower() in (".parquet", ".pq"):
        return f"read_parquet({file})"
    encoding = how.get("encoding", "utf-8")
    head = read_head(path, encoding)
    delimiter = how.get("delimiter", find_delimiter(head))
    types = ", ".join(f"{quote(column)}: 'VARCHAR'" for column in read_header(head, delimiter))
    return (
        f"read_csv({file}, auto_detect = false, header = true, columns = {{{types}}}, delim = {quote(delimiter)}, "
        f"quote = '\"', escape = '\"', encoding = '{encoding}', ignore_errors = true)"
    )


def _connect() -> duckdb.DuckDBPyConnection:
    from resolver import database

    return database.connect(memory_gib=1, threads=cores())


def _source_name(path: Path) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "_", path.stem if path.is_file() else path.name) or "source"
