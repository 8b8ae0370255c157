"""What a run says of its own quality, without truth."""

from __future__ import annotations

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from resolver.evaluate.estimate import REPEAT, estimate


def said(pairs: list[tuple[int, int, float]], cluster: list[int]) -> dict[str, object]:
    with duckdb.connect() as con:
        left, right, logit = (list(column) for column in zip(*pairs, strict=True)) if pairs else ([], [], [])
        columns = {
            "left_rid": pa.array(left, pa.int32()),
            "right_rid": pa.array(right, pa.int32()),
            "logit": pa.array(logit, pa.float64()),
        }
        con.register("decided", pa.table(columns))
        return estimate(con, "decided", np.array(cluster, dtype=np.int64))


def test_a_link_that_stands_alone_counts_as_its_probability() -> None:
    """One person of two records is as sure as their one pair."""
    found = said([(0, 1, np.log(4.0))], [0, 0, 2])

    assert found["precision"] == pytest.approx(0.8, abs=1e-6)
    assert found["recall"] == 1.0


def test_links_that_others_bear_out_are_surer() -> None:
    """Three records that all say yes are surer than two."""
    pairs = [(0, 1, 1.0), (0, 2, 1.0), (1, 2, 1.0)]

    assert said(pairs, [0, 0, 0])["precision"] > said(pairs[:1], [0, 0, 2])["precision"]  # type: ignore[operator]


def test_likely_pairs_left_apart_cost_recall() -> None:
    """A pair left apart is missed as often as it says."""
    found = said([(0, 1, 9.0), (2, 3, -np.log(3.0))], [0, 0, 2, 3])

    assert found["recall"] == pytest.approx(1 / 1.25, abs=0.01)


def test_two_persons_taken_for_one_are_doubted_together() -> None:
    """Where weak pairs alone hold two sure halves together, all pairs across count as what these say, thinned."""
    halves = [(one, other) for one in range(6) for other in range(one + 1, 6)]
    pairs = [(one, other, 9.0 if one // 3 == other // 3 else 0.2) for one, other in halves]
    across = 1 / (1 + np.exp(-9 * 0.2 / 9**REPEAT))

    assert said(pairs, [0] * 6)["precision"] == pytest.approx((6 + 9 * across) / 15, abs=2e-3)


def test_copies_of_one_registration_are_sure() -> None:
    """That copies beyond the tenth are not paired with each other says nothing against them."""
    pairs = [(one, other, 9.0) for one in range(10) for other in range(one + 1, 60)]

    assert said(pairs, [0] * 60)["precision"] > 0.999  # type: ignore[operator]


def test_nothing_scored_says_nothing() -> None:
    """Without pairs there is nothing to be sure of."""
    found = said([], [0, 1])

    assert found["precision"] is None and found["recall"] is None and found["intervals"] == {}


def test_intervals_hold_the_truth_where_log_odds_are_right() -> None:
    """Over made-up runs with calibrated log-odds, the intervals hold the truth nearly always."""
    rng = np.random.default_rng(3)
    held = 0
    for _ in range(20):
        logit = rng.normal(0, 4, 2000)
        true = rng.random(2000) < 1 / (1 + np.exp(-logit))
        linked = logit > 0
        cluster = np.arange(4000)
        cluster[1::2][linked] = cluster[::2][linked]
        found = said([(2 * n, 2 * n + 1, one) for n, one in enumerate(logit)], cluster.tolist())
        precision, recall = true[linked].mean(), (true & linked).sum() / true.sum()
        low, high = zip(found["intervals"]["precision"], found["intervals"]["recall"], strict=True)  # type: ignore[index]
        held += low[0] <= precision <= high[0] and low[1] <= recall <= high[1]

    assert held >= 18
