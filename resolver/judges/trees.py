"""Boosted trees that score pairs: fitted, kept as text, and taken apart feature by feature.

A thin layer over LightGBM. Their exact contributions per feature are log-odds and add up to the score, so an
explanation says what the model did, not roughly what it did. Knows nothing of where features or labels come from.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from resolver.errors import DamagedError
from resolver.judges.features import Feature

Floats = NDArray[np.float64]

RATE = 0.06  # of learning
PARAMETERS: dict[str, Any] = {
    "objective": "cross_entropy",  # labels may be probabilities
    "min_data_in_leaf": 20,
    "lambda_l2": 1.0,
    "feature_fraction": 0.7,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "max_bin": 127,
    "num_threads": 1,  # fits run side by side; threads inside one wait for each other on a busy machine
    "deterministic": True,
    "force_row_wise": True,
    "verbose": -1,
}

# Trees that go over all rows before the next ones do: they stay in the processor's nearest memory, which makes a
# prediction half as dear as all trees on one row after the other.
AT_ONCE = 50


@dataclass
class Trees:
    """A fitted model. `text` is all there is to it."""

    text: str
    _booster: Any = field(default=None, repr=False, compare=False)

    @property
    def booster(self) -> Any:
        if self._booster is None:
            import lightgbm

            try:
                self._booster = lightgbm.Booster(model_str=self.text)
            except lightgbm.basic.LightGBMError as error:
                raise DamagedError("A judge's model can't be read.", do="Run again with --from learn.") from error
        return self._booster

    @property
    def features(self) -> list[str]:
        found = re.search(r"^feature_names=(.*)$", self.text, re.MULTILINE)
        return found[1].split() if found else []

    def predict(self, table: NDArray[np.float32], threads: int) -> Floats:
        """Raw log-odds, one per row."""
        scores = np.zeros(len(table))
        for first in range(0, max(self.booster.current_iteration(), 1), AT_ONCE):
            scores += self.booster.predict(
                table, raw_score=True, num_threads=threads, start_iteration=first, num_iteration=AT_ONCE
            )
        return scores

    def contributions(self, table: NDArray[np.float32], threads: int) -> Floats:
        """Per row: log-odds that each feature adds, and last what was there before any."""
        return np.asarray(self.booster.predict(table, pred_contrib=True, num_threads=threads), dtype=float)


def fit(
    table: NDArray[np.float32],
    labels: Floats,
    features: Sequence[Feature],
    *,
    rounds: int,
    leaves: int = 15,
    rate: float = RATE,
    seed: int,
    weights: Floats | None = None,
) -> Trees:
    """Fit trees to labels between 0 and 1."""
    import lightgbm

    data = lightgbm.Dataset(
        table, labels, weight=weights, feature_name=[feature.name for feature in features], free_raw_data=True
    )
    parameters = PARAMETERS | {
        "monotone_constraints": [feature.direction for feature in features],
        "seed": seed,
        "num_leaves": leaves,
        "learning_rate": rate,
    }
    booster = lightgbm.train(parameters, data, rounds)
    return Trees(booster.model_to_string(importance_type="gain"))
