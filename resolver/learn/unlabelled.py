"""Learning without labels: two views of a pair teach each other, and the persons they come to teach both.

    Splink's log-odds, tempered    first, soft labels from the demographics
    clinical view                  trees on the histories alone, fitted to these labels, added to Splink's log-odds
    joint view                     trees on everything, fitted to the sum
    persons                        clustering by the joint log-odds; who ends up in one person labels the pairs
    refit                          the joint view on these labels, and again, until the labels hardly change

Every fit is cross-fitted: a pair is scored by trees that have not seen it. Labels stay soft, since hard ones drift.
Uses no truth, and knows nothing of files.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from resolver.cluster.solve import cluster
from resolver.judges.features import Feature, clinical, demographic
from resolver.judges.learned import Model, pair_folds
from resolver.judges.trees import Floats, fit
from resolver.learn.sample import Sample

FOLDS = 3
TEACH_ROUNDS = 3  # of Splink and the clinical view
MOST_REFITS = 3  # more of them and the labels feed on their own mistakes
STILL = 0.0005  # share of the linked pairs that may change for the labels to count as settled
# Splink takes its fields to be independent. Where they are not (twins share a name, a date and an address) it is sure
# and wrong, and no history could say so. So its log-odds are shrunk and capped before they teach.
TEMPER = 0.35
SUREST = 3.0
CAP = 6.0  # log-odds that the clinical view alone may add
FAITH = 0.9  # how much of a label comes from the persons; the rest from the score
TREES = 150

Say = Callable[[str], None]


@dataclass(frozen=True)
class Taught:
    demographic: Model
    joint: Model | None
    rounds: int
    changed: float  # share of the linked pairs whose label changed in the last round
    labels: Floats


def teach(sample: Sample, *, seed: int, threads: int, unscored: float, same_source: float, say: Say) -> Taught:
    folds = pair_folds(sample.folds, sample.left, sample.right, FOLDS)

    def crossed(table: NDArray[np.float32], features: Sequence[Feature], labels: Floats) -> tuple[Model, Floats]:
        return _cross_fit(table, features, labels, folds, seed=seed, threads=threads)

    prior = np.clip(sample.splink * TEMPER, None, SUREST)
    labels = _probability(prior)
    with_histories = bool(sample.known.any())
    if with_histories:
        rows = np.flatnonzero(sample.known)
        for number in range(TEACH_ROUNDS):
            say(f"learn: histories, round {number + 1}")
            _, score = _cross_fit(
                sample.clinical[rows], clinical.FEATURES, labels[rows], folds[rows], seed=seed, threads=threads
            )
            base = np.log(labels[rows].mean() / (1 - labels[rows].mean()))
            evidence = np.zeros(len(sample))
            evidence[rows] = np.clip(score - base, -CAP, CAP)
            labels = _probability(prior + evidence)
    table = sample.joint if with_histories else sample.demographic
    features = (*demographic.FEATURES, *clinical.FEATURES) if with_histories else demographic.FEATURES

    say("learn: both views")
    joint, score = crossed(table, features, labels)
    linked = np.zeros(len(sample), dtype=bool)
    changed, number = 1.0, 0
    for number in range(1, MOST_REFITS + 1):
        say(f"learn: persons, round {number}")
        persons = cluster(
            sample.records,
            sample.left,
            sample.right,
            score,
            sample.source,
            unscored=unscored,
            same_source=same_source,
        ).labels
        before, linked = linked, persons[sample.left] == persons[sample.right]
        changed = float((before != linked).sum() / max(linked.sum(), 1))
        labels = FAITH * linked + (1 - FAITH) * _probability(score)
        if changed <= STILL:
            break
        joint, score = crossed(table, features, labels)
    say("learn: demographics alone")
    alone, _ = crossed(sample.demographic, demographic.FEATURES, labels) if with_histories else (joint, score)
    return Taught(alone, joint if with_histories else None, number, changed, labels)


def _cross_fit(
    table: NDArray[np.float32],
    features: Sequence[Feature],
    labels: Floats,
    folds: NDArray[np.int64],
    *,
    seed: int,
    threads: int,
) -> tuple[Model, Floats]:
    scores = np.empty(len(table))

    def one(fold: int) -> str:
        held = folds == fold
        trees = fit(table[~held], labels[~held], features, rounds=TREES, seed=seed)
        if held.any():
            scores[held] = trees.predict(table[held], 1)
        return trees.text

    with ThreadPoolExecutor(threads) as pool:
        return Model(tuple(pool.map(one, range(FOLDS)))), scores


def _probability(logit: Floats) -> Floats:
    result: Floats = 1 / (1 + np.exp(-np.clip(logit, -30, 30)))
    return result
