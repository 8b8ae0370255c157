"""Learning without labels: two views of a pair teach each other, and the persons they come to teach both.

    views      registration data and histories, each taught by what the other says (views.py)
    persons    clustering by both together; who ends up in one person labels the pairs
    joint      one model on everything, fitted to these labels
    witness    its scores become log-odds by what sources tell of them (witness.py), not by the labels
    again      from persons on, as long as the quality that the witness lets expect rises; the best round is kept

Every fit is cross-fitted: a pair is scored by trees that have not seen it. Labels stay soft, since hard ones drift.
Where people said of pairs what they are, that is the label of these pairs and binds the persons; such a pair too is
scored by trees that have not seen it, so that its score is no echo. Uses no truth, and knows nothing of files.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resolver.fusion import probability
from resolver.judges.features import Feature, clinical, demographic, glance
from resolver.judges.learned import Gates, Model
from resolver.judges.trees import Floats
from resolver.learn import gate, judged, views, witness
from resolver.learn.crossfit import line
from resolver.learn.said import OPEN, Said
from resolver.learn.sample import Sample

FOLDS = 3
MOST_ROUNDS = 4
STILL = 0.0005  # share of the linked pairs that may change for the labels to count as settled
RISE = 0.0002  # of the expected F1 that a round must bring for another one
FAITH = 0.9  # how much of a label comes from the persons; the rest from the score
TREES = 300
FEWEST_HISTORIES = 500  # pairs with a history on both sides; fewer teach nothing

Say = Callable[[str], None]


@dataclass(frozen=True)
class Taught:
    demographic: Model
    joint: Model | None
    logit: Floats  # cross-fitted and calibrated, of the round that is kept; Splink's of pairs that nothing speaks for
    facts: dict[str, Any]
    gates: Gates | None = None


@dataclass(frozen=True)
class _Round:
    trees: tuple[str, ...]
    seen: witness.Witness
    logit: Floats
    linked: NDArray[np.bool_]
    expected: float  # F1


def teach(
    sample: Sample,
    *,
    seed: int,
    threads: int,
    unscored: float,
    same_source: float,
    say: Say,
    said: Said | None = None,
) -> Taught:
    bench = views.Bench.of(sample, FOLDS, seed, threads, said)
    rows = bench.rows
    settled = np.full(len(sample), OPEN, dtype=np.int8)
    settled[rows] = bench.said
    left, right = sample.left[rows], sample.right[rows]
    same = sample.source[left] == sample.source[right]

    def everywhere(logit: Floats) -> Floats:
        result = sample.splink.copy()
        result[rows] = logit
        return result

    def linked_by(logit: Floats) -> NDArray[np.bool_]:
        persons = judged.persons(sample, everywhere(logit), unscored=unscored, cost=same_source, settled=settled)
        result: NDArray[np.bool_] = persons[left] == persons[right]
        return result

    def labels_of(linked: NDArray[np.bool_], logit: Floats) -> Floats:
        result: Floats = FAITH * linked + (1 - FAITH) * probability(logit)
        return result

    with_histories = int(sample.known[rows].sum()) >= FEWEST_HISTORIES
    fields = sample.demographic[rows]
    table = np.hstack([fields, sample.clinical[rows]]) if with_histories else fields
    features: Sequence[Feature] = demographic.FEATURES
    if with_histories:
        features = (*demographic.FEATURES, *clinical.FEATURES)

    def fitted_to(labels: Floats) -> _Round:
        trees, score = bench.cross_fit(table, features, labels, trees=TREES)
        seen = witness.hear(score, same, bench.weights)
        logit = seen.intercept + seen.slope * score
        linked = linked_by(logit)
        says = probability(logit)
        counted = bench.weights * says
        expected = 2 * float(says[linked].sum()) / max(float(linked.sum() + counted.sum()), 1e-9)
        return _Round(trees, seen, logit, linked, expected)

    say("learn: registration data and histories")
    first = views.teach(sample, bench, with_histories)
    linked = linked_by(first)
    labels = labels_of(linked, first)
    best: _Round | None = None
    rounds, changed = 0, 1.0
    while rounds < MOST_ROUNDS and changed > STILL:
        rounds += 1
        say(f"learn: persons, round {rounds}")
        now = fitted_to(labels)
        changed = float((linked != now.linked).sum() / max(now.linked.sum(), 1))
        linked, labels = now.linked, labels_of(now.linked, now.logit)
        rises = best is None or now.expected > best.expected + RISE
        best = now if best is None or now.expected > best.expected else best
        if not rises:
            break
    assert best is not None
    facts = {
        "fitted_to": len(rows),
        "settled_by_people": int((bench.said != OPEN).sum()),
        "rounds": rounds,
        "last_change": round(changed, 5),
        "same_source_logit": same_source,
        "calibrated_on_pairs_of_one_source": best.seen.heard,
        "slope": round(best.seen.slope, 4),
        "intercept": round(best.seen.intercept, 4),
    }
    joint = Model(best.trees, best.seen.slope, best.seen.intercept)
    says = probability(best.logit)
    gates = _gates(sample, bench, labels_of(best.linked, best.logit), best.logit)
    if not with_histories:
        return Taught(joint, None, everywhere(best.logit), facts, gates)
    say("learn: demographics alone")
    trees, score = bench.cross_fit(fields, demographic.FEATURES, labels_of(best.linked, best.logit), trees=TREES)
    slope, intercept = line(score, says, bench.weights)
    return Taught(Model(trees, slope, intercept), joint, everywhere(best.logit), facts, gates)


def _gates(sample: Sample, bench: views.Bench, labels: Floats, final: Floats) -> Gates | None:
    """Quick looks, closed by what the kept round says of each pair."""
    if sample.glance is None:
        return None
    says = probability(final)
    looks = []
    for table, features in ((sample.glance, glance.FEATURES), (sample.demographic, demographic.FEATURES)):
        trees, score = bench.cross_fit(table[bench.rows], features, labels, trees=gate.TREES, rate=gate.RATE)
        slope, intercept = line(score, says, bench.weights)
        looks.append(gate.Look(Model(trees, slope, intercept), intercept + slope * score))
    first, second = looks
    return gate.closed(first, second, final, bench.weights * says, bench.weights)
