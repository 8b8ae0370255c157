"""From the encoder's score and what was known before it to log-odds.

The histories are no evidence apart from what was asked before: whoever shares a birth date shares an age, and with it
conditions. So the score is not added to what stood before. A line through both is fitted to pairs of persons that the
network has not seen, and its value takes the place of what stood. Knows nothing of networks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from resolver.fusion import probability

Floats = NDArray[np.float64]
FAITH = 20.0  # imagined pairs that say that what stood before was right and the encoder has nothing to add


@dataclass(frozen=True)
class Line:
    standing: float = 1.0
    score: float = 0.0
    constant: float = 0.0

    def of(self, standing: Floats, score: Floats) -> Floats:
        result: Floats = self.standing * standing + self.score * score + self.constant
        return result


def fit(standing: Floats, score: Floats, label: NDArray[np.int64], weight: Floats) -> Line:
    """The log-odds that the labels bear out. Neither factor is below 0, so that more evidence never means less."""
    seen = np.stack([standing, score, np.ones(len(label))], axis=1)
    faith = FAITH * np.array([1.0, 1.0, 0.25])
    start = np.array([1.0, 0.0, 0.0])
    free = np.ones(3, dtype=bool)
    while True:
        line = _newton(seen, label, weight, start, faith, free)
        below = free & (line < 0) & np.array([True, True, False])
        if not below.any():
            return Line(*(float(one) for one in line))
        free &= ~below


def _newton(
    seen: Floats, label: NDArray[np.int64], weight: Floats, start: Floats, faith: Floats, free: NDArray[np.bool_]
) -> Floats:
    line = np.where(free, start, 0.0)
    for _ in range(100):
        says = probability(seen @ line)
        slope = seen.T @ (weight * (says - label)) + faith * (line - start)
        curve = (seen * (weight * says * (1 - says))[:, None]).T @ seen + np.diag(faith)
        step = np.zeros(3)
        step[free] = np.linalg.solve(curve[np.ix_(free, free)], slope[free])
        line = line - step / max(1.0, float(np.abs(step).max()))
        if np.abs(step).max() < 1e-9:
            break
    return line
