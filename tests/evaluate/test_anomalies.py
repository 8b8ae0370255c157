"""Each anomaly is raised where it is planted, and nothing is raised on made-up records that are as they should be."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

from resolver import mpi, tables
from resolver.cli import screen
from resolver.evaluate import anomalies, groups, symptoms
from resolver.mpi import profile, runs, store

PLAIN: dict[str, Any] = {
    "tiers": {},
    "estimated": {"intervals": {"precision": [0.99, 1.0], "recall": [0.98, 1.0]}},
    "blocking": {"recall": 0.99},
    "profile": {"now": None, "before": None, "run_before": None},
}


WORSE = {"records": 900, "persons": 500, "precision": 0.9, "recall": 0.5, "predicted": 900, "true": 900}


class Planted:
    """A run over made-up persons whose links are right, in DuckDB, to plant things in before it is looked at."""

    def __init__(self, world: Any) -> None:
        self.con = duckdb.connect()
        person = world.person
        self.con.execute(f"CREATE TABLE records AS FROM '{world.records}'")
        # The made-up records are never wrong in dates and numbers, which is strange in itself.
        self.con.execute("UPDATE records SET birth_date = birth_date + 1 WHERE rid % 11 = 0")
        self.con.execute("UPDATE records SET ssn = reverse(ssn) WHERE rid % 13 = 0")
        self.con.execute(f"CREATE TABLE events AS FROM '{world.events}'")
        self.con.execute(f"CREATE TABLE pairs AS FROM '{world.pairs}'")
        self.con.execute(
            "CREATE TABLE slices AS SELECT rid, NULL::VARCHAR AS race, NULL::VARCHAR AS ethnicity FROM records"
        )
        _, cluster = np.unique(person, return_inverse=True)
        first = {number: int(np.flatnonzero(cluster == number)[0]) for number in range(cluster.max() + 1)}
        self.con.execute("CREATE TABLE clusters (rid INTEGER, cluster INTEGER)")
        self.con.executemany("INSERT INTO clusters VALUES (?, ?)", [[n, first[one]] for n, one in enumerate(cluster)])
        self.con.execute(f"CREATE TABLE decisions ({tables.DECISIONS.ddl})")
        self.decide()

    def decide(self) -> None:
        """Decisions that follow the clusters."""
        self.con.execute("DELETE FROM decisions")
        self.con.execute(
            """INSERT INTO decisions
                SELECT left_rid, right_rid, -5, x + 4, 1, NULL, NULL, x, 1 / (1 + exp(-x)),
                    CASE WHEN x > 0 THEN 'match' ELSE 'non-match' END, '', ''
                FROM (SELECT left_rid, right_rid, CASE WHEN l.cluster = r.cluster THEN 8.0 ELSE -8.0 END AS x
                    FROM pairs JOIN clusters l ON l.rid = left_rid JOIN clusters r ON r.rid = right_rid)
                ORDER BY left_rid, right_rid"""
        )

    def look(self) -> list[dict[str, Any]]:
        metrics = PLAIN | {
            "symptoms": symptoms.gather(self.con, "records", "events", "decisions", "pairs", "clusters"),
            "estimated_slices": groups.estimated(self.con, "records", "slices", "decisions", "clusters"),
        }
        json.dumps(metrics)
        return anomalies.find(metrics)

    def kinds(self) -> set[str]:
        return {one["kind"] for one in self.look()}


@pytest.fixture(scope="module")
def world(make_world: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    return make_world(tmp_path_factory.mktemp("strange"), persons=300, seed=5, splink_noise=1.0)


@pytest.fixture
def planted(world: Any) -> Planted:
    return Planted(world)


def test_quiet_where_nothing_is_strange(planted: Planted) -> None:
    """Records with typing errors and gaps, rightly linked, raise nothing."""
    assert planted.look() == []


def test_a_default_birth_date_of_one_source(planted: Planted) -> None:
    """A date that a source writes where it knows none is named by field and source, and never by its value."""
    planted.con.execute("UPDATE records SET birth_date = '1970-01-01' WHERE source = 's1' AND rid % 4 = 0")
    (found,) = planted.look()

    assert (found["kind"], found["field"], found["source"]) == ("shared value", "birth_date", "s1")
    assert "ingest.placeholders" in found["try_next"]
    assert "1970" not in json.dumps(found)


def test_an_id_that_the_sources_share(planted: Planted) -> None:
    """A number that is the same in every match, where all else is often wrong, may be an id."""
    planted.con.execute("UPDATE records SET member_id = 'M' || c.cluster FROM clusters c WHERE c.rid = records.rid")
    found = [one for one in planted.look() if one["kind"] == "leaked field"]

    assert [one["field"] for one in found] == ["member_id"]
    assert 'fields: {member_id: ""}' in found[0]["try_next"]


def test_a_serial_number_among_the_codes(planted: Planted) -> None:
    """Codes that all records of a person share and nobody else has are an id; other codes stay unnamed."""
    planted.con.execute(
        """INSERT INTO events SELECT rid, 'device', 'TEXT', 'SERIAL ' || cluster, 'PUMP', TIMESTAMP '2020-01-01',
            NULL, NULL, NULL FROM clusters"""
    )
    (found,) = planted.look()

    assert (found["kind"], found["event_kind"], found["system"]) == ("leaked code", "device", "TEXT")
    assert "PUMP" not in json.dumps(found) and "SERIAL" not in json.dumps(found)


def test_a_source_whose_records_match_nobody(planted: Planted) -> None:
    """Where the names of a source were scrambled, none of its records finds its person."""
    planted.con.execute(
        "UPDATE records SET first_name = reverse(first_name), last_name = reverse(last_name) WHERE source = 's2'"
    )
    planted.con.execute(
        "UPDATE clusters SET cluster = 100000 + r.rid FROM records r WHERE r.rid = clusters.rid AND source = 's2'"
    )
    planted.decide()
    found = [one for one in planted.look() if one["kind"] == "lonely source"]

    assert [one["source"] for one in found] == ["s2"]
    assert found[0]["says"].startswith("None of the ")
    assert "resolver check CONFIG" in found[0]["try_next"]


def test_one_field_that_carries_everything(planted: Planted) -> None:
    """Where hardly anything but one field is filled, that field brings most of the evidence."""
    others = ("first_name", "last_name", "birth_date", "street", "city", "zip", "sex")
    planted.con.execute(f"UPDATE records SET {', '.join(f'{name} = NULL' for name in others)}")
    assert "dominating field" in planted.kinds()


def test_judges_that_disagree_with_splink(planted: Planted) -> None:
    """Splink sure of pairs that the judges are sure are wrong, in more than a quarter, is pointed out."""
    planted.con.execute("UPDATE pairs SET logit = 9 WHERE left_rid % 3 = 0")
    assert planted.kinds() == {"judges disagree"}


def test_people_who_decide_otherwise(planted: Planted) -> None:
    """Answers of people against what the judges were sure of are counted; two of a hundred are taken for slips."""
    planted.con.execute("UPDATE decisions SET human = 100, logit = logit + 100 WHERE tier = 'match'")
    assert planted.look() == []
    planted.con.execute(
        """UPDATE decisions SET human = -100, logit = logit - 200 WHERE human IS NOT NULL
            AND left_rid % 3 = 0"""
    )
    found = [one for one in planted.look() if one["kind"] == "overconfident"]

    assert len(found) == 1 and "people decided" in found[0]["says"]


def test_a_group_that_is_expected_to_fall_behind(planted: Planted) -> None:
    """Without truth, doubtful links of one sex alone make its expected precision fall behind."""
    planted.con.execute(
        """UPDATE decisions SET logit = 0.2, tier = 'gray' FROM records r
            WHERE r.rid = left_rid AND r.sex = 'F' AND logit > 0"""
    )
    found = [one for one in planted.look() if one["kind"] == "slice behind"]

    assert {(one["slice"], one["value"]) for one in found} >= {("sex", "F")}
    assert ("sex", "M") not in {(one["slice"], one["value"]) for one in found}


def with_truth(**changed: Any) -> list[str]:
    """What is raised for a run with truth in which some figures are changed."""
    group = {"records": 900, "persons": 500, "precision": 0.998, "recall": 0.99, "predicted": 900, "true": 900}
    metrics = copy.deepcopy(PLAIN) | {
        "symptoms": {
            "evidence": {"matches": 0, "fields": {}},
            "histories": {"pairs": 0, "demographics": None, "clinical": None},
            "shared_values": [],
            "private_codes": [],
            "sources": [],
            "splink": {"sure": 0, "refused": 0, "judged_sure": 0, "unseen": 0},
            "people": {"sure": 0, "wrong": 0, "promised": 0.0},
        },
        "pairs": {"after_clustering": {"precision": 0.998, "recall": 0.985, "true": 2000}},
        "tiers": {"match": {"pairs": 2000, "expected_true": 1998.0, "true": 1996, "share_true": 0.998}},
        "slices": {"sex": {"F": dict(group), "M": dict(group)}},
    }
    for path, value in changed.items():
        *way, last = path.split("__")
        place: Any = metrics
        for step in way:
            place = place[step]
        place[last] = value
    return [one["kind"] for one in anomalies.find(metrics)]


def test_truth_against_what_was_promised() -> None:
    """With truth: sure pairs that are wrong, an estimate that is too good, and a group that falls behind."""
    assert with_truth() == []
    wrong = {"pairs": 2000, "expected_true": 1998.0, "true": 1940, "share_true": 0.97}
    assert with_truth(tiers__match=wrong) == ["overconfident"]
    lost = {"pairs": 90_000, "expected_true": 5.0, "true": 60, "share_true": 60 / 90_000}
    assert with_truth(**{"tiers__non-match": lost}) == ["overconfident"]
    assert with_truth(pairs__after_clustering__precision=0.97) == ["estimate too good"]
    assert with_truth(slices__sex__F__recall=0.94) == ["slice behind"]
    assert with_truth(slices__sex__F__recall=0.985) == []
    assert with_truth(slices__sex__unknown=WORSE) == []


def bring_in(index: Path, planted: Planted) -> str:
    """Publish the planted records as one more run."""
    planted.con.execute(
        "CREATE OR REPLACE TABLE golden AS SELECT cluster, count(*) AS records FROM clusters GROUP BY cluster"
    )
    folder = index.parent
    for name in ("records", "clusters", "decisions", "golden"):
        planted.con.execute(f"COPY {name} TO '{folder}/{name}.parquet' (FORMAT parquet)")
    with store.write(index, new=True) as change:
        for name in ("records", "clusters", "decisions"):
            change.con.execute(f"CREATE TEMP VIEW in_{name} AS FROM '{folder}/{name}.parquet'")
        columns = ", ".join(f"NULL::{one.type} AS {one.name}" for one in tables.GOLDEN.columns[2:])
        change.con.execute(f"CREATE TEMP VIEW in_golden AS SELECT *, {columns} FROM '{folder}/golden.parquet'")
        change.con.execute(f"CREATE TEMP TABLE in_golden_fields ({tables.GOLDEN_FIELDS.ddl})")
        return runs.bring_in(change, complete=True, config="", content=str(change.event)).run_id


def drifted(index: Path, run_id: str) -> list[str]:
    metrics = {"profile": mpi.profiles(index, run_id)}
    return [one["says"] for one in anomalies.drift(metrics)]


def test_drift_against_the_last_run_of_the_index(planted: Planted, tmp_path: Path) -> None:
    """A column that is no longer read, records that are gone and links that fall apart are told from the last run."""
    index = tmp_path / "mpi.duckdb"
    assert drifted(index, bring_in(index, planted)) == []
    assert drifted(index, bring_in(index, planted)) == []
    planted.con.execute("UPDATE records SET last_name = NULL")
    said = drifted(index, bring_in(index, planted))
    assert len(said) == 1 and said[0].startswith("last name is missing in 100.0 % of the records, in R2 in 0.0 %")
    planted.con.execute("UPDATE clusters SET cluster = rid")
    said = drifted(index, bring_in(index, planted))
    assert any("share a person with another one" in one for one in said)
    assert any("records on average" in one for one in said)
    planted.con.execute("DELETE FROM clusters USING records r WHERE r.rid = clusters.rid AND source = 's3'")
    planted.con.execute("DELETE FROM records WHERE source = 's3'")
    assert any(one.startswith("s3 has 0 records, in R4 ") for one in drifted(index, bring_in(index, planted)))


def test_a_profile_holds_no_value(planted: Planted) -> None:
    """What is kept of a run are counts and shares by field and source."""
    for name in ("records", "clusters", "decisions"):
        planted.con.execute(f"CREATE VIEW in_{name} AS FROM {name}")
    found = profile.of(planted.con)

    assert found["sources"].keys() == {f"s{number}" for number in range(5)}
    assert found["missing"]["ssn"] == pytest.approx(0.35, abs=0.06)
    assert sum(found["scores"]) == pytest.approx(1.0, abs=1e-4)
    assert all(isinstance(value, float) for value in found["missing"].values())


def test_the_screen_names_the_first_few() -> None:
    """The screen shows three at most, and says that the report has the others and what to try."""
    found = [{"kind": "drift", "says": f"number {number}", "try_next": "look"} for number in range(5)]
    rows = screen._anomalies({"anomalies": found})

    assert [text for _, text in rows[:3]] == ["number 0", "number 1", "number 2"]
    assert rows[3] == ("", "2 more, and what to try next: in the report")
    assert screen._anomalies({"anomalies": []}) == []
