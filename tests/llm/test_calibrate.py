"""Temperature and bias."""

from __future__ import annotations

import numpy as np
import pytest

from llm_classifier import calibrate, measures
from resolver.errors import TrainingError


def _said(size: int = 40_000) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    true = rng.normal(-1, 2, size)
    return true, (rng.random(size) < measures.probability(true)).astype(float)


def test_platt_finds_what_was_done_to_the_logits() -> None:
    """Logits that were stretched by three and shifted come back as they were."""
    true, labels = _said()
    found = calibrate.fit(3 * true + 2, labels, np.ones(len(true)))

    assert found["temperature"] == pytest.approx(3, rel=0.05)
    assert found["bias"] == pytest.approx(-2 / 3, abs=0.06)
    assert np.abs(calibrate.apply(3 * true + 2, found) - true).max() < 0.5


def test_temperature_alone_shifts_nothing() -> None:
    """The method temperature has no bias, so a logit of nothing stays nothing."""
    true, labels = _said()
    found = calibrate.fit(3 * true, labels, np.ones(len(true)), method="temperature")

    assert found["bias"] == 0
    assert found["temperature"] == pytest.approx(3, rel=0.05)


def test_weights_bring_the_gray_zones_prior() -> None:
    """Where true pairs weigh a tenth, a model trained on a balanced set is shifted by the logarithm of ten."""
    true, labels = _said()
    plain = calibrate.fit(true, labels, np.ones(len(true)))
    gray = calibrate.fit(true, labels, np.where(labels > 0, 0.1, 1.0))

    assert gray["bias"] - plain["bias"] == pytest.approx(-np.log(10), abs=0.1)
    assert gray["temperature"] == pytest.approx(plain["temperature"], rel=0.05)


def test_a_model_without_sense_is_not_believed() -> None:
    """Logits that say the opposite get a temperature that leaves only the prior."""
    true, labels = _said(4000)
    found = calibrate.fit(-true, labels, np.ones(len(true)))
    believed = measures.probability(calibrate.apply(-true, found))

    assert found["temperature"] == pytest.approx(1000)
    assert np.ptp(believed) < 0.01
    assert believed.mean() == pytest.approx(labels.mean(), abs=0.01)


def test_pairs_that_can_be_told_apart_perfectly_leave_finite_numbers() -> None:
    """No slope is infinite."""
    logits = np.array([-2.0, -1.0, 1.0, 2.0])
    found = calibrate.fit(logits, (logits > 0).astype(float), np.ones(4))

    assert 0.01 < found["temperature"] < 1
    assert abs(found["bias"]) < 1
    assert found["prior"] == 0.5


@pytest.mark.parametrize("labels", [np.zeros(4), np.ones(4)])
def test_pairs_of_one_kind_are_refused(labels: np.ndarray) -> None:
    """Nothing can be fitted to them, and that is said."""
    with pytest.raises(TrainingError, match="all of one kind"):
        calibrate.fit(np.arange(4.0), labels, np.ones(4))


def test_logits_that_are_no_numbers_are_refused() -> None:
    """A prompt that was never answered must not be fitted to."""
    with pytest.raises(TrainingError, match="not numbers"):
        calibrate.fit(np.array([0.0, np.nan]), np.array([0.0, 1.0]), np.ones(2))


def test_what_was_never_calibrated_stays_as_it_is() -> None:
    """An artifact without calibration leaves logits alone."""
    assert calibrate.apply(np.array([1.5]), {}).tolist() == [1.5]
