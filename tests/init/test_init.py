"""`resolver init`: what it recognises, and that the config it writes holds."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from resolver import settings
from resolver.cli.init import init
from resolver.errors import InputError, UsageError
from resolver.ingest import raw
from resolver.init import columns, look, names

SAMPLE = Path(__file__).parents[1] / "data" / "population"
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes rows as CSV below the test's folder."""

    def one(name: str, rows: Sequence[Mapping[str, str]], delimiter: str = ",", encoding: str = "utf-8") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="", encoding=encoding) as file:
            writer = csv.DictWriter(file, fieldnames=list(rows[0]), delimiter=delimiter)
            writer.writeheader()
            writer.writerows(rows)
        return path

    return one


def run(*arguments: object) -> Result:
    return CliRunner().invoke(init, [str(argument) for argument in arguments], catch_exceptions=False)


def only(data: Path) -> dict[str, Any]:
    (source,) = look(data).sources
    return source


def test_synthea_folders_with_their_truth(tmp_path: Path) -> None:
    """Facility folders become one source, and the truth beside them is named; the config loads."""
    for facility in ("east", "west"):
        (tmp_path / "data" / facility).mkdir(parents=True)
        for table in ("patients", "conditions"):
            (tmp_path / "data" / facility / f"{table}.parquet").symlink_to(SAMPLE / f"{table}.parquet")
    (tmp_path / "data" / "truth").mkdir()
    (tmp_path / "data" / "truth" / "truth.parquet").touch()
    result = run(tmp_path / "data", "--out", tmp_path / "my.yaml")
    loaded = settings.load(tmp_path / "my.yaml")

    assert result.exit_code == 0
    assert [source.kind for source in loaded.sources] == ["synthea"]
    assert loaded.sources[0].path.resolve() == tmp_path / "data"
    assert loaded.evaluate.truth == tmp_path / "data" / "truth" / "truth.parquet"
    assert loaded.run.dir == tmp_path / "runs" / "my"


def test_a_synthea_table_without_a_column_says_so(write: Write, tmp_path: Path) -> None:
    """A usual column that is not there is left out by the config, with a note."""
    row = dict.fromkeys(("Id", "BIRTHDATE", "FIRST", "LAST", "GENDER", "ADDRESS", "CITY", "STATE", "ZIP"), "x")
    write("data/patients.csv", [row])

    assert only(tmp_path / "data")["fields"] == {"ssn": ""}
    assert look(tmp_path / "data").notes == {0: ["There is no column SSN."]}


def test_fhir_exports(tmp_path: Path) -> None:
    """A folder with Patient resources is a FHIR source, and so is a folder in it."""
    (tmp_path / "data" / "clinic").mkdir(parents=True)
    (tmp_path / "data" / "clinic" / "Patient.000.ndjson").write_text("{}\n")

    assert only(tmp_path / "data") == {"kind": "fhir", "path": tmp_path / "data" / "clinic", "name": "clinic"}
    assert only(tmp_path / "data" / "clinic")["kind"] == "fhir"


@pytest.mark.parametrize(
    ("headers", "fields"),
    [
        (
            "mrn,FirstName,last_name,DOB,Sex,SSN,Address Line 1,City,ST,Zip Code,Home Phone",
            "first_name,last_name,birth_date,sex,ssn,street,city,state,zip,phone",
        ),
        (
            "Patienten-ID,Vorname,Nachname,Geburtsname,Geburtsdatum,Geschlecht,Straße,PLZ,Ort,Telefon",
            "first_name,last_name,maiden_name,birth_date,sex,street,zip,city,phone",
        ),
        (
            "IPP,Prénom,Nom,Nom de naissance,Date de naissance,Sexe,Adresse,Code postal,Ville,Téléphone",
            "first_name,last_name,maiden_name,birth_date,sex,street,zip,city",
        ),
        (
            "NHC,Nombre,Apellidos,Fecha de nacimiento,Sexo,Dirección,Código postal,Ciudad,Correo electrónico",
            "first_name,last_name,birth_date,sex,street,zip,city,email",
        ),
        ("id,Nome completo,Data di nascita,Sesso,Indirizzo", "full_name,birth_date,sex,address"),
    ],
)
def test_columns_are_recognised_in_several_languages(write: Write, headers: str, fields: str) -> None:
    """Headers of registration tables are mapped to the fields that they hold."""
    rows = [{name: f"{name}{number}" for name in headers.split(",")} for number in range(3)]

    found = only(write("persons.csv", rows))
    assert found["record_id"] == headers.split(",")[0]
    assert set(found["fields"]) >= set(fields.split(","))


