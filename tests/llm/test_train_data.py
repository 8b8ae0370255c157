"""Rows, their order, and batches."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_classifier.train import data


@given(st.lists(st.integers(1, 400), min_size=1, max_size=300), st.integers(1, 16), st.booleans(), st.integers(0, 9))
@settings(deadline=None, max_examples=40)
def test_an_epoch_sees_every_pair_once(lengths: list[int], batch: int, by_length: bool, epoch: int) -> None:
    """In whatever order; and the same seed and epoch give the same order again, in whatever process."""
    order = data.Order(lengths, batch=batch, by_length=by_length, seed=5)
    order.set_epoch(epoch)
    again = data.Order(lengths, batch=batch, by_length=by_length, seed=5)
    again.set_epoch(epoch)

    assert sorted(order) == list(range(len(lengths)))
    assert list(order) == list(order) == list(again)


def test_like_lengths_share_a_batch_in_random_order() -> None:
    """Padding nearly goes away; long batches are not all at the end; another epoch has another order."""
    lengths = np.random.default_rng(0).integers(10, 1000, 1600)

    def padding(by_length: bool) -> float:
        batches = lengths[list(data.Order(lengths, batch=8, by_length=by_length, seed=0))].reshape(-1, 8)
        return float((batches.max(1)[:, None] - batches).sum() / lengths.sum())

    order = data.Order(lengths, batch=8, by_length=True, seed=0)
    first = list(order)
    longest = lengths[first].reshape(-1, 8).max(1)
    order.set_epoch(1)

    assert padding(True) < 0.1 * padding(False)
    assert abs(np.corrcoef(longest, np.arange(len(longest)))[0, 1]) < 0.2
    assert first != list(order)


def test_a_draw_keeps_both_orders_of_a_pair() -> None:
    """Pairs are drawn, not rows, and the same ones whatever the order of the table."""
    pairs = pl.DataFrame({"pair_id": np.repeat(np.arange(50), 2), "swapped": [False, True] * 50})
    drawn = data.drawn(pairs, 20, seed=1)

    assert drawn.height == 40
    assert drawn.get_column("pair_id").n_unique() == 20
    assert data.drawn(pairs.reverse(), 20, seed=1).sort("pair_id", "swapped").equals(drawn)
    assert not data.drawn(pairs, 20, seed=2).equals(drawn)
    assert data.once(pairs, 20, seed=1).height == 20


def test_weights_of_the_loss() -> None:
    """balanced: both labels count the same in total; gray: as the data set says; one on average in any case."""
    pairs = pl.DataFrame({"label": [1, 0, 0, 0], "weight": [1.0, 3.0, 0.0, 0.0]})

    for how, wanted, prior in (
        ("none", [1, 1, 1, 1], 0.25),
        ("balanced", [2, 2 / 3, 2 / 3, 2 / 3], 0.5),
        ("gray", [1, 3, 0, 0], 0.25),
    ):
        found, share = data.loss_weights(pairs, how)
        assert found.tolist() == pytest.approx(wanted)
        assert share == pytest.approx(prior)


@pytest.mark.llm
def test_batches_are_padded_on_the_right() -> None:
    """Of a causal model the answer stands after the prompt, and it alone is learned."""
    rows = [{"input_ids": [2, 5, 6], "label": 1, "weight": 1.0}, {"input_ids": [2, 7], "label": 0, "weight": 0.5}]
    plain = data.Collator(0)(rows)
    causal = data.Collator(0, (8, 9))(rows)

    assert plain["input_ids"].tolist() == [[2, 5, 6], [2, 7, 0]]
    assert plain["attention_mask"].tolist() == [[1, 1, 1], [1, 1, 0]]
    assert causal["input_ids"].tolist() == [[2, 5, 6, 9], [2, 7, 8, 0]]
    assert causal["labels"].tolist() == [[-100, -100, -100, 9], [-100, -100, 8, -100]]
    assert causal["weight"].tolist() == [1.0, 0.5]
