"""A whole test bed: its layout, its truth, its summary, its commands, and what it does not do to a user's folders."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from augmentation import bed, pipeline
from augmentation.cli import augment
from augmentation.errors import FIELDS
from augmentation.presets import folder, load, merged, names, parse
from augmentation.settings import AugmentSettings
from resolver.cli import main
from resolver.errors import DamagedError, LockedError, RunError, SettingsError, UsageError
from resolver.files import lock
from resolver.progress import Progress


def settings_for(population: Path, preset: str = "realistic", **changes: object) -> AugmentSettings:
    overrides = (
        f"population.dir={population}",
        "memory_gib=0.5",
        *(f"{key}={value}" for key, value in changes.items()),
    )
    return load(preset, overrides)


@pytest.fixture(scope="module")
def realistic(population: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The test bed that the preset `realistic` makes, for tests that only read it."""
    out = tmp_path_factory.mktemp("beds") / "realistic"
    pipeline.make(settings_for(population, threads=2), out, Progress())
    return out


def patients(out: Path) -> pl.DataFrame:
    """All facilities' patients with the fields that errors touch as text."""
    return (
        pl.concat(pl.read_parquet(path) for path in sorted(out.glob("facility_*/patients.parquet")))
        .with_columns(pl.col(name).cast(pl.String) for name in FIELDS)
        .sort("Id")
    )


def table(out: Path, name: str) -> pl.DataFrame:
    return pl.read_parquet(out / "truth" / f"{name}.parquet")


def content(out: Path) -> dict[str, pl.DataFrame]:
    """All tables of a test bed, by name."""
    return {str(path.relative_to(out)): pl.read_parquet(path) for path in sorted(out.rglob("*.parquet"))}


def test_truth_is_a_partition_and_lies_apart(realistic: Path) -> None:
    """Every record has one person, every person a record, and no facility folder names a person."""
    truth, records = table(realistic, "truth"), patients(realistic)

    assert sorted(truth["record_id"]) == records["Id"].to_list()
    assert truth["record_id"].is_unique().all()
    assert set(truth["person_id"]) == set(table(realistic, "persons")["Id"])
    inside = {path.stem for path in realistic.glob("facility_*/*")}
    assert not inside & {"truth", "errors", "lookalikes", "persons", "records"}
    for path in realistic.glob("facility_*/patients.parquet"):
        assert not set(pl.read_parquet(path)["Id"]) & set(truth["person_id"])


def test_clean_records_and_errors_give_the_broken_ones(realistic: Path) -> None:
    """The reported errors, made in their order on the clean records in house style, give what the facilities hold."""
    clean, broken = table(realistic, "records").sort("Id"), patients(realistic)
    chosen = load("realistic")
    values = {
        row["Id"]: {
            name: value.upper()
            if value
            and chosen.facility(row["facility"]).case == "upper"
            and name not in ("BIRTHDATE", "EMAIL", "SUFFIX")
            else value
            for name in FIELDS
            if name in row
            for value in [None if row[name] in (None, "") else str(row[name])]
        }
        for row in clean.to_dicts()
    }
    contact = table(realistic, "persons").select("Id", "PHONE", "EMAIL", "MEMBER_ID")
    for row in table(realistic, "truth").join(contact, left_on="person_id", right_on="Id").to_dicts():
        values[row["record_id"]] |= {name: row[name] for name in ("PHONE", "EMAIL", "MEMBER_ID")}

    for error in table(realistic, "errors").to_dicts():
        record = values[error["record_id"]]
        assert record[error["field"]] == error["before"] != error["after"]
        record[error["field"]] = error["after"]
    assert values == {row["Id"]: {name: row[name] for name in FIELDS} for row in broken.to_dicts()}


def test_layout_is_synthea_s(realistic: Path, population: Path) -> None:
    """Patients keep Synthea's columns, order and types, but the birth date is text, and contact data comes last."""
    before = pl.read_parquet_schema(population / "patients.parquet")
    after = pl.read_parquet_schema(next(realistic.glob("facility_*/patients.parquet")))

    assert list(after) == [*before, "PHONE", "EMAIL", "MEMBER_ID"]
    assert after["BIRTHDATE"] == pl.String
    assert {name: after[name] for name in before if name not in FIELDS} == {
        name: before[name] for name in before if name not in FIELDS
    }


