"""Intervals by drawing persons anew.

Every figure here is a ratio of sums over persons. Persons with equal contributions are interchangeable, so a round
draws how often each distinct row of contributions appears, which is exact and quick for a million persons.
Knows nothing of what the figures mean.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def intervals(
    sums: Mapping[str, Floats], ratios: Mapping[str, tuple[str, str]], rounds: int, seed: int
) -> dict[str, list[float]]:
    """95 % intervals of `ratios` (name -> numerator and denominator among `sums`), and of F1 where a name has both."""
    names = list(sums)
    table = np.column_stack([sums[name] for name in names]) if names else np.empty((0, 0))
    if not rounds or not len(table):
        return {}
    rows, counts = np.unique(table, axis=0, return_counts=True)
    draws = np.random.default_rng(seed).multinomial(len(table), counts / counts.sum(), size=rounds)
    drawn = dict(zip(names, (draws @ rows).T, strict=True))
    found: dict[str, Floats] = {}
    for name, (over, under) in ratios.items():
        with np.errstate(invalid="ignore", divide="ignore"):
            found[name] = drawn[over] / drawn[under]
    for name in [name for name in found if name.endswith(".precision")]:
        stem = name.removesuffix(".precision")
        precision, recall = found[name], found[f"{stem}.recall"]
        with np.errstate(invalid="ignore", divide="ignore"):
            found[f"{stem}.f1"] = 2 * precision * recall / (precision + recall)
    result = {}
    for name, values in found.items():
        known = values[np.isfinite(values)]
        if len(known):
            low, high = np.quantile(known, [0.025, 0.975])
            result[name] = [round(float(low), 6), round(float(high), 6)]
    return result
