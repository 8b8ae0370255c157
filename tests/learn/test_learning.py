"""Judges are fitted with labels and without, calibrated, and compared with an input before they are used on it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from resolver import database, learn, settings
from resolver.errors import TrainingError, UsageError
from resolver.fusion import probability
from resolver.judges.features import clinical, demographic
from resolver.judges.learned import Learned
from resolver.learn import card, judged, labelled, profile, sample, unlabelled, views, witness
from resolver.learn.crossfit import calibration_error, cross_fit, line
from resolver.learn.sample import Sample, draw
from resolver.progress import Progress
from resolver.stage import StageContext


def sample_of(world: Any, folds: int = unlabelled.FOLDS, most: int = 10**9) -> Sample:
    with database.connect(memory_gib=1, threads=1) as con:
        return draw(con, world.records, world.events, world.pairs, most=most, folds=folds)


def population(world: Any, name: str = "made-1", drawn: Sample | None = None) -> labelled.Population:
    with database.connect(memory_gib=1, threads=1) as con:
        found = profile.of(con, world.records, world.events)
    sexes = np.zeros(len(world.person), dtype=np.int64)
    return labelled.Population(name, drawn or sample_of(world), world.person, found, {"sex": (sexes, ["all"])})


@pytest.fixture(scope="module")
def large(make_world: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return make_world(tmp_path_factory.mktemp("large"), persons=220, seed=5)


@pytest.fixture(scope="module")
def drawn(large: Any) -> Sample:
    return sample_of(large)


@pytest.fixture(scope="module")
def trained(large: Any, drawn: Sample) -> Learned:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(labelled, "ROUNDS", 40)
        patch.setattr(labelled, "FEWEST", 50)
        return labelled.train([population(large, drawn=drawn)], seed=0, threads=1)


def context(world: Any, folder: Path, **chosen: Any) -> StageContext:
    given = {"run": {"dir": str(folder), "threads": 1, "memory_gib": 1}, "learn": chosen}
    loaded = settings.parse(given | {"sources": [{"kind": "synthea", "path": "."}]}, base=folder, where="a test")
    inputs = {"records": world.records, "events": world.events, "pairs": world.pairs}
    return StageContext(loaded, inputs, {"learned.json": folder / "learned.json"}, folder, Progress())


# Fits and calibration


def test_no_pair_is_scored_by_trees_that_have_seen_it() -> None:
    """Labels that only the fold itself could know are not found again."""
    rng = np.random.default_rng(0)
    table, labels = np.arange(600, dtype=np.float32)[:, None], rng.integers(0, 2, 600).astype(float)
    folds = rng.integers(0, 3, 600)
    held = [folds == fold for fold in range(3)]
    _, scores = cross_fit(
        table,
        [demographic.FEATURES[0].__class__("x", "")],
        labels,
        [~one for one in held],
        held,
        rounds=50,
        leaves=31,
        seed=0,
        threads=1,
    )

    assert abs(np.corrcoef(scores, labels)[0, 1]) < 0.2


@pytest.mark.parametrize(("slope", "intercept"), [(1.0, 0.0), (0.5, 1.0), (2.0, -1.5)])
def test_the_line_finds_what_scores_are_worth(slope: float, intercept: float) -> None:
    """Scores that overstate or are shifted come out as log-odds that mean what they say."""
    rng = np.random.default_rng(1)
    scores = rng.normal(0, 3, 40_000)
    labels = (rng.random(len(scores)) < probability(slope * scores + intercept)).astype(float)
    found = line(scores, labels)

    np.testing.assert_allclose(found, (slope, intercept), atol=0.08)
    assert calibration_error(found[0] * scores + found[1], labels) < 0.01


def test_the_line_never_turns_round() -> None:
    """Scores that point the wrong way are worth nothing, not the opposite."""
    scores = np.linspace(-3, 3, 1000)

    assert line(scores, (scores < 0).astype(float))[0] == 0.0


@pytest.mark.parametrize("twice", [0.0, 0.06])
def test_sources_bear_witness_to_scores(twice: float) -> None:
    """A line is found from the sources of pairs alone, whether or not sources register people twice."""
    rng = np.random.default_rng(2)
    truth = np.concatenate([rng.normal(-7, 3, 60_000), rng.normal(5, 3, 6_000)])
    match = rng.random(len(truth)) < probability(truth)
    same = rng.random(len(truth)) < np.where(match, twice, 0.2)
    scores = truth / 1.5 - 0.6
    heard = witness.hear(scores, same)
    error = calibration_error(heard.slope * scores + heard.intercept, match.astype(float))

    assert error < calibration_error(scores, match.astype(float)) * 0.8
    assert heard.slope > 1.1 and heard.intercept > 0.4
    assert heard.twice == pytest.approx(twice, abs=0.02)


def test_a_witness_that_finds_far_more_matches_is_not_believed() -> None:
    """Where pairs of a middling score are seldom of one source for reasons of their own, scores stay as they are."""
    rng = np.random.default_rng(6)
    scores = np.concatenate([rng.normal(-8, 1, 40_000), rng.normal(-3, 1, 8_000), rng.normal(8, 2, 3_000)])
    same = rng.random(len(scores)) < np.where(scores < -5, 0.2, np.where(scores < 0, 0.08, 0.02))

    assert witness.hear(scores, same) == witness.NOBODY


def test_one_source_bears_no_witness() -> None:
    """Where all pairs come from one source, scores stay as they are."""
    scores = np.linspace(-9, 9, 1000)

    assert witness.hear(scores, np.ones(1000, dtype=bool)) == witness.NOBODY


# With labels


def test_training_needs_true_pairs(world: Any) -> None:
    """Too few labels are refused with their number."""
    with pytest.raises(TrainingError, match="true pairs"):
        labelled.train([population(world)], seed=0, threads=1)


def test_a_trained_model_carries_over(trained: Learned, make_world: Any, tmp_path: Path) -> None:
    """On persons it has never seen the model beats Splink's score by far, and its card says what it was made from."""
    other = population(make_world(tmp_path, persons=120, seed=9), "made-2")
    figures = labelled.figures(other, trained, unscored=-1.5, threads=1)
    plain = labelled.figures(other, Learned("none", ""), unscored=-1.5, threads=1)

    assert figures["f1"] > plain["f1"]
    assert figures["f1"] > 0.95
    assert trained.card["populations"][0]["name"] == "made-1"
    text = card.markdown(dataclasses.replace(trained, card=trained.card | {"figures": [figures]}), 1000)
    assert "made-1" in text and "made-2" in text and "must not be used" in text


