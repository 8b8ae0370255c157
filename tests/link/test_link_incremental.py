"""Adding to a published run gives what scoring everything with the same model gives."""

from __future__ import annotations

from typing import Any

import pytest

EVENTS = (
    ("2010-03-01", 171.2),
    ("2015-03-01", 171.3),
)


def _heights(rows: list[dict[str, Any]], every: int) -> list[tuple[Any, ...]]:
    """Height measurements for some records, by the rid that they will have."""
    order = sorted(range(len(rows)), key=lambda at: f"{rows[at]['source']}:{rows[at]['source_record_id']}")
    return [
        (rid, "measurement", "LOINC", "8302-2", "Body Height", when, None, cm + rows[at]["person"] % 40, "cm")
        for rid, at in enumerate(order)
        if rows[at]["person"] % every == 0
        for when, cm in EVENTS
    ]


def _changed(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Some records gone, some with another value, some new."""
    kept = [dict(row) for at, row in enumerate(rows) if at % 17]
    for row in kept[::23]:
        row["street"] = "12 MOVED AWAY RD"
    new = [dict(row) | {"source": "clinic_new"} for row in rows[::9]]
    return kept + new


def _strangers(persons: int) -> list[dict[str, Any]]:
    """Three records of each person, of which the first and the third share no value, and the second has all."""
    rows = []
    for person in range(persons):
        names = {"first_name": f"ZO{'ABCDEFGH'[person % 8]}E", "last_name": f"QUI{'KLMNOPRS'[person % 8]}LE"}
        numbers = {"ssn": f"{700_000_000 + person * 7919}", "phone": f"{6_170_000_000 + person * 104_729}"}
        for copy, held in enumerate((names, names | numbers, numbers)):
            rows.append(held | {"source": f"odd_{copy}", "source_record_id": f"{person:05}", "person": 10_000 + person})
    return rows


@pytest.mark.usefixtures("taught")
@pytest.mark.parametrize(
    "options", [{"max_block": 2000, "max_candidates_per_record": 2, "floor_logit": -40.0}, {"max_block": 12}]
)
def test_adding_equals_scoring_everything(run: Any, rows: list[dict[str, Any]], options: dict[str, Any]) -> None:
    """New, changed and removed records: same pairs, same log-odds, same rules, also where blocks pass their cap, where
    the budget cuts proposals off, and where a third record proposes a pair."""
    rows = rows[:220] + _strangers(24)
    base = run(rows, events=_heights(rows, 3), **options)
    later = _changed(rows)
    added = run(later, events=_heights(later, 3), base=base.files, **options)
    whole = run(later, events=_heights(later, 3), model=str(base.files["link_model.json"]), **options)

    assert base.facts["pairs_that_a_third_record_proposes"] > 10 < added.facts["pairs_that_a_third_record_proposes"]
    assert added.facts["pairs_carried_over"] > 0
    assert added.facts["pairs_scored"] < whole.facts["pairs_scored"]
    assert added.pairs() == whole.pairs()
    assert added.files["link_tf.parquet"].read_bytes() == base.files["link_tf.parquet"].read_bytes()
    assert added.facts["model_fingerprint"] == base.facts["model_fingerprint"]


def test_nothing_new_scores_nothing(run: Any, linked: Any, rows: list[dict[str, Any]]) -> None:
    """The same records again: every pair is carried over and none is scored."""
    again = run(rows, base=linked.files)

    assert again.facts["pairs_scored"] == 0
    assert again.pairs() == linked.pairs()


def test_outgrown_plan_is_made_anew(run: Any, linked: Any, rows: list[dict[str, Any]]) -> None:
    """Records far beyond those of the model get new rules, nothing is carried over, and the facts say so."""
    few = run(rows[:260], max_candidates_per_record=10, model=str(linked.files["link_model.json"]))
    assert "notes" not in few.facts

    twice = rows + [dict(row) | {"source": "other"} for row in rows]
    grown = run(twice, base=linked.files)

    assert grown.facts["pairs_carried_over"] == 0
    assert any("outgrown" in note for note in grown.facts["notes"])


def test_a_lower_floor_scores_everything(run: Any, linked: Any, rows: list[dict[str, Any]]) -> None:
    """Pairs that the base dropped below its floor can't be carried over, so a lower floor starts again."""
    again = run(rows, base=linked.files, floor_logit=-40.0)

    assert again.facts["pairs_carried_over"] == 0
    assert again.facts["candidates"] >= linked.facts["candidates"]
