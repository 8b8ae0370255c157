"""Data sets of pairs: who is in which split, what they are made of, and what is refused."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars as pl
import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from llm_classifier import dataset, prompt
from llm_classifier.cli.dataset import dataset as command
from llm_classifier.dataset import card, draw, make, people
from llm_classifier.settings.dataset import DatasetSettings
from resolver import tables
from resolver.errors import DamagedError, ResolverError, SettingsError, TrainingError, UsageError
from resolver.progress import Progress
from resolver.settings import reading

SMALL = {"tokens_per_side": 64, "min_pairs": 10, "max_pairs": 400}


def finished(folder: Path, world: Any, *, offset: int = 0) -> Path:
    """The config of a run folder that looks finished: the world's tables, with slices, decisions and a truth."""
    run = folder / "run"
    run.mkdir(parents=True)
    for path in (world.records, world.events, world.pairs):
        shutil.copy(path, run / path.name)
    records = pl.read_parquet(world.records, columns=["rid", "record_id"])
    slices = records.select("rid", race=pl.lit("white"), ethnicity=pl.lit("nonhispanic"))
    decisions = pl.read_parquet(world.pairs).with_columns(
        logit=pl.col("logit") * 4, prior=pl.lit(-5.0), tier=pl.lit("gray"), demographics=pl.lit(0.0)
    )
    for name, table, frame in (("slices", tables.SLICES, slices), ("decisions", tables.DECISIONS, decisions)):
        missing = [pl.lit(None).alias(column) for column in table.names if column not in frame.columns]
        with duckdb.connect() as con:
            con.register("rows", frame.with_columns(missing))
            con.execute(f"COPY ({table.select('rows')}) TO '{run / name}.parquet' (FORMAT parquet)")
    truth = records.select("record_id", person_id=pl.Series(world.person + offset).cast(pl.String) + "-p")
    truth.write_parquet(folder / "truth.parquet")
    config = folder / f"{folder.name}.yaml"
    content = {
        "run": {"dir": str(run), "threads": 1, "memory_gib": 1},
        "sources": [{"kind": "synthea", "path": "bed"}],
        "evaluate": {"truth": "truth.parquet"},
    }
    config.write_text(yaml.safe_dump(content))
    return config


@pytest.fixture(scope="session")
def run_of_many(tmp_path_factory: pytest.TempPathFactory, make_world: Callable[..., Any]) -> Path:
    folder = tmp_path_factory.mktemp("beds") / "bed"
    return finished(folder, make_world(folder / "world", persons=240, seed=3, splink_noise=6.0))


def settings(out: Path, *runs: Path, **more: Any) -> DatasetSettings:
    return DatasetSettings(out=out, runs=runs, **{**SMALL, **more})


@pytest.fixture(scope="session")
def planned(run_of_many: Path, tmp_path_factory: pytest.TempPathFactory) -> make.Plan:
    return make.plan(settings(tmp_path_factory.mktemp("out"), run_of_many), Progress())


@pytest.fixture(scope="session")
def made(run_of_many: Path, planned: make.Plan, tmp_path_factory: pytest.TempPathFactory) -> dataset.Dataset:
    out = tmp_path_factory.mktemp("made") / "data"
    return make.write(planned, settings(out, run_of_many), Progress())


def everything(found: dataset.Dataset) -> pl.DataFrame:
    return pl.concat(found.split(name).with_columns(split=pl.lit(name)) for name in dataset.SPLITS)


def test_nobody_is_in_two_splits(planned: make.Plan) -> None:
    """Neither as the left nor as the right side, and no group either; all four splits have pairs."""
    sides = [planned.drawn.select("split", person=f"{side}_person", knot=f"{side}_knot") for side in ("left", "right")]
    both = pl.concat(sides)

    assert both.group_by("person").agg(pl.col("split").n_unique())["split"].max() == 1
    assert both.group_by("knot").agg(pl.col("split").n_unique())["split"].max() == 1
    assert planned.drawn["split"].n_unique() == 4


def test_labels_are_those_of_the_truth(planned: make.Plan) -> None:
    """A pair is true if and only if both records are of one person; strangers never are."""
    same = planned.drawn["left_person"] == planned.drawn["right_person"]

    assert (same == (planned.drawn["label"] == 1)).all()
    assert set(planned.drawn["origin"].unique()) == {"gray", "lookalike", "random", "easy"}


def test_most_false_pairs_are_hard_and_labels_are_balanced(made: dataset.Dataset) -> None:
    """In every split at least half of the false pairs are gray or look-alikes, and half of all pairs are true."""
    for one in made.card.splits.values():
        assert one["hard_negatives"] >= 0.5
        assert abs(one["positives"] - 0.5) < 0.02
        assert one["pairs"] == sum(one["origins"].values())


