"""What the judges read of a pair: symmetric, independent of order, and blind to what must not be read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from resolver import database
from resolver.database import quote
from resolver.ingest.forbidden import EVENT_COLUMNS, PATIENT_COLUMNS
from resolver.judges.features import clinical, demographic

FEATURES = (*demographic.FEATURES, *clinical.FEATURES)


def table(records: Path, events: Path, pairs: Path, asked: pl.DataFrame | None = None) -> np.ndarray[Any, Any]:
    with database.connect(memory_gib=1, threads=1) as con:
        persons = demographic.DemographicFeatures(con, records, pairs=pairs)
        histories = clinical.ClinicalFeatures(con, events, persons.births())
        frame = pl.read_parquet(pairs) if asked is None else asked
        return np.hstack(
            [
                persons.of(frame).select(persons.names).to_numpy(),
                histories.of(frame).select(histories.names).to_numpy(),
            ]
        )


def rewritten(source: Path, to: Path, query: str) -> Path:
    with database.connect(memory_gib=1, threads=1) as con:
        con.execute(f"CREATE VIEW t AS FROM read_parquet({quote(source)})")
        con.execute(f"COPY ({query}) TO {quote(to)} (FORMAT parquet)")
    return to


def test_names_are_unique_and_said_in_words() -> None:
    """Every feature has a name of its own and words for a person."""
    assert len({feature.name for feature in FEATURES}) == len(FEATURES)
    assert all(feature.says and feature.direction in (-1, 0, 1) for feature in FEATURES)


def test_left_and_right_are_alike(world: Any, tmp_path: Path) -> None:
    """A pair has the same features whichever record comes first."""
    swapped = rewritten(
        world.pairs,
        tmp_path / "pairs.parquet",
        "SELECT * REPLACE (right_rid AS left_rid, left_rid AS right_rid) FROM t",
    )

    np.testing.assert_allclose(
        table(world.records, world.events, swapped), table(world.records, world.events, world.pairs), rtol=1e-5
    )


def test_order_of_rows_changes_nothing(world: Any, tmp_path: Path) -> None:
    """The order of pairs, records and events in their files does not matter."""
    records = rewritten(world.records, tmp_path / "records.parquet", "FROM t ORDER BY hash(rid)")
    events = rewritten(world.events, tmp_path / "events.parquet", "FROM t ORDER BY hash(rid, start, code)")
    frame = pl.read_parquet(world.pairs)
    mixed = frame.sample(fraction=1, shuffle=True, seed=1).with_row_index("place")
    asked = table(records, events, world.pairs, mixed)
    back = mixed.join(frame.with_row_index("original"), on=["left_rid", "right_rid"]).sort("original")["place"]

    np.testing.assert_allclose(asked[back.to_numpy()], table(world.records, world.events, world.pairs), rtol=1e-4)


def test_nothing_forbidden_is_read(world: Any, tmp_path: Path) -> None:
    """Ids, hashes, raw values, state, descriptions, time of day: none of them changes a feature."""
    records = rewritten(
        world.records,
        tmp_path / "records.parquet",
        "SELECT * REPLACE (hash(rid)::VARCHAR AS source_record_id, 'x' AS content_hash, 'ZZ' AS state,"
        " 'raw' AS raw_first_name, now()::TIMESTAMP AS updated_at) FROM t",
    )
    events = rewritten(
        world.events,
        tmp_path / "events.parquet",
        "SELECT * REPLACE (hash(rid)::VARCHAR AS description, NULL::TIMESTAMP AS stop,"
        " date_trunc('day', start)::TIMESTAMP AS start) FROM t",
    )

    np.testing.assert_allclose(
        table(records, events, world.pairs), table(world.records, world.events, world.pairs), rtol=1e-5
    )
    assert not {name.lower() for name in demographic.FIELDS} & {
        name.lower() for name in PATIENT_COLUMNS | EVENT_COLUMNS
    }


def test_a_missing_field_gives_no_number(world: Any, tmp_path: Path) -> None:
    """Where one side lacks a field, what is read of it is not a number, and never zero."""
    records = rewritten(world.records, tmp_path / "records.parquet", "SELECT * REPLACE (NULL::VARCHAR AS ssn) FROM t")
    found = table(records, world.events, world.pairs)
    place = [feature.name for feature in FEATURES].index("ssn_edits")

    assert np.isnan(found[:, place]).all()


def test_persons_look_alike_and_others_do_not(world: Any) -> None:
    """Over the made-up persons, each feature with a direction points the way it says, where it tells anything."""
    found = table(world.records, world.events, world.pairs)
    pairs = pl.read_parquet(world.pairs)
    same = world.person[pairs["left_rid"].to_numpy()] == world.person[pairs["right_rid"].to_numpy()]
    checked = 0
    for name in ("first_name_edits", "birth_date_edits", "ssn_edits", "condition_shared", "measured_total", "splink"):
        place = [feature.name for feature in FEATURES].index(name)
        inside, outside = (np.nanmean(found[rows, place]) for rows in (same, ~same))
        checked += 1
        assert (inside - outside) * FEATURES[place].direction > 0, name
    assert checked == 6


@pytest.mark.parametrize("missing", ["records", "events"])
def test_histories_may_be_missing(world: Any, tmp_path: Path, missing: str) -> None:
    """Without any events there are features all the same, and no pair has a known history."""
    events = rewritten(world.events, tmp_path / "events.parquet", "FROM t WHERE false")
    with database.connect(memory_gib=1, threads=1) as con:
        persons = demographic.DemographicFeatures(con, world.records, pairs=world.pairs)
        histories = clinical.ClinicalFeatures(con, events, persons.births())
        pairs = pl.read_parquet(world.pairs)
        pairs = pairs.clear() if missing == "records" else pairs

        assert len(histories.of(pairs)) == len(pairs)
        assert not histories.known(pairs).any()


def test_days_that_are_not_known_are_near_to_none(world: Any, tmp_path: Path) -> None:
    """Where codes have no date at all, they are shared as before, and none counts as near in time or as twice."""
    undated = rewritten(world.events, tmp_path / "events.parquet", "SELECT * REPLACE (NULL::TIMESTAMP AS start) FROM t")
    found = table(world.records, undated, world.pairs)
    before = table(world.records, world.events, world.pairs)
    names = [feature.name for feature in FEATURES]

    for name in ("codes_near", "codes_between", "codes_twice"):
        assert before[:, names.index(name)].any() or name == "codes_twice"
        assert not found[:, names.index(name)].any()
    shared = names.index("condition_shared")
    np.testing.assert_allclose(found[:, shared], before[:, shared], rtol=1e-5)


def test_some_days_that_are_not_known_change_nothing_else(world: Any, tmp_path: Path) -> None:
    """Dates that are missing here and there, and days around the first of 1900, are no reason to stop."""
    start = "CASE hash(code) % 3 WHEN 0 THEN NULL WHEN 1 THEN TIMESTAMP '1899-12-31' ELSE start END"
    mixed = rewritten(world.events, tmp_path / "events.parquet", f"SELECT * REPLACE ({start} AS start) FROM t")

    assert len(table(world.records, mixed, world.pairs)) == len(table(world.records, world.events, world.pairs))
