"""The first look: what is seen at a glance, what it settles, and that the rest is judged as ever."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resolver import database
from resolver.judges import Evidence
from resolver.judges.embedded import ClinicalJudge, DemographicJudge
from resolver.judges.features import demographic, glance
from resolver.judges.learned import CLINICAL_BOUNDS, Gate, Learned, Model
from resolver.judges.trees import fit
from resolver.learn import gate
from resolver.learn.sample import Sample, draw
from resolver.progress import Progress
from resolver.settings import parse


@pytest.fixture(scope="module")
def drawn(world: Any) -> Sample:
    with database.connect(memory_gib=1, threads=1) as con:
        return draw(con, world.records, world.events, world.pairs, most=10**9, folds=2)


@pytest.fixture(scope="module")
def learned(world: Any, drawn: Sample) -> Learned:
    labels = (world.person[drawn.left] == world.person[drawn.right]).astype(float)
    assert drawn.glance is not None
    first = fit(drawn.glance, labels, glance.FEATURES, rounds=20, rate=0.3, seed=0)
    trees = fit(drawn.demographic, labels, demographic.FEATURES, rounds=20, rate=0.3, seed=0)
    bound = float(np.median(first.predict(drawn.glance, 1)))
    return Learned(
        "shipped", "a test", Model((trees.text,)), gate=Gate(Model((first.text,), 1.1, -0.1), bound, 0.0, 0.5)
    )


def evidence(world: Any, folder: Path, learned: Learned, only: tuple[int, ...] | None = None) -> Evidence:
    learned.save(folder / "learned.json")
    chosen = {"run": {"dir": str(folder), "threads": 1}, "sources": [{"kind": "synthea", "path": "x"}]}
    return Evidence(
        parse(chosen, base=folder, where="test"),
        world.records,
        world.events,
        folder / "learned.json",
        folder / "population.parquet",
        folder,
        Progress(),
        counts=folder / "counts.parquet",
        only=only,
        pairs=world.pairs,
    )


def test_settled_pairs_get_the_first_verdict_and_the_others_the_full_one(
    world: Any, learned: Learned, drawn: Sample, tmp_path: Path
) -> None:
    """Below the bound the log-odds at a glance stand; from it on the verdict is that of a judge without a gate."""
    pairs = pl.read_parquet(world.pairs).sort("left_rid", "right_rid")
    gated = DemographicJudge(evidence(world, tmp_path, learned))
    verdicts = gated.judge(pairs)["logit"].to_numpy()
    full = DemographicJudge(evidence(world, tmp_path, replace(learned, gate=None)))
    assert learned.gate is not None and full.facts() == {}
    glanced = learned.gate.model.predict(gated._glanced(pairs), np.zeros(len(pairs), dtype=np.int64), 1)
    settled = glanced < learned.gate.bound

    assert 0 < settled.sum() < len(pairs)
    np.testing.assert_array_equal(verdicts[settled], glanced[settled])
    np.testing.assert_array_equal(verdicts[~settled], full.judge(pairs)["logit"].to_numpy()[~settled])
    assert gated.facts() == {"settled_at_a_glance": settled.sum()}
    assert gated.fingerprint != full.fingerprint


def test_every_verdict_can_be_taken_apart_from_two_records_alone(world: Any, learned: Learned, tmp_path: Path) -> None:
    """Settled or not, what the features add comes to the verdict, and is the same when only the pair is read."""
    pairs = pl.read_parquet(world.pairs).sort("left_rid", "right_rid")[::40]
    judge = DemographicJudge(evidence(world, tmp_path, learned))
    verdicts, apart = judge.judge(pairs)["logit"].to_numpy(), judge.take_apart(pairs)

    assert 0 < apart.settled.sum() < len(pairs)
    np.testing.assert_allclose(apart.log_odds.sum(axis=1), verdicts, atol=1e-9)
    for settled in (True, False):
        number = int(np.flatnonzero(apart.settled == settled)[0])
        alone = DemographicJudge(evidence(world, tmp_path, learned, pairs[number].row(0)[:2])).take_apart(pairs[number])
        np.testing.assert_array_equal(alone.values[0], apart.values[number])
        np.testing.assert_array_equal(alone.log_odds[0], apart.log_odds[number])


def test_histories_are_not_asked_of_what_is_settled(world: Any, learned: Learned, tmp_path: Path) -> None:
    """The clinical judge begins at the gate's bound, where that is above its own."""
    assert learned.gate is not None
    for bound, low in ((-6.0, -6.0), (-12.0, CLINICAL_BOUNDS[0])):
        closed = replace(learned, gate=replace(learned.gate, bound=bound))
        assert ClinicalJudge(evidence(world, tmp_path, closed)).asks == (low, CLINICAL_BOUNDS[1])


