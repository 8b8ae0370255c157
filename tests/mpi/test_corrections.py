"""Links, unlinks, merges and splits by people: at once, in later runs, and taken back."""

from __future__ import annotations

from typing import Any

from resolver.mpi import queries

P1, P2, P3 = "P0000001Y", "P0000002W", "P0000003T"


def test_a_link_merges_at_once_and_holds(index: Any) -> None:
    """Linked records are one person now, and after a run that sees no match between them."""
    index.run([["a:1"], ["b:1"]])
    event = index.link("a:1", "b:1")
    assert index.crosswalk() == {"a:1": P1, "b:1": P1}
    assert index.kinds(event) == ["linked", "merged"]

    run = index.run([["a:1"], ["b:1"]])
    assert index.crosswalk() == {"a:1": P1, "b:1": P1}
    assert run.counts["verdicts_enforced"] == 1


def test_an_unlink_divides_by_the_evidence_and_holds(index: Any) -> None:
    """What hangs more on one record than on the other goes with it, now and in later runs."""
    scores = {("a:1", "b:2"): 1.0, ("a:2", "b:1"): 1.0, ("a:1", "b:1"): 1.0, ("a:2", "b:2"): 1.0}
    index.run([["a:1", "a:2", "b:1", "b:2"]], scores=scores)
    index.unlink("a:1", "b:1")
    wanted = {frozenset(["a:1", "a:2"]), frozenset(["b:1", "b:2"])}
    assert index.persons() == wanted
    assert index.person("a:1") == P1

    index.run_again()
    assert index.persons() == wanted


def test_a_merge_and_a_split_hold(index: Any) -> None:
    """Persons merged by hand stay one, records split off stay apart, whatever later runs find."""
    index.run([["a:1", "a:2"], ["b:1"]])
    index.merge(P2, P1)
    assert set(index.crosswalk().values()) == {P1}
    index.split(P1, "a:2")
    assert index.crosswalk() == {"a:1": P1, "a:2": P3, "b:1": P1}

    index.run_again()
    assert index.crosswalk() == {"a:1": P1, "a:2": P3, "b:1": P1}


def test_contradictions_are_refused_by_name(index: Any) -> None:
    """What goes against an earlier verdict is refused, with the event that it goes against, and changes nothing."""
    index.run([["a:1", "b:1"], ["c:1"]])
    event = index.unlink("a:1", "b:1")
    linked = index.link("b:1", "c:1")
    before = index.state()

    both = f"events {event}, {linked}"
    assert both in str(index.refused("link", "a:1", "c:1"))
    assert both in str(index.refused("merge", index.person("a:1"), index.person("c:1")))
    assert f"event {linked}" in str(index.refused("unlink", "b:1", "c:1"))
    assert "already" in str(index.refused("link", "c:1", "b:1"))
    assert index.state() == before


def test_what_can_not_be_done_is_said(index: Any) -> None:
    """Corrections that make no sense are refused in words."""
    index.run([["a:1", "b:1"], ["c:1"]])
    assert "same record" in str(index.refused("link", "a:1", "a:1"))
    assert "from itself" in str(index.refused("unlink", "a:1", "a:1"))
    assert "one person already" in str(index.refused("merge", P1, P1))
    assert "all the records" in str(index.refused("split", P1, "a:1", "b:1"))
    assert "not in P0000001Y" in str(index.refused("split", P1, "c:1"))
    assert "no event 99" in str(index.refused("undo", 99))


def test_a_correction_can_be_undone_after_a_run(index: Any) -> None:
    """A nightly run in between does not stand in the way, if it changed nothing about the persons."""
    index.run([["a:1"], ["b:1"]])
    event = index.link("a:1", "b:1")
    index.run_again()
    index.undo(event)

    assert index.crosswalk() == {"a:1": P1, "b:1": P2}
    index.run_again()
    assert index.crosswalk() == {"a:1": P1, "b:1": P2}


