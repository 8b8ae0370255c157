"""Which pairs are worth an answer: those that can still change the persons, and large persons more than small ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_classifier.score import cascade

Pair = tuple[int, int, float]


def table(pairs: Sequence[Pair]) -> pl.DataFrame:
    kinds = {"left_rid": pl.Int32, "right_rid": pl.Int32, "logit": pl.Float64}
    return pl.DataFrame(pairs, schema=kinds, orient="row")


def worth(pairs: Sequence[Pair], *asked: int) -> list[float]:
    found = cascade.worth(table([pairs[place] for place in asked]), table(pairs), unscored=-1.5)
    return [float(one) for one in found]


def test_what_the_rest_has_settled_is_worth_little() -> None:
    """Two pairs are equally doubtful by themselves: one lies in a person that holds without it, one decides a join."""
    settled = [(0, 1, 9.0), (1, 2, 9.0), (0, 2, -1.0)]
    inside, between = worth([*settled, (5, 6, -1.0)], 2, 3)
    assert inside < between / 10


def test_large_persons_count_more() -> None:
    """The same doubt between two persons of three records each, and between two single records."""
    persons = [(a, b, 9.0) for first in (0, 3) for a, b in ((first, first + 1), (first + 1, first + 2))]
    persons += [(0, 2, 9.0), (3, 5, 9.0)]
    between = [(a, b, -0.1) for a in range(3) for b in range(3, 6)]
    pairs = [*persons, *between, (7, 8, -0.9)]
    large, small = worth(pairs, len(persons), len(pairs) - 1)
    assert large == pytest.approx(9 * small)


def test_pairs_never_scored_speak_too() -> None:
    """One doubtful pair between two persons of two: the three that blocking left out speak against it."""
    persons = [(0, 1, 9.0), (2, 3, 9.0)]
    alone, few = worth([*persons, (0, 2, -0.5), (5, 6, -0.5)], 3, 2)
    assert few / 4 < alone / 2


def test_a_second_answer_about_the_same_persons_tells_less() -> None:
    """Of two like pairs between the same two persons the second is worth half."""
    pairs = [(0, 1, 9.0), (0, 2, -0.5), (1, 2, -0.5)]
    assert sorted(worth(pairs, 1, 2)) == pytest.approx([0.5 * max(worth(pairs, 1, 2)), max(worth(pairs, 1, 2))])


def test_a_loose_member_is_worth_asking_about() -> None:
    """In a person of four, the record that hangs by a thread, and not the pair that is doubtful beside strong ones."""
    strong = [(0, 1, 8.0), (0, 2, 8.0), (1, 2, 0.5)]
    pairs = [*strong, (2, 3, 2.0), (0, 3, -0.5), (1, 3, -0.5)]
    doubtful, loose = worth(pairs, 2, 3)
    assert loose > 5 * doubtful


@settings(deadline=None, max_examples=10)
@given(st.data())
def test_the_order_of_rows_means_nothing(data: st.DataObject) -> None:
    """Shuffled, every pair keeps its worth; none is negative, and none more than the pairs of records it can change."""
    pairs = [
        (a, b, data.draw(st.floats(-8, 8).map(lambda one: round(one, 3))))
        for a in range(6)
        for b in range(a + 1, 6)
        if data.draw(st.booleans())
    ]
    shuffled = data.draw(st.permutations(range(len(pairs))))
    found = np.array(worth(pairs, *range(len(pairs))))
    again = np.array(worth(pairs, *shuffled))
    assert again == pytest.approx(found[list(shuffled)])
    assert (found >= 0).all() and (found <= 9).all()
