"""How fast the values of a field go out of date, from how agreement between records of a person falls with the time
between them.

Two records made the same year agree but for errors; if those made ten years apart agree less, the rest is moves, new
telephones and new family names. Where agreement does not fall, newer is not better. Knows nothing of the vote.
"""

from __future__ import annotations

import numpy as np

from resolver.golden.ballot import Ballot

BOUNDS = (0.0, 2.0, 5.0, 10.0, 20.0)  # years between two records, in bins
HOLD = 300.0  # pairs of records to see before what is counted outweighs what is usual for the field


def hazard(ballot: Ballot, person_of: np.ndarray, age_years: np.ndarray) -> float:
    """Share of values that a year makes outdated. `age_years`: how much older each record is than the person's newest;
    NaN where unknown."""
    usual = ballot.field.outdated
    kept = (ballot.value >= 0) & np.isfinite(age_years[ballot.record])
    record, value = ballot.record[kept], ballot.value[kept]
    if usual == 0 or len(record) == 0:
        return usual
    person, age = person_of[record], age_years[record]
    order = np.lexsort((record, age, person))
    person, age, value = person[order], age[order], value[order]
    newest = np.searchsorted(person, person)
    pair = np.arange(len(person)) != newest
    gap, agree = (age - age[newest])[pair], (value == value[newest])[pair]
    bins = np.searchsorted(BOUNDS, gap, side="right") - 1
    count = np.bincount(bins, minlength=len(BOUNDS))
    rate = (np.bincount(bins, weights=agree, minlength=len(BOUNDS)) + 0.5) / (count + 1)
    when = np.bincount(bins, weights=gap, minlength=len(BOUNDS)) / np.maximum(count, 1)
    if count.sum() == 0 or (count > 0).sum() < 2:
        return usual
    # A straight line through the logarithms: agreement = errors * exp(-hazard * years).
    middle = np.average(when, weights=count)
    spread = np.average((when - middle) ** 2, weights=count)
    slope = np.average((when - middle) * np.log(rate), weights=count) / max(spread, 1e-9)
    found = float(np.clip(-slope, 0.0, 0.3))
    return (found * count.sum() + usual * HOLD) / (count.sum() + HOLD)
