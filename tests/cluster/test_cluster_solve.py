"""The clustering keeps its promises on any evidence, and finds the best partition of small ones nearly always."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from resolver.cluster import join, repair
from resolver.cluster.graph import components
from resolver.cluster.solve import BY_A_PERSON, BY_OTHERS, BY_SILENCE, BY_SOURCE, Clustering, cluster


@dataclass(frozen=True)
class Evidence:
    records: int
    pairs: npt.NDArray[np.int64]
    logit: npt.NDArray[np.float64]
    source: npt.NDArray[np.int64]
    cost: float
    together: npt.NDArray[np.bool_]
    apart: npt.NDArray[np.bool_]

    def solve(self, order: npt.NDArray[np.int64] | None = None, flip: bool = False) -> Clustering:
        order = np.arange(len(self.pairs)) if order is None else order
        left, right = self.pairs[order].T if len(order) else (np.empty(0, int), np.empty(0, int))
        if flip:
            left, right = right, left
        return cluster(
            self.records,
            left,
            right,
            self.logit[order],
            self.source,
            same_source=self.cost,
            together=self.together[order],
            apart=self.apart[order],
        )

    def weights(self) -> npt.NDArray[np.float64]:
        """Log-odds of every pair, scored or not."""
        table = np.full((self.records, self.records), -1.5)
        if len(self.pairs):
            table[self.pairs[:, 0], self.pairs[:, 1]] = self.logit
        table += self.cost * (self.source[:, None] == self.source[None, :])
        return table

    def total(self, labels: npt.NDArray[np.integer]) -> float:
        inside = np.triu(labels[:, None] == labels[None, :], 1)
        return float(self.weights()[inside].sum())


@st.composite
def evidence(draw: st.DrawFn, most: int = 24, answers: bool = True) -> Evidence:
    records = draw(st.integers(1, most))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    every = np.array(list(itertools.combinations(range(records), 2)), dtype=np.int64).reshape(-1, 2)
    pairs = every[rng.random(len(every)) < draw(st.sampled_from([0.05, 0.2, 0.5, 1.0]))]
    spread = draw(st.sampled_from([0.0, 1.0, 5.0]))
    logit = np.round(rng.normal(draw(st.sampled_from([-2.0, 0.5, 3.0])), spread, len(pairs)), 2)
    says = rng.random(len(pairs)) if answers and draw(st.booleans()) else np.full(len(pairs), 0.5)
    return Evidence(
        records,
        pairs,
        logit,
        rng.integers(0, draw(st.integers(1, 4)), records),
        draw(st.sampled_from([0.0, -1.0, -6.0])),
        says > 0.93,
        says < 0.07,
    )


def best(case: Evidence) -> float:
    """The highest total of any partition, by trying them all."""
    weights = case.weights()

    def extend(record: int, groups: list[list[int]], total: float) -> float:
        if record == case.records:
            return total
        found = extend(record + 1, [*groups, [record]], total)
        for place, group in enumerate(groups):
            gain = float(weights[group, record].sum())
            joined = [*groups[:place], [*group, record], *groups[place + 1 :]]
            found = max(found, extend(record + 1, joined, total + gain))
        return found

    return extend(0, [], 0.0)


@settings(deadline=None, max_examples=60)
@given(evidence())
def test_result_is_a_partition_named_by_smallest_records(case: Evidence) -> None:
    """Each record is in one cluster, which carries the number of its smallest record."""
    labels = case.solve().labels

    assert len(labels) == case.records
    for name in np.unique(labels):
        assert np.flatnonzero(labels == name).min() == name


@settings(deadline=None, max_examples=60)
@given(evidence(), st.integers(0, 2**32))
def test_order_of_pairs_changes_nothing(case: Evidence, seed: int) -> None:
    """Pairs in another order, and with their records swapped, give the same persons and the same cuts."""
    plain = case.solve()
    mixed = case.solve(np.random.default_rng(seed).permutation(len(case.pairs)), flip=True)

    assert (plain.labels == mixed.labels).all()
    assert plain.total == mixed.total
    assert (plain.cut_left == mixed.cut_left).all()
    assert (plain.cut_between == mixed.cut_between).all()
    assert list(plain.cut_reason) == list(mixed.cut_reason)


@settings(deadline=None, max_examples=100)
@given(evidence(answers=False))
def test_never_worse_than_its_starts(case: Evidence) -> None:
    """The total is at least that of all records alone, and that of the connected components."""
    result = case.solve()
    worth = case.logit + case.cost * (case.source[case.pairs[:, 0]] == case.source[case.pairs[:, 1]])
    joined = case.pairs[worth > 0]
    parts = components(case.records, joined[:, 0], joined[:, 1])

    assert result.total == pytest.approx(case.total(result.labels), abs=1e-6)
    assert result.total >= max(0.0, case.total(parts)) - 1e-6


@settings(deadline=None, max_examples=100)
@given(evidence())
def test_answers_of_persons_hold(case: Evidence) -> None:
    """Records put together by a person are one; records parted are not, unless other answers join them."""
    result = case.solve()
    pairs = case.pairs
    unit = components(case.records, pairs[case.together, 0], pairs[case.together, 1])
    contradicted = np.flatnonzero(case.apart & (unit[pairs[:, 0]] == unit[pairs[:, 1]]))
    parted = case.apart.copy()
    parted[contradicted] = False

    assert (result.labels[pairs[case.together, 0]] == result.labels[pairs[case.together, 1]]).all()
    assert (result.labels[pairs[parted, 0]] != result.labels[pairs[parted, 1]]).all()
    assert sorted(result.conflicts) == list(contradicted)


@settings(deadline=None, max_examples=60)
@given(evidence())
def test_components_do_not_disturb_each_other(case: Evidence) -> None:
    """The same evidence twice, side by side, gives the same persons twice."""
    once = case.solve().labels
    twice = cluster(
        2 * case.records,
        np.concatenate([case.pairs[:, 0], case.pairs[:, 0] + case.records]),
        np.concatenate([case.pairs[:, 1], case.pairs[:, 1] + case.records]),
        np.concatenate([case.logit, case.logit]),
        np.concatenate([case.source, case.source]),
        same_source=case.cost,
        together=np.concatenate([case.together, case.together]),
        apart=np.concatenate([case.apart, case.apart]),
    ).labels

    assert (twice[: case.records] == once).all()


def test_one_error_is_not_held_against_a_record_by_each_of_its_person() -> None:
    """A record that one of a person speaks for and two speak against joins where what is against counts half."""
    left, right, logit = [0, 0, 1, 0, 1, 2], [1, 2, 2, 3, 3, 3], [8.0, 8.0, 8.0, 4.5, -3.0, -2.0]

    assert cluster(4, left, right, logit).labels.tolist() == [0, 0, 0, 3]
    assert cluster(4, left, right, logit, against=0.5).labels.tolist() == [0, 0, 0, 0]
    with pytest.raises(ValueError, match="share"):
        cluster(4, left, right, logit, against=0.0)


def test_nearly_always_finds_the_best_partition_of_few_records() -> None:
    """Of 300 small random cases, at most one in twenty ends below the best of all partitions."""
    rng = np.random.default_rng(7)
    missed = 0
    for _ in range(300):
        records = int(rng.integers(2, 8))
        every = np.array(list(itertools.combinations(range(records), 2)))
        pairs = every[rng.random(len(every)) < rng.uniform(0.3, 1)]
        no = np.zeros(len(pairs), dtype=bool)
        case = Evidence(
            records,
            pairs,
            rng.normal(rng.uniform(-1, 3), 4, len(pairs)),
            rng.integers(0, 3, records),
            -float(rng.choice([0.0, 2.0])),
            no,
            no,
        )
        found, top = case.solve().total, best(case)
        assert found <= top + 1e-9
        missed += found < top - 1e-6

    assert missed <= 15


def test_one_false_bridge_does_not_join_two_persons() -> None:
    """Two groups of agreeing records with one strong false pair between them stay two persons, and the cut says why."""
    left, right = np.array([*itertools.combinations(range(3), 2), *itertools.combinations(range(3, 6), 2), (2, 3)]).T
    result = cluster(6, left, right, [5.0] * 6 + [6.0])

    assert result.labels.tolist() == [0, 0, 0, 3, 3, 3]
    assert (result.cut_left.tolist(), result.cut_right.tolist()) == ([2], [3])
    assert result.cut_between[0] == pytest.approx(6.0 - 8 * 1.5)
    assert list(result.cut_reason) == [BY_SILENCE]


def test_cuts_name_their_reason() -> None:
    """A pair is cut for its source, for other pairs, or by a person, and the cut says which."""
    by_source = cluster(2, [0], [1], [2.0], [0, 0], same_source=-3.0)
    by_others = cluster(3, [0, 1, 0], [1, 2, 2], [4.0, 3.0, -9.0])
    by_a_person = cluster(2, [0], [1], [4.0], apart=[True])

    assert list(by_source.cut_reason) == [BY_SOURCE]
    assert list(by_others.cut_reason) == [BY_OTHERS]
    assert list(by_a_person.cut_reason) == [BY_A_PERSON]
    assert by_a_person.labels.tolist() == [0, 1]


def test_a_record_listed_a_thousand_times_is_one_person() -> None:
    """A component of 1,000 records in which nearly all pairs agree, and some oddly don't, ends as one person."""
    rng = np.random.default_rng(3)
    left, right = np.triu_indices(1000, 1)
    filled = rng.uniform(0, 5, 1000)
    logit = filled[left] + filled[right] - 1 + rng.normal(0, 0.5, len(left))
    result = cluster(1000, left, right, logit, np.zeros(1000, dtype=int), same_source=-0.5)

    assert (logit < 0).any()
    assert set(result.labels) == {0}


