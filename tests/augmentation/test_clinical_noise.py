"""Clinical noise on the facilities' event tables."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from augmentation.clinical import add_noise, measurements, vocabulary
from augmentation.clinical.kinds import CODE_COLUMNS, KINDS
from augmentation.population import Layout
from augmentation.segment import integrity
from augmentation.settings import AugmentSettings
from resolver import database
from resolver.progress import Progress

Noise = Callable[..., dict[str, Any]]
EVENTS = ("conditions", "medications", "observations")
# What each kind may touch in the tables of the sample.
TOUCHES = {
    "measurement": {"VALUE"},
    "coding_variant": {"CODE", "DESCRIPTION"},
    "words": {"CODE", "SYSTEM", "DESCRIPTION", "REASONCODE", "REASONDESCRIPTION", "DIAGNOSIS1"},
    "shifted_date": {"DATE", "START", "STOP"},
}


def noise(out: Path, source: Path, seed: int = 1, facilities: Any = None, threads: int = 1, **clinical: Any) -> Any:
    """The facts of noise on a copy of a test bed."""
    shutil.copytree(source, out)
    settings = AugmentSettings(seed=seed, clinical=clinical, facilities=facilities or {})
    with database.connect(memory_gib=0.3, threads=threads) as con:
        return add_noise(con, settings, Layout(out), Progress())["clinical"]


def table(out: Path, name: str, facility: Any = "*") -> list[tuple[Any, ...]]:
    return query(f"FROM '{out}/facility_{facility}/{name}.parquet'")


def columns(out: Path, name: str) -> list[str]:
    return [row[0] for row in query(f"DESCRIBE FROM '{out}/facility_1/{name}.parquet'")]


def query(text: str) -> list[Any]:
    return duckdb.execute(text).fetchall()


def names(folder: Path) -> list[str]:
    return sorted(path.stem for path in (folder / "facility_1").glob("*.parquet"))


def test_without_noise_files_stay_as_they_are(plain_bed: Path, tmp_path: Path) -> None:
    """All off, not a byte is written."""
    facts = noise(tmp_path / "out", plain_bed)

    assert facts == {kind.name: {} for kind in KINDS}
    for path in plain_bed.rglob("*.parquet"):
        assert (tmp_path / "out" / path.relative_to(plain_bed)).read_bytes() == path.read_bytes()


@hypothesis_settings(deadline=None, max_examples=4)
@given(seed=st.integers(0, 2**32), kind=st.sampled_from(sorted(TOUCHES)))
def test_a_kind_changes_its_own_columns_and_counts_what_it_changed(plain_bed: Path, seed: int, kind: str) -> None:
    """For any seed: no row comes or goes, no other column changes, and the facts are the number of changed rows."""
    chosen: dict[str, Any] = {
        "measurement": {"measurement_noise": True},
        "coding_variant": {"coding_variants": 0.5},
        "words": {"facilities": {number: {"words": True} for number in (1, 2)}},
        "shifted_date": {"shifted_dates": 0.3},
    }[kind]
    with TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        facts = noise(out, plain_bed, seed, **chosen)
        for name in names(plain_bed):
            there = columns(plain_bed, name)
            changed = 0
            for facility in (1, 2):
                before, after = table(plain_bed, name, facility), table(out, name, facility)
                assert len(before) == len(after)
                for one, other in zip(before, after, strict=True):
                    differs = {column for column, x, y in zip(there, one, other, strict=True) if x != y}
                    assert differs <= TOUCHES[kind]
                    changed += bool(differs)
            assert facts[kind].get(name, 0) == changed
        assert sum(facts[kind].values()) > 0
        assert all(not found for other, found in facts.items() if other != kind)


@pytest.mark.parametrize(
    ("alone", "together"),
    [
        ({"measurement_noise": True}, {"coding_variants": 0.5, "shifted_dates": 0.3}),
        ({"never_entered": 0.2}, {"measurement_noise": True, "coding_variants": 0.5}),
    ],
)
def test_a_further_kind_does_not_change_what_the_others_draw(
    plain_bed: Path, tmp_path: Path, alone: dict[str, Any], together: dict[str, Any]
) -> None:
    """With more noise, the same rows are there and values that the first kind made are the same."""
    noise(tmp_path / "alone", plain_bed, **alone)
    noise(tmp_path / "together", plain_bed, **alone, **together)
    kept = "ENCOUNTER, UNITS, CATEGORY" + (", VALUE" if "measurement_noise" in alone else "")
    text = "SELECT {} FROM '{}/facility_{}/observations.parquet'"
    for facility in (1, 2):
        assert query(text.format(kept, tmp_path / "alone", facility)) == query(
            text.format(kept, tmp_path / "together", facility)
        )


def test_a_facility_does_not_change_another(plain_bed: Path, tmp_path: Path) -> None:
    """Words and more errors at facility 2 leave facility 1 as it was, row for row."""
    chosen = {"measurement_noise": True, "never_entered": 0.1, "coding_variants": 0.3, "shifted_dates": 0.1}
    noise(tmp_path / "one", plain_bed, **chosen)
    noise(tmp_path / "two", plain_bed, facilities={2: {"words": True, "clinical": 3}}, **chosen)
    for name in EVENTS:
        assert table(tmp_path / "one", name, 1) == table(tmp_path / "two", name, 1)
        assert table(tmp_path / "one", name, 2) != table(tmp_path / "two", name, 2)


def test_threads_do_not_matter(plain_bed: Path, tmp_path: Path) -> None:
    """One thread and three write the same rows in the same order."""
    chosen = {"measurement_noise": True, "never_entered": 0.1, "shifted_dates": 0.1, "max_encounters": 20}
    for threads in (1, 3):
        noise(tmp_path / str(threads), plain_bed, threads=threads, **chosen)
    for name in names(plain_bed):
        assert table(tmp_path / "1", name) == table(tmp_path / "3", name)


def test_a_facility_takes_part_by_its_factor(plain_bed: Path, tmp_path: Path) -> None:
    """A factor of 0 keeps a facility clean of all that has a rate, and three times the rate takes more away."""
    facts = {
        factor: noise(
            tmp_path / str(factor),
            plain_bed,
            never_entered=0.1,
            facilities={n: {"clinical": factor} for n in (1, 2)},
        )["never_entered"]
        for factor in (0, 1, 3)
    }

    assert facts[0] == {}
    assert 2 < facts[3]["observations"] / facts[1]["observations"] < 4


@pytest.mark.parametrize("rate", [0.05, 0.3])
def test_shares_hold(plain_bed: Path, tmp_path: Path, rate: float) -> None:
    """About the share asked for is never entered."""
    total = len(table(plain_bed, "observations"))
    facts = noise(tmp_path / "out", plain_bed, never_entered=rate)

    assert facts["never_entered"]["observations"] / total == pytest.approx(rate, rel=0.2)
    assert len(table(tmp_path / "out", "observations")) == total - facts["never_entered"]["observations"]


def test_share_of_shifted_dates_holds(plain_bed: Path, tmp_path: Path) -> None:
    """About the share asked for of all times at which something was entered is moved."""
    noise(tmp_path / "out", plain_bed, shifted_dates=0.3)
    text = "SELECT DISTINCT PATIENT, ENCOUNTER, DATE FROM '{}/facility_*/observations.parquet'"
    before, after = set(query(text.format(plain_bed))), set(query(text.format(tmp_path / "out")))

    assert len(before - after) / len(before) == pytest.approx(0.3, rel=0.25)


def test_what_was_never_entered_of_a_condition_is_never_mentioned(plain_bed: Path, tmp_path: Path) -> None:
    """A drug or a diagnosis is unknown to a facility altogether, or known each time."""
    noise(tmp_path / "out", plain_bed, never_entered=0.3)
    text = "SELECT PATIENT, CODE, count(*) FROM '{}/facility_*/medications.parquet' GROUP BY ALL"
    before, after = (
        {(patient, code): count for patient, code, count in query(text.format(out))}
        for out in (plain_bed, tmp_path / "out")
    )

    assert len(after) < len(before)
    assert all(before[key] == count for key, count in after.items())


def test_dates_move_by_days_within_the_limit(plain_bed: Path, tmp_path: Path) -> None:
    """Start and stop move together, by one to three days, at the same time of day."""
    noise(tmp_path / "out", plain_bed, shifted_dates=0.5, shift_days=3)
    moved = 0
    for facility in (1, 2):
        for one, other in zip(
            query(f"SELECT START, STOP FROM '{plain_bed}/facility_{facility}/medications.parquet'"),
            query(f"SELECT START, STOP FROM '{tmp_path}/out/facility_{facility}/medications.parquet'"),
            strict=True,
        ):
            by = other[0] - one[0]
            assert by.seconds == 0
            assert abs(by.days) <= 3
            assert one[1] is None or other[1] - one[1] == by
            moved += by.days != 0

    assert moved > 20


def test_measurements_are_what_an_instrument_would_show(plain_bed: Path, tmp_path: Path) -> None:
    """Heights differ by little, on the facility's own step; body mass index still follows height and weight."""
    noise(tmp_path / "out", plain_bed, measurement_noise=True)
    steps = {number: {one.code: one.step for one in measurements.instruments(number, 1.0, 1)} for number in (1, 2)}
    errors = []
    for facility in (1, 2):
        text = """SELECT CODE, CAST(VALUE AS DOUBLE), UNITS, ENCOUNTER, DATE
            FROM '{}/facility_{}/observations.parquet' WHERE CODE IN ('8302-2', '29463-7', '39156-5')"""
        after = query(text.format(tmp_path / "out", facility))
        for one, other in zip(query(text.format(plain_bed, facility)), after, strict=True):
            assert one[2] == other[2]
            if one[0] == "8302-2":
                errors.append(other[1] - one[1])
                step = steps[facility]["8302-2"]
                assert abs(other[1] / step - round(other[1] / step)) * step <= 0.051
        sittings: dict[Any, dict[str, float]] = {}
        for code, value, _, encounter, date in after:
            sittings.setdefault((encounter, date), {})[code] = value
        for sitting in sittings.values():
            if len(sitting) == 3:
                follows = sitting["29463-7"] / (sitting["8302-2"] / 100) ** 2
                assert sitting["39156-5"] == pytest.approx(follows, rel=0.06)

    assert len(errors) > 30
    assert len({round(error, 2) for error in errors}) > 10
    assert 0.2 < sum(abs(error) for error in errors) / len(errors) < 2


