"""The configs for CSV and FHIR, run on data of the shape that they name."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
# Clinic, id, family name, given name, birth date, sex, SSN, address, phone.
DESK = (
    ("north", "1", "Müller", "Ada", "03.02.1980", "w", "501-22-3344", "12 Main St, Boston, MA 02115", "617-555-0101"),
    ("south", "9", "Muller", "Ada", "03.02.1980", "w", "501-22-3344", "12 Main Street, Boston, MA 02115", ""),
    ("south", "4", "Dorn", "Hugo", "21.06.1955", "m", "502-33-1122", "9 Hill Rd, Salem, MA 01970", "617-555-0177"),
)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with copies of the configs and an empty folder for the data that they name."""
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    (tmp_path / "data").mkdir()
    return tmp_path


def persons(pages: Any, place: Path) -> str:
    text: str = pages.query(
        f"ATTACH '{place}/index/mpi.duckdb' AS mpi (READ_ONLY);"
        "SELECT string_agg(record_id, ' ' ORDER BY record_id) FROM mpi.crosswalk GROUP BY person_id ORDER BY 1"
    )
    return text


def test_csv(place: Path, pages: Any) -> None:
    """Semicolons, Latin-1, day.month.year, a name and an address in one field, diagnoses and laboratory values."""
    lines = ["clinic;id;name;born;sex;ssn;address;phone;changed"]
    lines += [
        f'{clinic};{id_};"{family}, {given}";{born};{sex};{ssn};{address};{phone};01.05.2024'
        for clinic, id_, family, given, born, sex, ssn, address, phone in DESK
    ]
    (place / "data" / "patients.csv").write_text("\n".join(lines) + "\n", encoding="latin-1")
    codes = ["clinic;patient;code;seen", "north;1;E11.9;04.03.2020", "south;9;E11.9;05.03.2020"]
    (place / "data" / "diagnoses.csv").write_text("\n".join(codes) + "\n", encoding="latin-1")
    values = ["clinic;patient;test;result;unit;seen", "north;1;8302-2;168;cm;04.03.2020"]
    (place / "data" / "laboratory.csv").write_text("\n".join(values) + "\n", encoding="latin-1")
    pages.run(f"resolver run {place}/configs/csv.yaml --set learn.way=none --set evaluate.bootstrap=0")

    assert persons(pages, place) == "north:1 south:9\nsouth:4"
    events = pages.query(f"SELECT kind, code, value FROM '{place}/runs/csv/events.parquet' ORDER BY ALL")
    assert events == "condition E11.9 None\ncondition E11.9 None\nmeasurement 8302-2 168.0"


def test_fhir(place: Path, pages: Any) -> None:
    """Two systems with Patient and Condition resources."""
    for clinic in ("north", "south"):
        folder = place / "data" / clinic
        folder.mkdir()
        rows = [row for row in DESK if row[0] == clinic]
        (folder / "Patient.ndjson").write_text("".join(json.dumps(patient(row)) + "\n" for row in rows))
        coding = [{"system": "http://hl7.org/fhir/sid/icd-10", "code": "E11.9"}]
        condition = {"resourceType": "Condition", "code": {"coding": coding}, "onsetDateTime": "2020-03-04"}
        condition |= {"subject": {"reference": f"Patient/{rows[0][1]}"}}
        (folder / "Condition.ndjson").write_text(json.dumps(condition) + "\n")
    pages.run(f"resolver run {place}/configs/fhir.yaml --set learn.way=none --set evaluate.bootstrap=0")

    assert persons(pages, place) == "north:1 south:9\nsouth:4"


def patient(row: tuple[str, ...]) -> dict[str, Any]:
    _, id_, family, given, born, sex, ssn, address, phone = row
    street, city, rest = address.split(", ")
    return {
        "resourceType": "Patient",
        "id": id_,
        "name": [{"family": family, "given": [given]}],
        "birthDate": "-".join(reversed(born.split("."))),
        "gender": {"w": "female", "m": "male"}[sex],
        "identifier": [{"system": "http://hl7.org/fhir/sid/us-ssn", "value": ssn}],
        "address": [{"line": [street], "city": city, "state": rest[:2], "postalCode": rest[3:]}],
        "telecom": [{"system": "phone", "value": phone}] if phone else [],
    }
