"""Calibrates scores on something that no label shaped: how often a pair comes from one source.

Two persons are found in one source as often as chance has it; two records of one person are found there seldom, or as
often as the source registers people twice. So among pairs of a given score, the share that comes from one source tells
how many of them are two persons, whatever the trees that gave the score were taught. Knows nothing of trees.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from resolver.fusion import probability
from resolver.judges.trees import Floats
from resolver.learn.crossfit import line

STEP = 0.1  # of the score, at which pairs are counted together
LOWEST, HIGHEST = -8.0, 12.0
UNLIKELY = -5.0  # pairs below are two persons; what share of them comes from one source is chance
OPEN = 4.0  # pairs within are open
FEWEST = 20  # open pairs of one source, for the line to be known at all
ROUNDS = 3_000
MOST_CHANGE = 0.25  # of the expected matches, by a line that is believed


@dataclass(frozen=True)
class Witness:
    """log-odds = intercept + slope * score, and how it came about."""

    slope: float
    intercept: float
    chance: float  # share of the pairs of two persons that come from one source
    twice: float  # share of the pairs of one person that come from one source
    heard: int  # open pairs of one source; 0 where sources can't tell


NOBODY = Witness(1.0, 0.0, 0.0, 0.0, 0)


def hear(score: Floats, same: NDArray[np.bool_], weights: Floats | None = None) -> Witness:
    """`same`: whether a pair comes from one source; `weights`: how many pairs each stands for."""
    weight = np.ones(len(score)) if weights is None else weights
    low = score < UNLIKELY
    chance = float((weight * same)[low].sum() / weight[low].sum()) if low.any() else 0.0
    heard = int((same & (np.abs(score) < OPEN)).sum())
    if heard < FEWEST or not 0.02 < chance < 0.9:
        return NOBODY
    edges = np.arange(LOWEST, HIGHEST + STEP / 2, STEP)
    place = np.digitize(score, edges)
    middle = np.concatenate([[LOWEST - STEP], (edges[:-1] + edges[1:]) / 2, [HIGHEST + STEP]])[1:]
    counts: list[Floats] = [
        np.bincount(place[one], weight[one], len(edges) + 1)[1:].astype(float) for one in (same, ~same)
    ]
    slope, intercept, twice = 1.0, 0.0, chance / 2
    both = np.concatenate([middle, middle])
    counted = np.concatenate(counts)
    for _ in range(ROUNDS):
        one = probability(slope * middle + intercept)
        here = twice * one / (twice * one + chance * (1 - one))
        there = (1 - twice) * one / ((1 - twice) * one + (1 - chance) * (1 - one))
        matches = [counts[0] * here, counts[1] * there]
        total = matches[0].sum() + matches[1].sum()
        twice = min(float((matches[0].sum() + chance) / (total + 1)), chance)
        before = (slope, intercept)
        slope, intercept = line(both, np.concatenate([here, there]), counted, start=before)
        if abs(slope - before[0]) + abs(intercept - before[1]) < 1e-6:
            break
    # Where sources register look-alikes, or the same people in their own way, the share of one source tells of that and
    # not of the scores: a line that finds many more matches than these, or many fewer, is none to believe.
    expected, found = (float((counted * probability(odds)).sum()) for odds in (both, slope * both + intercept))
    if abs(found - expected) > MOST_CHANGE * expected:
        return NOBODY
    return Witness(slope, intercept, chance, twice, heard)