def test_a_gate_survives_its_file(learned: Learned, tmp_path: Path) -> None:
    """What is loaded is what was saved."""
    learned.save(tmp_path / "model.json")
    assert Learned.load(tmp_path / "model.json") == learned


def test_a_glance_sees_the_same_from_both_sides(drawn: Sample, world: Any) -> None:
    """Which record comes first changes nothing."""
    with database.connect(memory_gib=1, threads=1) as con:
        demographic.DemographicFeatures(con, world.records)
        features = glance.GlanceFeatures(con)
    forth = features.of(drawn.left, drawn.right, drawn.splink)
    np.testing.assert_array_equal(forth, features.of(drawn.right, drawn.left, drawn.splink))
    np.testing.assert_array_equal(forth, drawn.glance)


def test_what_a_glance_sees(tmp_path: Path) -> None:
    """Equal fields, letters, digits and birth dates are told as they are; of a missing field nothing is."""
    rows = [
        {"first_name": "ANNA", "last_name": "LEE", "birth_date": "1990-02-03", "phone": "5551234567", "sex": "F"},
        {"first_name": "NANA", "maiden_name": "LEE", "birth_date": "1990-03-02", "phone": "5551234576"},
    ]
    frame = pl.DataFrame(rows, schema=dict.fromkeys(demographic.FIELDS, pl.String))
    frame = frame.with_columns(pl.col("birth_date").str.to_date())
    frame.with_row_index("rid").write_parquet(tmp_path / "records.parquet")
    with database.connect(memory_gib=1, threads=1) as con:
        demographic.DemographicFeatures(con, tmp_path / "records.parquet")
        table = glance.GlanceFeatures(con).of(np.array([0]), np.array([1]), np.array([np.nan]))
    seen = dict(zip(glance.names, table[0].tolist(), strict=True))

    wanted = {
        "first_name_equal": 0,
        "first_name_initial": 0,
        "given_name_alike": 1,
        "family_name_alike": 1,
        "family_name_crossed": 1,
        "birth_date_gap": 27,
        "birth_date_parts": 1,
        "birth_date_swapped": 1,
        "birth_date_digits": 2,
        "phone_digits": 2,
        "fields_equal": 0,
        "fields_other": 3,
    }
    assert {name: seen[name] for name in wanted} == wanted
    assert all(np.isnan(seen[name]) for name in ("sex_equal", "last_name_equal", "ssn_digits", "splink"))


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10**6), st.floats(0.1, 3))
def test_a_gate_loses_hardly_a_match(seed: int, noise: float) -> None:
    """Below the bound lies at most the share of the matches that may be lost, and nothing that is not a sure no."""
    rng = np.random.default_rng(seed)
    final = rng.normal(-8, 6, 2_000)
    matches = np.where(rng.random(2_000) < 1 / (1 + np.exp(-final)), 100.0, 0.0)
    glanced = final + rng.normal(0, noise, 2_000)
    found = gate.closed(Model(("",)), glanced, final, matches, np.ones(2_000))

    assert found is not None
    below = glanced < found.bound
    assert matches[below & (final > gate.OPEN)].sum() <= gate.LOST * matches.sum()
    assert found.bound <= gate.OPEN
    assert found.settled == below.mean()
    assert found.settled > 0 or matches[np.argmin(glanced)] > 0


def test_too_few_matches_make_no_gate() -> None:
    """A share of one in ten thousand can't be told from less than ten thousand matches."""
    ones = np.ones(100)
    assert gate.closed(Model(("",)), -9 * ones, -9 * ones, ones, ones) is None
