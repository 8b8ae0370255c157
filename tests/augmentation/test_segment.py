"""Segmentation of a population into facilities."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from augmentation.lookalikes import make_lookalikes
from augmentation.population import Layout
from augmentation.segment import integrity, segment
from augmentation.settings import AugmentSettings
from resolver import database
from resolver.errors import DamagedError, InputError, SchemaError
from resolver.progress import Progress

Make = Callable[..., dict[str, Any]]
EVENTS = ("encounters", "conditions", "medications", "observations", "claims", "claims_transactions")
SPLITS = ("primary_first", "random", "last_move", "moves")


def query(text: str) -> list[Any]:
    return duckdb.execute(text).fetchall()


def scalar(text: str) -> Any:
    return query(text)[0][0]


def truth_of(out: Path) -> set[tuple[str, int, str]]:
    return set(query(f"SELECT record_id, facility, person_id FROM '{out}/truth/truth.parquet'"))


def placed(out: Path, where: str = "true") -> set[tuple[str, str]]:
    """(person, facility) of each encounter."""
    return set(
        query(f"""
            SELECT e.Id, t.facility || ' ' || e.PATIENT FROM '{out}/facility_*/encounters.parquet' e
            JOIN '{out}/truth/truth.parquet' t ON t.record_id = e.PATIENT WHERE {where}""")
    )


@hypothesis_settings(deadline=None, max_examples=3, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 2**32),
    split=st.sampled_from(SPLITS),
    facilities=st.integers(1, 6),
    duplicates=st.sampled_from([0.0, 0.3, 1.0]),
    share=st.sampled_from([0.0, 0.3]),
)
def test_nothing_is_lost_and_all_hangs_together(
    population: Path, make_bed: Make, seed: int, split: str, facilities: int, duplicates: float, share: float
) -> None:
    """For any seed and split: each row lands once and unchanged, references resolve, truth is a partition."""
    visited = [1.0] if facilities == 1 else [0.4, 0.6] if facilities < 5 else [0.4, 0.3, 0.15, 0.1, 0.05]
    with TemporaryDirectory() as folder, database.connect(memory_gib=0.5, threads=1) as con:
        out = Path(folder) / "bed"
        facts = make_bed(
            out,
            population,
            seed=seed,
            segment={"facilities": facilities, "visited": visited, "split": split},
            duplicates={"least": duplicates, "most": duplicates},
            lookalikes={"share": share},
        )
        checked = integrity.check(con, Layout(out), Progress())

        assert checked["records"] == facts["records"] == len(truth_of(out))
        assert checked["facilities"] == facilities
        for table in EVENTS:
            columns = [row[0] for row in query(f"DESCRIBE FROM '{population}/{table}.parquet'")]
            local = [column for column in columns if column.startswith("PATIENT")]
            rest = ", ".join(f'"{column}"' for column in columns if column not in local)
            before = f"SELECT {rest} FROM '{population}/{table}.parquet'"
            after = f"SELECT {rest} FROM '{out}/facility_*/{table}.parquet'"
            assert query(f"({before}) EXCEPT ALL ({after})") == []
            assert query(f"({after}) EXCEPT ALL ({before})") == []
        # Each person's rows stay that person's, also those that name no encounter.
        for table in ("encounters", "observations"):
            assert query(
                f"SELECT PATIENT, count(*) FROM '{population}/{table}.parquet' GROUP BY 1 ORDER BY 1"
            ) == query(
                f"""SELECT person_id, count(*) FROM '{out}/facility_*/{table}.parquet'
                JOIN '{out}/truth/truth.parquet' ON record_id = PATIENT GROUP BY 1 ORDER BY 1"""
            )
        persons = {person for _, _, person in truth_of(out)}
        assert persons == {row[0] for row in query(f"SELECT Id FROM '{population}/patients.parquet'")}


def test_primary_facility_has_the_first_encounters(population: Path, make_bed: Make, tmp_path: Path) -> None:
    """The first 60 % of a person's encounters are at one facility, the rest in turn at the others."""
    make_bed(tmp_path, population, seed=3, segment={"visited": [0, 0, 1.0]})
    with duckdb.connect() as con:
        visits = con.execute(f"""
            SELECT person_id, list(facility ORDER BY START, Id) FROM '{tmp_path}/facility_*/encounters.parquet' e
            JOIN '{tmp_path}/truth/truth.parquet' t ON t.record_id = e.PATIENT GROUP BY 1""").fetchall()

    for _, facilities in visits:
        first = max(1, int(len(facilities) * 0.6 + 1e-9))
        rest = facilities[first:]
        assert len(set(facilities[:first])) == 1
        assert facilities[0] not in rest
        assert all(one != two for one, two in itertools.pairwise(rest)) or len(set(rest)) == 1
    assert max(len(set(facilities)) for _, facilities in visits) == 3


