"""Who keeps which id when persons change from run to run."""

from __future__ import annotations

from typing import Any

import pytest

from resolver.errors import UsageError
from resolver.mpi import queries

P1, P2, P3, P4 = "P0000001Y", "P0000002W", "P0000003T", "P0000004Q"


def test_a_new_record_joins_an_old_person(index: Any) -> None:
    """A person keeps its id when it gains a record."""
    index.run([["a:1"], ["a:2"]])
    run = index.run([["a:1"], ["a:2", "b:1"]])

    assert index.crosswalk() == {"a:1": P1, "a:2": P2, "b:1": P2}
    assert index.kinds(run.event) == ["published", "joined"]


def test_in_a_merge_the_elder_id_stays(index: Any) -> None:
    """The younger id forwards to the elder one, even where it had more records."""
    index.run([["a:1"], ["a:2", "b:1", "b:2"]])
    run = index.run([["a:1", "a:2", "b:1", "b:2"]])

    assert set(index.crosswalk().values()) == {P1}
    assert index.rows("SELECT status, forward, records FROM persons WHERE person_id = 'P0000002W'") == [
        ("merged", P1, 0)
    ]
    assert index.kinds(run.event) == ["published", "merged"]
    assert queries.person(index.con, P2)["person_id"] == P1


def test_in_a_split_the_largest_part_keeps_the_id(index: Any) -> None:
    """The other parts get new ids, with an event that says whom they come from."""
    index.run([["a:1", "a:2", "a:3"]])
    run = index.run([["a:1"], ["a:2", "a:3"]])

    assert index.crosswalk() == {"a:1": P2, "a:2": P1, "a:3": P1}
    assert index.kinds(run.event) == ["published", "created", "split"]
    assert index.rows("SELECT person_id, other_id FROM events WHERE kind = 'split'") == [(P2, P1)]


def test_one_record_moves(index: Any) -> None:
    """A record that goes from one lasting person to another is an event of its own."""
    index.run([["a:1", "a:2", "a:3"], ["b:1", "b:2"]])
    run = index.run([["a:1", "a:2"], ["a:3", "b:1", "b:2"]])

    assert index.crosswalk() == {"a:1": P1, "a:2": P1, "a:3": P2, "b:1": P2, "b:2": P2}
    assert index.kinds(run.event) == ["published", "moved"]


def test_of_equal_shares_the_purer_part_keeps_the_id(index: Any) -> None:
    """A person cut in half stays where it is by itself, so that nobody else's id changes."""
    index.run([["a:1", "a:2"], ["b:1", "b:2"]])
    index.run([["a:1", "b:1", "b:2"], ["a:2"]])

    assert index.crosswalk() == {"a:1": P2, "a:2": P1, "b:1": P2, "b:2": P2}


def test_records_that_vanish_retire_their_person_and_come_back_to_it(index: Any) -> None:
    """A facility that is missing for one night gets its ids back the next; they are given to nobody else meanwhile."""
    index.run([["a:1"], ["b:1"]])
    gone = index.run([["b:1"], ["b:2"]])
    assert index.crosswalk() == {"b:1": P2, "b:2": P3}
    assert index.kinds(gone.event) == ["published", "created", "left", "retired"]
    assert queries.person(index.con, P1)["status"] == "retired"

    back = index.run([["a:1"], ["b:1"], ["b:2"]])
    assert index.crosswalk() == {"a:1": P1, "b:1": P2, "b:2": P3}
    assert index.kinds(back.event) == ["published", "revived"]


def test_a_record_that_comes_back_to_another_person_leaves_a_forward(index: Any) -> None:
    """The id of a person that was retired leads on when its record comes back elsewhere; the living id stays."""
    index.run([["a:1"], ["b:1"]])
    index.run([["b:1"]])
    index.run([["a:1", "b:1"]])

    assert index.crosswalk() == {"a:1": P2, "b:1": P2}
    assert queries.person(index.con, P1)["person_id"] == P2


def test_a_run_of_changes_leaves_the_others_alone(index: Any) -> None:
    """With only the changed records as input, the rest stay as published, and follow their person if it is merged."""
    index.run([["a:1", "a:2"], ["b:1", "b:2"], ["c:1"]])
    index.run([["a:1", "b:1", "d:1"]], complete=False)

    assert index.persons() == {frozenset(["a:1", "a:2", "b:1", "b:2", "d:1"]), frozenset(["c:1"])}
    assert index.person("b:2") == P1
    assert index.rows("SELECT records, provisional FROM persons WHERE status = 'live' ORDER BY person_id") == [
        (5, True),
        (1, False),
    ]
    assert len(index.rows("FROM links WHERE right_record = 'b:2'")) == 1


def test_a_changed_record_gets_a_new_state(index: Any) -> None:
    """What the index knows of a record follows its source, and what it knew stays readable."""
    index.run([["a:1"]])
    first = index.one("SELECT max(last_event) FROM runs")
    index.run([["a:1"]], hashes={"a:1": "other"})

    assert index.one("SELECT content_hash FROM records") == "other"
    assert index.one(f"SELECT content_hash FROM records_at({first})") == "h"


def test_links_hold_the_evidence_within_persons(index: Any) -> None:
    """A scored pair is a link only while both records are one person."""
    index.run([["a:1", "a:2"], ["b:1"]], scores={("a:1", "b:1"): -4.0})
    assert index.rows("SELECT left_record, right_record, logit FROM links") == [("a:1", "a:2", 5.0)]

    index.run([["a:1"], ["a:2"], ["b:1"]], scores={("a:1", "a:2"): -2.0})
    assert index.rows("FROM links") == []
    assert index.rows("SELECT logit FROM all_links") == [(5.0,)]


def test_tables_that_do_not_fit_together_are_refused(index: Any) -> None:
    """A run whose clusters lack a record is not published."""
    index.run([["a:1"], ["b:1"]])
    before = index.state()
    index.con.execute("DELETE FROM in_clusters WHERE rid = 1")

    assert "don't fit together" in str(index.refused("run_again"))
    assert index.state() == before


def test_a_mistyped_id_is_told_from_an_unknown_one(index: Any) -> None:
    """The message says whether a character is wrong or the id was never issued."""
    index.run([["a:1"]])
    with pytest.raises(UsageError, match="check digit"):
        queries.person(index.con, "P0000001Z")
    with pytest.raises(UsageError, match="Neither"):
        queries.person(index.con, P4)


def test_a_record_left_out_follows_the_one_it_is_linked_to(index: Any) -> None:
    """In a run of changes, a person's word decides where a record goes that the run does not hold."""
    index.run([["a:0", "a:2", "b:2"]])
    index.link("a:0", "b:2")
    index.run([["a:2"], ["b:2", "b:3"]], complete=False)
    wanted = {frozenset(["a:2"]), frozenset(["a:0", "b:2", "b:3"])}
    assert index.persons() == wanted

    index.run_again()
    assert index.persons() == wanted
