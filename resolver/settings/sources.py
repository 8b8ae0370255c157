"""Where records come from. One entry per source system."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field
from pydantic.config import JsonDict

from resolver.settings.base import Section
from resolver.tables import COMPOUND_FIELDS, PERSON_FIELDS

# For editors; the reader of a source refuses other names with the nearest.
_FIELDS: JsonDict = {"propertyNames": {"enum": [*(name for name, _, _ in PERSON_FIELDS), *COMPOUND_FIELDS]}}


class SyntheaSource(Section):
    """Synthea's tables, as CSV or Parquet: one folder of tables, or a folder of such folders (one per facility)."""

    kind: Literal["synthea"]
    path: Path
    """The folder."""

    name: str | None = None
    """Name of the source. Default: the folder's name. For a folder of folders: put before the name of each."""

    fields: dict[str, str] = Field(default_factory=dict, json_schema_extra=_FIELDS)
    """Person field -> column, over the usual map. Name a field here to read a column that is left out by default
    (middle_name: MIDDLE), or give it an empty column to leave it out (ssn: "")."""


class FhirSource(Section):
    """FHIR R4 resources as NDJSON, as a bulk export writes them: <Resource>.ndjson or <Resource>.<n>.ndjson."""

    kind: Literal["fhir"]
    path: Path
    """The folder."""

    name: str
    """Name of the source."""


class EventTable(Section):
    """A table of clinical events beside a table of records."""

    path: Path
    """CSV or Parquet file."""

    event: Literal[
        "condition", "medication", "allergy", "procedure", "immunization", "device", "measurement", "encounter"
    ]
    """What its rows are."""

    record_id: str
    """Column with the id of the record."""

    source: str | None = None
    """Column that names the facility, where one file holds several."""

    code: str | None = None
    """Column with the code."""

    system: str | None = None
    """Coding system of the codes (SNOMED, RXNORM, ICD10, LOINC, CVX). Default: TEXT."""

    description: str | None = None
    """Column with the words."""

    start: str | None = None
    """Column with the date."""

    stop: str | None = None
    """Column with the end date."""

    value: str | None = None
    """Column with the measured value."""

    unit: str | None = None
    """Column with its unit."""


class TableSource(Section):
    """Any CSV or Parquet file with one row per record."""

    kind: Literal["table"]
    path: Path
    """The file."""

    name: str
    """Name of the source; a `source` column overrides it row by row."""

    record_id: str
    """Column with the record's id, unique within its source."""

    source: str | None = None
    """Column that names the facility, where one file holds several."""

    fields: dict[str, str] = Field(json_schema_extra=_FIELDS)
    """Person field -> column. `full_name` and `address` are taken apart."""

    delimiter: str | None = None
    """Of a CSV file. Default: found out."""

    encoding: Literal["utf-8", "latin-1", "utf-16"] = "utf-8"
    """Of a CSV file."""

    date_formats: tuple[str, ...] = ()
    """Date formats to try before the usual ones, such as %d.%m.%Y."""

    sexes: dict[str, Literal["M", "F"]] = Field(default_factory=dict)
    """What stands in the column of the sex -> M or F, before the usual words: {H: M, M: F} for hombre and mujer."""

    updated_at: str | None = None
    """Column that says when the record was last touched."""

    race: str | None = None
    """Column for slices of the report. Never used to match."""

    ethnicity: str | None = None
    """Column for slices of the report. Never used to match."""

    events: tuple[EventTable, ...] = ()
    """Tables of clinical events of these records."""


Source = Annotated[SyntheaSource | FhirSource | TableSource, Field(discriminator="kind")]
