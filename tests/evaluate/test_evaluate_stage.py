"""The evaluate stage on a small run: every figure by hand, with and without truth."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import duckdb
import pytest

from resolver import evaluate, tables
from resolver.errors import InputError, QualityGateError
from resolver.progress import Progress
from resolver.settings import Settings, parse
from resolver.stage import StageContext

INPUTS = ("records", "slices", "events", "pairs", "decisions", "clusters", "golden", "golden_fields")
# Records 0, 1 and 2 are one person, 3 and 4 another, 5 a third. Two records of the first carry the right name.
RECORDS = [
    (0, "a:1", "a", "1", "ANNA", "F"),
    (1, "b:1", "b", "1", "ANNA", "F"),
    (2, "c:7", "c", "7", "ANA", "F"),
    (3, "a:2", "a", "2", "BERT", "M"),
    (4, "b:3", "b", "3", "BART", "M"),
    (5, "c:8", "c", "8", None, "M"),
]
TRUTH = "record_id,person_id\na:1,p\nb:1,p\n7,p\n2,q\n3,q\nc:8,r\n99,z\n"
# (left, right, Splink, log-odds, tier)
SCORED = [
    (0, 1, 6.0, 7.0, "match"),
    (0, 2, -1.0, 1.0, "gray"),
    (2, 5, 5.0, 5.0, "match"),
    (3, 5, -6.0, -7.0, "non-match"),
]
CLUSTERS = [(0, 0), (1, 0), (2, 2), (3, 3), (4, 4), (5, 2)]
PERSONS = "Id,FIRST,LAST,BIRTHDATE,GENDER\np,Anna12,X,1980-01-02,F\nq,Bert,Y,1990-03-04,M\nr,Carl,Z,1950-05-06,M\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the stage's inputs, a truth file and the clean persons."""
    with duckdb.connect() as con:
        for name in INPUTS:
            con.execute(f"CREATE TABLE {name} ({tables.TABLES[name].ddl})")
        con.executemany(
            "INSERT INTO records (rid, record_id, source, source_record_id, first_name, sex) VALUES (?, ?, ?, ?, ?, ?)",
            RECORDS,
        )
        for left, right, splink, logit, tier in SCORED:
            con.execute("INSERT INTO pairs VALUES (?, ?, 0, ?)", [left, right, splink])
            con.execute(
                "INSERT INTO decisions (left_rid, right_rid, logit, probability, tier) "
                "VALUES (?, ?, ?::DOUBLE, 1 / (1 + exp(-?::DOUBLE)), ?)",
                [left, right, logit, logit, tier],
            )
        con.executemany("INSERT INTO clusters VALUES (?, ?)", CLUSTERS)
        con.execute("INSERT INTO slices SELECT rid, 'any', NULL FROM records")
        con.execute("INSERT INTO golden (cluster, first_name) VALUES (0, 'ANNA'), (2, 'ANA'), (3, 'BERT'), (4, 'BART')")
        con.execute(
            "INSERT INTO golden_fields (cluster, field, value, confidence) VALUES "
            "(0, 'first_name', 'ANNA', 0.9), (2, 'first_name', 'ANA', 0.8), (3, 'first_name', 'BERT', 0.6)"
        )
        for name in INPUTS:
            con.execute(f"COPY {name} TO '{tmp_path / name}.parquet'")
    (tmp_path / "publish.json").write_text('{"run": "R1"}')
    (tmp_path / "truth.csv").write_text(TRUTH)
    (tmp_path / "persons.csv").write_text(PERSONS)
    return tmp_path


def settings(folder: Path, **section: Any) -> Settings:
    return parse(
        {
            "run": {"dir": str(folder), "memory_gib": 1.0, "threads": 1},
            "sources": [{"kind": "synthea", "path": "."}],
            "evaluate": section,
        },
        base=folder,
        where="test",
    )


def measure(folder: Path, **section: Any) -> dict[str, Any]:
    chosen = settings(folder, **section)
    inputs = {name: folder / f"{name}.parquet" for name in INPUTS} | {"publish.json": folder / "publish.json"}
    context = StageContext(chosen, inputs, {"metrics.json": folder / "metrics.json"}, folder, Progress())
    evaluate.run(context)
    found: dict[str, Any] = json.loads((folder / "metrics.json").read_text())
    return found


