"""What two records of one source cost is estimated from scored pairs alone."""

from __future__ import annotations

import numpy as np
import pytest

from resolver.cluster.same_source import Tally, fit


def tally(rng: np.random.Generator, matches: int, share: float) -> Tally:
    """20,000 unlikely pairs of which a quarter are of one source, and `matches` likely ones of which `share` are."""
    found = Tally()
    found.add(rng.normal(-9, 1.5, 20_000), rng.random(20_000) < 0.25)
    found.add(rng.normal(8, 2, matches), rng.random(matches) < share)
    return found


@pytest.mark.parametrize("share", [0.02, 0.1])
def test_finds_how_rare_duplicates_within_a_source_are(share: float) -> None:
    """The cost comes out near the log ratio of the two shares."""
    found = fit(tally(np.random.default_rng(1), 10_000, share), np.array([10, 10, 10, 10]))

    assert found == pytest.approx(np.log(share / 0.25), abs=0.8)


def test_grows_as_duplicates_grow_rarer() -> None:
    """Sources that never hold a person twice make a same-source pair cost more than sources that do."""
    rng = np.random.default_rng(2)
    costs = [fit(tally(rng, 5_000, share), np.array([10, 10])) for share in (0.25, 0.1, 0.0)]

    assert costs[0] > costs[1] > costs[2]
    assert costs[0] == pytest.approx(0, abs=0.2)
    assert costs[2] < -4


def test_a_handful_of_matches_proves_nothing() -> None:
    """With five matches the cost stays near nothing."""
    assert fit(tally(np.random.default_rng(3), 5, 0.0), np.array([10, 10])) > -0.5


def test_one_source_costs_nothing() -> None:
    """Where all records come from one source, being of one source says nothing."""
    found = Tally()
    found.add(np.full(5000, -9.0), np.ones(5000, dtype=bool))
    found.add(np.full(100, 9.0), np.ones(100, dtype=bool))

    assert fit(found, np.array([500])) == 0
    assert fit(Tally(), np.array([0])) == 0
