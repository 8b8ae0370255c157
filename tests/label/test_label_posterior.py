"""What answers say of all pairs: it covers the truth, it tightens, and it sees through wrong answers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resolver.label import posterior
from resolver.label.posterior import Strata, weigh

# Questions of eight strata: promised log-odds, how many there are, pairs each.
TOGETHER = np.array([True, True, True, True, False, False, False, False])
PROMISED = np.array([1.0, 3.0, 6.0, 8.0, -5.0, -4.0, -2.0, 0.5])
COUNT = np.array([40, 90, 300, 1200, 250, 120, 40, 12])
WEIGHT = np.array([1.0, 1.5, 2.0, 3.0, 2.0, 2.0, 1.0, 1.0])


def strata(drawn: Any = 0, same: Any = 0) -> Strata:
    drawn, same = (np.zeros(8, dtype=np.int64) + np.array(one) for one in (drawn, same))
    return Strata(TOGETHER, PROMISED, COUNT, WEIGHT, drawn, same, same, drawn - same)


@pytest.mark.parametrize(("bent", "shifted"), [(1.0, 0.0), (0.8, -0.4), (1.2, 0.5)])
def test_intervals_cover_the_truth(bent: float, shifted: float) -> None:
    """Over populations whose promises are right, too sure or too modest, nine in ten intervals hold the truth."""
    rng = np.random.default_rng(5)
    held = 0
    for _ in range(20):
        share = 1 / (1 + np.exp(-(bent * PROMISED + shifted + rng.normal(0, 0.3, 8))))
        true = rng.binomial(COUNT, share)
        drawn = np.minimum(COUNT, [20, 15, 15, 20, 15, 15, 20, 12])
        same = rng.hypergeometric(true, COUNT - true, drawn)
        found = weigh(strata(drawn, same), 0)
        inside, outside = ((true * WEIGHT)[side].sum() for side in (TOGETHER, ~TOGETHER))
        precision, recall = inside / (COUNT * WEIGHT)[TOGETHER].sum(), inside / (inside + outside)
        assert found.precision and found.recall
        held += found.precision.low <= precision <= found.precision.high
        held += found.recall.low <= recall <= found.recall.high

    assert held >= 36


def test_answers_tighten_the_interval() -> None:
    """Answers as promised make precision and recall surer than the promise alone."""
    share = 1 / (1 + np.exp(-PROMISED))
    before = weigh(strata(), 0)
    drawn = np.minimum(COUNT, 40)
    after = weigh(strata(drawn, np.rint(drawn * share).astype(int)), 0)

    assert before.precision and before.recall and after.precision and after.recall
    assert after.precision.spread < 0.6 * before.precision.spread
    assert after.recall.spread < 0.7 * before.recall.spread


def test_many_answers_speak_for_themselves() -> None:
    """Where all of a promise is wrong, the answers win: half of the sure links are wrong, and precision says so."""
    drawn = np.array([40, 60, 60, 200, 0, 0, 0, 0])
    found = weigh(strata(drawn, drawn // 2), 0)

    assert found.precision
    assert found.precision.value == pytest.approx(0.5, abs=0.08)
    assert found.slope.high < 1.0


def test_scattered_wrong_answers_are_seen_through() -> None:
    """One answer in twenty against links that are right is taken for slips, not for a wrong link in twenty."""
    drawn = np.array([20, 20, 40, 40, 20, 20, 10, 5])
    same = np.array([14, 19, 38, 38, 1, 1, 2, 3])
    found = weigh(strata(drawn, same), 0)

    assert found.precision
    assert found.slips > 0.03
    assert found.precision.value > 0.96


def test_nothing_linked_has_no_precision() -> None:
    """Without a single link, precision is not a number that is made up."""
    nobody = Strata(
        ~TOGETHER[:4], PROMISED[4:], COUNT[4:], WEIGHT[4:], *(np.zeros(4, dtype=np.int64) for _ in range(4))
    )

    assert weigh(nobody, 0).precision is None


@settings(deadline=None, max_examples=15)
@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), min_size=8, max_size=8))
def test_any_answers_give_figures_in_order(answers: list[tuple[int, int]]) -> None:
    """Whatever is answered, low <= value <= high within 0 and 1, and the same answers give the same figures."""
    drawn = np.array([max(pair) for pair in answers])
    same = np.array([min(pair) for pair in answers])
    found = weigh(strata(drawn, same), 0)

    for one in (found.precision, found.recall):
        assert one and 0 <= one.low <= one.value <= one.high <= 1
    assert found.precision == weigh(strata(drawn, same), 0).precision
    assert (posterior.gain(strata(drawn, same), found) >= 0).all()
