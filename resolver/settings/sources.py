"""Where records come from. One entry per source system.

Further kinds come from other packages: an entry point in the group `resolver.sources`, named like the kind, names a
class like those here; resolver/ingest/readers.py says how it is read.
"""

from __future__ import annotations

import functools
import operator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args

from pydantic import Field
from pydantic.config import JsonDict

from resolver import plugins
from resolver.errors import UsageError
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


GROUP = "resolver.sources"
OWN: tuple[type[Section], ...] = (SyntheaSource, FhirSource, TableSource)


def _kinds(source: Any) -> tuple[Any, ...]:
    """What `kind` can be in a class of sources; nothing where it is no such class."""
    if not (isinstance(source, type) and issubclass(source, Section) and "kind" in source.model_fields):
        return ()
    return get_args(source.model_fields["kind"].annotation)


def every() -> tuple[type[Section], ...]:
    """This program's kinds of sources, and those that other packages bring."""
    found = {kind: source for source in OWN for kind in _kinds(source)}
    for name, entry in plugins.named(GROUP).items():
        source = plugins.load(entry)
        if _kinds(source) != (name,):
            raise UsageError(
                f"{entry.value} is no source of the kind {name}.",
                do=f'It must be a Section with the field kind: Literal["{name}"].',
            )
        if name in found:
            raise UsageError(f"{entry.value} brings the source {name}, which there is already.", do="Uninstall it.")
        found[name] = source
    return tuple(found.values())


if TYPE_CHECKING:
    Source = SyntheaSource | FhirSource | TableSource
else:
    Source = Annotated[functools.reduce(operator.or_, every()), Field(discriminator="kind")]