def test_both_orders_are_there(made: dataset.Dataset) -> None:
    """Each pair comes twice with its sides exchanged and all else equal, and the prompt is that of its summaries."""
    rows = everything(made)
    first, second = (rows.filter(pl.col("swapped") == swapped) for swapped in (False, True))
    joined = first.join(second, on="pair_id", suffix="_2")

    assert len(joined) == len(first) == len(second)
    assert (joined["left_summary"] == joined["right_summary_2"]).all()
    assert (joined["left_id"] == joined["right_id_2"]).all()
    for same in ("label", "weight", "group", "origin", "tokens", "split", "sex"):
        assert joined[same].eq_missing(joined[f"{same}_2"]).all()
    row = rows.row(5, named=True)
    assert row["prompt"] == prompt.pair(row["left_summary"], row["right_summary"])
    assert rows["tokens"].max() <= made.card.max_tokens


def test_weights_bring_the_mix_of_the_gray_zone_back(made: dataset.Dataset) -> None:
    """Weighted, every split has as many true pairs as the gray zone; what is not gray weighs nothing."""
    rows = everything(made)
    mix = rows.group_by("split").agg(
        prior=(pl.col("label") * pl.col("weight")).sum() / pl.col("weight").sum(), plain=pl.col("label").mean()
    )

    assert np.allclose(mix["prior"], made.card.gray_prior, atol=1e-6)
    assert made.card.gray_prior < 0.4
    assert rows.filter(pl.col("origin") != "gray")["weight"].max() == 0
    assert rows.filter(pl.col("origin") == "gray")["weight"].min() > 0


def test_what_is_left_out_adds_up(planned: make.Plan) -> None:
    """The pairs there were, less each loss, are the pairs that stay; true and false alike."""
    *steps, last = planned.facts["attrition"]
    sign = {"": 1, "-": -1, "+": 1}

    assert last["sign"] == "="
    for name in ("pairs", "true", "false"):
        assert sum(sign[row["sign"]] * row[name] for row in steps) == last[name]
    assert last["pairs"] == sum(one["pairs"] for one in planned.facts["splits"].values())


def test_the_same_runs_make_the_same_data_set(run_of_many: Path, made: dataset.Dataset, tmp_path: Path) -> None:
    """Byte for byte, by the pin; another seed makes another one."""
    again = settings(tmp_path / "a", run_of_many)
    other = settings(tmp_path / "b", run_of_many, seed=1)

    assert make.write(make.plan(again, Progress()), again, Progress()).pin == made.pin
    assert make.write(make.plan(other, Progress()), other, Progress()).pin != made.pin


def test_a_person_in_two_beds_stays_one(run_of_many: Path, tmp_path: Path) -> None:
    """Two beds made of one population share their persons' ids: each person is in one split of both."""
    folder = tmp_path / "second"
    shutil.copytree(run_of_many.parent, folder)
    twin = folder / "second.yaml"
    (folder / run_of_many.name).rename(twin)
    twin.write_text(twin.read_text().replace(str(run_of_many.parent), str(folder)))
    plan = make.plan(settings(tmp_path / "out", run_of_many, twin), Progress())
    both = pl.concat(plan.drawn.select("population", "split", person=f"{side}_person") for side in ("left", "right"))
    found = both.group_by("person").agg(pl.col("split").n_unique(), pl.col("population").n_unique())

    assert found["split"].max() == 1
    assert found["population"].max() == 2


def test_nothing_in_it_names_anybody(made: dataset.Dataset, run_of_many: Path) -> None:
    """No record id, person id, name or birth date is in the files; ids are numbers of their own."""
    rows = everything(made)
    text = "\n".join(rows.select(pl.col(pl.String).exclude("population")).unique().cast(pl.String).to_numpy().ravel())
    records = pl.read_parquet(run_of_many.parent / "run" / "records.parquet")

    for name in ("record_id", "source_record_id", "birth_date", "ssn", "street"):
        values = records[name].cast(pl.String).drop_nulls().unique()
        assert not [value for value in values if value in text]
    assert not re.search(r"-p\b", text)
    assert rows["left_id"].str.contains(r"^\d{7}$").all()


def test_check_writes_nothing(run_of_many: Path, tmp_path: Path) -> None:
    """It says what is left out, why, and what would be in it."""
    config = tmp_path / "llm.yaml"
    config.write_text(yaml.safe_dump({"dataset": {"out": "data", "runs": [str(run_of_many)], **SMALL}}))
    shown = CliRunner().invoke(command, [str(config), "--check"], catch_exceptions=False)
    told = CliRunner().invoke(command, [str(config), "--check", "--json"], catch_exceptions=False)

    assert shown.exit_code == 0 and not (tmp_path / "data").exists()
    assert "persons of two splits" in shown.stdout and "calibration" in shown.stdout
    assert json.loads(told.stdout)["splits"]["test"]["pairs"] > 0


