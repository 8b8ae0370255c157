"""Fits the judges to labelled populations, any number of them mixed, and measures them on persons left out.

Each population counts the same, whatever its size. Persons are split into folds: scores that calibration and figures
rest on come from trees that have seen neither person of the pair. Knows nothing of files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resolver.cluster.graph import scramble
from resolver.errors import TrainingError
from resolver.evaluate import counts
from resolver.judges.features import Feature, clinical, demographic, glance
from resolver.judges.learned import CLINICAL_BOUNDS, Gates, Learned, Model
from resolver.judges.trees import RATE, Floats, fit
from resolver.learn import gate, judged, profile
from resolver.learn.crossfit import calibration_error, cross_fit, line
from resolver.learn.sample import Sample
from resolver.settings.stages import ClusterSettings

FOLDS = 4
ROUNDS = 600
LEAVES = 31
# Persons are made as by default in a run.
_CLUSTER = ClusterSettings()
UNSCORED, AGAINST = _CLUSTER.unscored_logit, _CLUSTER.against
FEWEST = 200  # true pairs among the candidates of all populations together
# Nine in ten candidates are strangers whom Splink tells apart. One in so many of those below these log-odds is learned
# from, and counts for all of them: the others would teach the same.
FAR, ONE_IN = -4.0, 8

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Population:
    name: str
    sample: Sample
    person: Ints  # per record; -1 where the truth does not know it
    profile: profile.Profile
    slices: dict[str, tuple[Ints, list[str]]]  # per record the number of its value, and the values
    weight: Floats | None = None  # per pair how many it stands for; none: each for itself

    @property
    def known(self) -> NDArray[np.bool_]:
        """Pairs whose records the truth knows."""
        return (self.person[self.sample.left] >= 0) & (self.person[self.sample.right] >= 0)

    @property
    def labels(self) -> Floats:
        return (self.person[self.sample.left] == self.person[self.sample.right]).astype(float)


@dataclass(frozen=True)
class _Stack:
    """The labelled pairs of all populations, one below the other."""

    labels: Floats
    weights: Floats
    left: Ints  # fold of the left record's person
    right: Ints

    @classmethod
    def of(cls, populations: Sequence[Population]) -> _Stack:
        labels, weights, left, right = [], [], [], []
        mean = float(np.mean([one.known.sum() for one in populations]))  # keeps weights near one
        for one in populations:
            rows = one.known
            fold = _person_folds(one.person)
            labels.append(one.labels[rows])
            stands_for: Floats = np.ones(int(rows.sum())) if one.weight is None else one.weight[rows]
            weights.append(stands_for * mean / max(float(stands_for.sum()), 1.0))
            left.append(fold[one.sample.left[rows]])
            right.append(fold[one.sample.right[rows]])
        return cls(np.concatenate(labels), np.concatenate(weights), np.concatenate(left), np.concatenate(right))

    def taught(self, rows: NDArray[np.bool_]) -> list[NDArray[np.bool_]]:
        return [rows & (self.left != fold) & (self.right != fold) for fold in range(FOLDS)]

    def asked(self, rows: NDArray[np.bool_]) -> list[NDArray[np.bool_]]:
        return [rows & (self.left == fold) & (self.right == fold) for fold in range(FOLDS)]

    @property
    def mix(self) -> Floats:
        """Weights with which the pairs that folds are asked about stand for all pairs.

        Both persons of a pair must be in one fold, which a true pair always is and one in FOLDS of the others.
        """
        return self.weights * np.where(self.labels > 0, 1.0, FOLDS)


def thinned(population: Population) -> Population:
    """The population with fewer of the false pairs that Splink tells apart; which ones hangs on the pair alone."""
    sample = population.sample
    far = (population.labels == 0) & (sample.splink < FAR)
    kept = np.flatnonzero(~far | (scramble(sample.left, sample.right) % ONE_IN == 0))
    return replace(population, sample=sample.take(kept), weight=np.where(far[kept], float(ONE_IN), 1.0))


def train(populations: Sequence[Population], *, seed: int, threads: int) -> Learned:
    """The judges' models, calibrated, with a card that says what they were fitted to."""
    taught = [thinned(one) for one in populations]
    stack = _Stack.of(taught)
    if stack.labels.sum() < FEWEST:
        raise TrainingError(
            f"{int(stack.labels.sum())} true pairs among the candidates are too few to train on; {FEWEST} are needed.",
            do="Give more or larger labelled populations.",
        )
    everyone = np.ones(len(stack.labels), dtype=bool)
    fields = np.vstack([one.sample.demographic[one.known] for one in taught])
    alone, crossed = _model(fields, demographic.FEATURES, stack, everyone, seed, threads)
    both, final = None, crossed
    with_histories = np.concatenate([one.sample.known[one.known] for one in taught])
    if with_histories.any():
        table = np.hstack([fields, np.vstack([one.sample.clinical[one.known] for one in taught])])
        low, high = CLINICAL_BOUNDS
        # Pairs that the demographics settle are not asked about, so they bend no line; they teach all the same.
        features = (*demographic.FEATURES, *clinical.FEATURES)
        both, joint = _model(table, features, stack, with_histories, seed, threads)
        answered = with_histories & (crossed > low) & (crossed < high) & np.isfinite(joint)
        final = np.where(answered, joint, crossed)
    gates = _gates(taught, stack, fields, final, seed, threads)
    card = {
        "populations": [
            {
                "name": one.name,
                "records": one.sample.records,
                "persons": len(np.unique(one.person[one.person >= 0])),
                "pairs": int(one.known.sum()),
                "true_pairs": int(one.labels[one.known].sum()),
            }
            for one in populations
        ],
        "held_out_calibration_error": round(_error(final, stack, everyone), 5),
        "folds": FOLDS,
        "rounds": ROUNDS,
        "seed": seed,
    }
    learned = Learned("shipped", "trained on labelled populations", alone, both, card, gates)
    card["seen"] = [
        {"name": one.name, **one.profile, **profile.doubt(judged.logits(one.sample, learned, threads))}
        for one in populations
    ]
    return learned