def test_undo_is_refused_where_later_events_built_on_it(index: Any) -> None:
    """The message names the events that stand in the way."""
    index.run([["a:1"], ["b:1"]])
    event = index.link("a:1", "b:1")
    index.run([["a:1", "b:1", "c:1"]])
    joined = index.one("SELECT event FROM events WHERE kind = 'joined'")

    assert f"event {joined}" in str(index.refused("undo", event))


def test_undo_of_what_was_undone_is_refused(index: Any) -> None:
    """An event is undone once; undoing the undo brings it back."""
    index.run([["a:1"], ["b:1"]])
    event = index.link("a:1", "b:1")
    undone = index.undo(event)
    assert f"by event {undone}" in str(index.refused("undo", event))

    index.undo(undone)
    assert set(index.crosswalk().values()) == {P1}


def test_an_id_issued_by_an_undone_split_leads_back(index: Any) -> None:
    """No id is lost: that of a split that was undone forwards to the person it came from."""
    index.run([["a:1", "b:1"]])
    event = index.split(P1, "b:1")
    index.undo(event)

    assert index.crosswalk() == {"a:1": P1, "b:1": P1}
    assert queries.person(index.con, P2)["person_id"] == P1
    index.split(P1, "b:1")
    assert index.person("b:1") == P3


def test_an_event_of_a_run_can_be_undone_for_good(index: Any) -> None:
    """A merge by a run is taken back with the old ids, golden values of then, and verdicts that keep it so."""
    index.run([["a:1", "a:2"], ["b:1"]])
    before = index.state()
    index.run([["a:1", "a:2", "b:1"]])
    index.undo(index.one("SELECT event FROM events WHERE kind = 'merged'"))
    assert index.state()["persons"] == before["persons"]
    assert index.crosswalk() == {"a:1": P1, "a:2": P1, "b:1": P2}

    index.run_again()
    assert index.crosswalk() == {"a:1": P1, "a:2": P1, "b:1": P2}


def test_a_split_by_a_run_can_be_undone_for_good(index: Any) -> None:
    """The part that left comes back, and later runs leave it there."""
    index.run([["a:1", "a:2", "b:1"]])
    index.run([["a:1", "a:2"], ["b:1"]])
    index.undo(index.one("SELECT event FROM events WHERE kind = 'split'"))
    index.run_again()

    assert set(index.crosswalk().values()) == {P1}


def test_creations_are_not_undone_alone(index: Any) -> None:
    """A record needs a person, so an event that only follows the sources is refused with a way out."""
    run = index.run([["a:1"]])
    assert "whole run" in str(index.refused("undo", run.event + 1))


def test_a_run_with_later_runs_is_not_undone(index: Any) -> None:
    """Runs are undone from the last one back."""
    first = index.run([["a:1"]])
    second = index.run([["a:1"], ["b:1"]])
    assert f"event {second.event}" in str(index.refused("undo", first.event))

    index.undo(second.event)
    index.undo(first.event)
    assert index.crosswalk() == {}


def test_golden_values_are_voted_at_once(index: Any) -> None:
    """After a correction a person has values of its own records, marked as a plain vote until the next run."""
    index.run([["a:1", "b:1", "b:2"]])
    index.split(P1, "a:1")
    name = index.one("SELECT first_name FROM records WHERE record_id = 'a:1'")
    assert index.rows("SELECT first_name, provisional, confidence FROM persons WHERE person_id = 'P0000002W'") == [
        (name, True, None)
    ]

    index.run([["a:1"], ["b:1", "b:2"]])
    assert index.rows("SELECT DISTINCT provisional FROM persons") == [(False,)]


def test_history_tells_who_when_and_why(index: Any) -> None:
    """The history of a person and of a record names each event in words."""
    index.run([["a:1"], ["b:1"]])
    with index.change(why="same card") as change:
        from resolver.mpi import corrections

        corrections.link(change, "a:1", "b:1")

    of_person = queries.history(index.con, P2)
    assert [event["kind"] for event in of_person] == ["created", "merged"]
    assert of_person[-1]["what"] == f"{P2} was merged into {P1}"
    assert (of_person[-1]["who"], of_person[-1]["why"]) == ("tester", "same card")
    assert [event["kind"] for event in queries.history(index.con, "b:1")] == ["created", "linked", "merged"]
