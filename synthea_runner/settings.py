"""What a person may choose about a population, and how configs/synthea.yaml is read.

The defaults here are those of configs/synthea.yaml, so that a population can be made without a config.
Knows nothing about how Synthea is found or run.
"""

from __future__ import annotations

import datetime
import difflib
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from resolver.settings import reading
from resolver.settings.base import Section
from synthea_runner.layout import LAYOUT

# Properties that the runner sets itself: another value would break what it reads, or contradict an option.
RESERVED = {
    "exporter.baseDirectory": "--out",
    "exporter.csv.export": "always on",
    "exporter.csv.append_mode": "always off",
    "exporter.csv.folder_per_run": "always off",
    "exporter.csv.included_files": "leave_out",
    "exporter.csv.excluded_files": "leave_out",
    "exporter.metadata.export": "always on",
    "exporter.fhir.export": "--fhir",
    "exporter.fhir.bulk_data": "--fhir",
    "exporter.hospital.fhir.export": "--fhir",
    "exporter.practitioner.fhir.export": "--fhir",
    "exporter.years_of_history": "years_of_history",
    "generate.log_patients.detail": "always simple; progress is read from it",
    "generate.thread_pool_size": "threads",
}

NEEDED_TABLES = ("patients", "encounters", "organizations", "providers")


class SyntheaSettings(Section):
    version: str = "3.3.0"
    """Release of Synthea. Another one makes other people from the same seed, so it is refused."""

    via: Literal["jar", "maven", "docker"] | None = None
    """How Synthea is reached. Default: a class path if there is one, then Maven, then Docker."""

    classpath: str | None = None
    """Jars of Synthea and its libraries, as java -cp takes them. Default: the variable SYNTHEA_CLASSPATH."""

    image: str = "resolver-synthea"
    """Name of the Docker image; its tag is the version."""

    state: str = "Massachusetts"
    """US state where the people live."""

    reference_date: datetime.date = datetime.date(2026, 1, 1)
    """Day from which ages are counted. Fixed, or one seed would give other people every day."""

    end_date: datetime.date = datetime.date(2026, 1, 1)
    """Day on which the simulation ends."""

    clinician_seed: int | None = None
    """Seed for the clinicians. Default: the seed for the people."""

    years_of_history: int = Field(default=10, ge=0)
    """Years of history that are kept; 0 keeps all."""

    heap_gib: float = Field(default=4.0, gt=0)
    """Memory for Java, in GiB."""

    threads: int = Field(default=1, ge=0)
    """Threads of Synthea; 0 means all cores. With more than one, claims_transactions and the revenue in payers differ
    from run to run, because Synthea's threads share counters; all other tables hold the same rows."""

    modules: tuple[str, ...] = ()
    """Disease modules to simulate, by file name, * allowed (such as diabetes*). Default: all."""

    leave_out: tuple[str, ...] = ("patient_expenses",)
    """Tables that are not written. claims and claims_transactions are more than half of a population."""

    properties: dict[str, str | bool | int | float] = Field(default={"generate.append_numbers_to_person_names": False})
    """Any further property of Synthea, as in its synthea.properties."""

    @field_validator("leave_out")
    @classmethod
    def _known_tables(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for table in value:
            if table in NEEDED_TABLES:
                raise ValueError(f"{table} can't be left out: nothing can be done without it")
            if table not in LAYOUT:
                near = difflib.get_close_matches(table, LAYOUT, n=1)
                raise ValueError(f"no table {table}" + (f"; did you mean {near[0]}?" if near else ""))
        return tuple(sorted(set(value)))

    @field_validator("properties")
    @classmethod
    def _not_reserved(cls, value: dict[str, Any]) -> dict[str, Any]:
        for name in value:
            if name in RESERVED:
                raise ValueError(f"{name} is set by the runner ({RESERVED[name]})")
        return value


def load(path: Path | None, overrides: dict[str, Any], *, leave_out: tuple[str, ...] = ()) -> SyntheaSettings:
    """Settings of a config, or the defaults where there is none. `overrides` are options that were given, `leave_out`
    tables to leave out besides those of the config."""
    content = {} if path is None else reading.content(path, do="Leave --config out to use the defaults.")
    given = {name: value for name, value in overrides.items() if value is not None}
    where = str(path or "The command")
    chosen = reading.parse(SyntheaSettings, content | given, where=where)
    more = {"leave_out": (*chosen.leave_out, *leave_out)}
    return reading.parse(SyntheaSettings, content | given | more, where=where) if leave_out else chosen