def test_scores_and_answers_are_not_measured(plain_bed: Path, tmp_path: Path) -> None:
    """Questionnaires, answers in words and what has no unit stay as they are."""
    noise(tmp_path / "out", plain_bed, measurement_noise=True)
    text = """SELECT VALUE FROM '{}/facility_*/observations.parquet'
        WHERE TYPE <> 'numeric' OR CATEGORY IS NULL OR CATEGORY NOT IN ('vital-signs', 'laboratory', 'procedure')
            OR UNITS = '{{score}}'"""

    assert query(text.format(plain_bed)) == query(text.format(tmp_path / "out")) != []


def test_a_facility_without_codes_writes_words(plain_bed: Path, tmp_path: Path) -> None:
    """No code is left anywhere, every event still says what it is, and measured values keep their units."""
    noise(tmp_path / "out", plain_bed, facilities={1: {"words": True}})
    for name in names(plain_bed):
        for column in set(columns(plain_bed, name)) & set(CODE_COLUMNS):
            text = f"SELECT count({column}) FROM '{{}}/facility_1/{name}.parquet'"
            assert query(text.format(tmp_path / "out")) == [(0,)]
    empty = "SELECT count(*) FROM '{}/facility_1/{}.parquet' WHERE coalesce(DESCRIPTION, '') = ''"
    assert all(query(empty.format(tmp_path / "out", name)) == [(0,)] for name in EVENTS)
    words = {row[0] for row in query(f"SELECT DESCRIPTION FROM '{tmp_path}/out/facility_1/observations.parquet'")}
    assert {"Ht", "height", "BP sys", "SBP"} & words
    assert table(tmp_path / "out", "conditions", 2) == table(plain_bed, "conditions", 2)