@pytest.mark.parametrize("shape", ["star", "chain", "rising chain"])
def test_long_shapes_finish(shape: str) -> None:
    """A star, and chains of 3,000 records that make one component, come to an end with small clusters."""
    count = 3000
    right = np.arange(1, count)
    left = np.zeros(count - 1, dtype=int) if shape == "star" else right - 1
    logit = np.linspace(1, 9, count - 1) if shape == "rising chain" else np.full(count - 1, 9.0)
    result = cluster(count, left, right, logit)
    sizes = np.bincount(result.labels)

    assert result.largest_component == count
    assert 2 <= sizes.max() <= 12
    assert result.total > 0


@pytest.mark.parametrize(
    ("left", "right", "logit", "says"),
    [
        ([0], [5], [1.0], "does not exist"),
        ([1], [1], [1.0], "with itself"),
        ([0, 1], [1, 0], [1.0, 1.0], "twice"),
        ([0], [1], [float("nan")], "finite"),
    ],
)
def test_faulty_pairs_are_refused(left: list[int], right: list[int], logit: list[float], says: str) -> None:
    """A pair of a record that does not exist, with itself, given twice or without a number is a fault."""
    with pytest.raises(ValueError, match=says):
        cluster(3, left, right, logit)


def test_no_pairs_leave_everyone_alone() -> None:
    """Without pairs each record is a person; without records there is nobody."""
    assert cluster(3, [], [], []).labels.tolist() == [0, 1, 2]
    assert cluster(0, [], [], []).labels.tolist() == []


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(case=evidence(answers=False))
def test_shortcuts_for_large_components_keep_the_promises(case: Evidence, monkeypatch: pytest.MonkeyPatch) -> None:
    """With every limit for large components set so low that small ones meet it, no total falls below the starts."""
    monkeypatch.setattr(join, "HURRIED", 0)
    monkeypatch.setattr(join, "STUBBORN", 1)
    monkeypatch.setattr(repair, "HEAVY", 5)
    monkeypatch.setattr(repair, "WORK", 0)
    result = case.solve()
    worth = case.logit + case.cost * (case.source[case.pairs[:, 0]] == case.source[case.pairs[:, 1]])
    joined = case.pairs[worth > 0]
    parts = components(case.records, joined[:, 0], joined[:, 1])

    assert result.total == pytest.approx(case.total(result.labels), abs=1e-6)
    assert result.total >= max(0.0, case.total(parts)) - 1e-6