def test_delimiter_encoding_and_order_of_dates(write: Write) -> None:
    """A German export in Latin-1 with semicolons is read as it is."""
    rows = [
        {"Nr": str(day), "Name": f"Müller, Änne{day}", "geb": "x", "DOB": f"{day:02}/03/1980"} for day in range(9, 20)
    ]
    found = only(write("persons.csv", rows, delimiter=";", encoding="latin-1"))

    assert (found["delimiter"], found["encoding"]) == (";", "latin-1")
    assert found["date_formats"] == ["%d/%m/%Y", "%d/%m/%y"]
    assert found["fields"]["full_name"] == "Name"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["13/02/1980"], True),
        (["02/13/1980"], False),
        (["01/02/1980"], None),
        (["13/02/80", "02/13/80"], None),
        ([], None),
    ],
)
def test_the_order_of_day_and_month(values: list[str], expected: bool | None) -> None:
    """A number past twelve tells which of the two is the day; two that contradict each other do not."""
    assert columns.day_first(values) is expected


def test_uncertain_dates_are_pointed_out(write: Write, tmp_path: Path) -> None:
    """Where no date tells the order, the config says so at the source."""
    path = write("persons.csv", [{"id": str(day), "name": f"N{day}", "dob": f"0{day}/03/1980"} for day in range(1, 9)])
    run(path, "--out", tmp_path / "my.yaml")

    assert "Look at this: No date tells" in (tmp_path / "my.yaml").read_text()


def test_columns_without_a_telling_name_are_known_by_their_values(write: Write) -> None:
    """Numbers in the form of an SSN, addresses of e-mail and phones are recognised as what they are."""
    rows = [
        {"key": f"k{n}", "last": f"L{n}", "a": f"999-12-{n}", "b": f"x{n}@y.org", "c": f"(617) 555-{n}"}
        for n in range(1000, 1010)
    ]

    assert only(write("p.csv", rows))["fields"] == {"last_name": "last", "ssn": "a", "email": "b", "phone": "c"}


def test_events_find_their_records(write: Write, tmp_path: Path) -> None:
    """Tables of events in the same folder are attached to the source that knows their ids, with kind and system."""
    write("data/people.csv", [{"pid": f"p{n}", "site": f"s{n % 2}", "first": "A", "last": f"B{n}"} for n in range(20)])
    write(
        "data/labs.csv",
        [{"pid": f"p{n % 20}", "loinc": "8302-2", "result": "1", "date": "2020-01-02"} for n in range(50)],
    )
    diagnoses = [{"patient_id": f"p{n % 20}", "dx": "E11.9", "onset": "2020-01-02"} for n in range(50)]
    write("data/diagnoses.csv", diagnoses)
    write("data/prices.csv", [{"item": f"i{n}", "price": "1"} for n in range(5)])
    found = look(tmp_path / "data")
    events = {event["event"]: event for event in found.sources[0]["events"]}

    assert found.sources[0]["source"] == "site"
    assert (events["measurement"]["system"], events["measurement"]["value"]) == ("LOINC", "result")
    assert (events["condition"]["record_id"], events["condition"]["system"]) == ("patient_id", "ICD10")
    assert [path.name for path in found.not_used] == ["prices.csv"]


def test_what_is_no_data_is_refused(write: Write, tmp_path: Path) -> None:
    """Nothing there, nothing recognised, an empty file, and a config that exists each end with one line."""
    with pytest.raises(InputError, match="There is nothing at"):
        look(tmp_path / "nowhere")
    with pytest.raises(InputError, match="No records were recognised"):
        look(write("prices.csv", [{"item": "a", "price": "1"}]))
    (tmp_path / "empty.csv").touch()
    with pytest.raises(InputError, match="is empty"):
        look(tmp_path / "empty.csv")
    (tmp_path / "my.yaml").touch()
    with pytest.raises(UsageError, match="is there already"):
        run(SAMPLE, "--out", tmp_path / "my.yaml")
    assert run(SAMPLE, "--out", tmp_path / "my.yaml", "--force").exit_code == 0


def test_json_tells_what_was_found(tmp_path: Path) -> None:
    """--json gives the sources as one object."""
    found = json.loads(run(SAMPLE, "--out", tmp_path / "my.yaml", "--json").stdout)

    assert [source["kind"] for source in found["sources"]] == ["synthea"]