def test_moves_change_the_facility_for_good(population: Path, make_bed: Make, tmp_path: Path) -> None:
    """Who moves does not come back: the encounters at a facility are one stretch of time."""
    make_bed(tmp_path, population, seed=3, segment={"visited": [0, 0, 1.0], "split": "moves"})
    visits = query(f"""
        SELECT person_id, list(facility ORDER BY START, Id) FROM '{tmp_path}/facility_*/encounters.parquet' e
        JOIN '{tmp_path}/truth/truth.parquet' t ON t.record_id = e.PATIENT GROUP BY 1""")

    for _, facilities in visits:
        changes = sum(one != two for one, two in itertools.pairwise(facilities))
        assert changes == len(set(facilities)) - 1
        assert len(set(facilities)) == min(3, len(facilities))


def test_last_move_ends_at_one_facility(population: Path, make_bed: Make, tmp_path: Path) -> None:
    """After the last move all encounters are at a facility that was not visited before."""
    make_bed(tmp_path, population, seed=3, segment={"visited": [0, 0, 1.0], "split": "last_move"})
    visits = query(f"""
        SELECT person_id, list(facility ORDER BY START, Id) FROM '{tmp_path}/facility_*/encounters.parquet' e
        JOIN '{tmp_path}/truth/truth.parquet' t ON t.record_id = e.PATIENT GROUP BY 1""")

    for _, facilities in visits:
        since = facilities.index(facilities[-1])
        assert set(facilities[since:]) == {facilities[-1]}


@pytest.mark.parametrize("split", ["primary_first", "moves"])
def test_a_further_facility_leaves_those_alone_who_do_not_go_there(
    population: Path, make_bed: Make, tmp_path: Path, split: str
) -> None:
    """Persons who do not visit facility 4 have the same records and encounters as when there were three."""
    common = {"seed": 9, "duplicates": {"least": 0.3, "most": 0.3}}
    for facilities in (3, 4):
        chosen = {"facilities": facilities, "visited": [0.5, 0.5], "split": split}
        make_bed(tmp_path / str(facilities), population, segment=chosen, **common)
    three, four = tmp_path / "3", tmp_path / "4"
    newcomers = {person for _, facility, person in truth_of(four) if facility == 4}
    names = ", ".join(f"'{person}'" for person in sorted(newcomers)) or "''"
    stayed = f"t.person_id NOT IN ({names})"

    assert 0 < len(newcomers) < 20
    assert {row for row in truth_of(three) if row[2] not in newcomers} == {
        row for row in truth_of(four) if row[2] not in newcomers
    }
    assert placed(three, stayed) == placed(four, stayed)


def test_a_person_less_leaves_the_others_alone(population: Path, make_bed: Make, tmp_path: Path) -> None:
    """Nobody's records hang on who else is in the population."""
    gone = scalar(f"SELECT max(Id) FROM '{population}/patients.parquet'")
    fewer = tmp_path / "fewer"
    fewer.mkdir()
    with duckdb.connect() as con:
        for path in population.glob("*.parquet"):
            columns = [row[0] for row in con.execute(f"DESCRIBE FROM '{path}'").fetchall()]
            patient = next((c for c in ("PATIENT", "PATIENTID") if c in columns), None)
            patient = "Id" if path.stem == "patients" else patient
            where = f"WHERE {patient} <> '{gone}'" if patient else ""
            con.execute(f"COPY (FROM '{path}' {where}) TO '{fewer / path.name}'")
    make_bed(tmp_path / "all", population, seed=4, duplicates={"least": 0.2, "most": 0.4})
    make_bed(tmp_path / "less", fewer, seed=4, duplicates={"least": 0.2, "most": 0.4})

    assert {row for row in truth_of(tmp_path / "all") if row[2] != gone} == truth_of(tmp_path / "less")
    assert placed(tmp_path / "all", f"t.person_id <> '{gone}'") == placed(tmp_path / "less")


