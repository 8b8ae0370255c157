"""What clustering made of a pair, persons, their bridges and their neighbours."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from resolver.errors import RunError
from resolver.explain.opened import Opened
from resolver.explain.persons import person
from resolver.explain.ties import Ties
from resolver.explain.waterfall import pair
from resolver.mpi import corrections, store

TOGETHER = """
    SELECT left_rid, right_rid FROM decisions JOIN clusters l ON l.rid = left_rid JOIN clusters r ON r.rid = right_rid
    WHERE l.cluster = r.cluster AND {} ORDER BY abs(logit) DESC, left_rid, right_rid LIMIT 1"""
LARGE = "SELECT cluster FROM clusters GROUP BY cluster ORDER BY count(*) DESC, cluster LIMIT 1"


def test_a_cut_pair_says_why_and_what_decided(finished: Any, tmp_path: Path) -> None:
    """The reason and the log-odds between the two persons are those of the table of cuts."""
    ((left, right, logit),) = finished.query(
        """SELECT left_rid, right_rid, logit FROM decisions JOIN clusters l ON l.rid = left_rid
        JOIN clusters r ON r.rid = right_rid WHERE l.cluster <> r.cluster ORDER BY logit DESC LIMIT 1"""
    )
    cut = finished.copy(tmp_path)
    cut.rewrite(
        "cuts",
        f"""SELECT {left}::INTEGER AS left_rid, {right}::INTEGER AS right_rid, {logit}::DOUBLE AS logit,
            -3.25::DOUBLE AS "between", 'two records of one source' AS reason""",
    )
    with Opened(cut.settings()) as run:
        found = pair(run, left, right).outcome

    assert not found.together
    assert found.between == -3.25
    assert "two records of one source" in found.why
    assert "−3.25" in found.why


def test_a_linked_pair_names_its_person(finished: Any, opened: Opened) -> None:
    """Two records of one person are said to be so, with the enterprise id of the index."""
    ((left, right),) = finished.query(TOGETHER.format("logit > 0"))
    found = pair(opened, left, right).outcome

    assert found.together
    assert found.why.startswith("One person")
    assert found.persons[0] is not None
    assert found.persons[0] == found.persons[1]
    assert found.persons[0].startswith("P")


def test_records_that_others_hold_together_show_the_way(finished: Any, tmp_path: Path) -> None:
    """A pair in one person that was never scored is explained by the strongest way over other records."""
    ((cluster,),) = finished.query(LARGE)
    rids = [row[0] for row in finished.query(f"SELECT rid FROM clusters WHERE cluster = {cluster} ORDER BY rid")]
    assert len(rids) >= 3
    low, high = rids[0], rids[1]
    loose = finished.copy(tmp_path)
    for table in ("pairs", "verdicts", "decisions"):
        loose.rewrite(table, f"FROM {table} WHERE NOT (left_rid = {low} AND right_rid = {high})")
    with Opened(loose.settings()) as run:
        found = pair(run, low, high).outcome

    assert found.together
    assert "others hold it together" in found.why
    assert found.way[0] == finished.record_id(low)
    assert found.way[-1] == finished.record_id(high)
    assert len(found.way) >= 3


def test_what_a_person_said_since_the_run_is_noted(finished: Any, tmp_path: Path) -> None:
    """A verdict that the run has not counted yet is told beside the evidence."""
    corrected = finished.copy(tmp_path)
    ((left, right),) = finished.query(TOGETHER.format("logit > 0"))
    with store.write(corrected.settings().index_path, why="a test") as change:
        corrections.unlink(change, corrected.record_id(left), corrected.record_id(right))
    with Opened(corrected.settings()) as run:
        found = pair(run, left, right)

    assert any("a person said that they are two persons" in note for note in found.notes)
    assert found.outcome.persons[0] != found.outcome.persons[1]


def test_a_persons_word_is_a_part_of_the_sum(finished: Any, tmp_path: Path) -> None:
    """Once a run has counted it, what a person said has a group of its own, also for a pair that blocking left out."""
    said = finished.copy(tmp_path)
    ((left, right),) = finished.query(
        """SELECT l.rid, r.rid FROM records l JOIN records r ON l.rid < r.rid AND l.sex <> r.sex
        ANTI JOIN pairs ON left_rid = l.rid AND right_rid = r.rid ORDER BY 1, 2 LIMIT 1"""
    )
    with store.write(said.settings().index_path, why="a test") as change:
        corrections.link(change, said.record_id(left), said.record_id(right))
    said.go()
    with Opened(said.settings()) as run:
        found = pair(run, left, right)
    ((logit,),) = said.query(f"SELECT logit FROM decisions WHERE left_rid = {left} AND right_rid = {right}")

    assert found.groups[-1].name == "human"
    assert found.groups[-1].logit == pytest.approx(100)
    assert found.logit == pytest.approx(logit, abs=1e-6)
    assert "a person spoke of it" in found.proposed
    assert found.outcome.together


def test_a_person_is_found_by_id_by_record_and_by_cluster(finished: Any, opened: Opened) -> None:
    """The three ways to name a person lead to the same records and pairs."""
    ((cluster,),) = finished.query(LARGE)
    by_cluster = person(opened, f"cluster:{cluster}")
    rid = max(by_cluster.records)
    by_record = person(opened, finished.record_id(rid))
    assert by_cluster.person_id is not None
    by_id = person(opened, by_cluster.person_id.lower())

    assert by_cluster.records == by_record.records == by_id.records
    assert by_cluster.pairs == by_record.pairs == by_id.pairs
    size = len(by_cluster.records)
    assert len(by_cluster.pairs) + by_cluster.unscored == size * (size - 1) // 2
    assert [row["logit"] for row in by_cluster.pairs] == sorted(row["logit"] for row in by_cluster.pairs)
    assert by_cluster.total is not None
    assert by_cluster.bridge is not None


def test_neighbours_are_other_persons_counted_as_clustering_does(finished: Any, opened: Opened) -> None:
    """The nearest other person is that of the strongest pair across; all pairs between count, unscored ones too."""
    ((cluster,),) = finished.query(LARGE)
    found = person(opened, f"cluster:{cluster}")
    rids = ", ".join(map(str, found.records))
    ((best, other),) = finished.query(
        f"""SELECT logit, cluster FROM (
            SELECT right_rid AS rid, logit FROM decisions WHERE left_rid IN ({rids})
            UNION ALL SELECT left_rid, logit FROM decisions WHERE right_rid IN ({rids}))
        JOIN clusters USING (rid) WHERE cluster <> {cluster} ORDER BY logit DESC, cluster LIMIT 1"""
    )
    near = found.neighbours[0]
    theirs = [row[0] for row in finished.query(f"SELECT rid FROM clusters WHERE cluster = {other}")]
    with Opened(finished.settings()) as run:
        everyone = Ties.of(run, [*found.records, *theirs])
        mine, others = Ties.of(run, list(found.records)), Ties.of(run, theirs)

    assert (near.cluster, near.best, near.records) == (other, best, len(theirs))
    assert near.between == pytest.approx(everyone.total - mine.total - others.total)
    assert [one.best for one in found.neighbours] == sorted((one.best for one in found.neighbours), reverse=True)


def test_names_that_are_nobodys_are_refused_without_being_repeated(finished: Any, opened: Opened) -> None:
    """What was typed may be a patient's id, so the message does not hold it."""
    for text in ("PRIVATE-17", "cluster:999999", "cluster:7.5", ""):
        with pytest.raises(RunError) as refused:
            person(opened, text)
        assert text == "" or text not in str(refused.value)
    ((one,),) = finished.query(LARGE)
    known = person(opened, f"cluster:{one}").person_id
    assert known is not None
    mistyped = known[:-1] + ("0" if known[-1] != "0" else "1")
    with pytest.raises(RunError, match="check digit"):
        person(opened, mistyped)


