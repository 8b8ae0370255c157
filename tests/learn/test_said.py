"""What people said of pairs is taken for certain by learning from the input, and a new answer makes it learn anew."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from resolver import database, learn, mpi, settings
from resolver.judges.features import clinical, demographic
from resolver.judges.learned import Learned
from resolver.learn import sample, unlabelled, views
from resolver.learn.said import DIFFERENT, OPEN, SAME, Said
from resolver.learn.sample import Sample
from resolver.progress import Progress
from resolver.stage import StageContext

RECORDS = 7
numbers = st.integers(0, RECORDS - 1)
answers = st.lists(st.tuples(numbers, numbers, st.booleans()).filter(lambda one: one[0] < one[1]), max_size=8)


def said_of(given: Any) -> Said:
    columns = list(zip(*given, strict=True)) or [(), (), ()]
    left, right = (np.array(column, dtype=np.int64) for column in columns[:2])
    return Said(left, right, np.array(columns[2], dtype=bool))


@examples(max_examples=60, deadline=None)
@given(answers)
def test_answers_settle_what_follows_from_them(given: list[tuple[int, int, bool]]) -> None:
    """A pair is one person if links lead from one record to the other, and two if an unlink parts the two ends."""
    reach = np.eye(RECORDS, dtype=bool)
    for one, other, linked in given:
        if linked:
            reach[one, other] = reach[other, one] = True
    for middle in range(RECORDS):
        reach |= np.outer(reach[:, middle], reach[middle])
    parted = np.zeros_like(reach)
    for one, other, linked in given:
        if not linked:
            parted |= np.outer(reach[one], reach[other]) | np.outer(reach[other], reach[one])
    left, right = np.triu_indices(RECORDS, 1)
    wanted = np.where(reach, SAME, np.where(parted, DIFFERENT, OPEN))

    np.testing.assert_array_equal(said_of(given).of(RECORDS, left, right), wanted[left, right])


def test_answers_are_read_by_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers about records of this run are numbered as the run numbers them; others are left out."""
    pl.DataFrame({"rid": [0, 1, 2], "record_id": ["a", "b", "c"]}).write_parquet(tmp_path / "records.parquet")
    rows = {"left_record": ["a", "a", "b"], "right_record": ["c", "gone", "c"], "says": ["link", "link", "unlink"]}
    monkeypatch.setattr(mpi, "human_verdicts", lambda path: pl.DataFrame(rows))
    with database.connect(memory_gib=1, threads=1) as con:
        said = Said.read(con, tmp_path / "records.parquet", tmp_path / "index")

    assert list(zip(said.left, said.right, said.linked, strict=True)) == [(0, 2, True), (1, 2, False)]
    assert said.records.tolist() == [0, 1, 2]


def twins(rng: np.random.Generator) -> tuple[Sample, np.ndarray, np.ndarray]:
    """Pairs of which Splink is sure: persons, and twins whom neither it nor histories tell apart, but a phone does."""
    size = 3_000
    match = rng.random(size) < 0.2
    twin = ~match & (rng.random(size) < 0.05)
    names = demographic.names
    table = np.full((size, len(names)), np.nan, dtype=np.float32)
    table[:, names.index("last_name_edits")] = np.where(match | twin, 0, 6)
    table[:, names.index("phone_edits")] = np.where(match, 0, 8)
    histories = np.full((size, len(clinical.FEATURES)), np.nan, dtype=np.float32)
    histories[:, 0] = rng.normal(np.where(match | twin, 4, 0), 1)
    splink = np.where(match | twin, 9.0, -6.0) + rng.normal(0, 1, size)
    left = np.arange(size)
    folds = rng.integers(0, unlabelled.FOLDS, 2 * size)
    source = np.arange(2 * size) % 4
    known = np.ones(size, dtype=bool)
    return Sample(2 * size, left, left + size, splink, table, histories, known, source, folds), match, twin


