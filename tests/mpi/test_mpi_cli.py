"""`resolver mpi`: what a person sees, and the files that exports write."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path
from typing import Any

import duckdb
import pytest
from click.testing import CliRunner, Result

from resolver.cli import cli
from resolver.errors import ResolverError

P1, P2, P3 = "P0000001Y", "P0000002W", "P0000003T"


@pytest.fixture(scope="module")
def template(new_site: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    site = new_site(tmp_path_factory.mktemp("template"))
    site.publish([["a:1", "b:1"], ["a:2"], ["a:3"]])
    site.publish([["a:1", "b:1", "a:3"], ["a:2"], ["b:=2+3"]])
    return site


@pytest.fixture
def published(template: Any, site: Any) -> Any:
    """An index after two runs: the third person was merged into the first; one record's id tries to be a formula."""
    shutil.copytree(template.index.parent, site.index.parent)
    return site


def mpi(site: Any, *arguments: str) -> Result:
    result = CliRunner().invoke(cli, ["mpi", *arguments, "--index", str(site.index)])
    if result.exception is not None and not isinstance(result.exception, ResolverError | SystemExit):
        raise result.exception
    return result


def answer(site: Any, *arguments: str) -> Any:
    result = mpi(site, *arguments, "--json")
    assert result.exit_code == 0, result.exception
    return json.loads(result.output)


def test_lookup_by_id_by_record_and_by_forward(published: Any) -> None:
    """An enterprise id, a merged one, a record and a bare record id lead to the same person."""
    for who in (P1, P1.lower(), P3, "a:1", "b:1", "3"):
        found = answer(published, "lookup", who)
        assert found["person_id"] == P1
        assert [record["record_id"] for record in found["records"]] == ["a:1", "a:3", "b:1"]
    assert answer(published, "lookup", P3)["forwarded_by"] == [P3]
    assert f"{P3} -> {P1}" in mpi(published, "lookup", P3).output


def test_lookup_shows_evidence_and_confidence(published: Any) -> None:
    """The parts of each pair's log-odds, and how sure each value is, are in the answer."""
    found = answer(published, "lookup", P1)
    assert {(link["left_record"], link["right_record"]) for link in found["links"]} == {
        ("a:1", "b:1"),
        ("a:1", "a:3"),
        ("a:3", "b:1"),
    }
    assert found["links"][0]["demographics"] == 8.0
    assert found["confidence"] == {"first_name": 0.9}


def test_lookup_as_of_a_run(published: Any) -> None:
    """The person as it was right after a past run."""
    assert [record["record_id"] for record in answer(published, "lookup", P3, "--as-of", "R1")["records"]] == ["a:3"]
    assert answer(published, "lookup", P3, "--as-of", "1")["status"] == "live"
    assert "no run R9" in str(mpi(published, "lookup", P3, "--as-of", "R9").exception)


def test_lookup_by_values(published: Any) -> None:
    """Values are compared in their normalised form, with golden values first and then with records."""
    name = published.rows(f"SELECT first_name FROM persons WHERE person_id = '{P2}'")[0][0]
    found = answer(published, "lookup", "--first", f" {name.lower()} ")
    assert P2 in [one["person_id"] for one in found]
    everybody = answer(published, "lookup", "--birth-date", "1980-02-03")
    assert {one["person_id"] for one in everybody} == {P1, P2, "P0000004Q"}
    assert {one["found_in"] for one in everybody} == {"a record"}
    assert "Nobody" in mpi(published, "lookup", "--last", "x").output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["lookup"], "Say whom"),
        (["lookup", P1, "--first", "A"], "not both"),
        (["lookup", "P0000001Z"], "check digit"),
        (["lookup", "1"], "several sources"),
        (["lookup", "z:9"], "Neither a person nor a record"),
        (["lookup", "--birth-date", "3.2.1980"], "1980-02-03"),
        (["lookup", "--ssn", "12"], "nine digits"),
        (["link", "z:9", "a:1"], "The first record is not in the index"),
        (["link", "a:1", "z:9"], "The second record is not in the index"),
        (["merge", P1, P3], "one person already"),
        (["split", P2, "--record", "a:1"], "not in P0000002W"),
        (["undo", "x"], "number of an event"),
        (["undo", "R7"], "no run R7"),
    ],
)
def test_mistakes_are_named(published: Any, arguments: list[str], said: str) -> None:
    """What can't be done is said in one line, with exit code 2, and leaves the index as it is."""
    before = published.content()
    result = mpi(published, *arguments)

    assert isinstance(result.exception, ResolverError)
    assert result.exception.exit_code == 2
    assert said in str(result.exception)
    assert "\n" not in str(result.exception)
    assert published.content() == before


