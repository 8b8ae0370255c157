"""Reads FHIR R4 resources as NDJSON, as a bulk export writes them.

Of each resource it reads the patient, the first coding and the dates; never references to organisations or
practitioners, nor serial numbers of devices, nor what was entered in error or not done.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from resolver.database import quote
from resolver.errors import InputError
from resolver.ingest import forbidden, raw
from resolver.ingest.opening import Opener
from resolver.settings import FhirSource


@dataclass(frozen=True)
class Resource:
    """Where a resource holds what events are made of: JSON paths, the first that is filled counts."""

    kind: str
    patient: str
    concept: tuple[str, ...]
    start: tuple[str, ...]
    stop: tuple[str, ...] = ()


RESOURCES = {
    "Condition": Resource(
        "condition",
        "$.subject.reference",
        ("$.code",),
        ("$.onsetDateTime", "$.onsetPeriod.start", "$.recordedDate"),
        ("$.abatementDateTime", "$.abatementPeriod.end", "$.onsetPeriod.end"),
    ),
    "MedicationRequest": Resource(
        "medication", "$.subject.reference", ("$.medicationCodeableConcept", "$.contained[0].code"), ("$.authoredOn",)
    ),
    "AllergyIntolerance": Resource(
        "allergy", "$.patient.reference", ("$.code",), ("$.onsetDateTime", "$.onsetPeriod.start", "$.recordedDate")
    ),
    "Observation": Resource(
        "measurement",
        "$.subject.reference",
        ("$.code",),
        ("$.effectiveDateTime", "$.effectivePeriod.start", "$.effectiveInstant", "$.issued"),
    ),
    "Procedure": Resource(
        "procedure",
        "$.subject.reference",
        ("$.code",),
        ("$.performedDateTime", "$.performedPeriod.start"),
        ("$.performedPeriod.end",),
    ),
    "Immunization": Resource("immunization", "$.patient.reference", ("$.vaccineCode",), ("$.occurrenceDateTime",)),
    "Encounter": Resource("encounter", "$.subject.reference", ("$.type[0]",), ("$.period.start",), ("$.period.end",)),
    "Device": Resource("device", "$.patient.reference", ("$.type",), ()),
}

# A resource in one of these states tells of nothing that happened.
VOID = ("entered-in-error", "not-done", "refuted", "cancelled")

PATIENT = """{"id": "VARCHAR", "birthDate": "VARCHAR", "gender": "VARCHAR", "meta": {"lastUpdated": "VARCHAR"},
    "name": [{"use": "VARCHAR", "text": "VARCHAR", "family": "VARCHAR", "given": ["VARCHAR"], "suffix": ["VARCHAR"]}],
    "identifier": [{"system": "VARCHAR", "value": "VARCHAR", "type": {"coding": [{"code": "VARCHAR"}]}}],
    "telecom": [{"system": "VARCHAR", "value": "VARCHAR"}],
    "address": [{"line": ["VARCHAR"], "city": "VARCHAR", "state": "VARCHAR", "postalCode": "VARCHAR"}],
    "extension": [{"url": "VARCHAR", "extension": [{"url": "VARCHAR", "valueString": "VARCHAR"}]}]}"""

COMPONENT = """[{"code": {"coding": [{"system": "VARCHAR", "code": "VARCHAR", "display": "VARCHAR"}]},
    "valueQuantity": {"value": "VARCHAR", "unit": "VARCHAR"}}]"""

SSN_SYSTEMS = ("http://hl7.org/fhir/sid/us-ssn", "urn:oid:2.16.840.1.113883.4.1")


def files(source: FhirSource) -> list[Path]:
    if not source.path.is_dir():
        return []
    return [path for name in ("Patient", "Medication", *RESOURCES) for path in _files_of(source.path, name)]


def read(source: FhirSource, opener: Opener) -> list[raw.Batch]:
    if not source.path.is_dir():
        raise InputError(f"There is no folder {source.path}.", do="Correct the path under sources in the config.")
    patients = _files_of(source.path, "Patient")
    if not patients:
        raise InputError(f"{source.path} holds no Patient.ndjson.", do="Give the folder of a FHIR bulk export.")
    persons = tuple(_patients(path, source, opener) for path in patients)
    medications = _medications(source, opener)
    events = tuple(
        _events(name, path, source, opener, medications) for name in RESOURCES for path in _files_of(source.path, name)
    )
    known = set(files(source))
    others = sorted(path.name for path in source.path.glob("*.ndjson") if path not in known)
    return [raw.Batch(source.name, persons, events, left_out=tuple(others))]


def _files_of(folder: Path, resource: str) -> list[Path]:
    """<Resource>.ndjson, <Resource>.<n>.ndjson, and the like."""
    return sorted(path for path in folder.glob("*.ndjson") if re.split(r"[._-]", path.name)[0] == resource)


def _patients(path: Path, source: FhirSource, opener: Opener) -> raw.Rows:
    opened = opener.json_lines(path, source.name, "Patient", f"from_json(line, {quote(PATIENT)}) AS patient")
    named = (
        "coalesce(list_filter(patient.name, lambda one: one.use = 'official')[1], "
        "list_filter(patient.name, lambda one: coalesce(one.use, '') NOT IN ('maiden', 'old'))[1])"
    )
    numbers = ", ".join(map(quote, SSN_SYSTEMS))
    table = f"""(SELECT {opened.row} AS row, patient, {named} AS name, patient.address[1] AS address,
        list_filter(patient.name, lambda one: one.use = 'maiden')[1] AS maiden FROM {opened.table})"""
    found = {
        "id": "patient.id",
        "first_name": "name.given[1]",
        "middle_name": "nullif(array_to_string(name.given[2:], ' '), '')",
        "last_name": "name.family",
        "full_name": "CASE WHEN name.family IS NULL THEN name.text END",
        "maiden_name": "maiden.family",
        "suffix": "name.suffix[1]",
        "birth_date": "patient.birthDate",
        "sex": "patient.gender",
        "ssn": f"list_filter(patient.identifier, lambda one: one.system IN ({numbers}) "
        "OR one.type.coding[1].code = 'SS')[1].value",
        "street": "nullif(array_to_string(address.line, ' '), '')",
        "city": "address.city",
        "state": "address.state",
        "zip": "address.postalCode",
        "phone": "list_filter(patient.telecom, lambda one: one.system = 'phone')[1].value",
        "email": "list_filter(patient.telecom, lambda one: one.system = 'email')[1].value",
        "member_id": "list_filter(patient.identifier, lambda one: one.type.coding[1].code = 'MB')[1].value",
        "race": _extension("race"),
        "ethnicity": _extension("ethnicity"),
        "updated_at": "patient.meta.lastUpdated",
    }
    query = raw.person_query(quote(source.name), "row", found, table)
    return raw.Rows(path.name, query, opened.total, opened.unreadable)


def _extension(name: str) -> str:
    url = f"http://hl7.org/fhir/us/core/StructureDefinition/us-core-{name}"
    outer = f"list_filter(patient.extension, lambda one: one.url = {quote(url)})[1].extension"
    return f"list_filter({outer}, lambda one: one.url = 'text')[1].valueString"


def _events(name: str, path: Path, source: FhirSource, opener: Opener, medications: str | None) -> raw.Rows:
    resource = RESOURCES[name]
    parts = {
        "id": _reference(_text([resource.patient])),
        "system": _text([f"{one}.coding[0].system" for one in resource.concept]),
        "code": _text([f"{one}.coding[0].code" for one in resource.concept]),
        "description": _text([f"{one}.{part}" for one in resource.concept for part in ("coding[0].display", "text")]),
        "start": _text(resource.start),
        "stop": _text(resource.stop),
        "void": _void(),
    }
    if name == "Observation":
        parts |= {
            "value": _text(["$.valueQuantity.value"]),
            "unit": _text(["$.valueQuantity.unit", "$.valueQuantity.code"]),
            "measured": _measured(),
            "component": f"coalesce(from_json(json_extract(line, '$.component'), {quote(COMPONENT)}), [])",
        }
    if name == "MedicationRequest":
        parts["reference"] = _reference(_text(["$.medicationReference.reference"]))
    opened = opener.json_lines(path, source.name, name, ", ".join(f"{sql} AS {part}" for part, sql in parts.items()))
    rows, fields, table = opened.total, {part: part for part in raw.EVENT_COLUMNS if part in parts}, opened.table
    where = "NOT void"
    if name == "Observation":
        codes = ", ".join(map(quote, sorted(forbidden.OBSERVATION_CODES)))
        table = _measurements(opened.table, opened.row)
        where += f" AND measured AND value IS NOT NULL AND coalesce(code, '') NOT IN ({codes})"
        rows = opener.count(table) + opened.unreadable
    elif name == "MedicationRequest" and medications:
        table = f"{opened.table} LEFT JOIN {medications} AS medication ON medication.id = reference"
        fields |= {part: f"coalesce(event.{part}, medication.{part})" for part in ("system", "code", "description")}
        table = table.replace(opened.table, f"{opened.table} AS event", 1)
        fields |= {part: f"event.{part}" for part in ("id", "start", "stop")}
    row = "row" if name == "Observation" else opened.row
    query = raw.event_query(quote(source.name), row, resource.kind, fields, table) + f" WHERE {where}"
    return raw.Rows(path.name, query, rows, opened.unreadable, resource.kind, filtered=True)


def _measurements(table: str, row: str) -> str:
    """One row per value: an observation's own, and those of its components (the two of a blood pressure)."""
    shared = f"{row} AS row, id, start, stop, void, measured"
    return f"""(
        SELECT {shared}, system, code, description, value, unit FROM {table}
        WHERE value IS NOT NULL OR len(component) = 0
        UNION ALL
        SELECT * EXCLUDE (part), part.code.coding[1].system AS system, part.code.coding[1].code AS code,
            part.code.coding[1].display AS description, part.valueQuantity.value AS value,
            part.valueQuantity.unit AS unit
        FROM (SELECT {shared}, unnest(component) AS part FROM {table})
    )"""


