"""Judges that read a few records alone come to the verdicts of those that read all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from resolver import database, judges
from resolver.errors import DamagedError
from resolver.explain import words
from resolver.judges import Evidence
from resolver.judges.features import clinical, demographic, glance
from resolver.judges.features.population import Population, read
from resolver.judges.learned import Learned, Model
from resolver.progress import Progress


def evidence(finished: Any, folder: Path, only: tuple[int, ...] | None = None) -> Evidence:
    run = finished.run
    return Evidence(
        finished.settings(),
        run / "records.parquet",
        run / "events.parquet",
        run / "learned.json",
        folder / "population.parquet",
        folder,
        Progress(),
        counts=folder / "counts.parquet",
        only=only,
        pairs=run / "pairs.parquet",
    )


@pytest.mark.parametrize("name", ["demographic", "clinical"])
def test_a_verdict_on_two_records_is_the_one_of_the_whole_run(finished: Any, tmp_path: Path, name: str) -> None:
    """Features, verdicts and contributions are the same to the last bit, whatever else is read."""
    pairs = pl.DataFrame(
        finished.query(
            f"SELECT left_rid, right_rid FROM verdicts WHERE judge = '{name}' ORDER BY hash(left_rid) LIMIT 8"
        ),
        schema={"left_rid": pl.Int32, "right_rid": pl.Int32},
        orient="row",
    )
    kind: Any = judges.find(name)
    whole = kind(evidence(finished, tmp_path))
    verdicts, apart = whole.judge(pairs), whole.take_apart(pairs)

    np.testing.assert_allclose(apart.log_odds.sum(axis=1), verdicts["logit"], atol=1e-9)
    for number, (left, right) in enumerate(pairs.iter_rows()):
        few = kind(evidence(finished, tmp_path, (left, right)))
        alone = few.take_apart(pairs[number])
        np.testing.assert_array_equal(alone.values[0], apart.values[number])
        np.testing.assert_array_equal(alone.log_odds[0], apart.log_odds[number])
        assert few.judge(pairs[number])["logit"][0] == verdicts["logit"][number]


def test_a_judge_without_evidence_knows_it_from_two_records(finished: Any, tmp_path: Path) -> None:
    """A record without a history is as unknown to the clinical judge alone as among all."""
    judges.find("clinical")(evidence(finished, tmp_path))
    empty = pl.read_parquet(finished.run / "events.parquet").filter(pl.col("rid") > 1)
    empty.write_parquet(tmp_path / "events.parquet")
    few = judges.find("clinical")(
        Evidence(
            finished.settings(),
            finished.run / "records.parquet",
            tmp_path / "events.parquet",
            finished.run / "learned.json",
            tmp_path / "population.parquet",
            tmp_path,
            Progress(),
            counts=tmp_path / "counts.parquet",
            only=(0, 5),
        )
    )
    assert few.judge(pl.DataFrame({"left_rid": [0], "right_rid": [5]})).is_empty()


def test_the_population_is_the_same_after_a_file(finished: Any, tmp_path: Path) -> None:
    """What histories are held against comes back from its file without a change."""
    with database.connect(memory_gib=1, threads=1) as con:
        births = demographic.DemographicFeatures(con, finished.run / "records.parquet").births()
        read(con, finished.run / "events.parquet", births)
        before = Population.measure(con)
    before.save(tmp_path / "population.parquet")
    after = Population.load(tmp_path / "population.parquet")

    assert before.histories == after.histories > 0
    assert_frame_equal(before.codes, after.codes)
    assert len(before.drifts) == len(after.drifts)
    for one, other in zip(before.drifts, after.drifts, strict=True):
        assert (one.what, one.mean, one.spread) == (other.what, other.mean, other.spread)
        for name in ("cuts", "drift", "noise"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert Population.empty().codes.is_empty()


def test_few_records_need_the_counts_of_all(finished: Any) -> None:
    """How common values are is never guessed from two records."""
    with database.connect(memory_gib=1, threads=1) as con, pytest.raises(ValueError, match="how common"):
        demographic.DemographicFeatures(con, finished.run / "records.parquet", only=(0, 1))


def test_a_model_of_other_features_is_refused(finished: Any, tmp_path: Path) -> None:
    """Trees that read other features than the program are named as the reason, not run."""
    learned = Learned.load(finished.run / "learned.json")
    assert learned.demographic is not None
    text = learned.demographic.trees[0].replace("feature_names=first_name_edits", "feature_names=another_feature")
    other = Learned("shipped", "a test", Model((text,)), card={})
    other.save(tmp_path / "learned.json")
    given = evidence(finished, tmp_path)
    judge: Any = judges.find("demographic")(
        Evidence(
            given.settings,
            given.records,
            given.events,
            tmp_path / "learned.json",
            given.population,
            tmp_path,
            Progress(),
        )
    )
    with pytest.raises(DamagedError, match="other features"):
        judge.take_apart(pl.DataFrame({"left_rid": [0], "right_rid": [1]}))


def test_every_feature_is_about_something() -> None:
    """Each feature of the judges is told under a field or a part of the history, never under its own name."""
    for feature in (*demographic.FEATURES, *clinical.FEATURES, *glance.FEATURES):
        assert words.about(feature.name) is not None, feature.name