def test_the_command_makes_what_read_reads(run_of_many: Path, tmp_path: Path) -> None:
    """The folder's card has the pin that the command prints, the prompt's version and the populations."""
    config = tmp_path / "llm.yaml"
    config.write_text(yaml.safe_dump({"dataset": {"out": "data", "runs": [str(run_of_many)], **SMALL}}))
    shown = CliRunner().invoke(command, [str(config)], catch_exceptions=False)
    found = dataset.read(tmp_path / "data")

    assert found.pin in shown.stdout
    assert found.card.prompt_version == prompt.VERSION
    assert [one["name"] for one in found.card.populations] == ["bed"]
    assert (tmp_path / "data" / "README.md").read_text().startswith("---\n")


def test_pairs_without_evidence_are_counted(run_of_many: Path, tmp_path: Path) -> None:
    """Records without truth, without any history, with too little of it, and long prompts each have their line."""
    folder = tmp_path / "thin"
    shutil.copytree(run_of_many.parent, folder)
    config = folder / run_of_many.name
    config.write_text(config.read_text().replace(str(run_of_many.parent), str(folder)))
    events = folder / "run" / "events.parquet"
    kept = pl.read_parquet(events).filter(
        (pl.col("rid") % 10 > 0) & ((pl.col("rid") % 10 > 1) | (pl.col("kind") == "measurement"))
    )
    kept.write_parquet(events)
    truth = pl.read_parquet(folder / "truth.parquet")
    truth.head(len(truth) - 9).write_parquet(folder / "truth.parquet")
    longest = prompt.fixed_tokens() + 40
    plan = make.plan(settings(tmp_path / "out", config, max_tokens=longest), Progress())
    lost = {row["what"]: row["pairs"] for row in plan.facts["attrition"]}

    assert lost["a record that the truth does not know"] > 0
    assert lost["a side without evidence"] > 0
    assert lost["a side with fewer than 2 pieces"] > 0
    assert lost[f"longer than {longest} tokens"] > 0


def test_a_run_without_truth_is_refused(run_of_many: Path, tmp_path: Path) -> None:
    """There are no labels without it."""
    config = tmp_path / "blind.yaml"
    content = yaml.safe_load(run_of_many.read_text())
    del content["evaluate"]
    config.write_text(yaml.safe_dump(content))

    with pytest.raises(UsageError, match="names no truth"):
        make.plan(settings(tmp_path / "out", config), Progress())


def test_an_unfinished_run_is_refused(run_of_many: Path, tmp_path: Path) -> None:
    """The line names the missing files and the command."""
    config = tmp_path / "begun.yaml"
    content = yaml.safe_load(run_of_many.read_text())
    content["run"]["dir"] = str(tmp_path / "begun")
    content["evaluate"]["truth"] = str(run_of_many.parent / "truth.parquet")
    config.write_text(yaml.safe_dump(content))

    with pytest.raises(ResolverError, match=r"decisions\.parquet not there\. resolver run"):
        make.plan(settings(tmp_path / "out", config), Progress())


def test_too_few_pairs_are_refused(run_of_many: Path, tmp_path: Path) -> None:
    """One line says how many there are and how many are needed; --check shows first what was left out."""
    config = tmp_path / "llm.yaml"
    content = {"out": "data", "runs": [str(run_of_many)], **SMALL, "min_pairs": 100_000}
    config.write_text(yaml.safe_dump({"dataset": content}))
    for more in ([], ["--check"]):
        result = CliRunner().invoke(command, [str(config), *more])
        assert isinstance(result.exception, TrainingError)
        assert "100000 of each are needed" in str(result.exception)
        assert ("persons of two splits" in result.stdout) == bool(more)
    assert not (tmp_path / "data").exists()


def test_runs_without_a_usable_pair_are_refused(run_of_many: Path, tmp_path: Path) -> None:
    """Where no record has enough to say, the line is the same."""
    chosen = settings(tmp_path / "out", run_of_many, min_pieces=1000)

    with pytest.raises(TrainingError, match="0 true and 0 false pairs"):
        make.write(make.plan(chosen, Progress()), chosen, Progress())


