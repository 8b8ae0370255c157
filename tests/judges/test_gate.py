"""Quick looks: what is seen at a glance, what they settle, and that the rest is judged as ever."""

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
from resolver.judges.learned import CLINICAL_BOUNDS, Gate, Gates, Learned, Model
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
    second, trees = (fit(drawn.demographic, labels, demographic.FEATURES, rounds=n, rate=0.3, seed=0) for n in (5, 20))
    seen, few = first.predict(drawn.glance, 1), second.predict(drawn.demographic, 1)
    bound = float(np.nextafter(np.median(seen), np.inf))  # scores of strangers are often equal
    further = float(np.nextafter(np.median(few[seen >= bound]), np.inf))
    gates = Gates(
        Gate(Model((first.text,)), bound, 0.0, 0.5),
        Gate(Model((second.text,), 1.1, -0.1), 1.1 * further - 0.1, 0.0, 0.5),
    )
    return Learned("shipped", "a test", Model((trees.text,)), gates=gates)


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


def test_settled_pairs_keep_the_verdict_of_the_look_that_settled_them(
    world: Any, learned: Learned, tmp_path: Path
) -> None:
    """Below a bound the log-odds of that look stand; what passes both gates is judged as if there were none."""
    pairs = pl.read_parquet(world.pairs).sort("left_rid", "right_rid")
    gated = DemographicJudge(evidence(world, tmp_path, learned))
    full = DemographicJudge(evidence(world, tmp_path, replace(learned, gates=None)))
    gates, folds = learned.gates, np.zeros(len(pairs), dtype=np.int64)
    assert gates is not None and full.facts() == {}
    logit = gated.judge(pairs)["logit"].to_numpy()
    seen = gates.glance.model.predict(gated._glanced(pairs), folds, 1)
    few = gates.quick.model.predict(full.table(pairs), folds, 1)
    first = seen < gates.glance.bound
    second = ~first & (few < gates.quick.bound)
    rest = ~first & ~second

    assert min(first.sum(), second.sum(), rest.sum()) > 0
    np.testing.assert_array_equal(logit[first], seen[first])
    np.testing.assert_array_equal(logit[second], few[second])
    np.testing.assert_array_equal(logit[rest], full.judge(pairs)["logit"].to_numpy()[rest])
    assert gated.facts() == {"settled_at_a_glance": first.sum(), "settled_by_few_trees": second.sum()}
    assert gated.fingerprint != full.fingerprint


def test_every_verdict_can_be_taken_apart_from_two_records_alone(world: Any, learned: Learned, tmp_path: Path) -> None:
    """Whatever look settled it, what the features add comes to the verdict, and is the same from the pair alone."""
    pairs = pl.read_parquet(world.pairs).sort("left_rid", "right_rid")[::40]
    judge = DemographicJudge(evidence(world, tmp_path, learned))
    verdicts, apart = judge.judge(pairs)["logit"].to_numpy(), judge.take_apart(pairs)

    np.testing.assert_allclose(apart.log_odds.sum(axis=1), verdicts, atol=1e-9)
    _, looks, _ = judge._looked(pairs)
    np.testing.assert_array_equal(apart.settled, looks < 2)
    for look in range(3):
        number = int(np.flatnonzero(looks == look)[0])
        alone = DemographicJudge(evidence(world, tmp_path, learned, pairs[number].row(0)[:2])).take_apart(pairs[number])
        np.testing.assert_array_equal(alone.values[0], apart.values[number])
        np.testing.assert_array_equal(alone.log_odds[0], apart.log_odds[number])


def test_histories_are_not_asked_of_what_is_settled(world: Any, learned: Learned, tmp_path: Path) -> None:
    """The clinical judge begins at the gates' bounds, where these are above its own."""
    assert learned.gates is not None
    for bound, low in ((-6.0, -6.0), (-12.0, CLINICAL_BOUNDS[0])):
        first, second = (replace(one, bound=bound - n) for n, one in enumerate((learned.gates.quick,) * 2))
        closed = replace(learned, gates=Gates(first, second))
        assert ClinicalJudge(evidence(world, tmp_path, closed)).asks == (low, CLINICAL_BOUNDS[1])


def test_gates_survive_their_file(learned: Learned, tmp_path: Path) -> None:
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
def test_gates_lose_hardly_a_match(seed: int, noise: float) -> None:
    """Below both bounds lies at most the share of the matches that may be lost, and bounds are those of a sure no."""
    rng = np.random.default_rng(seed)
    final = rng.normal(-8, 6, 2_000)
    matches = np.where(rng.random(2_000) < 1 / (1 + np.exp(-final)), 100.0, 0.0)
    one, other = (gate.Look(Model(("",)), final + rng.normal(0, noise, 2_000)) for _ in range(2))
    found = gate.closed(one, other, final, matches, np.ones(2_000))

    assert found is not None
    first = one.logit < found.glance.bound
    second = ~first & (other.logit < found.quick.bound)
    assert matches[(first | second) & (final > gate.OPEN)].sum() <= gate.LOST * matches.sum()
    assert max(found.glance.bound, found.quick.bound) <= gate.OPEN
    assert found.glance.settled == first.mean()
    assert found.quick.settled * (~first).sum() == pytest.approx(second.sum())
    assert second.any() or noise > 1


def test_too_few_matches_make_no_gates() -> None:
    """A share of one in ten thousand can't be told from less than ten thousand matches."""
    ones = np.ones(100)
    look = gate.Look(Model(("",)), -9 * ones)
    assert gate.closed(look, look, -9 * ones, ones, ones) is None
