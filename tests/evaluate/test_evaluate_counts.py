"""Pair and cluster figures equal those of plain counting, and intervals behave."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resolver.evaluate import bootstrap, counts

LABELS = st.integers(1, 14).flatmap(
    lambda size: st.tuples(
        st.lists(st.integers(-1, 4), min_size=size, max_size=size),
        st.lists(st.integers(0, 4), min_size=size, max_size=size),
    )
)


@settings(deadline=None, max_examples=150)
@given(LABELS)
def test_pairs_are_those_of_plain_counting(labels: tuple[list[int], list[int]]) -> None:
    """Right, predicted and true pairs come out as if every pair were looked at; unknown records count nowhere."""
    person, cluster = labels
    laid = counts.lay(np.array(person), np.array(cluster))
    known = [rid for rid, who in enumerate(person) if who >= 0]
    pairs = list(itertools.combinations(known, 2))
    true = {(a, b) for a, b in pairs if person[a] == person[b]}
    predicted = {(a, b) for a, b in pairs if cluster[a] == cluster[b]}
    sums = counts.person_sums(laid)

    assert sums["true"].sum() == len(true)
    assert sums["after_predicted"].sum() == len(predicted)
    assert sums["after_right"].sum() == len(true & predicted)


@settings(deadline=None, max_examples=150)
@given(LABELS)
def test_cluster_figures_are_those_of_plain_counting(labels: tuple[list[int], list[int]]) -> None:
    """Split, impure, perfect, purity, completeness and B-cubed agree with their definitions, record by record."""
    person, cluster = labels
    known = [rid for rid, who in enumerate(person) if who >= 0]
    if not known:
        return
    found = counts.of_clusters(counts.lay(np.array(person), np.array(cluster)))
    persons = {who: {rid for rid in known if person[rid] == who} for who in {person[rid] for rid in known}}
    groups = {name: {rid for rid in known if cluster[rid] == name} for name in {cluster[rid] for rid in known}}

    assert found["split"] == sum(len({cluster[rid] for rid in own}) > 1 for own in persons.values())
    assert found["impure"] == sum(len({person[rid] for rid in own}) > 1 for own in groups.values())
    assert found["perfect_rate"] == pytest.approx(
        sum(own in groups.values() for own in persons.values()) / len(persons), abs=1e-6
    )
    assert found["purity"] == pytest.approx(
        sum(max(len(own & one) for one in persons.values()) for own in groups.values()) / len(known), abs=1e-6
    )
    assert found["completeness"] == pytest.approx(
        sum(max(len(own & one) for one in groups.values()) for own in persons.values()) / len(known), abs=1e-6
    )
    assert found["bcubed"]["precision"] == pytest.approx(
        np.mean([len(persons[person[r]] & groups[cluster[r]]) / len(groups[cluster[r]]) for r in known]), abs=1e-6
    )
    assert found["bcubed"]["recall"] == pytest.approx(
        np.mean([len(persons[person[r]] & groups[cluster[r]]) / len(persons[person[r]]) for r in known]), abs=1e-6
    )


@settings(deadline=None, max_examples=60)
@given(LABELS, st.integers(0, 100))
def test_slices_add_up_to_the_whole(labels: tuple[list[int], list[int]], seed: int) -> None:
    """Over the values of a slice, records and right, predicted and true pairs add up to those of the run."""
    person, cluster = labels
    laid = counts.lay(np.array(person), np.array(cluster))
    values = np.random.default_rng(seed).integers(0, 3, len(person))
    found = counts.by_value(laid, values, ["a", "b", "c"])

    assert sum(one["records"] for one in found.values()) == len(laid.rid)
    assert sum(one["true"] for one in found.values()) == (laid.in_person - 1).sum() / 2
    assert sum(one["predicted"] for one in found.values()) == (laid.in_cluster - 1).sum() / 2


def test_scores_without_pairs_are_unknown() -> None:
    """Where nothing was predicted, precision is unknown rather than 0 or 1."""
    assert counts.score(0, 0, 5) == {
        "precision": None,
        "recall": 0.0,
        "f1": 0.0,
        "right": 0,
        "true": 5,
        "predicted": 0,
    }


def test_interval_holds_the_figure_and_narrows_with_more_persons() -> None:
    """The interval of a share lies around it, near the width of theory, and is the same for the same seed."""
    rng = np.random.default_rng(0)
    widths = []
    for persons in (400, 40_000):
        right = (rng.random(persons) < 0.8).astype(float)
        sums = {"right": right, "all": np.ones(persons)}
        found = bootstrap.intervals(sums, {"share": ("right", "all")}, 400, seed=1)
        assert found == bootstrap.intervals(sums, {"share": ("right", "all")}, 400, seed=1)
        low, high = found["share"]
        assert low < right.mean() < high
        widths.append(high - low)

    assert widths[0] == pytest.approx(2 * 1.96 * np.sqrt(0.16 / 400), rel=0.2)
    assert widths[1] == pytest.approx(widths[0] / 10, rel=0.3)


def test_no_rounds_give_no_intervals() -> None:
    """Zero bootstrap rounds leave intervals out."""
    assert bootstrap.intervals({"a": np.ones(3)}, {"x": ("a", "a")}, 0, seed=0) == {}