@pytest.mark.parametrize(
    ("header", "value", "field"),
    [
        ("Patientenname", "Müller, Jürgen", "full_name"),
        ("Wer", "Müller, Jürgen", "full_name"),
        ("nom_patient", "Jean Dupont", "full_name"),
        ("PatientenVorname", "Jürgen", "first_name"),
        ("Wer", "M77", None),
    ],
)
def test_names_are_found_or_missed_aloud(
    write: Write, tmp_path: Path, header: str, value: str, field: str | None
) -> None:
    """Names are found behind words like Patient, and by their look; where there are none, screen and config say so."""
    rows = [
        {"Numéro patient": str(n), "Geburtsdatum": f"1{n % 9}.02.1980", "PLZ": "10115", header: value} for n in range(9)
    ]
    said = run(write("p.csv", rows), "--out", tmp_path / "my.yaml").output
    text = (tmp_path / "my.yaml").read_text(encoding="utf-8")

    assert 'record_id: "Numéro patient"' in text
    if field:
        assert f"{field}: {header}" in text.replace('"', "")
    else:
        assert "No column of names was recognised" in said
        assert "No column of names was recognised" in text
        assert "# Not read: Wer" in text


def test_the_schema_lies_beside_the_config(write: Write, tmp_path: Path) -> None:
    """--schema writes a JSON Schema beside the config, which names it in its first line; else none is named."""
    data, out = write("p.csv", [{"id": "1", "first name": "Ada", "last name": "Abel"}]), tmp_path / "my.yaml"
    run(data, "--out", out)
    assert "$schema" not in out.read_text()
    run(data, "--out", out, "--schema", "--force")

    first = out.read_text().splitlines()[0]
    assert first == "# yaml-language-server: $schema=resolver.schema.json"
    assert "max_block" in json.dumps(json.loads((tmp_path / "resolver.schema.json").read_text())["$defs"])


def test_odd_names_stay_what_they_are(write: Write, tmp_path: Path) -> None:
    """Headers and paths that YAML would read as something else come back as they were."""
    path = write("no: #1 [x]/yes.csv", [{"id": str(n), "d: #o b": "x", "last: 'name\"": f"N{n}"} for n in range(3)])
    run(path, "--out", tmp_path / "my.yaml")
    loaded = settings.load(tmp_path / "my.yaml")

    assert loaded.sources[0].path == path
    assert loaded.sources[0].fields == {"last_name": "last: 'name\"", "birth_date": "d: #o b"}


def test_every_recognised_field_is_one_that_ingest_knows() -> None:
    """The words lead to fields of the config and nowhere else, and no word leads to two of them."""
    words = [word for many in names.PERSON.values() for word in many]

    assert set(names.PERSON) <= set(raw.FIELDS)
    assert len(words) == len(set(words))
    assert all(names.plain(word) == word for word in words)


def test_hombre_and_mujer_are_not_mixed_up(write: Write, tmp_path: Path) -> None:
    """Where a column says H and M for the sex, M is a woman; the config says so and asks a person to look."""
    rows = [{"id": str(n), "apellido": f"N{n}", "nombre": f"F{n}", "sexo": "HM"[n % 2]} for n in range(6)]
    shown = run(write("pacientes.csv", rows), "--out", tmp_path / "my.yaml").stdout
    loaded = settings.load(tmp_path / "my.yaml")

    assert isinstance(loaded.sources[0], settings.TableSource)
    assert loaded.sources[0].sexes == {"H": "M", "M": "F"}
    assert "Look at this: H and M" in shown


def test_words_for_the_sex_that_nobody_knows_are_pointed_out(write: Write, tmp_path: Path) -> None:
    """Where most words for the sex would be lost, a person is told before the run."""
    rows = [{"id": str(n), "last": f"N{n}", "first": f"F{n}", "sex": "XY"[n % 2]} for n in range(6)]

    assert "100% of the words for the sex" in run(write("odd.csv", rows), "--out", tmp_path / "my.yaml").stdout


def test_the_screen_names_id_facility_and_what_is_not_read(write: Write, tmp_path: Path) -> None:
    """A person sees which column is the id, which the facility, and which columns nothing reads."""
    rows = [{"mrn": str(n), "last": f"N{n}", "first": f"F{n}", "hospital": "ab"[n % 2], "shoe": "9"} for n in range(12)]
    shown = run(write("desk.csv", rows), "--out", tmp_path / "my.yaml").stdout

    assert [line.split()[-1] for line in shown.splitlines() if "id of a record" in line] == ["mrn"]
    assert [line.split()[-1] for line in shown.splitlines() if "facility" in line] == ["hospital"]
    assert "not read: shoe" in shown


def test_one_odd_file_does_not_spoil_a_folder(write: Write, tmp_path: Path) -> None:
    """An empty file and one that is no text are named as not recognised, and the others are read."""
    rows = [{"id": str(n), "last": f"N{n}", "first": f"F{n}"} for n in range(3)]
    folder = write("folder/desk.csv", rows).parent
    (folder / "empty.csv").touch()
    (folder / "program.txt").write_bytes(bytes(range(256)) * 20)
    found = look(folder)

    assert [source["path"].name for source in found.sources] == ["desk.csv"]
    assert sorted(path.name for path in found.not_used) == ["empty.csv", "program.txt"]
