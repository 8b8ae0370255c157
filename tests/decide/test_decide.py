"""How parts become decisions: they add up, thresholds follow their targets, the published formula is as published."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from resolver import decide, judges, tables
from resolver.errors import RunError
from resolver.fusion import PARTS, Voice, logit, parts_sql
from resolver.progress import Progress
from resolver.settings import parse
from resolver.stage import StageContext

PRIOR = -3.5


@dataclass(frozen=True)
class Kind:
    """A judge as decide sees it."""

    part: str
    role: str


JUDGES = {
    "demographic": Kind("demographics", "revises"),
    "clinical": Kind("clinical", "revises"),
    "llm": Kind("llm", "adds"),
    "human": Kind("human", "adds"),
}

Verdicts = Mapping[tuple[int, int, str], float]


def run(
    folder: Path, pairs: Mapping[tuple[int, int], float], verdicts: Verdicts | None = None, **section: Any
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Run the stage; its facts and the decisions as rows."""
    settings = parse(
        {
            "run": {"dir": "run", "threads": 1, "memory_gib": 0.5},
            "sources": [{"kind": "synthea", "path": "data"}],
            "adjudicate": {"judges": list(JUDGES)},
            "decide": section,
        },
        base=folder,
        where="test",
    )
    inputs = {name: folder / f"{name}.parquet" for name in ("pairs", "verdicts")}
    with duckdb.connect() as con:
        con.execute(f"CREATE TABLE pairs ({tables.PAIRS.ddl})")
        con.execute(f"CREATE TABLE verdicts ({tables.VERDICTS.ddl})")
        if pairs:
            con.executemany("INSERT INTO pairs VALUES (?, ?, 1, ?)", [[*pair, value] for pair, value in pairs.items()])
        for (left, right, judge), value in (verdicts or {}).items():
            con.execute("INSERT INTO verdicts VALUES (?, ?, ?, 'f', ?, 'ok')", [left, right, judge, value])
        for name, path in inputs.items():
            con.execute(f"COPY {name} TO '{path}'")
    inputs["judges.json"] = folder / "judges.json"  # only where a test has written it
    inputs["link_model.json"] = folder / "link_model.json"
    inputs["link_model.json"].write_text(json.dumps({"prior_logit": PRIOR}))
    output = folder / "decisions.parquet"
    facts = decide.run(StageContext(settings, inputs, {"decisions": output}, folder, Progress()))
    tables.check(output, tables.DECISIONS)
    with duckdb.connect() as con:
        cursor = con.execute(f"FROM '{output}'")
        names = [column[0] for column in cursor.description]
        return facts, [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


@pytest.fixture(autouse=True)
def known_judges(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judges, "find", JUDGES.__getitem__)


def total(row: Mapping[str, Any]) -> float:
    return float(row["prior"] + sum(row[part] or 0.0 for part in PARTS))


def test_parts_are_what_each_judge_changed(tmp_path: Path) -> None:
    """A judge that revises counts for what it changed, one that adds for what it said, and the parts add up."""
    verdicts = {
        (0, 1, "demographic"): 1.0,
        (0, 1, "clinical"): 4.0,
        (0, 1, "llm"): 2.0,
        (1, 2, "clinical"): -6.0,
    }
    _, rows = run(tmp_path, {(0, 1): 3.0, (1, 2): 0.5, (2, 3): -8.0}, verdicts)
    first, second, third = rows

    assert (first["prior"], first["demographics"], first["clinical"]) == (PRIOR, 1.0 - PRIOR, 3.0)
    assert first["llm"] == pytest.approx(2.0)
    assert first["logit"] == pytest.approx(6.0)
    assert (second["demographics"], second["clinical"], second["llm"]) == (0.5 - PRIOR, -6.5, None)
    assert (third["clinical"], third["human"], third["logit"]) == (None, None, -8.0)
    for row in rows:
        assert total(row) == pytest.approx(row["logit"])
        assert row["probability"] == pytest.approx(1 / (1 + math.exp(-row["logit"])))
    assert first["fingerprint"] == "splink demographic:f clinical:f llm:f"
    assert third["fingerprint"] == "splink"


numbers = st.floats(-40, 40, allow_nan=False)


@hypothesis_settings(deadline=None, max_examples=30)
@given(
    base=numbers,
    weight=st.floats(0.1, 3),
    voices=st.lists(
        st.tuples(
            st.sampled_from(PARTS),
            st.sampled_from(["revises", "adds"]),
            st.floats(0.1, 2),
            st.floats(-3, 3),
            st.none() | numbers,
        ),
        max_size=5,
    ),
)
def test_parts_add_up_whatever_the_judges(
    base: float, weight: float, voices: Sequence[tuple[str, str, float, float, float | None]]
) -> None:
    """Whoever speaks, in whatever role and order, prior and parts add up to the log-odds; the silent leave no trace."""
    heard = [
        Voice(f"j{place}", part, role, share, offset) for place, (part, role, share, offset, _) in enumerate(voices)
    ]
    expected = weight * base
    for voice, (*_, said) in zip(heard, voices, strict=True):
        if said is not None:
            expected = said if voice.role == "revises" else expected + voice.weight * (said - voice.offset)
    with duckdb.connect() as con:
        con.execute("CREATE TABLE p (left_rid INTEGER, right_rid INTEGER, logit DOUBLE)")
        con.execute("INSERT INTO p VALUES (0, 1, ?)", [base])
        con.execute(f"CREATE TABLE v ({tables.VERDICTS.ddl})")
        for voice, (*_, said) in zip(heard, voices, strict=True):
            if said is not None:
                con.execute("INSERT INTO v VALUES (0, 1, ?, 'f', ?, 'ok')", [voice.name, said])
        cursor = con.execute(parts_sql("p", "v", heard, PRIOR, weight))
        row = dict(zip([column[0] for column in cursor.description], cursor.fetchall()[0], strict=True))

    assert row["logit"] == pytest.approx(expected, abs=1e-6)
    assert total(row) == pytest.approx(row["logit"], abs=1e-6)
    assert row["fingerprint"].split()[1:] == [
        f"{voice.name}:f" for voice, (*_, said) in zip(heard, voices, strict=True) if said is not None
    ]


def test_the_published_formula(tmp_path: Path) -> None:
    """formula: w_splink * logit + w_llm * (llm_logit + logit(prior_gray) - logit(prior_train)), clipped nowhere."""
    section = {"method": "formula", "w_splink": 0.7, "w_llm": 1.3, "prior_gray": 0.04, "prior_train": 0.4}
    _, rows = run(tmp_path, {(0, 1): 2.0, (1, 2): -1.0}, {(0, 1, "llm"): 5.0}, **section)

    assert rows[0]["logit"] == pytest.approx(0.7 * 2.0 + 1.3 * (5.0 + logit(0.04) - logit(0.4)))
    assert rows[1]["logit"] == pytest.approx(-0.7)
    for row in rows:
        assert total(row) == pytest.approx(row["logit"])


def test_the_sum_takes_the_training_prior_off(tmp_path: Path) -> None:
    """sum: a language model's log-odds count less the prior of its training set, since that is no evidence."""
    _, rows = run(tmp_path, {(0, 1): 2.0}, {(0, 1, "llm"): 3.0}, prior_train=0.2)

    assert rows[0]["llm"] == pytest.approx(3.0 - logit(0.2))


def test_a_calibrated_language_model(tmp_path: Path) -> None:
    """What the model says of itself takes the place of prior_train: log-odds by its line, and stay weighed by w_llm."""
    (tmp_path / "judges.json").write_text('{"llm": {"slope": 0.5, "intercept": 2.5}}')
    _, rows = run(tmp_path, {(0, 1): 2.0}, {(0, 1, "llm"): 3.0}, prior_train=0.2, w_llm=0.8)

    assert rows[0]["llm"] == pytest.approx(0.8 * (0.5 * 3.0 + 2.5))
    assert total(rows[0]) == pytest.approx(rows[0]["logit"])


@pytest.mark.parametrize(
    ("log_odds", "tier"), [(4.6, "match"), (4.59, "gray"), (0.0, "gray"), (-4.59, "gray"), (-4.6, "non-match")]
)
def test_tiers(tmp_path: Path, log_odds: float, tier: str) -> None:
    """From 0.99 on a pair is a match, below 0.01 a non-match, gray between."""
    assert run(tmp_path, {(0, 1): log_odds})[1][0]["tier"] == tier


@pytest.mark.parametrize(
    ("verdict", "reason"),
    [
        ({}, "demographics agree"),
        ({"clinical": 0.0}, "the clinical histories tipped it"),
        ({"clinical": 9.0}, "demographics agree"),
        ({"llm": -6.0}, "the language model tipped it"),
        ({"human": -100.0}, "a person said so"),
    ],
)
def test_reasons(tmp_path: Path, verdict: Mapping[str, float], reason: str) -> None:
    """The reason names the part that put the pair into its tier."""
    said = {(0, 1, judge): value for judge, value in verdict.items()}

    assert run(tmp_path, {(0, 1): 7.0}, said)[1][0]["reason"] == reason


def test_a_pair_that_only_a_person_spoke_of(tmp_path: Path) -> None:
    """A pair that no rule proposed stands at the prior, without demographics, until the person's word is added."""
    _, rows = run(tmp_path, {(0, 1): 2.0}, {(4, 5, "human"): 100.0})

    assert (rows[1]["left_rid"], rows[1]["demographics"], rows[1]["human"]) == (4, 0.0, 100.0)
    assert rows[1]["logit"] == pytest.approx(PRIOR + 100)
    assert (rows[1]["tier"], rows[1]["reason"]) == ("match", "a person said so")


@hypothesis_settings(deadline=None, max_examples=25)
@given(
    values=st.lists(st.floats(-12, 12, allow_nan=False), min_size=1, max_size=40),
    precision=st.floats(0.5, 0.999),
    recall=st.floats(0.5, 0.999),
)
def test_thresholds_follow_their_targets(
    tmp_path_factory: pytest.TempPathFactory, values: list[float], precision: float, recall: float
) -> None:
    """Matches are expected to be right as often as is asked, and one more would spoil it; the same for what is lost."""
    folder = tmp_path_factory.mktemp("targets")
    pairs = {(0, place + 1): value for place, value in enumerate(values)}
    try:
        facts, rows = run(folder, pairs, target_precision=precision, target_recall=recall)
    except RunError as error:
        assert "target_precision" in str(error)
        return
    expected = sorted((row["probability"] for row in rows), reverse=True)
    matches = [row["probability"] for row in rows if row["tier"] == "match"]
    lost = [row["probability"] for row in rows if row["tier"] == "non-match"]

    if matches:
        assert sum(matches) / len(matches) >= precision - 1e-9
    rest = [one for one in expected if one < facts["match_probability"]]
    for more in range(1, len(rest) + 1):
        # Pairs of equal probability come together or not at all.
        if more == len(rest) or rest[more] < rest[more - 1]:
            taken = matches + rest[:more]
            assert sum(taken) / len(taken) < precision + 1e-9
    assert sum(lost) <= (1 - recall) * sum(expected) + 1e-9


def test_more_evidence_never_means_a_lower_tier(tmp_path: Path) -> None:
    """Log-odds, probability and tier rise together."""
    _, rows = run(tmp_path, {(0, place + 1): -15 + place * 0.37 for place in range(80)})
    order = ("non-match", "gray", "match")

    assert [row["logit"] for row in rows] == sorted(row["logit"] for row in rows)
    assert [row["probability"] for row in rows] == sorted(row["probability"] for row in rows)
    tiers = [order.index(row["tier"]) for row in rows]
    assert tiers == sorted(tiers)
    assert set(tiers) == {0, 1, 2}


def test_far_out_log_odds_are_certain(tmp_path: Path) -> None:
    """Log-odds of thousands are probabilities of 0 and 1, not errors."""
    _, rows = run(tmp_path, {(0, 1): 9_000.0, (0, 2): -9_000.0})

    assert [row["probability"] for row in rows] == [1.0, pytest.approx(0.0, abs=1e-200)]


def test_no_pairs(tmp_path: Path) -> None:
    """Without pairs there are no decisions, whatever the targets."""
    facts, rows = run(tmp_path, {}, target_precision=0.9, target_recall=0.9)

    assert rows == []
    assert facts["tiers"] == {}