def test_codes_are_replaced_by_codes_of_the_table(plain_bed: Path, tmp_path: Path) -> None:
    """Every new code is one that the vocabulary lists for the old one, and the choice holds for a patient."""
    noise(tmp_path / "out", plain_bed, coding_variants=0.5)
    chosen: dict[Any, set[str]] = {}
    for name in EVENTS:
        text = "SELECT PATIENT, CODE, DESCRIPTION FROM '{}/facility_{}/{}.parquet'"
        for facility in (1, 2):
            for one, other in zip(
                query(text.format(plain_bed, facility, name)),
                query(text.format(tmp_path / "out", facility, name)),
                strict=True,
            ):
                chosen.setdefault((name, facility, *one), set()).add(other[1])
                if one[1:] != other[1:]:
                    assert tuple(other[1:]) in vocabulary.variants(name, one[1], one[2])

    assert all(len(codes) == 1 for codes in chosen.values())


def test_few_encounters_are_kept_with_all_that_is_theirs(plain_bed: Path, tmp_path: Path) -> None:
    """At most three encounters a record; their events are all there, those of the others are gone; nothing dangles."""
    out = tmp_path / "out"
    noise(out, plain_bed, max_encounters=3)
    per_record = query(f"SELECT PATIENT, count(*) FROM '{out}/facility_*/encounters.parquet' GROUP BY 1")
    before = dict(query(f"SELECT PATIENT, count(*) FROM '{plain_bed}/facility_*/encounters.parquet' GROUP BY 1"))

    assert all(count == min(3, before[patient]) for patient, count in per_record)
    assert len(per_record) == len(before)
    for name in EVENTS:
        kept = f"""SELECT count(*) FROM '{plain_bed}/facility_*/{name}.parquet'
            WHERE ENCOUNTER IN (SELECT Id FROM '{out}/facility_*/encounters.parquet')"""
        there = f"SELECT count(*) FROM '{out}/facility_*/{name}.parquet' WHERE ENCOUNTER IS NOT NULL"
        assert query(kept) == query(there)
    loose = "SELECT count(*) FROM '{}/facility_*/observations.parquet' WHERE ENCOUNTER IS NULL"
    assert 0 < query(loose.format(out))[0][0] < query(loose.format(plain_bed))[0][0]
    with database.connect(memory_gib=0.3, threads=1) as con:
        assert integrity.check(con, Layout(out), Progress())["records"] == len(before)


