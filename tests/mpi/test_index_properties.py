"""What must hold of the index whatever runs and corrections come, in any order."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from resolver.errors import UsageError

pytestmark = pytest.mark.slow

RECORDS = [f"{source}:{number}" for source in "ab" for number in range(4)]

run_steps = st.tuples(
    st.just("run"),
    st.lists(st.integers(0, 4), min_size=len(RECORDS), max_size=len(RECORDS)),  # 0: not in the input
    st.booleans(),
)
pairs = st.tuples(st.sampled_from(RECORDS), st.sampled_from(RECORDS))
steps = st.lists(
    st.one_of(
        run_steps,
        run_steps,
        st.tuples(st.sampled_from(["link", "unlink"]), pairs),
        st.tuples(st.sampled_from(["merge", "split"]), pairs),
        st.tuples(st.just("undo"), st.integers(0, 40)),
    ),
    min_size=1,
    max_size=5,
)
modest = settings(
    deadline=None, max_examples=5, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)


def take(index: Any, step: tuple[Any, ...]) -> int | None:
    """Do one step; the number of its change, None where it was refused or does not apply."""
    if step[0] == "run":
        persons = groups([(record, str(group)) for record, group in zip(RECORDS, step[1], strict=True) if group])
        return int(index.run([sorted(person) for person in persons], complete=step[2]).event)
    if step[0] == "undo":
        latest = index.one("SELECT coalesce(max(event), 0) FROM events")
        action: Callable[[], int] = functools.partial(index.undo, max(latest - step[1], 0))
    else:
        a, b = step[1]
        there = index.crosswalk()
        if a not in there or b not in there:
            return None
        action = {
            "link": lambda: index.link(a, b),
            "unlink": lambda: index.unlink(a, b),
            "merge": lambda: index.merge(there[a], there[b]),
            "split": lambda: index.split(there[a], a),
        }[step[0]]
    with contextlib.suppress(UsageError):
        return action()
    return None


def check_invariants(index: Any, issued: set[str]) -> None:
    """No id gets lost, each record is in one living person, forwards end, and what people said holds."""
    states = {row[0]: row[1:] for row in index.rows("SELECT person_id, status, forward, records FROM persons")}
    assert issued <= states.keys()
    issued |= states.keys()
    assert index.one("SELECT count(*) = count(DISTINCT number) FROM persons")
    crosswalk = index.rows("SELECT record_id, person_id FROM crosswalk")
    assert len({record for record, _ in crosswalk}) == len(crosswalk)
    for person, (status, _, records) in states.items():
        assert records == sum(found == person for _, found in crosswalk)
        assert (status == "live") == (records > 0)
    for person in states:
        seen = {person}
        while (forward := states[person][1]) is not None:
            assert states[person][0] != "live"
            person = forward
            assert person not in seen
            seen.add(person)
        assert states[person][0] in ("live", "retired")
    place = dict(crosswalk)
    for a, b, says in index.rows("SELECT left_record, right_record, says FROM verdicts"):
        if a in place and b in place:
            assert (place[a] == place[b]) == (says == "link")
    for a, b in index.rows("SELECT left_record, right_record FROM links"):
        assert place[a] == place[b]


@modest
@given(steps)
def test_invariants_hold_and_the_past_stays(new_index: type[Any], sequence: list[tuple[Any, ...]]) -> None:
    """After every step the index is sound, and the state at each past run reads just as it was published."""
    index = new_index()
    issued: set[str] = set()
    published = {}
    for step in sequence:
        before = index.state()
        done = take(index, step)
        check_invariants(index, issued)
        if done is None:
            assert index.state() == before
        elif step[0] == "run":
            published[index.one("SELECT max(last_event) FROM runs")] = index.state()
    for last, state in published.items():
        assert index.state(at=last) == state


@modest
@given(steps)
def test_every_step_can_be_undone_exactly(new_index: type[Any], sequence: list[tuple[Any, ...]]) -> None:
    """Undo puts persons, crosswalk, records, verdicts and links back; undoing the undo, as they had become."""
    index = new_index()
    index.run([RECORDS[:3], RECORDS[3:5], RECORDS[5:]])
    issued: set[str] = set()
    for step in sequence:
        before = index.state()
        done = take(index, step)
        if done is None:
            continue
        after = index.state()
        undone = index.undo(done)
        assert index.state() == before
        check_invariants(index, issued)
        if step[0] == "run":
            index.run_again()
            assert index.persons() == {frozenset(one) for one in groups(after["crosswalk"])}
        else:
            index.undo(undone)
            assert index.state() == after
            check_invariants(index, issued)


def groups(crosswalk: list[tuple[str, str]]) -> list[set[str]]:
    found: dict[str, set[str]] = {}
    for record, person in crosswalk:
        found.setdefault(person, set()).add(record)
    return list(found.values())


@modest
@given(steps, run_steps)
def test_the_same_run_again_changes_nothing(
    new_index: type[Any], sequence: list[tuple[Any, ...]], run: tuple[Any, ...]
) -> None:
    """Publishing what was just published makes no event but its own, and changes no row."""
    index = new_index()
    for step in sequence:
        take(index, step)
    take(index, run)
    before = index.state()
    event = take(index, run)
    assert index.state() == before
    assert index.kinds(event) == ["published"]


@modest
@given(steps, run_steps)
def test_without_verdicts_persons_are_the_clusters(
    new_index: type[Any], sequence: list[tuple[Any, ...]], run: tuple[Any, ...]
) -> None:
    """Where nobody said anything, a run over everything makes just its clusters the persons."""
    index = new_index()
    for step in sequence:
        if step[0] == "run":
            take(index, step)
    take(index, (*run[:2], True))
    wanted = groups([(record, str(group)) for record, group in zip(RECORDS, run[1], strict=True) if group])
    assert index.persons() == {frozenset(group) for group in wanted}


@modest
@given(st.lists(run_steps, min_size=1, max_size=4), st.integers(0, 12))
def test_one_event_of_a_run_can_be_taken_back(new_index: type[Any], runs: list[tuple[Any, ...]], which: int) -> None:
    """Undoing a merge, split, move or joining puts the records back, and the next such run leaves them there."""
    index = new_index()
    runs = [(*run[:2], True) for run in runs]
    for run in runs:
        take(index, run)
    events = index.rows(
        "SELECT event, kind, change FROM events WHERE kind IN ('merged', 'split', 'moved', 'joined')"
        " AND change = (SELECT max(event) FROM runs) ORDER BY event"
    )
    if not events:
        return
    event, kind, change = events[which % len(events)]
    before = index.crosswalk(at=change - 1)
    moved = [row[0] for row in index.rows(f"SELECT record_id FROM all_crosswalk WHERE since = {event}")]
    reached = index.crosswalk()
    try:
        index.undo(event)
    except UsageError:
        return
    now = index.crosswalk()
    for record in moved:
        assert now[record] != reached[record]
        if kind == "merged":
            assert now[record] == before[record]
    take(index, runs[-1])
    assert index.crosswalk() == now


def test_a_person_may_be_many_records(index: Any) -> None:
    """A facility that lists one person hundreds of times makes one person, which can still be split."""
    many = [f"a:{number:04}" for number in range(60)]
    index.run([many])
    index.split(index.person(many[0]), *many[:30])
    index.run([many])
    assert sorted(map(len, index.persons())) == [30, 30]


@pytest.mark.parametrize("order", [1, -1])
def test_ids_do_not_hang_on_the_order_of_input(new_index: type[Any], order: int) -> None:
    """The same records into a fresh index get the same ids."""
    index = new_index()
    index.run([["b:1", "a:9"], ["a:1"], ["c:1"]][::order])
    assert index.crosswalk() == {"a:1": "P0000001Y", "a:9": "P0000002W", "b:1": "P0000002W", "c:1": "P0000003T"}