def test_a_few_answers_teach_of_pairs_that_nobody_spoke_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kind of pair that two views take for one person is found out once people say so of some."""
    for where, rounds in ((unlabelled, "MOST_ROUNDS"), (views, "ROUNDS")):
        monkeypatch.setattr(where, "TREES", 20)
        monkeypatch.setattr(where, rounds, 1)
    made, _, twin = twins(np.random.default_rng(0))
    asked = np.flatnonzero(twin)[:30]
    said = Said(made.left[asked], made.right[asked], np.zeros(len(asked), dtype=bool))
    others = np.flatnonzero(twin)[30:]
    wrong = []
    for one in (None, said):
        taught = unlabelled.teach(
            made, seed=0, threads=1, unscored=-1.5, same_source=0.0, say=lambda text: None, said=one
        )
        wrong.append(int((taught.logit[others] > 0).sum()))

    assert wrong[0] > 0.9 * len(others)
    assert wrong[1] < 0.1 * len(others)
    assert taught.facts["settled_by_people"] == len(asked)


def test_an_answer_does_not_score_its_own_pair() -> None:
    """What was said of a pair teaches the trees of other pairs alone, and counts for several pairs there."""
    made, match, _ = twins(np.random.default_rng(1))
    table = np.arange(len(made), dtype=np.float32)[:, None]
    said = Said(made.left[:1], made.right[:1], ~match[:1])
    for one in (None, said):
        bench = views.Bench.of(made, unlabelled.FOLDS, 0, 1, one)
        texts, _ = bench.cross_fit(
            np.repeat(table, 2, axis=1)[bench.rows],
            demographic.FEATURES[:2],
            match[bench.rows].astype(float),
            trees=2,
        )
        if one is None:
            without = texts
    changed = [before != after for before, after in zip(without, texts, strict=True)]

    assert changed == [fold != bench.folds[np.flatnonzero(bench.said)[0]] for fold in range(unlabelled.FOLDS)]


def test_what_people_spoke_of_is_drawn_first(make_world: Any, tmp_path: Path) -> None:
    """A small sample of a large input holds the pairs with answers."""
    world = make_world(tmp_path, persons=60, splink_noise=0.5)

    def drawn(wanted: Any) -> Sample:
        with database.connect(memory_gib=1, threads=1) as con:
            return sample.draw(con, world.records, world.events, world.pairs, most=300, folds=3, wanted=wanted)

    whole = pl.read_parquet(world.pairs).filter(pl.col("rule") > 0)
    wanted = np.setdiff1d(whole["left_rid"].to_numpy(), drawn(None).left)[:3]

    assert len(wanted)
    assert np.isin(wanted, drawn(wanted).left).all()


@pytest.mark.parametrize(("way", "again"), [("unlabelled", True), ("shipped", False)])
def test_a_new_answer_makes_the_input_teach_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: Any, again: bool
) -> None:
    """What was learned from the input before an answer does not stand; a model that ships does."""
    given: dict[str, Any] = {"run": {"dir": str(tmp_path)}, "learn": {"way": "unlabelled"}}
    given |= {"sources": [{"kind": "synthea", "path": "."}]}
    loaded = settings.parse(given, base=tmp_path, where="a test")
    monkeypatch.setattr(learn, "_look", lambda *rest: (SimpleNamespace(), {}))
    monkeypatch.setattr(learn, "_too_few", lambda sample: "it is asked anew")
    inputs = {"records": tmp_path / "records.parquet"}
    begun = StageContext(loaded, inputs, {"learned.json": tmp_path / "learned.json"}, tmp_path, Progress())
    before = dataclasses.replace(learn._learn(begun), way=way)
    before.save(tmp_path / "before.json")
    later = dataclasses.replace(begun, base={"learned.json": tmp_path / "before.json"})
    stands = learn._learn(later)
    watched = learn.watches(loaded)
    monkeypatch.setattr(mpi, "verdicts_digest", lambda path: "more was said")

    assert stands == Learned.load(tmp_path / "before.json")
    assert (learn._learn(later).way == "none") is again
    assert learn.watches(loaded) != watched