def test_the_index_must_be_named() -> None:
    """Without --index the config comes first; an index that is not there is named."""
    neither = CliRunner().invoke(cli, ["mpi", "runs"])
    missing = CliRunner().invoke(cli, ["mpi", "runs", "--index", "nowhere.duckdb"])

    assert "Missing argument 'CONFIG'" in neither.output
    assert "no index nowhere.duckdb" in str(missing.exception)


def test_the_config_names_the_index(published: Any) -> None:
    """With a config, the index is the one that the run publishes to."""
    config = published.folder / "my.yaml"
    config.write_text(
        f"run: {{dir: run}}\nsources: [{{kind: synthea, path: data}}]\nindex: {{path: {published.index}}}\n"
    )
    result = CliRunner().invoke(cli, ["mpi", "runs", str(config), "--json"])
    assert [run["run_id"] for run in json.loads(result.output)] == ["R1", "R2"]


def test_a_correction_and_its_undo(published: Any) -> None:
    """A link says what came of it and how to take it back, and that works."""
    before = published.rows("FROM crosswalk ORDER BY ALL")
    output = mpi(published, "link", "a:2", "b:1", "--why", "same card").output
    assert f"{P2} was merged into {P1} (same card)" in output
    taken_back = re.search(r"resolver mpi undo .* (\d+)", output)
    assert taken_back is not None
    assert answer(published, "lookup", "a:2")["provisional"]

    assert [event["kind"] for event in answer(published, "undo", taken_back[1])] == ["undone", "undone"]
    assert [row[:2] for row in published.rows("FROM crosswalk ORDER BY ALL")] == [row[:2] for row in before]
    assert [event["why"] for event in answer(published, "history", "a:2") if event["kind"] == "linked"] == ["same card"]


def test_split_unlink_and_merge(published: Any) -> None:
    """The other corrections work from the command line, and say the new ids."""
    assert [event["kind"] for event in answer(published, "split", P1, "--record", "a:3")] == [
        "unlinked",
        "created",
        "split",
    ]
    assert [event["kind"] for event in answer(published, "unlink", "a:1", "b:1")] == ["unlinked", "created", "split"]
    assert [event["kind"] for event in answer(published, "merge", "P0000004Q", P2)] == ["linked", "merged"]
    assert len({row[0] for row in published.rows("SELECT person_id FROM crosswalk")}) == 4


def test_runs_and_a_run_undone(published: Any) -> None:
    """A whole run is taken back by its name."""
    assert mpi(published, "undo", "R2").exit_code == 0
    listed = answer(published, "runs")
    assert [(run["run_id"], run["undone"] is not None) for run in listed] == [("R1", False), ("R2", True)]
    assert answer(published, "lookup", "a:3")["person_id"] == P3


@pytest.mark.parametrize("kind", ["parquet", "csv"])
def test_export_of_tables(published: Any, tmp_path: Path, kind: str) -> None:
    """Persons, crosswalk and links come out with all their rows."""
    result = answer(published, "export", "--format", kind, "--out", str(tmp_path / "out"))
    result.pop("values_prefixed", None)
    assert result == {f"persons.{kind}": 4, f"crosswalk.{kind}": 5, f"links.{kind}": 3}
    with duckdb.connect() as con:
        read = con.execute(
            f"SELECT source, source_record_id, person_id FROM '{tmp_path}/out/crosswalk.{kind}'"
        ).fetchall()
    strange = "=2+3" if kind == "parquet" else "'=2+3"
    assert ("b", strange, "P0000004Q") in [tuple(map(str, row)) for row in read]


def test_a_spreadsheet_runs_nothing_from_csv(published: Any, tmp_path: Path) -> None:
    """Text that starts like a formula gets an apostrophe in front, and the number of those is said."""
    output = mpi(published, "export", "--format", "crosswalk", "--out", str(tmp_path)).output
    with (tmp_path / "crosswalk.csv").open(newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row]

    assert "'=2+3" in cells
    assert not [cell for cell in cells if cell[:1] in "=+-@\t\r" and cell]
    assert "1 values got an apostrophe" in output


