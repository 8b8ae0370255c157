"""Look-alikes among different persons."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from augmentation.lookalikes import KINDS, make_lookalikes
from augmentation.population import Layout
from augmentation.segment import segment
from augmentation.settings import AugmentSettings
from resolver import database
from resolver.errors import UsageError
from resolver.progress import Progress

SAMPLE = Path(__file__).parents[1] / "data" / "population"


def make(out: Path, share: float, seed: int = 0, population: Path = SAMPLE, **kinds: float) -> dict[str, Any]:
    chosen = {"share": share} | ({"kinds": kinds} if kinds else {})
    settings = AugmentSettings(population={"dir": population}, seed=seed, lookalikes=chosen)
    with database.connect(memory_gib=0.3, threads=1) as con:
        return make_lookalikes(con, settings, Layout(out), Progress())


def rows(text: str) -> list[dict[str, Any]]:
    cursor = duckdb.execute(text)
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def people(path: Path) -> dict[str, dict[str, Any]]:
    return {row["Id"]: row for row in rows(f"FROM '{path}'")}


@hypothesis_settings(deadline=None, max_examples=8)
@given(seed=st.integers(0, 2**32), share=st.sampled_from([0.1, 0.3, 0.5]))
def test_what_changed_is_reported_and_what_is_reported_changed(seed: int, share: float) -> None:
    """For any seed, persons differ from the population exactly in the fields that lookalikes.parquet names."""
    with TemporaryDirectory() as folder:
        facts = make(Path(folder), share, seed)
        before, after = people(SAMPLE / "patients.parquet"), people(Path(folder) / "truth" / "persons.parquet")
        pairs = rows(f"FROM '{folder}/truth/lookalikes.parquet'")

    assert before.keys() == after.keys()
    reported = {(pair["person_id"], field) for pair in pairs for field in pair["fields"].split(",") if field}
    changed = {(key, field) for key in before for field in before[key] if before[key][field] != after[key][field]}
    assert reported == changed
    involved = [pair[side] for pair in pairs for side in ("person_id", "other_id")]
    assert len(involved) == len(set(involved))
    assert sum(facts["lookalikes"].values()) == len(pairs) > 0


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_each_kind_is_what_its_name_says(tmp_path: Path, kind: Any) -> None:
    """The two share what the kind says, and their ages and sexes fit it."""
    facts = make(tmp_path, 0.2, 5, **{kind.name: 1.0})
    persons, born = people(tmp_path / "truth" / "persons.parquet"), people(SAMPLE / "patients.parquet")
    pairs = rows(f"FROM '{tmp_path}/truth/lookalikes.parquet'")

    assert facts["lookalikes"] == {kind.name: len(pairs)}
    assert len(pairs) >= 5
    for pair in pairs:
        one, other = persons[pair["person_id"]], persons[pair["other_id"]]
        assert all(one[column] == other[column] for column in kind.borrows)
        apart = (born[pair["person_id"]]["BIRTHDATE"] - born[pair["other_id"]]["BIRTHDATE"]).days
        assert kind.apart[0] - 1 <= apart <= kind.apart[1] + 1
        if kind.sex != "any":
            assert (one["GENDER"] == other["GENDER"]) == (kind.sex == "same")
        if kind.kin:
            assert one["MAIDEN"] is None


def test_no_share_changes_nobody(tmp_path: Path) -> None:
    """Without look-alikes the persons are the population's patients."""
    facts = make(tmp_path, 0.0)

    assert people(tmp_path / "truth" / "persons.parquet") == people(SAMPLE / "patients.parquet")
    assert facts["lookalikes"] == {}
    assert rows(f"FROM '{tmp_path}/truth/former_addresses.parquet'") == []


def test_a_further_kind_leaves_earlier_pairs_alone(tmp_path: Path) -> None:
    """Namesakes come last: with them, as many twins are made, and of the same persons."""
    make(tmp_path / "twins", 0.1, 3, twin=1)
    make(tmp_path / "both", 0.2, 3, twin=1, namesake=1)
    twins = "FROM '{}/truth/lookalikes.parquet' WHERE kind = 'twin' ORDER BY ALL"

    assert rows(twins.format(tmp_path / "twins")) == rows(twins.format(tmp_path / "both")) != []


def test_an_unknown_kind_is_refused_with_the_nearest(tmp_path: Path) -> None:
    """A typing error in a config does not silently make no look-alikes."""
    with pytest.raises(UsageError, match=r"twins.*Did you mean twin\?"):
        make(tmp_path, 0.1, twins=1.0)


def test_households_that_moved_have_their_old_address_in_old_records(tmp_path: Path) -> None:
    """Both persons' records are at the former address if they were last seen before the move, else at the new one."""
    make(tmp_path, 0.3, 2, household_move=1.0)
    settings = AugmentSettings(population={"dir": SAMPLE}, seed=2, segment={"split": "moves"})
    with database.connect(memory_gib=0.3, threads=1) as con:
        segment(con, settings, Layout(tmp_path), Progress())
    records = rows(f"""
        SELECT p.ADDRESS AS at_record, q.ADDRESS AS now, f.ADDRESS AS former, f.moved_on, e.seen AS last FROM (
            SELECT PATIENT, max(START) AS seen FROM '{tmp_path}/facility_*/encounters.parquet' GROUP BY 1) e
        JOIN '{tmp_path}/facility_*/patients.parquet' p ON p.Id = e.PATIENT
        JOIN '{tmp_path}/truth/truth.parquet' t ON t.record_id = p.Id
        JOIN '{tmp_path}/truth/persons.parquet' q ON q.Id = t.person_id
        LEFT JOIN '{tmp_path}/truth/former_addresses.parquet' f ON f.person_id = t.person_id""")
    pairs = rows(f"FROM '{tmp_path}/truth/lookalikes.parquet'")
    former = people_former(tmp_path)

    moved = [row for row in records if row["moved_on"] is not None and row["last"] < row["moved_on"]]
    assert len(moved) >= 3
    assert all(row["at_record"] == row["former"] != row["now"] for row in moved)
    assert all(row["at_record"] == row["now"] for row in records if row not in moved)
    for pair in pairs:
        assert former[pair["person_id"]] == former[pair["other_id"]]


def people_former(out: Path) -> dict[str, tuple[Any, ...]]:
    found = rows(f"FROM '{out}/truth/former_addresses.parquet'")
    return {row["person_id"]: tuple(value for key, value in row.items() if key != "person_id") for row in found}


def test_more_look_alikes_than_there_are_partners_is_not_an_endless_search(population: Path, tmp_path: Path) -> None:
    """Where there are too few partners, as many pairs are made as there are, and the facts say how many."""
    facts = make(tmp_path, 0.5, population=population, parent_child=1.0)

    assert 0 < facts["lookalikes"]["parent_child"] < facts["persons"] * 0.5
