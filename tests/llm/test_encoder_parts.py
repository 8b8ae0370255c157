"""What the fusion encoder's training is made of, apart from the network: lines, figures, steps and splits."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_classifier.encoder import combining, corpus, measuring
from llm_classifier.encoder.batches import Steps
from llm_classifier.encoder.combining import Line
from llm_classifier.encoder.corpus import Corpus
from llm_classifier.settings import load as load_settings
from llm_classifier.settings.encoder import EncoderSettings, ShapeSettings
from resolver import sample
from resolver.errors import RunError, TrainingError, UsageError
from resolver.judges.learned import Learned
from resolver.progress import Progress
from resolver.settings import load as load_run

MANY = 4000


@pytest.fixture(scope="module")
def chosen(labelled_run: Path) -> EncoderSettings:
    return EncoderSettings(out=labelled_run, runs=(labelled_run,), after=(), shape=ShapeSettings(buckets=512))


@pytest.fixture(scope="module")
def known(chosen: EncoderSettings) -> Corpus:
    return corpus.load([*chosen.runs, *chosen.runs], chosen, (), Progress())


def test_the_line_finds_what_the_labels_bear_out() -> None:
    """Labels drawn from a known mixture of standing and score give this mixture back."""
    rng = np.random.default_rng(0)
    standing, score = rng.normal(0, 3, (2, 20_000))
    label = (rng.random(20_000) < 1 / (1 + np.exp(-(0.7 * standing + 1.5 * score - 1)))).astype(np.int64)

    line = combining.fit(standing, score, label, np.ones(20_000))

    assert [line.standing, line.score, line.constant] == pytest.approx([0.7, 1.5, -1.0], abs=0.08)


def test_evidence_that_says_the_same_is_not_counted_twice() -> None:
    """A score that only repeats what stood before leaves log-odds where they were."""
    rng = np.random.default_rng(1)
    standing = rng.normal(0, 2, MANY)
    label = (rng.random(MANY) < 1 / (1 + np.exp(-standing))).astype(np.int64)

    line = combining.fit(standing, standing, label, np.ones(MANY))

    assert line.standing + line.score == pytest.approx(1.0, abs=0.12)


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**31), few=st.integers(2, 40), wrong=st.booleans())
def test_more_evidence_never_means_less(seed: int, few: int, wrong: bool) -> None:
    """Neither factor is negative, however few pairs there are and whatever they say; few pairs change little."""
    rng = np.random.default_rng(seed)
    standing, score = rng.normal(0, 3, (2, few))
    label = ((standing + score > 0) != wrong).astype(np.int64)

    line = combining.fit(standing, score, label, np.ones(few))

    assert line.standing >= 0 and line.score >= 0
    assert np.isfinite(line.of(standing, score)).all()
    assert combining.fit(standing[:0], score[:0], label[:0], np.ones(0)) == Line(1.0, 0.0, 0.0)


def test_intervals_hold_the_figure_and_persons_count_whole() -> None:
    """The interval holds the value; what one person's pairs say twenty times over makes it no narrower."""
    rng = np.random.default_rng(2)
    score = rng.normal(0, 1, 200)
    label = (score + rng.normal(0, 1, 200) > 1).astype(np.int64)

    def told(score: Any, label: Any, person: Any) -> tuple[float, float, float]:
        even, right = np.ones(len(label)), np.where(label > 0, person, person + 100_000)
        found = measuring.figures(score, label, even, person, right, rounds=100, seed=0)
        return (found["auroc_interval"][0], found["auroc"], found["auroc_interval"][1])

    once = told(score, label, np.arange(200))
    again = told(np.tile(score, 20), np.tile(label, 20), np.tile(np.arange(200), 20))
    others = told(np.tile(score, 20), np.tile(label, 20), np.arange(4000))

    assert others[0] < others[1] < others[2] and others[1] == again[1] == once[1]
    assert again[2] - again[0] == pytest.approx(once[2] - once[0], rel=1e-6)
    assert others[2] - others[0] < (once[2] - once[0]) / 2


def test_figures_at_even_odds_count_weights() -> None:
    """Precision, recall, F1 and accuracy by hand; pairs of one sort have no AUROC and JSON no such number."""
    log_odds, label = np.array([2.0, 1.0, -1.0, -2.0]), np.array([1, 0, 1, 0])

    found = measuring.at_even_odds(log_odds, label, np.array([1.0, 3.0, 1.0, 5.0]))
    one_sort = measuring.figures(log_odds, np.ones(4, int), np.ones(4), label, label, rounds=3, seed=0)

    assert found == pytest.approx({"f1": 2 / 6, "precision": 1 / 4, "recall": 1 / 2, "accuracy": 6 / 10})
    assert one_sort["auroc"] is None and "auroc_interval" not in one_sort


def test_a_person_keeps_the_split_in_every_test_bed(known: Corpus) -> None:
    """The same persons in another bed are in the same split, and a pair is of both its persons' split."""
    half = len(known.slot) // 2

    assert known.names == ("sample", "sample")
    assert (known.slot[:half] == known.slot[half:]).all()
    assert len(np.unique(known.slot)) > 100
    rows = known.within(known.slot < 500)
    assert (known.slot[known.left[rows]] < 500).all() and (known.slot[known.right[rows]] < 500).all()
    assert (known.label == (known.person[known.left] == known.person[known.right])).all()