def test_summary_counts_what_is_there(realistic: Path) -> None:
    """summary.json agrees with the tables."""
    summary = json.loads((realistic / "summary.json").read_text())
    truth, records, errors = table(realistic, "truth"), patients(realistic), table(realistic, "errors")
    sizes = truth.group_by("person_id").len()["len"]

    assert summary["records"] == len(records)
    assert summary["persons"] == truth["person_id"].n_unique()
    assert summary["true_pairs"] == int((sizes * (sizes - 1) // 2).sum())
    assert summary["missing"] == {name: records[name].null_count() for name in FIELDS}
    assert sum(sum(kinds.values()) for kinds in summary["errors"].values()) == len(errors)
    assert list(summary["steps"]) == ["lookalikes", "segment", "errors", "clinical", "integrity"]


def test_contact_data_is_made_from_the_person(realistic: Path) -> None:
    """An e-mail address holds a name of the person or the family; numbers have the form that desks ask for."""
    persons = table(realistic, "persons")
    held = persons.filter(pl.col("EMAIL").is_not_null()).select("FIRST", "LAST", "EMAIL").to_dicts()

    assert 0 < len(held) < len(persons)
    assert all(row["LAST"][-3:].lower() in row["EMAIL"] or row["FIRST"][-3:].lower() in row["EMAIL"] for row in held)
    assert persons["PHONE"].drop_nulls().str.contains(r"^\d{3}-\d{3}-\d{4}$").all()
    assert persons["MEMBER_ID"].drop_nulls().str.contains(r"^[A-Z]{3}\d{9}(-\d\d)?$").all()


def test_threads_do_not_change_the_content(realistic: Path, population: Path, tmp_path: Path) -> None:
    """The same seed gives the same tables with one thread as with two; another seed does not."""
    pipeline.make(settings_for(population, threads=1), tmp_path / "again", Progress())
    pipeline.make(settings_for(population, threads=1, seed=1), tmp_path / "other", Progress())
    expected, found, other = content(realistic), content(tmp_path / "again"), content(tmp_path / "other")

    assert expected.keys() == found.keys()
    assert all(found[name].equals(one) for name, one in expected.items())
    assert not other["truth/errors.parquet"].equals(expected["truth/errors.parquet"])


def test_two_halves_make_the_whole(realistic: Path, population: Path, tmp_path: Path) -> None:
    """`segment` then `corrupt` give what `all` gives; and errors once more, from the clean records, the same again."""
    out = tmp_path / "bed"
    chosen = settings_for(population)
    pipeline.split(chosen, out, Progress())
    assert not (out / "truth" / "errors.parquet").exists()
    pipeline.corrupt(chosen, out, Progress())
    expected, found = content(realistic), content(out)

    assert expected.keys() == found.keys()
    assert all(found[name].equals(one) for name, one in expected.items())
    with pytest.raises(RunError, match="changed before"):
        pipeline.corrupt(chosen, out, Progress())


@settings(deadline=None, max_examples=1, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10**6))
def test_starved_beds_hang_together(population: Path, tmp_path: Path, seed: int) -> None:
    """Whatever the seed, a starved test bed passes its integrity check, has duplicates and few encounters."""
    out = tmp_path / str(seed)
    summary = pipeline.make(settings_for(population, "starved", seed=seed), out, Progress())
    visits = pl.concat(pl.read_parquet(path, columns=["PATIENT"]) for path in out.glob("facility_*/encounters.parquet"))

    assert summary.facts["steps"]["integrity"]["records"] == summary.records
    assert visits.group_by("PATIENT").len()["len"].max() <= 3
    assert not {"PHONE", "EMAIL", "MEMBER_ID"} & set(pl.read_parquet(out / "facility_1" / "patients.parquet").columns)
    assert set(table(out, "errors")["field"]) <= {
        "FIRST",
        "LAST",
        "MAIDEN",
        "BIRTHDATE",
        "SSN",
        "ADDRESS",
        "CITY",
        "ZIP",
    }


def test_a_failure_leaves_no_half_bed(population: Path, tmp_path: Path) -> None:
    """When a step fails, OUT and what was in it are as before."""
    out = tmp_path / "bed"
    chosen = settings_for(population, "clinfuse")
    broken = chosen.model_copy(update={"population": chosen.population.model_copy(update={"dir": tmp_path})})

    with pytest.raises(Exception, match="patients"):
        pipeline.make(broken, out, Progress())
    assert not out.exists()
    assert not (tmp_path / ".bed.tmp").exists()


def test_a_user_s_folder_is_not_replaced(population: Path, tmp_path: Path) -> None:
    """A folder that holds something else than a test bed, a file, and a bed that is being made are refused."""
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match="something else"), bed.whole(tmp_path):
        pass
    with pytest.raises(RunError, match="is a file"), bed.whole(tmp_path / "notes.txt"):
        pass
    with lock(tmp_path / ".bed.lock", "it"), pytest.raises(LockedError), bed.whole(tmp_path / "bed"):
        pass
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_an_unreadable_manifest_is_named(tmp_path: Path) -> None:
    """A damaged manifest is told of, not overlooked."""
    (tmp_path / "truth").mkdir()
    (tmp_path / "truth" / "manifest.json").write_text("{")

    with pytest.raises(DamagedError, match=r"manifest\.json"):
        bed.steps(tmp_path)


