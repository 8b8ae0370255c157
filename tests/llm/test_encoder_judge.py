"""The judge `encoder`: in a run, on records as a run leaves them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars as pl
import pytest

from llm_classifier.encoder import model
from llm_classifier.encoder.combining import Line
from resolver import adjudicate, judges, pipeline, settings
from resolver.errors import UsageError
from resolver.judges import Evidence
from resolver.judges.learned import Learned
from resolver.progress import Progress
from resolver.stage import StageContext, file_of

pytestmark = pytest.mark.llm


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder with random weights, asked first."""
    from llm_classifier.encoder import fitting
    from llm_classifier.encoder.network import Encoder, Shape

    shape = Shape(width=16, heads=2, most=16, buckets=1024)
    with fitting.steady(1, 0):
        network = Encoder(shape)
    folder = tmp_path_factory.mktemp("encoder")
    model.save(folder, network, model.Card(dataclasses.asdict(shape), Line(0.5, 2.0, -1.0), (), (-3.0, 3.0), ("none",)))
    return folder


def load(config: Path, encoder: Path | None, *judges: str) -> settings.Settings:
    asked = f"adjudicate.judges=[{', '.join(judges)}]"
    return settings.load(config, ("run.threads=1", asked, *([f"encoder.model={encoder}"] if encoder else [])))


def evidence(config: Path, scratch: Path, encoder: Path | None, *judges: str) -> Evidence:
    loaded = load(config, encoder, *judges)
    files = {name: loaded.run.dir / f"{name}.parquet" for name in ("records", "events")}
    return Evidence(
        loaded, files["records"], files["events"], scratch / "learned.json", scratch / "none", scratch, Progress()
    )


def asked(config: Path) -> pl.DataFrame:
    return pl.read_parquet(settings.load(config).run.dir / "pairs.parquet").select("left_rid", "right_rid", "logit")


def test_it_is_found_by_name_and_says_what_it_is() -> None:
    """The entry point is there; its verdict takes the place of what stood before and counts as clinical."""
    found = judges.find("encoder")

    assert (found.name, found.part, found.role) == ("encoder", "clinical", "revises")


def test_verdicts_are_the_line_through_standing_and_score(labelled_run: Path, tmp_path: Path, encoder: Path) -> None:
    """A pair's logit is the card's line; the sides exchanged, and asked piece by piece, it is the same."""
    pairs = asked(labelled_run)
    judge = judges.find("encoder")(evidence(labelled_run, tmp_path, encoder, "encoder"))

    found = judge.judge(pairs)
    turned = judge.judge(pairs.select(left_rid="right_rid", right_rid="left_rid", logit="logit"))
    pieces = judges.find("encoder")(evidence(labelled_run, tmp_path, encoder, "encoder"))
    apart = pl.concat([pieces.judge(pairs[start : start + 700]) for start in range(0, len(pairs), 700)])
    raised = judge.judge(pairs.with_columns(pl.col("logit") + 2))

    assert found["status"].unique().to_list() == ["ok"]
    assert found["logit"].n_unique() > len(found) / 2
    assert turned["logit"].equals(found["logit"])
    assert np.abs((apart["logit"] - found["logit"]).to_numpy()).max() <= 0.0002
    assert (raised["logit"] - found["logit"]).to_numpy() == pytest.approx(1.0, abs=0.0002)


def test_each_record_is_encoded_once(
    labelled_run: Path, tmp_path: Path, encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often a record stands in a pair, and in however many chunks the pairs come, it is encoded once."""
    from llm_classifier.encoder import fitting

    encoded: list[int] = []
    real = fitting.vectors

    def counted(network: Any, tokens: Any, places: Any, *more: Any) -> Any:
        encoded.append(len(places))
        return real(network, tokens, places, *more)

    monkeypatch.setattr(fitting, "vectors", counted)
    pairs = asked(labelled_run)
    judge = judges.find("encoder")(evidence(labelled_run, tmp_path, encoder, "encoder"))
    for start in range(0, len(pairs), 900):
        judge.judge(pairs[start : start + 900])

    events = evidence(labelled_run, tmp_path, encoder, "encoder").events
    ((records,),) = duckdb.execute(f"SELECT count(DISTINCT rid) FROM '{events}'").fetchall()
    assert sum(encoded) == records


def test_a_record_without_a_history_gets_no_verdict(labelled_run: Path, tmp_path: Path, encoder: Path) -> None:
    """A pair with an empty side has no row; all others have theirs."""
    given = evidence(labelled_run, tmp_path, encoder, "encoder")
    few = tmp_path / "events.parquet"
    duckdb.execute(f"COPY (FROM '{given.events}' WHERE rid <> 3) TO '{few}'")
    pairs = pl.DataFrame({"left_rid": [1, 2, 3], "right_rid": [2, 3, 4], "logit": [0.0, 0.0, 0.0]})

    found = judges.find("encoder")(dataclasses.replace(given, events=few)).judge(pairs)
    none = judges.find("encoder")(dataclasses.replace(given, events=few)).judge(pairs[1:])

    assert found.select("left_rid", "right_rid").rows() == [(1, 2)]
    assert len(none) == 0 and none.columns == ["left_rid", "right_rid", "logit", "status"]


def test_it_is_asked_where_it_was_trained_to_be(labelled_run: Path, tmp_path: Path, encoder: Path) -> None:
    """After other judges than those that it was fitted to it refuses; what people said does not matter to it."""
    with pytest.raises(UsageError, match=r"was trained to be asked after none, and .* asks it after demo"):
        judges.find("encoder")(evidence(labelled_run, tmp_path, encoder, "demographic", "encoder"))
    with pytest.raises(UsageError, match=r"Set encoder\.model"):
        judges.find("encoder")(evidence(labelled_run, tmp_path, None, "encoder"))
    judges.find("encoder")(evidence(labelled_run, tmp_path, encoder, "human", "encoder"))


def test_a_run_asks_it_within_its_bounds(labelled_run: Path, tmp_path: Path, encoder: Path) -> None:
    """Adjudicate asks it about pairs between the card's bounds, and another encoder makes the stage run again."""
    loaded = load(labelled_run, encoder, "encoder")
    inputs = {name: loaded.run.dir / f"{name}.parquet" for name in ("records", "events", "pairs")}
    inputs["learned.json"] = tmp_path / "learned.json"
    Learned("none", "a test").save(inputs["learned.json"])
    stage = next(one for one in pipeline.STAGES if one.name == "adjudicate")
    outputs = {name: tmp_path / f"out.{file_of(name)}" for name in stage.writes}
    (scratch := tmp_path / "scratch").mkdir()

    facts = stage.run(StageContext(loaded, inputs, outputs, scratch, Progress()))

    verdicts = pl.read_parquet(outputs["verdicts"]).join(asked(labelled_run), on=["left_rid", "right_rid"])
    assert facts["judges"]["encoder"]["asked"] == len(asked(labelled_run).filter(pl.col("logit").abs() < 3))
    assert verdicts["logit_right"].abs().max() < 3
    assert set(verdicts["fingerprint"]) == {model.read(encoder).fingerprint}
    before = adjudicate.watches(loaded)
    (encoder / model.CARD).touch()
    assert adjudicate.watches(loaded) != before
    assert set(adjudicate.watches(load(labelled_run, encoder, "demographic"))) == {"human"}
