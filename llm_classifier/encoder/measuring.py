"""What a run of training says of its scores, with intervals over persons. Knows nothing of models."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from llm_classifier.measures import auprc, auroc

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def at_even_odds(log_odds: Floats, label: Ints, weight: Floats) -> dict[str, float]:
    """F1, precision, recall and accuracy where pairs above even odds are called true."""
    said, true = log_odds > 0, label > 0
    both, said_all, true_all = (float(weight[rows].sum()) for rows in (said & true, said, true))
    return {
        "f1": 2 * both / max(said_all + true_all, 1e-12),
        "precision": both / max(said_all, 1e-12),
        "recall": both / max(true_all, 1e-12),
        "accuracy": float(weight[said == true].sum() / max(weight.sum(), 1e-12)),
    }


def figures(
    log_odds: Floats, label: Ints, weight: Floats, left: Ints, right: Ints, *, rounds: int, seed: int
) -> dict[str, Any]:
    """All of it. `left` and `right` are persons: intervals (95 %) draw persons anew, each with all of their pairs."""
    truth = label.astype(float)
    found: dict[str, Any] = {
        "pairs": len(label),
        "true_pairs": int(label.sum()),
        "auroc": auroc(log_odds, truth, weight),
        "auprc": auprc(log_odds, truth, weight),
        **at_even_odds(log_odds, label, weight),
    }
    rng = np.random.default_rng(seed)
    persons = int(max(left.max(), right.max())) + 1 if len(label) else 0
    drawn: dict[str, list[float]] = {"auroc": [], "auprc": []}
    for _ in range(rounds if 0 < found["true_pairs"] < len(label) else 0):
        times = rng.poisson(1.0, persons)
        again = weight * times[left] * np.where(left == right, 1, times[right])
        drawn["auroc"].append(auroc(log_odds, truth, again))
        drawn["auprc"].append(auprc(log_odds, truth, again))
    for name, values in drawn.items():
        known = [value for value in values if np.isfinite(value)]
        if known:
            found[f"{name}_interval"] = [float(one) for one in np.quantile(known, (0.025, 0.975))]
    return {name: _rounded(value) for name, value in found.items()}


def _rounded(value: Any) -> Any:
    """Six digits; None where there is no number, which JSON lacks."""
    if isinstance(value, list):
        return [_rounded(one) for one in value]
    if isinstance(value, float):
        return round(value, 6) if np.isfinite(value) else None
    return value