def test_corrupting_what_is_no_bed_is_refused(tmp_path: Path) -> None:
    """`corrupt` needs what `segment` made."""
    with pytest.raises(RunError, match="not a test bed"):
        pipeline.corrupt(load("clinfuse"), tmp_path, Progress())


def test_commands_give_a_summary(population: Path, tmp_path: Path) -> None:
    """The command makes the test bed, and prints its summary as JSON or as a table."""
    run = CliRunner()
    common = ["clinfuse", "--population", str(population), "--threads", "1", "--quiet", "--set", "memory_gib=0.5"]
    found = run.invoke(augment, ["segment", *common, "--out", str(tmp_path / "bed"), "--json"], catch_exceptions=False)
    assert json.loads(found.output)["errors"] == {}

    found = run.invoke(augment, ["corrupt", *common, "--out", str(tmp_path / "bed")], catch_exceptions=False)
    assert "true pairs" in found.output
    assert "BIRTHDATE" in found.output
    assert (tmp_path / "bed" / "truth" / "errors.parquet").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["all", "realistc", "--out", "x"], 2, "Did you mean realistic?"),
        (["all", "clinfuse", "--out", "x"], 2, "Say --population DIR."),
        (["all", "clinfuse", "--population", "x"], 2, "Say --out DIR."),
        (["all", "clinfuse", "--population", "x", "--out", "y", "--set", "errors.countz=1"], 2, "did you mean counts?"),
        (["all", "clinfuse", "--population", "x", "--out", "y", "--set", "seed"], 2, "section.key=value"),
        (["people", "--records", "5", "--out", "y", "--set", "errors.missing.SNN=.1"], 2, "no errors are made on SNN"),
    ],
)
def test_faults_are_one_line(
    arguments: list[str], code: int, says: str, capsys: pytest.CaptureFixture[str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """A wrong call ends with one line that says what to do, and the exit code for wrong usage."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as left:
        main(["augment", *arguments])

    text = capsys.readouterr().err.strip()
    assert left.value.code == code
    assert says in text
    assert len(text.splitlines()) == 1


def test_presets_are_complete_and_say_where_rates_come_from() -> None:
    """The four presets load; in `realistic` every number has a source or says that it is assumed."""
    assert names() == ["clinfuse", "hard", "realistic", "starved"]
    text = (folder() / "realistic.yaml").read_text()
    for source in ("PMC4832129", "Applied Clinical Informatics", "PMC7787357"):
        assert source in text
    clinfuse = load("clinfuse").errors
    assert [(count.share, count.least, count.most) for count in clinfuse.counts] == [(0.7, 8, 12), (0.3, 1, 1)]
    assert {name: family.weight for name, family in clinfuse.families.items()} == {
        "name": 0.35, "missing": 0.30, "date": 0.15, "ssn": 0.15, "address": 0.05,
    }  # fmt: skip
    assert [(count.least, count.most) for count in load("hard").errors.counts] == [(3, 5)]


def test_configs_build_on_presets(tmp_path: Path) -> None:
    """A config states what it changes; its paths are its own folder's; overrides come last and key by key."""
    path = tmp_path / "my.yaml"
    path.write_text("preset: starved\nout: beds/one\npopulation: {dir: pop}\nerrors: {repeats: true}\n")
    chosen = load(str(path), ("errors.families.ssn.weight=0.5", "seed=4"))

    assert chosen.out == tmp_path / "beds" / "one"
    assert chosen.population.dir == tmp_path / "pop"
    assert chosen.clinical.max_encounters == 3
    assert chosen.errors.repeats
    assert chosen.errors.families["ssn"].weight == 0.5
    assert chosen.errors.families["name"].weight == 0.35
    assert chosen.seed == 4
    assert merged({"families": {"a": 1}, "x": {"y": 1}}, {"families": {"b": 2}, "x": {"z": 2}}) == {
        "families": {"b": 2},
        "x": {"y": 1, "z": 2},
    }


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("errors: {counts: [{share: 0.5, least: 3, most: 1}]}", "least must not be above most"),
        ("segment: {visited: [0.5, 0.4]}", "visited must add up to 1"),
        ("preset: realstic", "no such preset"),
        ("[1, 2]", "must hold keys"),
        ("a: [", "not valid YAML"),
    ],
)
def test_faults_of_a_config_are_explained(tmp_path: Path, text: str, says: str) -> None:
    """A config that can't be meant is refused with the reason."""
    path = tmp_path / "my.yaml"
    path.write_text(text)

    with pytest.raises(SettingsError, match=says):
        load(str(path))


def test_unknown_configs_are_refused() -> None:
    """What is neither a file nor a preset is refused, also where nothing is near."""
    with pytest.raises(UsageError, match="Presets are"):
        load("zzzzz")
    with pytest.raises(SettingsError, match="unknown key"):
        parse({"nonsense": 1}, "test")
