"""Turns what was added up into the figures of metrics.json. Knows nothing of files."""

from __future__ import annotations

from typing import Any

import numpy as np

from resolver.evaluate.counts import Records, score
from resolver.evaluate.stream import CALIBRATION, LOWEST, STEP, SURE, Walk


def pairs(walk: Walk, records: Records) -> dict[str, Any]:
    """Pairs of the match tier, pairs likelier than not, and pairs that share a cluster."""
    true = float((records.in_person - 1).sum() / 2)
    return {
        "before_clustering": score(float(walk.before_right.sum()), float(walk.before_predicted.sum()), true),
        "before_clustering_at_half": score(walk.at_half[1], sum(walk.at_half), true),
        "after_clustering": score(
            float((records.in_both - 1).sum() / 2), float((records.in_cluster - 1).sum() / 2), true
        ),
    }


def blocking(walk: Walk, records: Records | None, count: int) -> dict[str, Any]:
    found: dict[str, Any] = {
        "candidates": walk.pairs,
        "per_record": round(walk.pairs / count, 3) if count else None,
    }
    if records is not None:
        true = float((records.in_person - 1).sum() / 2)
        found = {"recall": round(float(walk.found.sum()) / true, 6) if true else None, **found}
    return found


def tiers(walk: Walk, with_truth: bool) -> dict[str, Any]:
    result = {}
    for name, sums in walk.tiers.items():
        entry: dict[str, Any] = {
            "pairs": int(sums["pairs"]),
            "expected_true": round(sums["expected_true"], 3),
        }
        if with_truth:
            entry["true"] = int(sums["true"])
            entry["share_true"] = round(sums["true"] / sums["known"], 6) if sums["known"] else None
        result[name] = entry
    return result


def calibration(walk: Walk) -> dict[str, Any]:
    """How well probabilities mean what they say: by log-odds, and as expected calibration error over 20 equal steps."""
    count, said, true, logit = walk.calibration
    bins = [
        {
            "from": None if np.isinf(CALIBRATION[one]) else float(CALIBRATION[one]),
            "to": None if np.isinf(CALIBRATION[one + 1]) else float(CALIBRATION[one + 1]),
            "pairs": int(count[one]),
            "logit": round(logit[one] / count[one], 4),
            "probability": round(said[one] / count[one], 8),
            "true": round(true[one] / count[one], 8),
        }
        for one in range(len(count))
        if count[one]
    ]
    if not walk.known:
        return {}
    gaps = np.abs(walk.deciles[1] - walk.deciles[2])
    return {
        "ece": round(float(gaps.sum() / walk.known), 6),
        "brier": round(float(walk.losses[0] / walk.known), 8),
        "log_loss": round(float(walk.losses[1] / walk.known), 8),
        "bins": bins,
    }


def baselines(walk: Walk, records: Records) -> dict[str, Any]:
    """Splink alone, pair by pair without clustering: at probability 0.99, and at the best threshold there is.

    The best threshold is found on the answers themselves, so it is an upper bound, not a result.
    """
    true = float((records.in_person - 1).sum() / 2)
    false_above = np.cumsum(walk.splink[0][::-1])[::-1]
    true_above = np.cumsum(walk.splink[1][::-1])[::-1]
    both = false_above + true_above + true
    f1 = np.divide(2 * true_above, both, out=np.zeros_like(both), where=both > 0)
    best = int(np.argmax(f1))
    threshold = LOWEST + best * STEP
    return {
        "splink_at_0.99": {
            "probability": SURE,
            **score(walk.splink_sure[1], sum(walk.splink_sure), true),
        },
        "splink_at_best": {
            "probability": round(float(1 / (1 + np.exp(-threshold))), 6),
            "logit": round(threshold, 4),
            "chosen_on_the_answers": True,
            **score(float(true_above[best]), float(true_above[best] + false_above[best]), true),
        },
        "level": "pairs, without clustering",
    }


def curve(walk: Walk, records: Records) -> list[list[float]]:
    """Precision and recall of Splink's log-odds at every whole number, for the report."""
    true = float((records.in_person - 1).sum() / 2)
    false_above = np.cumsum(walk.splink[0][::-1])[::-1]
    true_above = np.cumsum(walk.splink[1][::-1])[::-1]
    result = []
    for threshold in range(-12, 26):
        place = round((threshold - LOWEST) / STEP)
        predicted = float(false_above[place] + true_above[place])
        if predicted and true:
            result.append(
                [
                    float(threshold),
                    round(float(true_above[place]) / predicted, 6),
                    round(float(true_above[place]) / true, 6),
                ]
            )
    return result