def test_nonsense_is_refused(run_of_many: Path, tmp_path: Path) -> None:
    """A run given twice, shares that do not add up, fewer than half hard pairs, a tokenizer that is none."""
    with pytest.raises(UsageError, match="given twice"):
        make.plan(settings(tmp_path / "out", run_of_many, run_of_many), Progress())
    for fault in ({"shares": {"train": 0.9}}, {"hard_negatives": 0.3}, {"hub": "no/slash/here"}):
        values = {"out": "x", "runs": ["a.yaml"], **fault}
        with pytest.raises(SettingsError):
            reading.parse(DatasetSettings, values, where="llm.yaml")
    with pytest.raises(UsageError, match="holds no tokenizer"):
        make.plan(settings(tmp_path / "out", run_of_many, tokenizer=tmp_path), Progress())


def test_a_changed_file_is_noticed(made: dataset.Dataset, tmp_path: Path) -> None:
    """Data that are not those of the card are refused, and so is a folder without a card."""
    copy = tmp_path / "copy"
    shutil.copytree(made.folder, copy)
    made.split("test").head(5).write_parquet(copy / "data" / "test.parquet")

    with pytest.raises(DamagedError, match=r"test\.parquet is not the file"):
        dataset.read(copy)
    (copy / card.FILE).unlink()
    with pytest.raises(UsageError, match="holds no data set"):
        dataset.read(copy)
    with pytest.raises(UsageError, match="no split dev"):
        made.split("dev")


@given(
    counts=st.fixed_dictionaries(
        {
            key: st.integers(0, 500)
            for key in [(1, "gray"), (1, "easy"), (0, "gray"), (0, "lookalike"), (0, "random"), (0, "easy")]
        }
    ),
    most=st.integers(10, 600),
    positives=st.sampled_from([0.2, 0.5, 0.7]),
)
@hypothesis_settings(deadline=None, max_examples=80)
def test_quotas_keep_their_promises(counts: dict[tuple[int, str], int], most: int, positives: float) -> None:
    """Never more than there are, never more than asked, balanced, and at least the share of hard ones."""
    chosen = DatasetSettings(out=Path("x"), runs=(Path("a"),), positives=positives)
    found = draw.quotas(counts, most, chosen)
    true = sum(number for (label, _), number in found.items() if label == 1)
    false = sum(found.values()) - true
    hard = found[0, "gray"] + found[0, "lookalike"]

    assert all(0 <= number <= counts[key] for key, number in found.items())
    assert true + false <= most
    assert abs(true - positives * (true + false)) <= 1
    assert hard >= chosen.hard_negatives * false - 1
    assert found[1, "easy"] <= chosen.easy_positives * true + 1


def test_knots_hold_the_closest_together() -> None:
    """The two who are confused most share a split at any seed; no knot is larger than allowed."""
    persons = pl.Series([f"p{n:03}" for n in range(200)])
    chain = pl.DataFrame(
        {"left_person": persons[:-1], "right_person": persons[1:], "closeness": np.linspace(0, 1, 199)}
    )
    for seed in range(5):
        found = people.assign(persons, chain, (0.6, 0.1, 0.1, 0.2), seed)
        assert found["knot"].value_counts()["count"].max() <= people.LARGEST * 200
        assert found["split"][198] == found["split"][199]


def test_the_hash_is_the_same_everywhere() -> None:
    """Splits and draws hang on these numbers: they must not change from one version to the next."""
    assert people.uniform(pl.Series(["a", "b"]), 0).round(6).tolist() == [0.663738, 0.485815]
    assert draw.order((pl.Series([1, 2]),), 7).tolist() == [11409396526365357622, 12587370737594032228]


@pytest.mark.llm
def test_hugging_face_datasets_reads_it(made: dataset.Dataset, tmp_path: Path) -> None:
    """By its README's YAML, offline: the four splits with all columns."""
    import datasets

    found = datasets.load_dataset(str(made.folder), cache_dir=str(tmp_path))

    assert {name: len(part) for name, part in found.items()} == {
        name: one["rows"] for name, one in made.card.splits.items()
    }
    assert set(found["train"].column_names) == set(made.split("train").columns)


@pytest.mark.llm
def test_tokens_are_counted_with_the_models_own(run_of_many: Path, tiny_base: Path, tmp_path: Path) -> None:
    """With a tokenizer the counts are those of the finished prompts, and the card holds its digest."""
    from transformers import AutoTokenizer

    chosen = settings(tmp_path / "out", run_of_many, tokenizer=tiny_base, tokens_per_side=200, min_pieces=1)
    rows = everything(make.write(make.plan(chosen, Progress()), chosen, Progress())).head(50)
    tokenizer = AutoTokenizer.from_pretrained(tiny_base)
    counted = [len(ids) for ids in tokenizer(rows["prompt"].to_list())["input_ids"]]

    assert all(0 <= told - real <= 3 for told, real in zip(rows["tokens"], counted, strict=True))
    assert dataset.read(tmp_path / "out").card.tokenizer