def test_figures_by_hand(folder: Path) -> None:
    """Pairs, clusters, blocking, tiers and baselines of six records are what counting by hand gives."""
    found = measure(folder, truth="truth.csv")

    before, after = found["pairs"]["before_clustering"], found["pairs"]["after_clustering"]
    assert (before["right"], before["predicted"], before["true"]) == (1, 2, 4)
    assert (after["right"], after["predicted"], after["true"]) == (1, 2, 4)
    assert (after["precision"], after["recall"], after["f1"]) == (0.5, 0.25, pytest.approx(1 / 3, abs=1e-6))
    assert found["pairs"]["before_clustering_at_half"]["right"] == 2
    assert found["clusters"]["persons"] == 4
    assert (found["clusters"]["split"], found["clusters"]["impure"]) == (2, 1)
    assert found["blocking"] == {"recall": 0.5, "candidates": 4, "per_record": 0.667}
    assert found["tiers"]["match"]["share_true"] == 0.5
    assert found["tiers"]["gray"]["true"] == 1
    assert found["baselines"]["splink_at_0.99"]["predicted"] == 2
    assert found["baselines"]["splink_at_best"]["right"] == 2
    assert found["baselines"]["splink_at_best"]["chosen_on_the_answers"]
    assert found["truth"] == {"records": 6, "records_without": 0, "records_not_in_run": 1, "persons": 3}
    assert set(found["slices"]["sex"]) == {"F", "M"}
    assert found["slices"]["records_per_person"]["3"]["true"] == 3


def test_misses_say_where_and_in_which_fields(folder: Path) -> None:
    """Each missed pair is counted where it was lost, and its fields are compared."""
    found = measure(folder, truth="truth.csv")["errors"]

    assert (found["missed"], found["false"]) == (3, 1)
    assert found["lost"] == {"left gray": 1, "never proposed": 2}
    assert found["fields"]["missed"]["first_name"]["near"] == 1.0
    assert "first_name" not in found["fields"]["false"]
    assert found["examples"]["false"] == [[2, 5]]


def test_golden_counts_persons_of_whom_some_record_is_right(folder: Path) -> None:
    """A field counts where a record of the cluster has the clean value, spelt as ingest spells it."""
    found = measure(folder, truth="truth.csv", persons="persons.csv")["golden"]

    assert found["fields"]["first_name"]["persons"] == 2
    assert found["fields"]["first_name"]["accuracy"] == 1.0
    assert found["fields"]["first_name"]["right_of_filled"] == pytest.approx(2 / 3, abs=1e-6)
    assert sum(one["fields"] for one in found["confidence"]["bins"]) == 3


def test_without_truth_says_what_can_be_said(folder: Path) -> None:
    """Without truth there are sizes, tiers, candidates and an estimate, and no figure that needs answers."""
    found = measure(folder)

    assert found["truth"] is None
    assert found["sizes"] == {"1": 2, "2": 2}
    assert found["blocking"] == {"candidates": 4, "per_record": 0.667}
    assert 0.9 < found["estimated"]["precision"] <= 1
    assert "pairs" not in found


def test_records_without_truth_are_left_out_and_counted(folder: Path) -> None:
    """A record that the truth does not know takes its pairs out of precision and recall."""
    (folder / "truth.csv").write_text("record_id,person_id\na:1,p\nb:1,p\n7,p\n2,q\n3,q\n")
    found = measure(folder, truth="truth.csv")

    assert found["truth"]["records_without"] == 1
    assert found["pairs"]["after_clustering"]["predicted"] == 1
    assert found["pairs"]["before_clustering"]["predicted"] == 1


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("record_id,person_id\n1,p\n", "several sources"),
        ("record_id,person_id\na:1,p\na:1,q\n", "more than one person"),
        ("record_id,person_id\nnobody,p\n", "none of the records"),
        ("record,person_id\na:1,p\n", "no column record_id"),
    ],
)
def test_faulty_truth_is_refused(folder: Path, text: str, says: str) -> None:
    """An id that two sources share, two persons for one record, no known record and a missing column are errors."""
    (folder / "truth.csv").write_text(text)

    with pytest.raises(InputError, match=says):
        measure(folder, truth="truth.csv")


def test_missing_truth_file_is_named(folder: Path) -> None:
    """A truth file that is not there is an error with its path."""
    with pytest.raises(InputError, match=r"elsewhere\.csv"):
        measure(folder, truth="elsewhere.csv")


def test_quality_gates(folder: Path) -> None:
    """A gate above the figure raises, with the figure; one below passes; without truth it can't be held."""
    found = measure(folder, truth="truth.csv")

    evaluate.check_gates(settings(folder, min_precision=0.5, min_f1=0.3), found)
    evaluate.check_gates(settings(folder), found)
    with pytest.raises(QualityGateError, match=r"recall is 0\.2500, below 0\.9"):
        evaluate.check_gates(settings(folder, min_recall=0.9), found)
    with pytest.raises(QualityGateError, match="no truth"):
        evaluate.check_gates(settings(folder, min_recall=0.9), measure(folder))


def test_watches_the_files_outside_the_run(folder: Path) -> None:
    """A truth file that changes makes the stage run again."""
    chosen = settings(folder, truth="truth.csv", persons="persons.csv")
    before = evaluate.watches(chosen)
    (folder / "truth.csv").write_text(TRUTH + "x,y\n")

    assert len(before) == 2
    assert evaluate.watches(chosen) != before
    assert evaluate.watches(settings(folder)) == {}