def test_an_export_as_of_a_run(published: Any, tmp_path: Path) -> None:
    """The crosswalk of a past run comes out as it was published."""
    mpi(published, "export", "--format", "crosswalk", "--out", str(tmp_path), "--as-of", "R1")
    lines = (tmp_path / "crosswalk.csv").read_text().splitlines()
    assert lines == ["source,source_record_id,person_id", f"a,1,{P1}", f"a,2,{P2}", f"a,3,{P3}", f"b,1,{P1}"]


def test_fhir_resources_refer_to_each_other(published: Any, tmp_path: Path) -> None:
    """Every reference resolves, links have their counterpart, and no member is null or empty."""
    mpi(published, "export", "--format", "fhir", "--out", str(tmp_path))
    patients = {one["id"]: one for one in ndjson(tmp_path / "Patient.ndjson")}
    linkages = list(ndjson(tmp_path / "Linkage.ndjson"))

    links = {
        (one, link["other"]["reference"].removeprefix("Patient/"), link["type"])
        for one, patient in patients.items()
        for link in patient.get("link", [])
    }
    back = {"seealso": "refer", "refer": "seealso", "replaces": "replaced-by", "replaced-by": "replaces"}
    assert links
    assert all((other, one, back[kind]) in links for one, other, kind in links)
    assert (P3, P1, "replaced-by") in links
    assert [one for one, patient in patients.items() if not patient["active"]] == [P3]
    assert len(linkages) == 3
    for linkage in linkages:
        kinds = [item["type"] for item in linkage["item"]]
        assert len(kinds) >= 2
        assert kinds.count("source") == 1
        assert all(item["resource"]["reference"].removeprefix("Patient/") in patients for item in linkage["item"])
    for resource in [*patients.values(), *linkages]:
        assert re.fullmatch(r"[A-Za-z0-9\-.]{1,64}", resource["id"])
        assert full(resource)


def test_fhir_holds_values_and_identifiers(site: Any, tmp_path: Path) -> None:
    """Names, dates, addresses and identifiers stand where FHIR has them, whatever characters they hold."""
    site.publish([["a:x/1", "b:1"]])
    with store_of(site) as change:
        change.con.execute(
            """UPDATE all_persons SET last_name = 'O"B<b>', middle_name = 'Q', maiden_name = 'M', suffix = 'JR',
                sex = 'F', ssn = '123456789', member_id = 'M1', phone = '6175550100',
                street = '1 MAIN ST', unit = 'APT 2', city = 'X', state = 'MA', zip = '02139'"""
        )
    mpi(site, "export", "--format", "fhir", "--out", str(tmp_path))
    golden = next(ndjson(tmp_path / "Patient.ndjson"))

    first = site.rows("SELECT first_name FROM persons")[0][0]
    assert golden["name"] == [
        {"use": "official", "family": 'O"B<b>', "given": [first, "Q"], "suffix": ["JR"]},
        {"use": "maiden", "family": "M"},
    ]
    assert golden["gender"] == "female"
    assert golden["telecom"] == [{"system": "phone", "value": "6175550100"}]
    assert golden["address"] == [{"line": ["1 MAIN ST", "APT 2"], "city": "X", "state": "MA", "postalCode": "02139"}]
    identifiers = {one.get("system", "member"): one["value"] for one in golden["identifier"]}
    assert identifiers == {
        "urn:resolver:person": P1,
        "http://hl7.org/fhir/sid/us-ssn": "123456789",
        "member": "M1",
        "urn:resolver:source:a": "x/1",
        "urn:resolver:source:b": "1",
    }
    source = list(ndjson(tmp_path / "Patient.ndjson"))[1]
    assert source["birthDate"] == "1980-02-03"


def test_help_has_examples() -> None:
    """Every command's help shows a command that can be typed."""
    from resolver.cli.mpi import mpi as group

    for name, command in group.commands.items():
        assert f"resolver mpi {name} " in str(command.help)


def ndjson(path: Path) -> Any:
    return (json.loads(line) for line in path.read_text().splitlines())


def full(value: Any) -> bool:
    """Whether no member is null or empty."""
    if isinstance(value, dict | list):
        return len(value) > 0 and all(full(one) for one in (value.values() if isinstance(value, dict) else value))
    return value is not None and value != ""


def store_of(site: Any) -> Any:
    from resolver.mpi import store

    return store.write(site.index)
