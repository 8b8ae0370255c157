"""Estimates from the data what it costs two records of one source to be one person. No labels needed.

Among pairs that are one person, two records of one source are rarer than among other candidates, unless sources
register people twice. How much rarer is found by expectation maximisation over the pairs that are more likely than not.
This file knows nothing of clusters.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

BINS = np.arange(-12.0, 12.25, 0.25)
# A pair counts as at most this sure: scores of pairs that look alike overstate, and the false ones among the surest are
# just what must not teach that sources register people twice.
SUREST = 5.0
UNLIKELY = -4.6  # below this log-odds (p = .01) a pair counts as two persons
ENOUGH = 1_000  # unlikely pairs needed to learn the share from them; with fewer, chance serves
PRIOR = 20.0  # imaginary matches with no effect of the source, so that a handful of pairs proves nothing


class Tally:
    """How many pairs of one source, and of two, there are at each log-odds."""

    def __init__(self) -> None:
        self.counts = np.zeros((2, len(BINS) + 1))

    def add(self, logit: npt.NDArray[np.float64], same: npt.NDArray[np.bool_]) -> None:
        place = np.searchsorted(BINS, logit, side="right")
        for row, chosen in enumerate((same, ~same)):
            self.counts[row] += np.bincount(place[chosen], minlength=len(BINS) + 1)


def fit(tally: Tally, per_source: npt.NDArray[np.int64]) -> float:
    """Log-odds that two records of one source add: zero or less."""
    middle = np.concatenate(([BINS[0]], (BINS[:-1] + BINS[1:]) / 2, [BINS[-1]]))
    same, other = tally.counts
    unlikely = middle < UNLIKELY
    total = float((same + other)[unlikely].sum())
    records = float(per_source.sum())
    if total >= ENOUGH:
        usual = float(same[unlikely].sum()) / total
    elif records > 1:
        usual = float((per_source * (per_source - 1.0)).sum() / (records * (records - 1.0)))
    else:
        return 0.0
    if usual <= 0.0 or usual >= 1.0:
        return 0.0  # one source, or none that holds two records: nothing to compare

    likely = middle > 0
    same, other, logit = same[likely], other[likely], np.minimum(middle[likely], SUREST)
    share = usual
    for _ in range(500):
        for_same = float((same / (1 + np.exp(-logit - np.log(share / usual)))).sum())
        for_other = float((other / (1 + np.exp(-logit - np.log((1 - share) / (1 - usual))))).sum())
        found = (for_same + PRIOR * usual) / (for_same + for_other + PRIOR)
        done, share = abs(found - share) < 1e-9, min(found, usual)
        if done:
            break
    return round(min(0.0, float(np.log(share / usual))), 4)
