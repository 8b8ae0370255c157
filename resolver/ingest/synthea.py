"""Reads Synthea's tables, as CSV or Parquet, typed or all text: a folder of tables, or a folder of facility folders.

What is not read, and why, is in forbidden.py.
"""

from __future__ import annotations

from pathlib import Path

from resolver import tables
from resolver.database import quote
from resolver.errors import InputError, UsageError, instead
from resolver.ingest import forbidden, raw
from resolver.ingest.opening import Opened, Opener, missing
from resolver.settings import SyntheaSource

REQUIRED = {
    "first_name": "FIRST",
    "last_name": "LAST",
    "birth_date": "BIRTHDATE",
    "ssn": "SSN",
    "sex": "GENDER",
    "street": "ADDRESS",
    "city": "CITY",
    "state": "STATE",
    "zip": "ZIP",
}
OPTIONAL = {"maiden_name": "MAIDEN", "phone": "PHONE", "email": "EMAIL", "member_id": "MEMBER_ID"}

# Table -> kind of event, columns in the raw shape, and the coding system where the table does not name one.
EVENT_TABLES: dict[str, tuple[str, dict[str, str], str]] = {
    "conditions": ("condition", {"start": "START", "stop": "STOP"}, "SNOMED"),
    "medications": ("medication", {"start": "START", "stop": "STOP"}, "RXNORM"),
    "allergies": ("allergy", {"start": "START", "stop": "STOP"}, "SNOMED"),
    "procedures": ("procedure", {"start": "START", "stop": "STOP"}, "SNOMED"),
    "immunizations": ("immunization", {"start": "DATE"}, "CVX"),
    "devices": ("device", {"start": "START", "stop": "STOP"}, "SNOMED"),
    "observations": ("measurement", {"start": "DATE", "value": "VALUE", "unit": "UNITS"}, "LOINC"),
    "encounters": ("encounter", {"start": "START", "stop": "STOP"}, "SNOMED"),
}
SUFFIXES = (".parquet", ".csv")


def files(source: SyntheaSource) -> list[Path]:
    """Every file that is read."""
    if not source.path.is_dir():
        return []
    found = [_table(folder, name) for _, folder in _facilities(source) for name in ("patients", *EVENT_TABLES)]
    return [path for path in found if path is not None]


def read(source: SyntheaSource, opener: Opener) -> list[raw.Batch]:
    if not source.path.is_dir():
        raise InputError(f"There is no folder {source.path}.", do="Correct the path under sources in the config.")
    facilities = _facilities(source)
    if not facilities:
        raise InputError(
            f"{source.path} holds no patients.csv or patients.parquet, nor do its folders.",
            do="Give the folder with Synthea's tables, or the one with the facility folders.",
        )
    return [_facility(name, folder, source, opener) for name, folder in facilities]


def _facilities(source: SyntheaSource) -> list[tuple[str, Path]]:
    if _table(source.path, "patients"):
        return [(source.name or source.path.name, source.path)]
    folders = sorted(path for path in source.path.iterdir() if path.is_dir() and _table(path, "patients"))
    prefix = f"{source.name}/" if source.name else ""
    return [(prefix + folder.name, folder) for folder in folders]


def _table(folder: Path, table: str) -> Path | None:
    return next((path for suffix in SUFFIXES if (path := folder / f"{table}{suffix}").is_file()), None)


def _facility(name: str, folder: Path, source: SyntheaSource, opener: Opener) -> raw.Batch:
    events = []
    for table in EVENT_TABLES:
        path = _table(folder, table)
        if path is not None:
            events.append(_events(name, table, path, opener))
    read_tables = {"patients", *EVENT_TABLES}
    left_out = sorted(
        path.name for path in folder.iterdir() if path.suffix in SUFFIXES and path.stem not in read_tables
    )
    return raw.Batch(name, (_patients(name, folder, source, opener),), tuple(events), left_out=tuple(left_out))


def _patients(name: str, folder: Path, source: SyntheaSource, opener: Opener) -> raw.Rows:
    path = _table(folder, "patients")
    assert path is not None
    columns = column_map(source)
    opened = opener.open(path, name, ["Id", "RACE", "ETHNICITY", *columns.values()])
    missing(opened, ["Id"], "It must hold Synthea's columns.")
    needed = [column for field, column in columns.items() if field in REQUIRED or field in source.fields]
    missing(opened, needed, 'Name the right one in the source\'s fields, or "" if there is none (fields: {ssn: ""}).')
    digits = {"ssn": 9, "zip": 5, "ssn_last4": 4}
    found = {field: opened.text(column, digits=digits.get(field)) for field, column in columns.items()}
    found |= {"id": opened.text("Id"), "race": opened.text("RACE"), "ethnicity": opened.text("ETHNICITY")}
    query = raw.person_query(quote(name), opened.row, found, opened.table)
    return raw.Rows(path.name, query, opened.total, opened.unreadable)


def column_map(source: SyntheaSource) -> dict[str, str]:
    """Person field -> column. An empty column name takes a field out."""
    unknown = sorted(source.fields.keys() - set(raw.FIELDS))
    if unknown:
        raise UsageError(f"fields: there is no person field {unknown[0]}; {instead(unknown[0], raw.FIELDS)}")
    forbidden.refuse(source.fields.values(), f"The source {source.path}")
    chosen = REQUIRED | OPTIONAL | source.fields
    return {field: column for field, column in chosen.items() if column}


def _events(name: str, table: str, path: Path, opener: Opener) -> raw.Rows:
    kind, columns, system = EVENT_TABLES[table]
    columns = columns | {"id": "PATIENT", "code": "CODE", "description": "DESCRIPTION"}
    assert kind in tables.EVENT_KINDS
    assert not forbidden.EVENT_COLUMNS & set(columns.values())
    opened = opener.open(path, name, [*columns.values(), "SYSTEM", "CATEGORY", "TYPE"])
    needed = [*columns.values(), *(("CATEGORY", "TYPE") if table == "observations" else ())]
    missing(opened, needed, f"{path.name} must have Synthea's columns.")
    found = {field: opened.text(column) for field, column in columns.items()}
    found["system"] = _system(opened, table, system)
    where = _measured(opened) if table == "observations" else ""
    query = raw.event_query(quote(name), opened.row, kind, found, opened.table) + where
    return raw.Rows(path.name, query, opened.total, opened.unreadable, kind, filtered=bool(where))


def _system(opened: Opened, table: str, system: str) -> str:
    if table == "allergies":
        # The table says "Unknown" for all. SNOMED's identifiers have six digits or more, RxNorm's of substances fewer.
        code = opened.text("CODE")
        return f"CASE WHEN length({code}) < 6 THEN 'RXNORM' ELSE 'SNOMED' END"
    if opened.find("SYSTEM") is None:
        return quote(system)
    return f"coalesce({opened.text('SYSTEM')}, {quote(system)})"


def _measured(opened: Opened) -> str:
    """Keeps numeric vital signs and laboratory values."""
    categories = ", ".join(map(quote, forbidden.MEASURED_CATEGORIES))
    codes = ", ".join(map(quote, sorted(forbidden.OBSERVATION_CODES)))
    return (
        f" WHERE {opened.text('CATEGORY')} IN ({categories}) AND {opened.text('TYPE')} = 'numeric'"
        # A facility that writes words has no code here.
        f" AND coalesce({opened.text('CODE')}, '') NOT IN ({codes})"
    )
