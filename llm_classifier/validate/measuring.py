"""Scores the test split and makes the record of metrics (registry/metrics.py) that the gate compares.

Each pair counts with its weight, so the figures are those of the gray zone's own mix; pairs from outside it weigh
nothing and are not counted. Intervals come from drawing persons anew. Knows nothing of how the model was trained.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import resolver
from llm_classifier import artifact, calibrate, measures, prompt
from llm_classifier.artifact import Artifact
from llm_classifier.measures import Floats
from llm_classifier.registry.metrics import BETTER, Figure, Metrics, Slice
from llm_classifier.train import data, scoring
from resolver.errors import DamagedError, TrainingError, UsageError
from resolver.progress import Progress

SLICES = ("sex", "age_band", "race", "ethnicity", "population")
OF_SLICES = ("auprc", "auroc", "f1", "calibration_error")
ROUNDS = 200
TELLING = 100  # letters of a history that no two persons share but by chance


@dataclass(frozen=True)
class Scored:
    """The gray pairs of the test split, each in one order, and what the model says of them."""

    told: Artifact
    pin: str
    tokens_per_side: int  # of the data set
    pairs: pl.DataFrame
    logits: Floats


def measure(model: Path, dataset: Path, progress: Progress, *, trained_on: Path | None = None) -> Metrics:
    """`trained_on`: the data set that the model was trained on, if it is another."""
    found = score(model, dataset, progress)
    return with_seen(record(found.told, found.pin, found.pairs, found.logits), found, trained_on)


def with_seen(made: Metrics, found: Scored, trained_on: Path | None) -> Metrics:
    """With how many test pairs stand in the training data. Of one data set none do: it is split by person."""
    if trained_on is None or found.told.dataset_pin in ("", found.pin):
        return made
    training = data.of(trained_on, found.told.prompt_version)
    if training.pin != found.told.dataset_pin:
        raise UsageError(
            f"The model was not trained on {trained_on}: its pin is {training.pin}, not {found.told.dataset_pin}.",
            do="Name the data set that it was trained on.",
        )
    if training.card.tokens_per_side != found.tokens_per_side:
        raise UsageError(
            f"Histories of {training.card.tokens_per_side} tokens can't be looked for among those of "
            f"{found.tokens_per_side}.",
            do="Make the test set with the tokens_per_side that the model was trained with.",
        )
    rows = training.split("train")
    met = pl.concat([rows["left_summary"], rows["right_summary"]]).unique()
    told = pl.any_horizontal(
        (pl.col(side).str.len_chars() >= TELLING) & pl.col(side).is_in(met.implode())
        for side in ("left_summary", "right_summary")
    )
    return made.model_copy(update={"seen": found.pairs.filter(told).height})


def score(model: Path, dataset: Path, progress: Progress) -> Scored:
    told = artifact.check(model)
    pairs = data.of(dataset, prompt.VERSION)
    test = data.once(pairs.split("test")).filter(pl.col("weight") > 0)
    if test.get_column("label").n_unique() < 2:
        raise TrainingError("The test split lacks true or false gray pairs.", do="Make a larger data set.")
    logits = scoring.by_folder(model, {"test": test}, progress=progress)["test"]
    lost = int(np.isnan(logits).sum())
    if lost:
        raise DamagedError(
            f"{lost} of {len(test)} test pairs could not be scored.", do="Is the model of the prompts' length?"
        )
    return Scored(told, pairs.pin, pairs.card.tokens_per_side, test, logits)


def surest(found: Scored) -> int:
    """Number of the pair of which the model is surest, its log-odds taken as calibrated."""
    believed = calibrate.apply(found.logits, found.told.calibration)
    return int(found.pairs.get_column("pair_id")[int(np.abs(believed).argmax())])


def record(told: Artifact, pin: str, test: pl.DataFrame, logits: Floats) -> Metrics:
    """From logits to figures, for all pairs and for each slice."""
    slices = []
    for dimension in SLICES:
        column = test.get_column(dimension).fill_null("unknown")
        for value in column.unique().sort():
            here = (column == value).to_numpy()
            part = test.filter(pl.Series(here))
            slices.append(
                Slice(
                    dimension=dimension,
                    value=str(value),
                    pairs=len(part),
                    positives=int(data.labels(part).sum()),
                    figures=_figures(told, part, logits[here], OF_SLICES),
                )
            )
    return Metrics(
        model=told.fingerprint,
        calibration=told.calibration,
        test_set=pin,
        trained_on=told.dataset_pin,
        seen=0 if told.dataset_pin in ("", pin) else None,
        pairs=len(test),
        positives=int(data.labels(test).sum()),
        headline=_figures(told, test, logits),
        slices=tuple(slices),
        made={"program": resolver.__version__, "rounds": ROUNDS, "prior": float(_prior(test))},
    )


def _figures(
    told: Artifact, pairs: pl.DataFrame, logits: Floats, names: Collection[str] = tuple(BETTER)
) -> dict[str, Figure]:
    """Ranking by raw logits; the rest by believed ones, of which those above nothing are called one person."""
    given: Any = data.labels(pairs), data.weights(pairs)
    groups = data.groups(pairs)
    believed = calibrate.apply(logits, told.calibration)
    ranking = {name: one for name, one in measures.RANKING.items() if name in names}
    others = {name: one for name, one in {**measures.CALIBRATED, **CALLED}.items() if name in names}
    found = measures.figures(logits, *given, measures=ranking, groups=groups, rounds=ROUNDS)
    called = measures.figures(believed, *given, measures=others, groups=groups, rounds=ROUNDS)
    return {name: _figure(one) for name, one in (found | called).items() if np.isfinite(one["value"])}


def _figure(one: Mapping[str, float]) -> Figure:
    return Figure(value=one["value"], low=one.get("low", one["value"]), high=one.get("high", one["value"]))


def _prior(pairs: pl.DataFrame) -> float:
    return float(np.average(data.labels(pairs), weights=data.weights(pairs)))


def precision(logits: Floats, labels: Floats, weights: Floats) -> float:
    called = weights @ (logits > 0)
    return float(weights @ ((logits > 0) * labels) / called) if called else float("nan")


def recall(logits: Floats, labels: Floats, weights: Floats) -> float:
    true = weights @ labels
    return float(weights @ ((logits > 0) * labels) / true) if true else float("nan")


def f1(logits: Floats, labels: Floats, weights: Floats) -> float:
    """0 where nothing is called one person and something should be."""
    both = weights @ (logits > 0) + weights @ labels
    return float(2 * (weights @ ((logits > 0) * labels)) / both) if both else float("nan")


def accuracy(logits: Floats, labels: Floats, weights: Floats) -> float:
    return float(weights @ ((logits > 0) == (labels > 0)) / weights.sum()) if weights.sum() else float("nan")


CALLED: Mapping[str, measures.Measure] = {"precision": precision, "recall": recall, "f1": f1, "accuracy": accuracy}
