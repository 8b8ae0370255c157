"""What holds for any input: counts add up, the same input gives the same output, and changes add to what was."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

Run = Callable[..., Any]

TEXT = st.text(st.characters(codec="utf-8"), max_size=12)
IDS = st.sampled_from(["1", "2", "3", "", "x" * 300]) | TEXT
DATES = st.sampled_from(["2020-01-02", "1/2/1999", "", "0001-01-01", "2020-02-30", "1980"]) | TEXT
PERSON = st.fixed_dictionaries({"id": IDS, "first": TEXT, "born": DATES})
EVENT = st.fixed_dictionaries({"id": IDS, "code": TEXT, "at": DATES, "value": st.sampled_from(["1", "x", ""]) | TEXT})
# One run plans queries for most of its time, so examples are few and of many rows.
FEW = settings(
    deadline=None, max_examples=4, phases=[Phase.generate], suppress_health_check=list(HealthCheck), database=None
)


def source(folder: Path, persons: list[dict[str, str]], events: list[dict[str, str]], write: Run) -> dict[str, Any]:
    write(folder / "p.csv", persons)
    write(folder / "e.csv", events)
    event = {"path": str(folder / "e.csv"), "event": "measurement", "record_id": "id"}
    return {
        "kind": "table",
        "name": "desk",
        "path": str(folder / "p.csv"),
        "record_id": "id",
        "fields": {"first_name": "first", "birth_date": "born"},
        "events": [{**event, "code": "code", "start": "at", "value": "value"}],
    }


@FEW
@given(st.lists(PERSON, min_size=1, max_size=30), st.lists(EVENT, min_size=1, max_size=30), st.data())
def test_counts_add_up(
    tmp_path_factory: Any, run: Run, write: Run, persons: list[Any], events: list[Any], data: Any
) -> None:
    """Every row is a record, a repetition, an event or rejected, and the stage finds the same as who counts."""
    valid = {"id": "valid", "first": "Ada", "born": ""}
    one = source(tmp_path_factory.mktemp("rows"), [*persons, valid], events, write)
    result = run([one])
    facts = result.facts["sources"]["desk"]
    records, found, rejected = (len(result.rows(table)) for table in ("records", "events", "rejected"))

    assert facts["person_rows"] == len(persons) + 1
    assert facts["event_rows"] == len(events)
    assert records + facts["repeated"] + found + rejected == len(persons) + 1 + len(events)
    assert [row["rid"] for row in result.rows("records")] == list(range(records))
    assert {row["rid"] for row in result.rows("events")} <= set(range(records))


def test_the_same_input_gives_the_same_output(tmp_path: Path, run: Run, write: Run) -> None:
    """Byte for byte the same files, and the same content hashes where rows come in another order."""
    persons = [{"id": str(number), "first": f"N{chr(65 + number)}", "born": "1980-01-02"} for number in range(20)]
    events = [{"id": str(number % 20), "code": "c", "at": "2020-01-02", "value": str(number)} for number in range(200)]
    one = source(tmp_path / "one", persons, events, write)
    turned = source(tmp_path / "two", persons[::-1], events[::-1], write)
    first, again, other = run([one]), run([one]), run([turned])

    for table in ("records", "slices", "events", "rejected"):
        assert first.outputs[table].read_bytes() == again.outputs[table].read_bytes()
        assert first.rows(table) == other.rows(table)


def test_the_content_hash_changes_with_the_content(tmp_path: Path, run: Run, write: Run) -> None:
    """A field or an event more changes the hash of its record and of no other."""
    persons = [{"id": number, "first": "Ada", "born": "1980-01-02"} for number in ("1", "2", "3")]
    events = [{"id": "1", "code": "c", "at": "2020-01-02", "value": "1"}]
    before = run([source(tmp_path / "one", persons, events, write)]).rows("records")
    persons[1] = {**persons[1], "born": "1980-01-03"}
    events.append(dict(events[0]))
    after = run([source(tmp_path / "two", persons, events, write)]).rows("records")

    same = [old["content_hash"] == new["content_hash"] for old, new in zip(before, after, strict=True)]
    assert same == [False, False, True]


def test_changes_replace_and_add(tmp_path: Path, run: Run, write: Run) -> None:
    """With only changes as input, other records stay as published, events and slices included, under new numbers."""
    persons = [{"id": number, "first": f"Ada{number}", "born": "1980-01-02"} for number in ("2", "3", "4")]
    events = [{"id": number, "code": "c", "at": "2020-01-02", "value": number} for number in ("2", "3", "4")]
    base = run([source(tmp_path / "one", persons, events, write)])
    changed = {"id": "3", "first": "Eve", "born": "1980-01-02"}
    fresh = {"id": "1", "first": "Bob", "born": "1970-01-02"}
    more = [{"id": "1", "code": "d", "at": "2021-01-02", "value": "9"}]
    part = source(tmp_path / "two", [changed, fresh], more, write)
    result = run([part], base.outputs, input="changes")
    whole = source(tmp_path / "three", [persons[0], persons[2], changed, fresh], [events[0], events[2], *more], write)
    everything = run([whole])

    assert result.facts["carried"] == 2
    for table in ("records", "slices", "events"):
        assert result.rows(table) == everything.rows(table)
    assert run([part], base.outputs).rows("records") == run([part]).rows("records")
