"""Fitting to labels leaves out most of the sure non-matches, and those that stay count for them."""

from __future__ import annotations

import numpy as np

from resolver.learn.labelled import FAR, ONE_IN, Population, thinned
from resolver.learn.sample import Sample


def _population(pairs: int) -> Population:
    """Records 0, 1 are one person, 2, 3 the next, and so on; Splink is sure of half of the false pairs."""
    left, right = (side[:pairs].astype(np.int64) for side in np.triu_indices(200, 1))
    person = np.arange(200) // 2
    rows = np.arange(pairs)
    table = rows[:, None].astype(np.float32)
    sample = Sample(
        records=200,
        left=left,
        right=right,
        splink=np.where(rows % 2 == 0, FAR - 3.0, FAR + 3.0),
        demographic=table,
        clinical=table,
        known=np.ones(pairs, dtype=bool),
        source=np.zeros(200, dtype=np.int64),
        folds=np.zeros(200, dtype=np.int64),
    )
    return Population("made", sample, person, {}, {})


def test_a_part_of_the_sure_non_matches_stands_for_all() -> None:
    """Matches and pairs that Splink leaves open all stay; of the others about one in so many, which counts for them."""
    whole = _population(12_000)
    less = thinned(whole)
    assert less.weight is not None
    row = less.sample.demographic[:, 0].astype(int)
    sure = (whole.labels == 0) & (whole.sample.splink < FAR)

    assert set(np.flatnonzero(~sure)) <= set(row)
    assert np.array_equal(less.weight, np.where(sure[row], ONE_IN, 1))
    assert abs(less.weight.sum() / len(whole.sample) - 1) < 0.1
    assert np.array_equal(less.sample.left, whole.sample.left[row])
    assert np.array_equal(less.labels, whole.labels[row])
    assert less.sample.glance is None


def test_which_pairs_stay_hangs_on_the_pair_alone() -> None:
    """Fewer pairs in the input change nothing about the others."""
    some, all_of_them = (thinned(_population(pairs)).sample for pairs in (6_000, 12_000))

    assert np.array_equal(some.left, all_of_them.left[: len(some)])
    assert np.array_equal(some.right, all_of_them.right[: len(some)])