def _model(
    table: NDArray[np.float32],
    features: Sequence[Feature],
    stack: _Stack,
    rows: NDArray[np.bool_],
    seed: int,
    threads: int,
    trees: int | None = None,
    leaves: int = LEAVES,
    rate: float = RATE,
) -> tuple[Model, Floats]:
    """Trees fitted to all persons, with the line that cross-fitted scores bear out; and those scores as log-odds."""
    rounds = trees or ROUNDS
    _, scores = cross_fit(
        table,
        features,
        stack.labels,
        stack.taught(rows),
        stack.asked(rows),
        rounds=rounds,
        leaves=leaves,
        rate=rate,
        seed=seed,
        threads=threads,
        weights=stack.weights,
    )
    seen = np.isfinite(scores)
    slope, intercept = line(scores[seen], stack.labels[seen], stack.mix[seen])
    whole = fit(
        table[rows],
        stack.labels[rows],
        features,
        rounds=rounds,
        leaves=leaves,
        rate=rate,
        seed=seed,
        weights=stack.weights[rows],
    )
    return Model((whole.text,), slope, intercept), intercept + slope * scores


def _gates(
    populations: Sequence[Population], stack: _Stack, known: NDArray[np.float32], final: Floats, seed: int, threads: int
) -> Gates | None:
    """Quick looks, closed where hardly a match is lost of those that the other judges leave open."""
    seen = [one.sample.glance[one.known] for one in populations if one.sample.glance is not None]
    if len(seen) < len(populations):
        return None
    every = np.ones(len(stack.labels), dtype=bool)
    looks = [
        gate.Look(*_model(table, features, stack, every, seed, threads, gate.TREES, gate.LEAVES, gate.RATE))
        for table, features in ((np.vstack(seen), glance.FEATURES), (known, demographic.FEATURES))
    ]
    rows = np.isfinite(looks[0].logit) & np.isfinite(final)
    matches = stack.mix * stack.labels
    first, second = (replace(look, logit=look.logit[rows]) for look in looks)
    return gate.closed(first, second, final[rows], matches[rows], stack.mix[rows])


def _error(logit: Floats, stack: _Stack, rows: NDArray[np.bool_]) -> float:
    seen = rows & np.isfinite(logit)
    return calibration_error(logit[seen], stack.labels[seen], stack.mix[seen])


def figures(population: Population, learned: Learned, *, unscored: float, threads: int) -> dict[str, Any]:
    """How well a model does on a population, after clustering; only the cost of a source is fitted on it."""
    sample = population.sample
    logit = judged.logits(sample, learned, threads)
    cost = judged.same_source(sample, logit)
    cluster = judged.persons(sample, logit, unscored=unscored, cost=cost, against=AGAINST)
    laid = counts.lay(population.person, cluster)
    rows = population.known
    true, in_cluster = (laid.in_person - 1).sum() / 2, (laid.in_cluster - 1).sum() / 2
    return {
        "name": population.name,
        "records": sample.records,
        "blocking_recall": round(float(population.labels[rows].sum() / max(true, 1)), 6),
        "candidates_per_record": round(len(sample) / sample.records, 2),
        **counts.score(float((laid.in_both - 1).sum() / 2), float(in_cluster), float(true)),
        **{
            name: value
            for name, value in counts.of_clusters(laid).items()
            if name in ("true_persons", "split", "impure")
        },
        "calibration_error": round(calibration_error(logit[rows], population.labels[rows]), 5),
        "same_source_logit": cost,
        "slices": {
            name: counts.by_value(laid, values, names)
            for name, (values, names) in population.slices.items()
            if name != "source"
        },
    }


def _person_folds(person: Ints) -> Ints:
    """A fold per record that is its person's, scrambled so that neighbours in the truth file part."""
    mixed = (np.maximum(person, 0).astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(33)
    return (mixed % np.uint64(FOLDS)).astype(np.int64)
