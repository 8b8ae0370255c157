"""How good raw logits are: figures that count each pair with a weight, and intervals by drawing persons anew.

The weights of a data set give a split the gray zone's own mix, so the figures are those of the pairs that a model will
be asked about. Knows nothing of models or files.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Measure = Callable[[Floats, Floats, Floats], float]  # logits, labels, weights

BINS = 15  # of the calibration error, of equal weight


def auroc(logits: Floats, labels: Floats, weights: Floats) -> float:
    """Share of (true, false) pairs of pairs that stand in the right order; ties count half."""
    _, true, false = _by_logit(logits, labels, weights)
    if not true.sum() or not false.sum():
        return float("nan")
    below = np.cumsum(false) - false / 2
    return float((true * below).sum() / (true.sum() * false.sum()))


def auprc(logits: Floats, labels: Floats, weights: Floats) -> float:
    """Average precision: the precision at each true pair, from the highest logit down; ties are taken together."""
    _, true, false = (side[::-1] for side in _by_logit(logits, labels, weights))
    if not true.sum():
        return float("nan")
    found = np.cumsum(true)
    precision = found / np.maximum(found + np.cumsum(false), 1e-300)
    return float((precision * true).sum() / true.sum())


def log_loss(logits: Floats, labels: Floats, weights: Floats) -> float:
    return float(np.average(np.logaddexp(0, np.where(labels > 0, -logits, logits)), weights=weights))


def brier(logits: Floats, labels: Floats, weights: Floats) -> float:
    return float(np.average((probability(logits) - labels) ** 2, weights=weights))


def calibration_error(logits: Floats, labels: Floats, weights: Floats) -> float:
    """Mean distance between what is said and what is, over bins of equal weight."""
    order = np.argsort(logits, kind="stable")
    weight = weights[order]
    place = np.minimum((np.cumsum(weight) - weight / 2) / weight.sum() * BINS, BINS - 1).astype(np.int64)
    gap = np.bincount(place, weight * (probability(logits[order]) - labels[order]), BINS)
    return float(np.abs(gap).sum() / weight.sum())


def probability(logits: Floats) -> Floats:
    return np.exp(-np.logaddexp(0, -logits))


RANKING: Mapping[str, Measure] = {"auprc": auprc, "auroc": auroc}
CALIBRATED: Mapping[str, Measure] = {"log_loss": log_loss, "brier": brier, "calibration_error": calibration_error}


def figures(
    logits: Floats,
    labels: Floats,
    weights: Floats,
    *,
    measures: Mapping[str, Measure] = RANKING,
    groups: npt.NDArray[np.int64] | None = None,
    rounds: int = 200,
    seed: int = 0,
) -> dict[str, dict[str, float]]:
    """Name -> value, and its 95 % interval where `groups` say which pairs are of the same persons."""
    found = {name: {"value": measure(logits, labels, weights)} for name, measure in measures.items()}
    if groups is None or not rounds:
        return found
    kinds, member = np.unique(groups, return_inverse=True)
    drawn = np.random.default_rng(seed).multinomial(len(kinds), np.full(len(kinds), 1 / len(kinds)), size=rounds)
    for name, measure in measures.items():
        values = [measure(logits, labels, weights * counts[member]) for counts in drawn]
        known = [value for value in values if np.isfinite(value)]
        if known:
            low, high = np.quantile(known, [0.025, 0.975])
            found[name] |= {"low": float(low), "high": float(high)}
    return found


def _by_logit(logits: Floats, labels: Floats, weights: Floats) -> tuple[Floats, Floats, Floats]:
    """Distinct logits, lowest first, with the weight of true and of false pairs at each."""
    values, place = np.unique(logits, return_inverse=True)
    true = np.bincount(place, weights * (labels > 0), len(values)).astype(np.float64)
    false = np.bincount(place, weights * (labels <= 0), len(values)).astype(np.float64)
    return values, true, false
