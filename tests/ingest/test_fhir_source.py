"""FHIR R4 bulk exports."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from resolver.errors import InputError

Run = Callable[..., Any]


def put(folder: Path, name: str, *resources: dict[str, Any] | str) -> None:
    folder.mkdir(exist_ok=True)
    lines = [line if isinstance(line, str) else json.dumps(line) for line in resources]
    (folder / f"{name}.ndjson").write_text("\n".join(lines) + "\n", encoding="utf-8")


def concept(system: str, code: str, text: str) -> dict[str, Any]:
    return {"coding": [{"system": system, "code": code, "display": text}], "text": text}


def source(folder: Path) -> list[dict[str, str]]:
    return [{"kind": "fhir", "path": str(folder), "name": "clinic"}]


PATIENT = {
    "resourceType": "Patient",
    "id": "p1",
    "name": [
        {"use": "maiden", "family": "Jones"},
        {"use": "official", "family": "Smith", "given": ["Ada", "Byron"], "prefix": ["Mrs."]},
    ],
    "gender": "female",
    "birthDate": "1980-02-03",
    "identifier": [
        {"system": "http://hospital.example", "value": "77"},
        {"system": "http://hl7.org/fhir/sid/us-ssn", "value": "999-12-3456"},
        {"type": {"coding": [{"code": "MB"}]}, "value": "ABC-1"},
    ],
    "telecom": [{"system": "phone", "value": "617-555-1234"}, {"system": "email", "value": "ada@example.org"}],
    "address": [{"line": ["12 Main Street", "Apt 4"], "city": "Boston", "state": "MA", "postalCode": "02115"}],
    "extension": [
        {
            "url": "http://hl7.org/fhir/us/core/StructureDefinition/us-core-race",
            "extension": [{"url": "text", "valueString": "White"}],
        }
    ],
}
SUBJECT = {"reference": "Patient/p1"}


def test_a_patient_resource_becomes_a_record(tmp_path: Path, run: Run) -> None:
    """Names, identifiers, telecom and address of a Patient fill the person fields; race goes to the slices."""
    put(tmp_path / "fhir", "Patient", PATIENT)
    result = run(source(tmp_path / "fhir"))
    record = result.only("records")

    names = tuple(record[f"{name}_name"] for name in ("first", "middle", "last", "maiden"))
    assert names == ("ADA", "BYRON", "SMITH", "JONES")
    assert (record["birth_date"], record["sex"], record["ssn"]) == (dt.date(1980, 2, 3), "F", "999123456")
    assert (record["street"], record["unit"], record["zip"]) == ("12 MAIN ST", "4", "02115")
    assert (record["phone"], record["email"], record["member_id"]) == ("6175551234", "ada@example.org", "ABC1")
    assert result.only("slices")["race"] == "White"


def test_every_kind_of_resource_becomes_events(tmp_path: Path, run: Run) -> None:
    """Each resource gives its kind of event, with system, code and times; offsets are taken off the times."""
    folder = tmp_path / "fhir"
    put(folder, "Patient", PATIENT)
    code = concept("http://snomed.info/sct", "44054006", "Diabetes")
    put(
        folder,
        "Condition.1",
        {
            "resourceType": "Condition",
            "subject": {"reference": "urn:uuid:p1"},
            "code": code,
            "onsetDateTime": "2020-01-02T03:00:00-05:00",
            "abatementDateTime": "2021-01-02",
        },
    )
    put(
        folder,
        "AllergyIntolerance",
        {"resourceType": "AllergyIntolerance", "patient": SUBJECT, "code": code, "recordedDate": "2020"},
    )
    put(
        folder,
        "Procedure",
        {"resourceType": "Procedure", "subject": SUBJECT, "code": code, "performedPeriod": {"start": "2020-01-02"}},
        {"resourceType": "Procedure", "subject": SUBJECT, "code": code, "status": "entered-in-error"},
    )
    vaccine = concept("http://hl7.org/fhir/sid/cvx", "140", "Flu")
    put(
        folder,
        "Immunization",
        {
            "resourceType": "Immunization",
            "patient": {"reference": "https://host/fhir/Patient/p1"},
            "vaccineCode": vaccine,
            "occurrenceDateTime": "2020-01-02",
        },
    )
    put(
        folder,
        "Encounter",
        {"resourceType": "Encounter", "subject": SUBJECT, "type": [code], "period": {"start": "2020-01-02"}},
    )
    device = {"resourceType": "Device", "patient": SUBJECT, "type": code, "serialNumber": "SERIAL1"}
    put(folder, "Device", device)
    result = run(source(folder))
    events = {row["kind"]: row for row in result.rows("events")}

    assert sorted(events) == ["allergy", "condition", "device", "encounter", "immunization", "procedure"]
    assert events["condition"]["start"] == dt.datetime(2020, 1, 2, 8)
    assert events["condition"]["stop"] == dt.datetime(2021, 1, 2)
    assert (events["condition"]["system"], events["condition"]["code"]) == ("SNOMED", "44054006")
    assert events["immunization"]["system"] == "CVX"
    assert events["allergy"]["start"] is None
    assert result.facts["sources"]["clinic"]["left_out"] == 1
    assert "SERIAL1" not in str(result.rows("events"))


def test_medications_are_found_in_the_request_and_behind_a_reference(tmp_path: Path, run: Run) -> None:
    """A request names its medication itself, or refers to a Medication resource."""
    folder = tmp_path / "fhir"
    put(folder, "Patient", PATIENT)
    drug = concept("http://www.nlm.nih.gov/research/umls/rxnorm", "1191", "Aspirin")
    request = {"resourceType": "MedicationRequest", "subject": SUBJECT, "authoredOn": "2020-01-02"}
    put(
        folder,
        "MedicationRequest",
        {**request, "medicationCodeableConcept": drug},
        {**request, "medicationReference": {"reference": "Medication/m1"}},
        {**request, "medicationReference": {"reference": "Medication/unknown"}},
    )
    put(
        folder, "Medication", {"resourceType": "Medication", "id": "m1", "code": {**drug, "coding": [{"code": "7052"}]}}
    )
    result = run(source(folder))

    assert sorted(row["code"] for row in result.rows("events")) == ["1191", "7052"]
    assert result.reasons() == ["event without code or words"]


def test_observations_give_measurements_and_components(tmp_path: Path, run: Run) -> None:
    """A blood pressure gives its two components; surveys and forbidden codes give nothing."""
    folder = tmp_path / "fhir"
    put(folder, "Patient", PATIENT)

    def observation(category: str, code: str, **more: Any) -> dict[str, Any]:
        return {
            "resourceType": "Observation",
            "subject": SUBJECT,
            "category": [{"coding": [{"code": category}]}],
            "code": concept("http://loinc.org", code, "words"),
            "effectiveDateTime": "2020-01-02",
            **more,
        }

    def quantity(value: float) -> dict[str, Any]:
        return {"valueQuantity": {"value": value, "unit": "mm[Hg]"}}

    parts = [
        {"code": concept("http://loinc.org", code, "part"), **quantity(value)}
        for code, value in (("1-8", 120), ("2-6", 80))
    ]
    put(
        folder,
        "Observation",
        observation("vital-signs", "85354-9", component=parts),
        observation("laboratory", "8302-2", **quantity(170.5)),
        observation("survey", "8302-2", **quantity(1)),
        observation("vital-signs", "63586-2", **quantity(1)),
        observation("laboratory", "8302-2", valueString="tall"),
    )
    result = run(source(folder))

    found = [(row["code"], row["value"]) for row in result.rows("events")]
    assert sorted(found) == [("1-8", 120.0), ("2-6", 80.0), ("8302-2", 170.5)]
    assert result.facts["sources"]["clinic"]["left_out"] == 3
    assert result.facts["sources"]["clinic"]["event_rows"] == 6


def test_broken_lines_are_rejected(tmp_path: Path, run: Run) -> None:
    """A line that is not JSON, not UTF-8 or another resource is rejected with its text; the others are read."""
    folder = tmp_path / "fhir"
    put(
        folder,
        "Patient",
        PATIENT,
        '{"resourceType": "Patient", "id": ',
        '{"resourceType": "Group", "id": "g"}',
        "",
        "7",
    )
    with (folder / "Patient.ndjson").open("ab") as file:
        file.write(b'{"resourceType": "Patient", "id": "\xff\xfe"}\n')
    result = run(source(folder))

    assert result.only("records")["source_record_id"] == "p1"
    assert sorted(result.reasons()) == [
        "another type of resource than the file's name says",
        "another type of resource than the file's name says",
        "line is not JSON",
        "text is not in the file's encoding",
    ]


def test_a_folder_without_patients_is_refused(tmp_path: Path, run: Run) -> None:
    """No folder, or one without Patient resources, stops the run with one line."""
    with pytest.raises(InputError, match="There is no folder"):
        run(source(tmp_path / "nowhere"))
    put(tmp_path / "fhir", "Observation")
    with pytest.raises(InputError, match=r"holds no Patient\.ndjson"):
        run(source(tmp_path / "fhir"))
