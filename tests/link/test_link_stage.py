"""The link stage as a whole: what it writes, and what it does with odd input."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest

from resolver import tables
from resolver.errors import TrainingError

MARKER = "ZQXMARKER"


def test_pairs_are_declared_sorted_and_distinct(linked: Any) -> None:
    """The stage writes `pairs` as declared: sorted, each pair once, the smaller rid on the left."""
    tables.check(linked.files["pairs"], tables.PAIRS)
    found = [(left, right) for left, right, _, _ in linked.pairs()]

    assert found
    assert found == sorted(set(found))
    assert all(left < right for left, right in found)


def test_it_learns_to_tell_persons_apart_without_labels(linked: Any, rows: list[dict[str, Any]]) -> None:
    """Trained without labels, its own even odds are a good border between persons."""
    person = linked.people(rows)
    true = {(a, b) for a in range(len(person)) for b in range(a + 1, len(person)) if person[a] == person[b]}
    proposed = {(left, right) for left, right, _, _ in linked.pairs()}
    matched = {(left, right) for left, right, _, logit in linked.pairs() if logit > 0}

    assert linked.facts["model"] == "trained"
    assert len(true & proposed) / len(true) > 0.99
    assert len(true & matched) / len(matched) > 0.97
    assert len(true & matched) / len(true) > 0.95


def test_same_input_gives_the_same_bytes(run: Any, linked: Any, rows: list[dict[str, Any]]) -> None:
    """Training, planning and scoring again gives the same files, byte for byte, in whatever order rows came."""
    again = run(list(reversed(rows)))

    for name in ("pairs", "link_model.json", "link_tf.parquet"):
        assert again.files[name].read_bytes() == linked.files[name].read_bytes(), name


@pytest.mark.usefixtures("taught")
def test_budget_is_kept(run: Any, rows: list[dict[str, Any]]) -> None:
    """A smaller budget gives fewer candidates, within it: the best of more that were proposed and scored."""
    small = run(rows, max_candidates_per_record=1.0, floor_logit=-40.0)

    assert small.facts["candidates_per_record"] <= 1.0 * 1.1  # planned on a sample
    assert small.facts["pairs_scored"] > small.facts["candidates"]
    assert min(logit for _, _, _, logit in small.pairs()) >= small.facts["kept_from_logit"] > -40


@pytest.mark.usefixtures("taught")
def test_a_hub_is_named_and_left_out(run: Any, rows: list[dict[str, Any]]) -> None:
    """One phone number for every record is reported by field and count, and proposes no pairs."""
    found = run([row | {"phone": "6175550100"} for row in rows[:150]], max_block=100)

    assert {"field": "phone", "values": 1, "records": 150} in found.facts["hubs"]
    assert found.facts["candidates_per_record"] < 26
    assert "6175550100" not in json.dumps(found.facts)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_a_handful_of_records_is_no_failure(run: Any, rows: list[dict[str, Any]], count: int) -> None:
    """No record, one or two: pairs are written, scored with documented weights, and the facts say so."""
    found = run(rows[:count])

    assert len(found.pairs()) == count * (count - 1) // 2
    assert found.facts["model"] == "prior"
    assert "too few to train" in found.facts["training"]["why"]
    assert found.facts["notes"] if count < 2 else found.pairs()[0][3] > 0


@pytest.mark.parametrize("count", [30, 700])
def test_identical_records_do_not_explode(run: Any, rows: list[dict[str, Any]], count: int) -> None:
    """Copies of one record are paired with the first ten of them, whatever their number."""
    found = run([rows[0] | {"source_record_id": f"{number:05}"} for number in range(count)])

    assert found.facts["model"] == "prior"
    assert len(found.pairs()) == 45 + (count - 10) * 10
    assert all(logit > 0 for _, _, _, logit in found.pairs())


@pytest.mark.usefixtures("taught")
def test_one_person_listed_many_times_hides_nobody(run: Any, rows: list[dict[str, Any]]) -> None:
    """Three hundred copies of a record leave the other pairs of the registry as they were."""
    copies = [rows[0] | {"source": "crowd", "source_record_id": f"{number:05}"} for number in range(300)]
    found = run(rows[:150] + copies)
    ids = found.ids()
    twin = next(row for row in rows[1:] if row["person"] == rows[0]["person"])
    at = ids.index(f"{twin['source']}:{twin['source_record_id']}")

    assert any(at in (left, right) and logit > 0 for left, right, _, logit in found.pairs())
    assert found.facts["copies_paired_with_their_first_ten_alone"] >= 290


def test_empty_fields_are_left_out_and_said(linked: Any) -> None:
    """A comparison whose field is empty everywhere takes no part, and the facts name it."""
    assert linked.facts["left_out_because_empty"] == ["middle_name", "email", "member_id"]


def test_a_level_from_the_prior_is_named(linked: Any) -> None:
    """Levels that no training pair showed keep their documented weight and are listed with the reason."""
    listed = linked.facts["training"]["levels_from_prior"]

    assert {
        "comparison": "ssn",
        "level": "same",
        "parameter": "u",
        "why": "chance agreement is too rare to sample",
    } in listed


def test_untrainable_comparison_stops_the_run(run: Any, rows: list[dict[str, Any]]) -> None:
    """Where no blocking can train a comparison, the run stops and names comparison and level, and no value."""
    bare = [
        {key: row[key] for key in ("source", "source_record_id", "first_name", "sex")} | {"last_name": MARKER}
        for row in rows
    ]

    with pytest.raises(TrainingError, match=r"comparison first_name, level same") as caught:
        run(bare)
    assert MARKER not in str(caught.value)


@pytest.mark.usefixtures("taught")
def test_absurdly_long_names_are_no_burden(run: Any, rows: list[dict[str, Any]]) -> None:
    """Names of ten thousand letters are compared by their beginnings."""
    found = run([row | {"last_name": row["last_name"] * 2000} for row in rows[:150]])

    assert found.pairs()


def test_it_keeps_quiet(
    run: Any, rows: list[dict[str, Any]], capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Splink neither prints nor logs, whatever the level."""
    caplog.set_level(logging.DEBUG)
    run(rows[:100])
    out, err = capfd.readouterr()

    assert out == ""
    assert err == ""
    assert not [entry for entry in caplog.records if entry.name.startswith("splink")]


def test_facts_and_model_hold_no_value_of_a_record(linked: Any, rows: list[dict[str, Any]]) -> None:
    """Neither the facts for the manifest nor link_model.json quote a name, a number or a street."""
    text = json.dumps(linked.facts, default=str) + linked.files["link_model.json"].read_text()

    for row in rows:
        for field in ("first_name", "last_name", "street", "ssn", "phone"):
            if row[field] and len(row[field]) > 5:
                assert row[field] not in text