def test_steps_cover_every_record_and_stay_within_what_may_be_learned(known: Corpus) -> None:
    """An epoch shows each record; its pairs are the labelled ones of the split, and strangers are never one person."""
    rows = known.within(known.slot < 600)
    steps = Steps(known, rows, rows, records=64, strangers=2.0, seed=0)

    taken = list(steps.epoch(0))

    assert set(steps.used) == set(np.unique(np.concatenate([step.records for step in taken])))
    assert (known.slot[steps.used] < 600).all()
    for step in taken:
        persons = known.person[step.records]
        assert ((persons[step.left] == persons[step.right]) == step.label).all()
    assert sum(int(step.label.sum()) for step in taken) >= known.label[rows].sum()


def test_the_same_seed_draws_the_same_steps(known: Corpus) -> None:
    """An epoch drawn again is the same, and another one is another."""
    rows = known.labelled()

    def drawn(epoch: int) -> list[list[int]]:
        return [step.left.tolist() for step in Steps(known, rows, rows, records=64, strangers=1.0, seed=3).epoch(epoch)]

    assert drawn(1) == drawn(1) != drawn(2)


@pytest.fixture(scope="module")
def judged(labelled_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same run with verdicts: `demographic` says 1 of every pair, `clinical` 3 of true pairs and nothing of others.

    Judges of the way unlabelled gave them, which were trained on no truth.
    """
    folder = tmp_path_factory.mktemp("judged")
    config = folder / "judged.yaml"
    config.write_text(sample.config(folder / "run"), encoding="utf-8")
    shutil.copytree(load_run(labelled_run).run.dir, folder / "run")
    chosen = EncoderSettings(out=folder, runs=(labelled_run,), shape=ShapeSettings(buckets=512))
    known = corpus.load([labelled_run], chosen, (), Progress())
    true = known.label == 1
    verdicts = pl.DataFrame(
        {
            "left_rid": np.concatenate([known.left, known.left[true]]),
            "right_rid": np.concatenate([known.right, known.right[true]]),
            "judge": ["demographic"] * len(true) + ["clinical"] * int(true.sum()),
            "fingerprint": "none",
            "logit": [1.0] * len(true) + [3.0] * int(true.sum()),
            "status": "ok",
        }
    )
    verdicts.write_parquet(folder / "run" / "verdicts.parquet")
    Learned("unlabelled", "a test").save(folder / "run" / "learned.json")
    return config


def test_where_a_pair_stands_and_what_the_teacher_added(judged: Path) -> None:
    """The judges before the encoder make the standing; what the teacher added to it is the soft label."""
    chosen = EncoderSettings(out=judged, runs=(judged,), teacher="clinical", shape=ShapeSettings(buckets=512))

    known = corpus.load([judged], chosen, ("demographic",), Progress())
    both = corpus.load([judged], chosen, ("demographic", "clinical"), Progress())

    assert known.standing == pytest.approx(1.0)
    assert both.standing == pytest.approx(np.where(known.label == 1, 3.0, 1.0))
    assert known.taught[known.label == 1] == pytest.approx(2.0)
    assert np.isnan(known.taught[known.label == 0]).all()


def test_judges_that_know_the_answers_are_refused(judged: Path) -> None:
    """A model that was trained on the truth of a run is surer there than elsewhere: nothing is fitted there."""
    chosen = EncoderSettings(out=judged, runs=(judged,), shape=ShapeSettings(buckets=512))
    path = judged.parent / "run" / "learned.json"
    before = path.read_bytes()
    Learned("shipped", "a test", card={"populations": [{"name": "judged"}]}).save(path)
    try:
        with pytest.raises(TrainingError, match="were trained on it"):
            corpus.load([judged], chosen, ("demographic",), Progress())
        corpus.load([judged], chosen, (), Progress())
    finally:
        path.write_bytes(before)


def test_a_judge_that_the_runs_do_not_ask(judged: Path, labelled_run: Path) -> None:
    """A judge before the encoder that a run does not ask, and a run without verdicts, are named in one line."""
    chosen = EncoderSettings(out=judged, runs=(judged,), shape=ShapeSettings(buckets=512))

    with pytest.raises(RunError, match=r"verdicts\.parquet is not there yet"):
        corpus.load([labelled_run], chosen, ("demographic",), Progress())
    with pytest.raises(UsageError, match="does not ask the judge llm"):
        corpus.load([judged], chosen, ("llm",), Progress())


def test_the_config_names_every_setting_with_its_default() -> None:
    """configs/encoder.yaml says what happens without it; only the paths are examples."""
    path = Path(__file__).parents[2] / "configs" / "encoder.yaml"
    content = yaml.safe_load(path.read_text())["encoder"]
    loaded = load_settings(path).encoder
    plain = EncoderSettings(out=Path("out"), runs=(Path("run.yaml"),))

    assert loaded is not None
    assert set(content) == set(EncoderSettings.model_fields) - {"threads"}
    assert set(content["shape"]) == set(ShapeSettings.model_fields)
    paths = {"out", "runs"}
    assert loaded.model_dump(exclude=paths) == plain.model_dump(exclude=paths)
