"""What the embedded judges would say of a sample, and what persons would come of it, without a run.

The same rules as in a run: demographics first, histories only where they can change the answer.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from resolver.cluster.same_source import Tally, fit
from resolver.cluster.solve import cluster
from resolver.judges.learned import CLINICAL_BOUNDS, Learned, Model, pair_folds
from resolver.judges.trees import Floats
from resolver.learn.said import DIFFERENT, SAME
from resolver.learn.sample import Sample

Ints = NDArray[np.int64]


def logits(sample: Sample, learned: Learned, threads: int) -> Floats:
    """Log-odds of each pair; Splink's where the judges know nothing."""
    if learned.demographic is None:
        return sample.splink
    folds = pair_folds(sample.folds, sample.left, sample.right, learned.folds)
    demographic = learned.demographic.predict(sample.demographic, folds, threads)
    if learned.gates is not None and sample.glance is not None:
        first, second = learned.gates.glance, learned.gates.quick
        quick = second.model.predict(sample.demographic, folds, threads)
        demographic = np.where(quick < second.bound, quick, demographic)
        glance = first.model.predict(sample.glance, folds, threads)
        demographic = np.where(glance < first.bound, glance, demographic)
    return combine(demographic, sample, learned.joint, folds, threads, learned.histories_asked())


def combine(
    demographic: Floats,
    sample: Sample,
    joint: Model | None,
    folds: Ints,
    threads: int,
    bounds: tuple[float, float] = CLINICAL_BOUNDS,
) -> Floats:
    """The demographic log-odds, and in their place the joint ones where histories are asked."""
    result = demographic.copy()
    open_pairs = (
        np.flatnonzero(asked(demographic, sample, bounds)) if joint is not None else np.empty(0, dtype=np.int64)
    )
    if joint is not None and len(open_pairs):
        result[open_pairs] = joint.predict(sample.joint[open_pairs], folds[open_pairs], threads)
    return result


def asked(demographic: Floats, sample: Sample, bounds: tuple[float, float] = CLINICAL_BOUNDS) -> NDArray[np.bool_]:
    """Which pairs the clinical judge is asked about, and has an answer to."""
    low, high = bounds
    return (demographic > low) & (demographic < high) & sample.known


def same_source(sample: Sample, logit: Floats) -> float:
    """Log-odds that two records of one source add, estimated as the cluster stage does."""
    tally = Tally()
    tally.add(logit, sample.source[sample.left] == sample.source[sample.right])
    return fit(tally, np.bincount(sample.source))


def persons(
    sample: Sample,
    logit: Floats,
    *,
    unscored: float,
    cost: float,
    against: float = 1.0,
    settled: NDArray[np.int8] | None = None,
) -> Ints:
    """Per record, the smallest record of its person. `settled`: what people said of each pair (said.py)."""
    labels = cluster(
        sample.records,
        sample.left,
        sample.right,
        logit,
        sample.source,
        unscored=unscored,
        same_source=cost,
        against=against,
        together=None if settled is None else settled == SAME,
        apart=None if settled is None else settled == DIFFERENT,
    ).labels
    return np.asarray(labels, dtype=np.int64)
