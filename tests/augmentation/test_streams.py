"""Draws that hang on what they are for, and on nothing else."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from augmentation.streams import Stream, key, keys_of, keys_of_numbers, mix, uniform


@settings(deadline=None, max_examples=30)
@given(st.lists(st.text(min_size=1, max_size=40).filter(lambda text: "\x00" not in text), min_size=1, max_size=20))
def test_a_key_is_the_same_alone_and_in_company(texts: list[str]) -> None:
    """The key of a record does not depend on which others stand beside it."""
    together = keys_of(texts, 7)

    assert [int(keys_of([text, "x" * 50], 7)[0]) for text in texts] == [int(one) for one in together]


def test_draws_are_even() -> None:
    """Uniform draws fill (0, 1) evenly, and two streams of one record have nothing to do with each other."""
    keys = keys_of_numbers(np.arange(50_000), 3)
    one, two = uniform(keys, key("one")), uniform(keys, key("two"))

    counts, _ = np.histogram(one, bins=10, range=(0, 1))
    assert counts.min() > 4_700
    assert counts.max() < 5_300
    assert abs(float(np.corrcoef(one, two)[0, 1])) < 0.02
    assert len(np.unique(mix(keys, 1))) == len(keys)


def test_a_stream_is_pinned() -> None:
    """The draws of a key never change from one version to the next, or old seeds would mean other data."""
    stream = Stream(key("a", 1))

    assert key("a", 1) == 13924241962069754241
    assert [stream.below(1000) for _ in range(5)] == [819, 772, 96, 747, 629]
    assert int(keys_of(["abc"], 1)[0]) == 11159516814864952183


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**64 - 1), st.integers(1, 1000))
def test_whole_numbers_stay_in_range(state: int, count: int) -> None:
    """`below` and `between` keep within what was asked for."""
    stream = Stream(state)

    assert 0 <= stream.below(count) < count
    assert 5 <= stream.between(5, 5 + count) <= 5 + count