def test_training_twice_gives_the_same_model(large: Any, drawn: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    """Same populations and seed, same model."""
    monkeypatch.setattr(labelled, "ROUNDS", 3)
    monkeypatch.setattr(labelled, "FEWEST", 50)
    given = population(large, drawn=drawn)
    one, other = (labelled.train([given], seed=0, threads=threads) for threads in (1, 2))

    assert one == other


# Without labels


@pytest.fixture
def few_trees(monkeypatch: pytest.MonkeyPatch) -> None:
    for where, name, value in (
        (unlabelled, "TREES", 20),
        (unlabelled, "MOST_ROUNDS", 2),
        (views, "TREES", 30),
    ):
        monkeypatch.setattr(where, name, value)


@pytest.mark.usefixtures("few_trees")
def test_views_teach_each_other(large: Any, drawn: Sample) -> None:
    """Without any label the judges end up better than Splink's score that they started from."""
    taught = unlabelled.teach(drawn, seed=0, threads=1, unscored=-1.5, same_source=-3.0, say=lambda text: None)
    same = large.person[drawn.left] == large.person[drawn.right]

    assert ((taught.logit > 0) != same).sum() < ((drawn.splink > 0) != same).sum()
    assert taught.facts["rounds"] >= 1


def look_alikes(rng: np.random.Generator) -> tuple[Sample, np.ndarray]:
    """Pairs that Splink is sure of, of which half are two persons of one age and sex, as their histories show."""
    size = 6_000
    match = rng.random(size) < 0.1
    twins = ~match & (rng.random(size) < 0.1)
    names = demographic.names
    table = np.full((size, len(names)), np.nan, dtype=np.float32)
    table[:, names.index("first_name_edits")] = np.where(match, 0, 6)
    table[:, names.index("last_name_edits")] = np.where(match | twins, 0, 6)
    table[:, names.index("birth_date_days")] = np.where(match | twins, 0, 8)
    histories = np.full((size, len(clinical.FEATURES)), np.nan, dtype=np.float32)
    # Histories of one age look alike: all that sets twins apart from strangers here.
    histories[:, 0] = rng.normal(np.where(match, 4, np.where(twins, 1, 0)), 1)
    splink = np.where(match | twins, 9.0, -6.0) + rng.normal(0, 1, size)
    left = np.arange(size)
    sources = np.arange(2 * size) % 4
    folds = rng.integers(0, unlabelled.FOLDS, 2 * size)
    known = np.ones(size, dtype=bool)
    return Sample(2 * size, left, left + size, splink, table, histories, known, sources, folds), match


@pytest.mark.usefixtures("few_trees")
def test_look_alikes_are_found_out() -> None:
    """Where Splink is sure and wrong about a kind of pair, histories that don't fit correct it."""
    sample, match = look_alikes(np.random.default_rng(3))
    bench = views.Bench.of(sample, unlabelled.FOLDS, 0, 1)
    believed = views.teach(sample, bench)
    truth = match[bench.rows]

    assert ((sample.splink > 0) & ~match).sum() > 300
    assert ((believed > 0) & ~truth).sum() < 30
    assert (believed > 0)[truth].mean() > 0.95


def test_namesakes_are_set_apart_without_histories(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where names and addresses of two persons agree and no history tells, birth dates and numbers speak against."""
    monkeypatch.setattr(views, "TREES", 60)
    monkeypatch.setattr(views, "ROUNDS", views.APART)
    made, match = look_alikes(np.random.default_rng(7))
    rng = np.random.default_rng(8)
    kin = ~match & (made.splink > 0) & (rng.random(len(match)) < 0.4)
    names = demographic.names
    table = np.full_like(made.demographic, np.nan)
    table[:, names.index("first_name_edits")] = np.where(match | kin, 0, 6)
    table[:, names.index("street_share")] = np.where(match | kin, 0, 0.8)
    table[:, names.index("birth_date_days")] = np.where(match, 0, 9)
    table[:, names.index("ssn_edits")] = np.where(match & (rng.random(len(match)) < 0.95), 0, 7)
    splink = np.where(match | kin, made.splink, -6.0)
    silent = dataclasses.replace(made, demographic=table, splink=splink, known=made.known & ~kin)
    bench = views.Bench.of(silent, unlabelled.FOLDS, 0, 1)
    believed = views.teach(silent, bench)

    # Splink is as sure of the ones as of the others, and one view of all fields gives that back.
    assert np.median(believed[match[bench.rows]]) - np.median(believed[kin[bench.rows]]) > 3


@pytest.mark.usefixtures("few_trees")
def test_too_few_histories_teach_nothing() -> None:
    """With histories of a handful of pairs the names learn from Splink and the persons alone."""
    made, _ = look_alikes(np.random.default_rng(5))
    few = dataclasses.replace(made, known=np.arange(len(made)) < unlabelled.FEWEST_HISTORIES // 2)
    taught = unlabelled.teach(few, seed=0, threads=1, unscored=-1.5, same_source=0.0, say=lambda text: None)

    assert taught.joint is None
    assert np.isfinite(taught.logit).all()


def test_pairs_that_stand_for_others_count_for_them() -> None:
    """Hopeless pairs are thinned, and the rest of them counts for those that are left out."""
    sample, _ = look_alikes(np.random.default_rng(4))
    splink = np.where(sample.splink > 0, sample.splink, -9.0)
    bench = views.Bench.of(dataclasses.replace(sample, splink=splink), unlabelled.FOLDS, 0, 1)
    hopeless = splink[bench.rows] < views.HOPELESS

    assert bench.weights.sum() == pytest.approx(len(sample))
    assert (bench.weights[~hopeless] == 1).all()
    assert (~hopeless).sum() == (splink > 0).sum()


def test_splink_is_not_copied(drawn: Sample) -> None:
    """What is learned without labels does not read the score that taught it."""
    place = demographic.names.index("splink")

    assert np.isnan(drawn.without_splink[:, place]).all()
    assert np.isfinite(drawn.demographic[:, place]).any()


@pytest.fixture(scope="module")
def clear(make_world: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return make_world(tmp_path_factory.mktemp("clear"), persons=120, splink_noise=0.5)


def test_a_sample_is_bounded_and_keeps_groups_whole(clear: Any, tmp_path: Path) -> None:
    """It holds no more pairs than asked for, near as many, and all likely pairs among the records that it drew."""
    whole = sample_of(clear)
    most = len(whole) // 3
    part = sample_of(clear, most=most)
    likely = whole.splink > sample.STEPS[0]
    drawn = np.isin(np.arange(whole.records), part.left)

    assert 0.5 * most < len(part) <= most
    assert ((part.splink > sample.STEPS[0]).sum()) == (likely & drawn[whole.left]).sum()
    assert (part.splink > 0).mean() == pytest.approx((whole.splink > 0).mean(), rel=0.5)


def test_a_sample_says_of_its_pairs_what_all_pairs_say(clear: Any, tmp_path: Path) -> None:
    """Demographic features are those of a whole draw, and histories are known where they were, read alone or not."""
    whole = sample_of(clear)
    with database.connect(memory_gib=1, threads=1) as con:
        part = draw(con, clear.records, clear.events, clear.pairs, most=len(whole) // 3, folds=3, scratch=tmp_path)
    place = {pair: row for row, pair in enumerate(zip(whole.left, whole.right, strict=True))}
    rows = [place[pair] for pair in zip(part.left, part.right, strict=True)]

    np.testing.assert_array_equal(part.demographic, whole.demographic[rows])
    np.testing.assert_array_equal(part.known, whole.known[rows])


def test_groups_that_grow_too_large_are_cut_at_stronger_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two groups that a weak pair holds together part where the whole is too large; strong ones stay."""
    monkeypatch.setattr(sample, "LARGEST", 3)
    with database.connect(memory_gib=1, threads=1) as con:
        con.execute("CREATE TABLE candidates (left_rid INTEGER, right_rid INTEGER, logit DOUBLE)")
        con.execute("INSERT INTO candidates VALUES (0, 1, 9), (1, 2, 9), (2, 3, 1), (3, 4, 9), (5, 6, -2), (6, 7, -9)")
        group = sample._groups(con, 8)

    assert group[0] == group[1] == group[2] != group[3]
    assert group[3] == group[4]
    assert group[5] == group[6] != group[7]


# Which way is taken


@pytest.fixture
def model(trained: Learned, tmp_path: Path) -> Path:
    path = tmp_path / "model.json"
    trained.save(path)
    return path


def test_a_model_is_used_where_it_fits(large: Any, model: Path, tmp_path: Path) -> None:
    """auto takes the trained model for an input like its training data, and says what that is."""
    facts = learn.run(context(large, tmp_path, model=str(model)))

    assert facts["way"] == "shipped"
    assert "made-1" in facts["why"]


@pytest.mark.usefixtures("few_trees")
def test_strange_codes_are_learned_anew(large: Any, model: Path, tmp_path: Path) -> None:
    """auto learns without labels where codes are of systems that the model has not seen, and names them."""
    con = database.connect(memory_gib=1, threads=1)
    con.execute(
        "COPY (SELECT * REPLACE ('ICD10' AS system) FROM read_parquet("
        f"{database.quote(large.events)})) TO {database.quote(tmp_path / 'events.parquet')} (FORMAT parquet)"
    )
    given = context(large, tmp_path, model=str(model), max_pairs=6_000)
    inputs = {**given.inputs, "events": tmp_path / "events.parquet"}
    facts = learn.run(dataclasses.replace(given, inputs=inputs))

    assert facts["way"] == "unlabelled"
    assert "ICD10" in facts["why"]


def test_few_records_take_the_trained_model(world: Any, model: Path, tmp_path: Path, monkeypatch: Any) -> None:
    """auto takes the trained model where there is too little to learn from, even if it fits badly."""
    monkeypatch.setattr(learn, "FEWEST_PAIRS", 10**6)
    monkeypatch.setattr(profile, "misfits", lambda found, seen: ["it is odd"])
    facts = learn.run(context(world, tmp_path, model=str(model)))

    assert facts["way"] == "shipped"
    assert "it is odd" in facts["why"] and "too few" in facts["why"]


@pytest.mark.parametrize(("way", "said"), [("none", "the config says so"), ("shipped", "the config says so")])
def test_the_config_has_the_last_word(world: Any, model: Path, tmp_path: Path, way: str, said: str) -> None:
    """A way that the config names is taken without looking."""
    facts = learn.run(context(world, tmp_path, way=way, model=str(model)))

    assert (facts["way"], facts["why"]) == (way, said)


def test_a_missing_model_is_named(world: Any, tmp_path: Path) -> None:
    """A model file that is not there is refused with its path."""
    with pytest.raises(UsageError, match="nowhere"):
        learn.run(context(world, tmp_path, way="shipped", model="nowhere.json"))


def test_a_model_of_other_features_is_refused(world: Any, model: Path, tmp_path: Path) -> None:
    """A model whose trees read other features than there are is not used."""
    text = model.read_text().replace("first_name_edits", "first_name_other")
    model.write_text(text)

    with pytest.raises(UsageError, match="other features"):
        learn.run(context(world, tmp_path, way="shipped", model=str(model)))


def test_judged_is_what_a_run_would_say(drawn: Sample, trained: Learned) -> None:
    """Pairs that the demographics settle, or without histories, keep their demographic log-odds."""
    assert trained.demographic is not None
    alone = trained.demographic.predict(drawn.demographic, np.zeros(len(drawn), dtype=np.int64), 1)
    both = judged.logits(drawn, trained, 1)
    settled = ~judged.asked(alone, drawn)

    np.testing.assert_array_equal(both[settled], alone[settled])
    assert (both[~settled] != alone[~settled]).any()