def test_few_events_are_kept_per_record_and_table(plain_bed: Path, tmp_path: Path) -> None:
    """No record has more than so many rows in a table, and none loses a row that it could keep."""
    noise(tmp_path / "out", plain_bed, max_events=7)
    for name in EVENTS:
        text = "SELECT PATIENT, count(*) FROM '{}/facility_*/{}.parquet' GROUP BY 1"
        before = dict(query(text.format(plain_bed, name)))
        assert dict(query(text.format(tmp_path / "out", name))) == {key: min(7, n) for key, n in before.items()}


def test_text_tables_take_noise_too(population_as_text: Path, make_bed: Callable[..., Any], tmp_path: Path) -> None:
    """In a population of text, shifted dates are spelled as the others are, and the counts are not nothing."""
    facts = make_bed(
        tmp_path / "out",
        population_as_text,
        segment={"facilities": 2, "visited": [0.5, 0.5]},
        clinical={"measurement_noise": True, "shifted_dates": 0.5, "never_entered": 0.1, "max_encounters": 30},
    )["clinical"]
    odd = query(f"""
        SELECT count(*) FROM '{tmp_path}/out/facility_*/observations.parquet'
        WHERE NOT regexp_full_match(DATE, '[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}T[0-9:]{{8}}Z')""")
    days = query(f"""
        SELECT count(*) FROM '{tmp_path}/out/facility_*/conditions.parquet'
        WHERE NOT regexp_full_match(START, '[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}')""")

    assert odd == days == [(0,)]
    assert all(facts[kind] for kind in ("measurement", "shifted_date", "never_entered", "few_encounters"))


@pytest.mark.parametrize(
    ("table", "code", "description", "first"),
    [
        ("conditions", "59621000", "Essential hypertension (disorder)", "HTN"),
        ("medications", "314076", "lisinopril 10 MG Oral Tablet", "Zestril"),
        ("medications", "1", "Unheard-of 5 MG Oral Tablet", "Unheard-of 5 MG Oral"),
        ("conditions", "1", "Some rare thing (disorder)", "Some rare thing"),
        ("conditions", "2", "(only a tag)", "(only a tag)"),
    ],
)
def test_words_for_codes(table: str, code: str, description: str, first: str) -> None:
    """Abbreviations and brand names where there are any, else the plain description; never nothing."""
    assert vocabulary.words(table, code, description)[0] == first


def test_combined_drugs_go_by_their_leading_ingredient() -> None:
    """Oxycodone with acetaminophen is an oxycodone."""
    (variant,) = vocabulary.variants("medications", "1049625", "Acetaminophen 325 MG / Oxycodone 10 MG Oral Tablet")

    assert variant.code == "7804"
