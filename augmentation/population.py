"""A population as Synthea writes it, one Parquet file per table, and how a test bed lies on disk.

Finds out from the columns how each table hangs on persons, encounters and time, so that typed tables, text tables and
tables not met before are read alike. Changes nothing. Knows nothing of facilities' errors or noise.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import duckdb

from resolver.database import name, quote
from resolver.errors import DamagedError, InputError, SchemaError

# Names that Synthea makes unique with digits; no two hospitals share such a habit.
NUMBERED_NAMES = {"patients": ("FIRST", "MIDDLE", "LAST", "MAIDEN"), "payer_transitions": ("OWNER_NAME",)}

PATIENT_COLUMNS = ("PATIENT", "PATIENTID", "PATIENT_ID")
ENCOUNTER_COLUMNS = ("ENCOUNTER", "APPOINTMENTID")
TIME_COLUMNS = ("START", "DATE", "START_DATE", "YEAR", "SERVICEDATE", "FROMDATE")
# Further columns that hold a patient's id, to be made local like the first.
FURTHER_PATIENT_COLUMNS = ("PATIENTINSURANCEID",)

PARQUET = "(FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 122880)"


@dataclass(frozen=True)
class Table:
    """One table: its columns with their types, and those that tie it to persons, encounters and time."""

    name: str
    path: Path
    columns: dict[str, str]

    def _first(self, names: tuple[str, ...]) -> str | None:
        return next((column for column in names if column in self.columns), None)

    @cached_property
    def patient(self) -> str | None:
        return "Id" if self.name == "patients" else self._first(PATIENT_COLUMNS)

    @cached_property
    def encounter(self) -> str | None:
        return "Id" if self.name == "encounters" else self._first(ENCOUNTER_COLUMNS)

    @cached_property
    def time(self) -> str | None:
        return self._first(TIME_COLUMNS)

    @cached_property
    def order(self) -> str:
        """SQL for an order that two rows share only if they are equal: patient, time, encounter, then all the rest."""
        first = [column for column in (self.patient, self.time, self.encounter) if column is not None]
        rest = [column for column in self.columns if column not in first]
        return ", ".join(map(name, [*first, *rest]))

    @property
    def is_reference(self) -> bool:
        """Whether the table names no patient: organizations, providers, payers."""
        return self.patient is None and self.encounter is None

    @property
    def source(self) -> str:
        """SQL that reads the file, digits stripped off the names."""
        numbered = [column for column in NUMBERED_NAMES.get(self.name, ()) if column in self.columns]
        if not numbered:
            return f"(FROM read_parquet({quote(self.path)}))"
        clean = ", ".join(f"regexp_replace({name(c)}, '[0-9]+', '', 'g') AS {name(c)}" for c in numbered)
        return f"(SELECT * REPLACE ({clean}) FROM read_parquet({quote(self.path)}))"

    def select(self, **replaced: str) -> str:
        """SQL for all columns in their order and types, some from other SQL expressions."""
        return ", ".join(
            f"CAST({replaced[column]} AS {kind}) AS {name(column)}" if column in replaced else f"t.{name(column)}"
            for column, kind in self.columns.items()
        )


def tables(con: duckdb.DuckDBPyConnection, folder: Path) -> dict[str, Table]:
    """The tables of a folder, by name. `patients` and `encounters` must be among them."""
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder.", do="Name the folder with a population's Parquet tables.")
    found: dict[str, Table] = {}
    for path in sorted(folder.glob("*.parquet")):
        try:
            rows = con.execute(f"DESCRIBE FROM read_parquet({quote(path)})").fetchall()
        except duckdb.Error as error:
            raise DamagedError(f"{path} is not a readable Parquet file.", do="Convert the population again.") from error
        found[path.stem] = Table(path.stem, path, {str(row[0]): str(row[1]) for row in rows})
    for wanted, columns in (("patients", ("Id", "BIRTHDATE")), ("encounters", ("Id", "PATIENT", "START"))):
        if wanted not in found:
            raise InputError(f"{folder} has no {wanted}.parquet.", do="Convert a Synthea population into it first.")
        for column in columns:
            if column not in found[wanted].columns:
                raise SchemaError(f"{found[wanted].path} has no column {column}.", do="Keep Synthea's own layout.")
    return found


@contextlib.contextmanager
def unquoted(folder: Path) -> Iterator[None]:
    """Values that can't be read become an error that does not show them, unlike the database's own."""
    try:
        yield
    except duckdb.DataError:
        raise InputError(
            f"A date or number in the tables of {folder} can't be read.", do="Convert the population again."
        ) from None


def moment(column: str) -> str:
    """SQL for a date or time column of any type as TIMESTAMP; null where it is empty."""
    return f"CAST(nullif(CAST({column} AS VARCHAR), '') AS TIMESTAMP)"


def spelled(value: str, like: str, kind: str) -> str:
    """SQL for a TIMESTAMP as the column `like` of type `kind` spells its times, and as days where it spells days."""
    if kind != "VARCHAR":
        return f"CAST({value} AS {kind})"
    moments, days = (f"strftime({value}, '{form}')" for form in ("%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%d"))
    return f"CASE WHEN length({like}) > 10 THEN {moments} ELSE {days} END"


@dataclass(frozen=True)
class Layout:
    """Where the parts of a test bed lie."""

    out: Path

    def facility(self, number: int) -> Path:
        return self.out / f"facility_{number}"

    @property
    def facilities(self) -> dict[int, Path]:
        """The facility folders that are there, by number."""
        found = {path.name.removeprefix("facility_"): path for path in self.out.glob("facility_*") if path.is_dir()}
        return {int(number): found[number] for number in sorted(filter(str.isdigit, found), key=int)}

    @property
    def truth(self) -> Path:
        return self.out / "truth"

    def truth_table(self, table: str) -> Path:
        return self.truth / f"{table}.parquet"