def test_double_registrations_are_split_in_time(population: Path, make_bed: Make, tmp_path: Path) -> None:
    """At a rate of 1 everyone with two encounters at a facility has two ids there, the second after the first."""
    facts = make_bed(tmp_path, population, seed=1, duplicates={"least": 1, "most": 1})
    spans = query(f"""
        SELECT person_id, facility, list((first, last) ORDER BY first, last), sum(n) FROM (
            SELECT person_id, facility, PATIENT, min(START) AS first, max(START) AS last, count(*) AS n
            FROM '{tmp_path}/facility_*/encounters.parquet' JOIN '{tmp_path}/truth/truth.parquet' ON record_id = PATIENT
            GROUP BY ALL)
        GROUP BY ALL""")

    assert facts["registered_twice"] == sum(len(stretches) == 2 for _, _, stretches, _ in spans) > 5
    for _, _, stretches, encounters in spans:
        assert len(stretches) == min(2, encounters)
        if len(stretches) == 2:
            assert stretches[0][1] <= stretches[1][0]


def test_without_duplicates_nobody_is_registered_twice(population: Path, make_bed: Make, tmp_path: Path) -> None:
    """One record of a person per facility."""
    facts = make_bed(tmp_path, population, seed=1)

    assert facts["registered_twice"] == 0
    assert len({(facility, person) for _, facility, person in truth_of(tmp_path)}) == facts["records"]


def test_text_and_typed_tables_are_one(
    population: Path, population_as_text: Path, make_bed: Make, tmp_path: Path
) -> None:
    """A population in text, with digits on the names, gives the same records and persons as the typed one."""
    for name, form in (("typed", population), ("text", population_as_text)):
        make_bed(tmp_path / name, form, seed=2, lookalikes={"share": 0.3})
    people = (
        "SELECT Id, FIRST, LAST, MAIDEN, CAST(BIRTHDATE AS VARCHAR), ADDRESS FROM '{}/truth/persons.parquet' ORDER BY 1"
    )
    periods = """SELECT PATIENT, CAST(START_DATE AS TIMESTAMP) AS s, CAST(END_DATE AS TIMESTAMP) AS e, OWNER_NAME
        FROM '{}/facility_*/payer_transitions.parquet' ORDER BY ALL"""

    assert truth_of(tmp_path / "typed") == truth_of(tmp_path / "text")
    assert placed(tmp_path / "typed") == placed(tmp_path / "text")
    for text in (people, periods):
        assert query(text.format(tmp_path / "typed")) == query(text.format(tmp_path / "text"))


def test_columns_keep_their_layout(population: Path, make_bed: Make, tmp_path: Path) -> None:
    """Every facility has every table, with the columns and types that the population has."""
    make_bed(tmp_path, population, seed=2, lookalikes={"share": 0.3})
    for path in population.glob("*.parquet"):
        for facility in range(1, 6):
            there = tmp_path / f"facility_{facility}" / path.name
            assert [row[:2] for row in query(f"DESCRIBE FROM '{there}'")] == [
                row[:2] for row in query(f"DESCRIBE FROM '{path}'")
            ]


def test_insurance_is_cut_to_the_time_of_the_record(population: Path, make_bed: Make, tmp_path: Path) -> None:
    """A facility knows of insurance from a record's first encounter to its last, and what it knows is true."""
    make_bed(tmp_path, population, seed=2)
    with duckdb.connect() as con:
        con.execute(f"""
            CREATE TABLE spans AS SELECT PATIENT, min(START) AS first, max(START) AS last
            FROM '{tmp_path}/facility_*/encounters.parquet' GROUP BY 1""")
        outside = con.execute(f"""
            SELECT count(*) FROM '{tmp_path}/facility_*/payer_transitions.parquet' p JOIN spans USING (PATIENT)
            WHERE p.START_DATE < first OR p.END_DATE > last OR p.END_DATE IS NULL""").fetchall()
        invented = con.execute(f"""
            SELECT count(*) FROM '{tmp_path}/facility_*/payer_transitions.parquet' p
            JOIN '{tmp_path}/truth/truth.parquet' t ON t.record_id = p.PATIENT
            ANTI JOIN '{population}/payer_transitions.parquet' q
            ON q.PATIENT = t.person_id AND q.MEMBERID IS NOT DISTINCT FROM p.MEMBERID
                AND q.START_DATE <= p.START_DATE AND coalesce(q.END_DATE, '9999-01-01') >= p.END_DATE""").fetchall()
        there = con.execute(f"SELECT count(*) FROM '{tmp_path}/facility_*/payer_transitions.parquet'").fetchall()

    assert outside == [(0,)]
    assert invented == [(0,)]
    assert there[0][0] > 20