def ties(strength: list[list[float | None]]) -> Ties:
    own = np.array([[np.nan if one is None else one for one in row] for row in strength], dtype=float)
    own = np.triu(own, 1)
    own = own + own.T
    worth = np.nan_to_num(own, nan=-1.5)
    np.fill_diagonal(worth, 0.0)
    np.fill_diagonal(own, np.nan)
    return Ties(np.arange(len(own)) * 10, own, worth)


@st.composite
def persons(draw: st.DrawFn) -> Ties:
    size = draw(st.integers(2, 6))
    one = st.one_of(st.none(), st.floats(-9, 9).map(lambda value: round(value, 3)))
    return ties([[draw(one) for _ in range(size)] for _ in range(size)])


@given(persons())
@hypothesis_settings(deadline=None, max_examples=60)
def test_the_strongest_way_has_the_strongest_weakest_step(found: Ties) -> None:
    """No other way between two records has a weakest step that is stronger, counting only scored pairs."""
    size = len(found.rids)
    strength = np.where(np.isnan(found.own), -np.inf, found.own)
    widest = strength.copy()
    for middle in range(size):
        widest = np.maximum(widest, np.minimum(widest[:, [middle]], widest[[middle], :]))
    for a, b in itertools.combinations(range(size), 2):
        way, weakest = found.strongest_way(int(found.rids[a]), int(found.rids[b]))
        assert (way[0], way[-1]) == (found.rids[a], found.rids[b])
        assert len(set(way)) == len(way)
        if np.isfinite(widest[a, b]):
            assert weakest == widest[a, b]


@given(persons())
@hypothesis_settings(deadline=None, max_examples=60)
def test_the_weakest_bridge_parts_the_person_as_it_says(found: Ties) -> None:
    """The log-odds across are those of all pairs between the two sides, and no other link of the tree costs less."""
    bridge = found.weakest_bridge()
    assert bridge is not None
    place = {int(rid): number for number, rid in enumerate(found.rids)}
    side = np.zeros(len(found.rids), dtype=bool)
    side[[place[rid] for rid in bridge.side]] = True

    def across(chosen: Any) -> float:
        return float(found.worth[np.ix_(chosen, ~chosen)].sum())

    assert bridge.between == pytest.approx(across(side), abs=1e-9)
    assert 0 < side.sum() <= len(side) / 2
    assert side[place[bridge.left]] != side[place[bridge.right]]
    links = found.tree()
    assert len(links) == len(found.rids) - 1
    for cut in links:
        chosen = np.zeros(len(found.rids), dtype=bool)
        chosen[cut[1]] = True
        for _ in links:  # all that hangs on the lower end
            for parent, child in links:
                if (parent, child) != cut and chosen[parent] and parent != cut[0]:
                    chosen[child] = True
        assert bridge.between <= across(chosen) + 1e-9