def _medications(source: FhirSource, opener: Opener) -> str | None:
    """SQL: id, system, code and description of medications that requests refer to."""
    tables = []
    for path in _files_of(source.path, "Medication"):
        parts = {
            "id": _text(["$.id"]),
            "system": _text(["$.code.coding[0].system"]),
            "code": _text(["$.code.coding[0].code"]),
            "description": _text(["$.code.coding[0].display", "$.code.text"]),
        }
        selected = ", ".join(f"{sql} AS {part}" for part, sql in parts.items())
        opened = opener.json_lines(path, source.name, "Medication", selected)
        tables.append(f"SELECT id, system, code, description FROM {opened.table}")
    if not tables:
        return None
    return f"(SELECT DISTINCT ON (id) * FROM ({' UNION ALL '.join(tables)}) ORDER BY id, code)"


def _text(paths: list[str] | tuple[str, ...]) -> str:
    """SQL: the first of these paths that is filled."""
    if not paths:
        return "CAST(NULL AS VARCHAR)"
    return f"coalesce({', '.join(f'json_extract_string(line, {quote(path)})' for path in paths)})"


def _reference(value: str) -> str:
    """SQL: the id in Patient/123, https://host/Patient/123, urn:uuid:123 or #123."""
    return f"regexp_extract({value}, '([^/:#]+)$', 1)"


def _void() -> str:
    states = ", ".join(map(quote, VOID))
    return (
        f"coalesce(json_extract_string(line, '$.status') IN ({states}), false) OR "
        f"coalesce(json_extract_string(line, '$.verificationStatus.coding[0].code') IN ({states}), false)"
    )


def _measured() -> str:
    categories = ", ".join(map(quote, forbidden.MEASURED_CATEGORIES))
    return f"list_has_any(json_extract_string(line, '$.category[*].coding[*].code'), [{categories}])"