def test_threads_do_not_matter(population: Path, make_bed: Make, tmp_path: Path) -> None:
    """One thread and three write the same rows in the same order."""
    chosen = {
        "seed": 8,
        "segment": {"facilities": 2, "visited": [0.5, 0.5]},
        "lookalikes": {"share": 0.3},
        "duplicates": {"least": 0.1, "most": 0.5},
        "clinical": {"measurement_noise": True, "never_entered": 0.1},
    }
    for threads in (1, 3):
        make_bed(tmp_path / str(threads), population, threads=threads, **chosen)
    one, three = tmp_path / "1", tmp_path / "3"
    for path in sorted(one.rglob("*.parquet")):
        assert query(f"FROM '{path}'") == query(f"FROM '{three / path.relative_to(one)}'"), path.name


@pytest.fixture
def broken(population: Path, tmp_path: Path) -> Path:
    shutil.copytree(population, tmp_path / "broken")
    return tmp_path / "broken"


def _spoil(folder: Path, table: str, select: str) -> None:
    with duckdb.connect() as con:
        con.execute(f"CREATE TABLE spoilt AS {select.format(f'{folder}/{table}.parquet')}")
        con.execute(f"COPY spoilt TO '{folder}/{table}.parquet'")


@pytest.mark.parametrize(
    ("table", "select", "says"),
    [
        ("conditions", "SELECT * REPLACE ('nowhere' AS ENCOUNTER) FROM '{}'", "conditions"),
        ("conditions", "SELECT * REPLACE (reverse(PATIENT) AS PATIENT) FROM '{}'", "conditions"),
        ("encounters", "FROM '{0}' UNION ALL FROM '{0}'", "share their Id"),
        ("encounters", "SELECT * REPLACE ('nobody' AS PATIENT) FROM '{}'", "patient that patients.parquet lacks"),
        ("encounters", "SELECT * REPLACE (NULL::TIMESTAMP AS START) FROM '{}'", "have no start"),
    ],
)
def test_a_population_with_loose_ends_is_refused(
    broken: Path, make_bed: Make, tmp_path: Path, table: str, select: str, says: str
) -> None:
    """Rows without a place are an error that names the table and no value."""
    _spoil(broken, table, select)
    with pytest.raises(InputError, match=says) as caught:
        make_bed(tmp_path / "out", broken)

    assert "nowhere" not in str(caught.value)
    assert "nobody" not in str(caught.value)


def test_impossible_dates_are_not_quoted(population_as_text: Path, make_bed: Make, tmp_path: Path) -> None:
    """A date that can't be read stops the step without showing the date."""
    folder = tmp_path / "broken"
    shutil.copytree(population_as_text, folder)
    _spoil(folder, "encounters", "SELECT * REPLACE ('1999-99-99' AS START) FROM '{}'")
    with pytest.raises(InputError) as caught:
        make_bed(tmp_path / "out", folder)

    assert "1999-99" not in str(caught.value)


def test_missing_tables_and_columns_are_named(broken: Path, make_bed: Make, tmp_path: Path) -> None:
    """No encounters, or encounters without a start, are an error that says so."""
    _spoil(broken, "encounters", "SELECT * EXCLUDE (START) FROM '{}'")
    with pytest.raises(SchemaError, match="START"):
        make_bed(tmp_path / "out", broken)
    (broken / "encounters.parquet").unlink()
    with pytest.raises(InputError, match=r"encounters\.parquet"):
        make_bed(tmp_path / "out", broken)


def test_a_person_without_encounters_has_one_record(broken: Path, make_bed: Make, tmp_path: Path) -> None:
    """Nobody disappears for not having been seen."""
    person = scalar(f"SELECT min(Id) FROM '{broken}/patients.parquet'")
    with duckdb.connect() as con:
        for path in broken.glob("*.parquet"):
            columns = [row[0] for row in con.execute(f"DESCRIBE FROM '{path}'").fetchall()]
            patient = next((c for c in ("PATIENT", "PATIENTID") if c in columns), None)
            if patient and path.stem != "payer_transitions":
                con.execute(f"CREATE OR REPLACE TABLE kept AS FROM '{path}' WHERE {patient} <> '{person}'")
                con.execute(f"COPY kept TO '{path}'")
    facts = make_bed(tmp_path / "out", broken)

    assert facts["records_without_encounters"] == 1
    assert [row[2] for row in truth_of(tmp_path / "out")].count(person) == 1


