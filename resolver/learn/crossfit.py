"""Fits trees so that each pair is scored by trees that have not seen it, and turns scores into log-odds.

Knows nothing of where labels come from.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from resolver.fusion import probability
from resolver.judges.features import Feature
from resolver.judges.trees import RATE, Floats, fit

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]
Table = NDArray[np.float32]

STEPS = 20  # of probability, over which the calibration error is averaged
FAITH = 20.0  # imagined pairs that say the scores are right as they stand, so that a handful can't bend the line
STEEPEST = 3.0  # a line steeper than this follows from a lack of errors, not from evidence


def cross_fit(
    table: Table,
    features: Sequence[Feature],
    labels: Floats,
    taught: Sequence[Flags],
    asked: Sequence[Flags],
    *,
    rounds: int,
    leaves: int,
    seed: int,
    threads: int,
    weights: Floats | None = None,
    rate: float = RATE,
) -> tuple[tuple[str, ...], Floats]:
    """One model per fold, as text, and the score of each pair; not a number for pairs that no fold is asked about.

    The model of fold i learns from the pairs `taught[i]` and scores the pairs `asked[i]`.
    """
    scores = np.full(len(table), np.nan)

    def one(fold: int) -> str:
        learn, score = taught[fold], asked[fold]
        given = None if weights is None else weights[learn]
        trees = fit(
            table[learn],
            labels[learn],
            features,
            rounds=rounds,
            leaves=leaves,
            rate=rate,
            seed=seed,
            weights=given,
        )
        if score.any():
            scores[score] = trees.predict(table[score], 1)
        return trees.text

    with ThreadPoolExecutor(threads) as pool:
        return tuple(pool.map(one, range(len(taught)))), scores


def line(
    scores: Floats, labels: Floats, weights: Floats | None = None, start: tuple[float, float] = (1.0, 0.0)
) -> tuple[float, float]:
    """Slope and intercept for which slope * score + intercept are the log-odds that the labels bear out (Platt).

    The slope is never below 0, so more score never means less.
    """
    weight = np.ones(len(scores)) if weights is None else weights
    slope, intercept = start
    for _ in range(100):
        says = probability(slope * scores + intercept)
        miss, bend = weight * (says - labels), weight * says * (1 - says)
        gradient = np.array([(miss * scores).sum() + FAITH * (slope - 1), miss.sum() + FAITH * intercept / 4])
        cross = (bend * scores).sum()
        curve = np.array([[(bend * scores**2).sum() + FAITH, cross], [cross, bend.sum() + FAITH / 4]])
        step = np.linalg.solve(curve, gradient)
        step = step / max(1.0, float(np.abs(step).max()))
        slope, intercept = slope - float(step[0]), intercept - float(step[1])
        if np.abs(step).max() < 1e-9:
            break
    return float(np.clip(slope, 0.0, STEEPEST)), intercept


def calibration_error(logit: Floats, labels: Floats, weights: Floats | None = None) -> float:
    """Mean distance between what probabilities say and what is so, over equal steps of probability."""
    weight = np.ones(len(logit)) if weights is None else weights
    says = probability(logit)
    place = np.minimum((says * STEPS).astype(np.int64), STEPS - 1)
    said, was = (np.bincount(place, weights=weight * one, minlength=STEPS) for one in (says, labels))
    return float(np.abs(said - was).sum() / max(weight.sum(), 1e-12))
