"""Learning without labels: two views of a pair teach each other, and the persons they come to teach both.

    Splink's log-odds, tempered    first, soft labels from the demographics
    clinical view                  trees on the histories alone, fitted to these labels, added to Splink's log-odds
    joint view                     trees on everything, fitted to the sum
    witness                        scores become log-odds by what sources tell of them (witness.py), not by the labels
    persons                        clustering by the joint log-odds; who ends up in one person labels the pairs
    refit                          the joint view on these labels, and again, as long as the quality that the witness
                                   lets expect rises; the best round is kept

Every fit is cross-fitted: a pair is scored by trees that have not seen it. Labels stay soft, since hard ones drift.
Uses no truth, and knows nothing of files.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resolver.judges.features import Feature, clinical, demographic
from resolver.judges.learned import Model, pair_folds
from resolver.judges.trees import Floats
from resolver.learn import judged, witness
from resolver.learn.crossfit import cross_fit, line, probability
from resolver.learn.sample import Sample

FOLDS = 3
TEACH_ROUNDS = 3  # of Splink and the clinical view
MOST_REFITS = 4
STILL = 0.0005  # share of the linked pairs that may change for the labels to count as settled
RISE = 0.0002  # of the expected F1 that a round must bring for another one
# Splink takes its fields to be independent. Where they are not (twins share a name, a date and an address) it is sure
# and wrong, and no history could say so. So its log-odds are shrunk and capped before they teach.
TEMPER = 0.35
SUREST = 3.0
CAP = 6.0  # log-odds that the clinical view alone may add
FAITH = 0.9  # how much of a label comes from the persons; the rest from the score
TREES = 150
LEAVES = 15

Say = Callable[[str], None]


@dataclass(frozen=True)
class Taught:
    demographic: Model
    joint: Model | None
    logit: Floats  # cross-fitted and calibrated, of the round that is kept
    facts: dict[str, Any]


@dataclass(frozen=True)
class _Round:
    trees: tuple[str, ...]
    seen: witness.Witness
    logit: Floats
    linked: NDArray[np.bool_]
    expected: float  # F1


def teach(sample: Sample, *, seed: int, threads: int, unscored: float, same_source: float, say: Say) -> Taught:
    folds = pair_folds(sample.folds, sample.left, sample.right, FOLDS)
    same = sample.source[sample.left] == sample.source[sample.right]

    def crossed(
        table: NDArray[np.float32], features: Sequence[Feature], labels: Floats, rows: NDArray[np.bool_] | None = None
    ) -> tuple[tuple[str, ...], Floats]:
        chosen = np.ones(len(table), dtype=bool) if rows is None else rows
        held = [chosen & (folds == fold) for fold in range(FOLDS)]
        taught = [chosen & (folds != fold) for fold in range(FOLDS)]
        return cross_fit(table, features, labels, taught, held, rounds=TREES, leaves=LEAVES, seed=seed, threads=threads)

    with_histories = bool(sample.known.any())
    fields = sample.without_splink
    say("learn: histories")
    labels = _first_labels(sample, crossed) if with_histories else probability(_prior(sample))
    table = np.hstack([fields, sample.clinical]) if with_histories else fields
    features = (*demographic.FEATURES, *clinical.FEATURES) if with_histories else demographic.FEATURES

    def taught_by(labels: Floats) -> _Round:
        trees, score = crossed(table, features, labels)
        seen = witness.hear(score, same)
        logit = seen.intercept + seen.slope * score
        persons = judged.persons(sample, logit, unscored=unscored, cost=same_source)
        linked = persons[sample.left] == persons[sample.right]
        says = probability(logit)
        expected = 2 * float(says[linked].sum()) / max(float(linked.sum() + says.sum()), 1e-9)
        return _Round(trees, seen, logit, linked, expected)

    say("learn: both views")
    now = best = taught_by(labels)
    refits, changed = 0, 1.0
    while refits < MOST_REFITS and changed > STILL:
        refits += 1
        say(f"learn: persons, round {refits}")
        before = now
        now = taught_by(FAITH * before.linked + (1 - FAITH) * probability(before.logit))
        changed = float((before.linked != now.linked).sum() / max(now.linked.sum(), 1))
        # The first round's labels are not of persons yet: what it expects of itself is no measure for the others.
        rises = refits == 1 or now.expected > best.expected + RISE
        best = now if refits == 1 or now.expected > best.expected else best
        if not rises:
            break
    facts = {
        "rounds": refits,
        "last_change": round(changed, 5),
        "same_source_logit": same_source,
        "calibrated_on_pairs_of_one_source": best.seen.heard,
        "slope": round(best.seen.slope, 4),
        "intercept": round(best.seen.intercept, 4),
    }
    joint = Model(best.trees, best.seen.slope, best.seen.intercept)
    if not with_histories:
        return Taught(joint, None, best.logit, facts)
    say("learn: demographics alone")
    says = probability(best.logit)
    trees, score = crossed(fields, demographic.FEATURES, FAITH * best.linked + (1 - FAITH) * says)
    slope, intercept = line(score, says)
    return Taught(Model(trees, slope, intercept), joint, best.logit, facts)


def _prior(sample: Sample) -> Floats:
    result: Floats = np.clip(sample.splink * TEMPER, None, SUREST)
    return result


def _first_labels(sample: Sample, crossed: Callable[..., tuple[tuple[str, ...], Floats]]) -> Floats:
    """Splink and the clinical view, added up."""
    prior, histories = _prior(sample), sample.histories
    labels = probability(prior)
    for _ in range(TEACH_ROUNDS):
        _, score = crossed(histories, clinical.FEATURES[: clinical.ALONE], labels, sample.known)
        base = labels[sample.known].mean()
        evidence = np.clip(score - np.log(base / (1 - base)), -CAP, CAP)
        labels = probability(prior + np.where(sample.known, evidence, 0.0))
    return labels
