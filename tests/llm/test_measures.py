"""The figures that training, validation and sweeps go by."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_classifier import measures


def _drawn(seed: int, size: int = 40) -> tuple[Any, Any, Any]:
    rng = np.random.default_rng(seed)
    labels = (np.arange(size) % 3 == 0).astype(float)
    logits = np.round(rng.normal(0, 1, size) + labels, 1)  # rounded, so that there are ties
    return logits, labels, rng.integers(0, 4, size).astype(float) + (np.arange(size) < 2)


@given(st.integers(0, 10_000))
@settings(deadline=None, max_examples=30)
def test_auroc_is_the_share_of_pairs_in_the_right_order(seed: int) -> None:
    """Counted one by one, with weights and with ties as halves, it is the same number."""
    logits, labels, weights = _drawn(seed)
    right = total = 0.0
    for true in np.flatnonzero(labels):
        for false in np.flatnonzero(1 - labels):
            both = weights[true] * weights[false]
            total += both
            right += both * (float(logits[true] > logits[false]) + 0.5 * float(logits[true] == logits[false]))

    assert measures.auroc(logits, labels, weights) == pytest.approx(right / total)


@given(st.integers(0, 10_000))
@settings(deadline=None, max_examples=30)
def test_weights_are_repetitions(seed: int) -> None:
    """A pair of weight three counts as three pairs of weight one, and one of weight nothing is not there."""
    logits, labels, weights = _drawn(seed)
    repeated = np.repeat(np.arange(len(logits)), weights.astype(int))
    ones = np.ones(len(repeated))

    for measure in (*measures.RANKING.values(), measures.log_loss, measures.brier):
        assert measure(logits, labels, weights) == pytest.approx(measure(logits[repeated], labels[repeated], ones))


def test_average_precision_falls_with_the_share_of_true_pairs() -> None:
    """The same ranking is worth less where true pairs are rarer: without order it is their share."""
    labels = (np.arange(2000) % 2).astype(float)
    blind = np.random.default_rng(0).normal(size=2000)

    for share in (0.5, 0.1):
        weights = np.where(labels > 0, share, 1 - share)
        assert measures.auprc(blind, labels, weights) == pytest.approx(share, abs=0.05)
        assert measures.auprc(labels, labels, weights) == 1.0


def test_a_model_that_means_what_it_says_has_no_calibration_error() -> None:
    """Labels drawn with the probabilities said leave next to none; twice the log-odds leave much."""
    rng = np.random.default_rng(1)
    logits = rng.normal(0, 2, 20_000)
    labels = (rng.random(20_000) < measures.probability(logits)).astype(float)
    ones = np.ones(20_000)

    assert measures.calibration_error(logits, labels, ones) < 0.01
    assert measures.calibration_error(3 * logits, labels, ones) > 0.05


def test_intervals_are_over_groups_of_persons() -> None:
    """Pairs of the same persons say the same thing again: ten copies of each make the interval no narrower."""
    logits, labels, _ = _drawn(3, 60)
    groups = np.arange(60)
    once = measures.figures(logits, labels, np.ones(60), groups=groups)
    copies = [np.repeat(one, 10) for one in (logits, labels, np.ones(60), groups)]
    again = measures.figures(copies[0], copies[1], copies[2], groups=copies[3])

    assert once["auroc"]["low"] < once["auroc"]["value"] < once["auroc"]["high"]
    for end in ("value", "low", "high"):
        assert again["auroc"][end] == pytest.approx(once["auroc"][end])


def test_without_pairs_of_both_kinds_there_is_no_figure() -> None:
    """A split of true pairs alone has no AUROC, rather than a wrong one."""
    assert np.isnan(measures.auroc(np.zeros(3), np.ones(3), np.ones(3)))
    assert np.isnan(measures.auprc(np.zeros(3), np.zeros(3), np.ones(3)))