@pytest.mark.parametrize(
    ("table", "select", "says"),
    [
        ("facility_1/conditions", "SELECT * REPLACE ('nowhere' AS ENCOUNTER) FROM '{}'", "ENCOUNTER"),
        ("facility_1/conditions", "SELECT * REPLACE (reverse(PATIENT) AS PATIENT) FROM '{}'", "PATIENT"),
        ("facility_2/claims_transactions", "SELECT * REPLACE ('none' AS CLAIMID) FROM '{}'", "CLAIMID"),
        ("facility_1/patients", "FROM '{0}' UNION ALL FROM '{0}'", "Id"),
        ("truth/truth", "FROM '{}' LIMIT 5", "missing"),
        ("truth/truth", "FROM '{0}' UNION ALL FROM '{0}'", "twice"),
        ("truth/truth", "SELECT * REPLACE ('nobody' AS person_id) FROM '{}'", "persons"),
        ("truth/truth", "SELECT * REPLACE (facility + 1 AS facility) FROM '{}'", "in no facility"),
    ],
)
def test_integrity_finds_what_is_broken(plain_bed: Path, tmp_path: Path, table: str, select: str, says: str) -> None:
    """Each kind of loose end in a finished test bed is found and named."""
    out = tmp_path / "bed"
    shutil.copytree(plain_bed, out)
    folder, name = table.split("/")
    _spoil(out / folder, name, select)
    with database.connect(memory_gib=0.5, threads=1) as con, pytest.raises(DamagedError, match=says):
        integrity.check(con, Layout(out), Progress())


def test_integrity_finds_an_encounter_in_two_facilities(plain_bed: Path, tmp_path: Path) -> None:
    """An encounter may not be known to two facilities, or its id would join them."""
    out = tmp_path / "bed"
    shutil.copytree(plain_bed, out)
    with duckdb.connect() as con:
        con.execute(f"""
            CREATE TABLE shared AS FROM '{out}/facility_1/encounters.parquet' UNION ALL
            (SELECT * REPLACE ((SELECT min(Id) FROM '{out}/facility_1/patients.parquet') AS PATIENT)
            FROM '{out}/facility_2/encounters.parquet' LIMIT 1)""")
        con.execute(f"COPY shared TO '{out}/facility_1/encounters.parquet'")
    with database.connect(memory_gib=0.5, threads=1) as con, pytest.raises(DamagedError, match="two facilities"):
        integrity.check(con, Layout(out), Progress())


def test_the_default_shares_of_facilities_visited_hold(tmp_path: Path) -> None:
    """Of many persons with many encounters, 40/30/15/10/5 % visit one to five facilities, and none is preferred."""
    folder = tmp_path / "many"
    folder.mkdir()
    with duckdb.connect() as con:
        con.execute(f"""
            COPY (SELECT 'p' || i AS Id, DATE '1980-01-01' + CAST(i % 9000 AS INTEGER) AS BIRTHDATE, 'F' AS GENDER,
                'Ann' AS FIRST, 'Lee' AS LAST, '1 Main St' AS ADDRESS FROM range(4000) r(i))
            TO '{folder}/patients.parquet'""")
        con.execute(f"""
            COPY (SELECT 'e' || i || '-' || n AS Id, 'p' || i AS PATIENT,
                TIMESTAMP '2001-01-01' + to_days(CAST(n AS INTEGER)) AS START FROM range(4000) r(i), range(20) s(n))
            TO '{folder}/encounters.parquet'""")
    settings, layout = AugmentSettings(population={"dir": folder}, seed=6), Layout(tmp_path / "out")
    with database.connect(memory_gib=0.5, threads=1) as con:
        make_lookalikes(con, settings, layout, Progress())
        facts = segment(con, settings, layout, Progress())

    for facilities, share in zip(range(1, 6), settings.segment.visited, strict=True):
        assert facts["facilities_visited"][facilities] / 4000 == pytest.approx(share, abs=0.025)
    by_facility = facts["rows"]["patients"]
    assert max(by_facility.values()) < 1.1 * min(by_facility.values())
