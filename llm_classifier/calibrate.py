"""Calibration: raw logits become log-odds that can be believed, by one temperature and one shift.

    calibrated = logit / temperature + bias

`temperature` alone leaves the bias at nothing; `platt` fits both. Fitted on the calibration split, whose weights give
it the gray zone's own mix, so the share of true pairs that the model was trained with is corrected for as well. Raw
logits are what is stored everywhere; these numbers stand in artifact.json and change only what is read out of them.
`prior` is the share of true pairs in that mix: less its log-odds, a calibrated logit says what the histories add.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from llm_classifier import artifact, measures
from llm_classifier.artifact import Artifact
from llm_classifier.measures import Floats
from resolver import files
from resolver.errors import TrainingError
from resolver.progress import Progress

Method = Literal["temperature", "platt"]

SLOPES = (1e-3, 1e3)  # of 1 / temperature; a model without any sense has slope 0, which no temperature can say
STEPS = 100
PULL = 1e-3  # toward slope 1 and bias 0, in units of one pair: keeps separable pairs from infinite slopes


def fit(logits: Floats, labels: Floats, weights: Floats, *, method: Method = "platt") -> dict[str, float]:
    """The temperature and bias that make the labels likeliest, each pair counted with its weight."""
    logits, labels = np.asarray(logits, np.float64), np.asarray(labels, np.float64)
    if not np.isfinite(logits).all():
        raise TrainingError("Some logits are not numbers, so nothing can be fitted to them.", do="Score them again.")
    weights = np.asarray(weights, np.float64) / np.mean(weights)
    if not (weights @ labels) or not (weights @ (1 - labels)):
        raise TrainingError(
            "Calibration needs true and false pairs, and these are all of one kind.", do="Make a larger data set."
        )
    inputs = np.column_stack([logits, np.ones(len(logits))])
    found = _solve(np.array([1.0, 0.0]), np.array([True, method == "platt"]), inputs, labels, weights)
    if not SLOPES[0] <= found[0] <= SLOPES[1]:
        held = np.array([float(np.clip(found[0], *SLOPES)), 0.0])
        found = _solve(held, np.array([False, method == "platt"]), inputs, labels, weights)
    prior = float(weights @ labels) / len(labels)
    return {"temperature": 1.0 / float(found[0]), "bias": float(found[1]), "prior": prior}


def apply(logits: Floats, calibration: Mapping[str, float]) -> Floats:
    """Log-odds that can be believed; the logits themselves where nothing was fitted."""
    return np.asarray(logits, np.float64) / calibration.get("temperature", 1.0) + calibration.get("bias", 0.0)


def _solve(start: Floats, free: Any, inputs: Floats, labels: Floats, weights: Floats) -> Floats:
    """Newton's method with halved steps; only what is `free` moves."""
    found = start.copy()
    for _ in range(STEPS):
        step = _newton(found, start, inputs, labels, weights, free)
        size, now = 1.0, _loss(found, start, inputs, labels, weights)
        while size > 1e-10 and _loss(found + size * step, start, inputs, labels, weights) > now:
            size /= 2
        found = found + size * step
        if np.abs(size * step).max() < 1e-10:
            break
    return found


def _newton(at: Floats, start: Floats, inputs: Floats, labels: Floats, weights: Floats, free: Any) -> Floats:
    said = measures.probability(inputs @ at)
    slope = inputs.T @ (weights * (said - labels)) + PULL * (at - start)
    bend = (inputs * (weights * said * (1 - said))[:, None]).T @ inputs + PULL * np.eye(2)
    step = np.zeros(2)
    step[free] = np.linalg.solve(bend[np.ix_(free, free)], -slope[free])
    return step


def _loss(at: Floats, start: Floats, inputs: Floats, labels: Floats, weights: Floats) -> float:
    raw = inputs @ at
    unlikely = np.logaddexp(0, np.where(labels > 0, -raw, raw))
    return float(weights @ unlikely + PULL * ((at - start) ** 2).sum() / 2)


def calibrate(
    model: Path, dataset: Path, *, method: Method, progress: Progress, batch_tokens: int = 16_384
) -> tuple[Artifact, dict[str, Any]]:
    """Fit to the calibration split of `dataset`, and put the result into the model's artifact.

    Returns the artifact and what became better by it on the validation split, which was not fitted to.
    """
    from llm_classifier.train import data, scoring

    told = artifact.check(model)
    pairs = data.of(dataset, told.prompt_version)
    asked = {name: data.once(pairs.split(name)) for name in ("calibration", "validation")}
    logits = scoring.by_folder(model, asked, progress=progress, batch_tokens=batch_tokens)
    one = asked["calibration"]
    found = fit(logits["calibration"], data.labels(one), data.weights(one), method=method)
    told = dataclasses.replace(told, calibration=found)
    files.write_json(model / artifact.FILE, dataclasses.asdict(told))
    return told, gain(logits["validation"], asked["validation"], found)


def gain(logits: Floats, pairs: Any, calibration: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """Log loss, Brier score and calibration error of raw and of calibrated logits."""
    from llm_classifier.train import data

    labels, weights = data.labels(pairs), data.weights(pairs)
    return {
        name: {kind: measure(some, labels, weights) for kind, measure in measures.CALIBRATED.items()}
        for name, some in (("raw", logits), ("calibrated", apply(logits, calibration)))
    }
