"""The first look at a pair: a few trees over what is seen at a glance, and a bound below which it is the last look.

The bound is the highest one below which at most one in ten thousand matches lies that the other judges would have left
open. Knows nothing of how a pair is looked at, nor of where labels come from.
"""

from __future__ import annotations

import numpy as np

from resolver.fusion import logit
from resolver.judges.learned import Gate, Model
from resolver.judges.trees import Floats

TREES = 60
LEAVES = 15
RATE = 0.15  # fewer trees that learn faster: each costs every pair
LOST = 1e-4  # share of the matches that may be lost
OPEN = logit(0.01)  # from these log-odds on, a pair is not a sure non-match


def closed(model: Model, glance: Floats, final: Floats, matches: Floats, weights: Floats) -> Gate | None:
    """The gate that the model makes; nothing where the matches are too few to tell how many it would lose.

    Over the same pairs: log-odds at a glance, and at last, both by trees that have not seen the pair; how many matches
    each stands for, and how many pairs.
    """
    total = float(matches.sum())
    if total * LOST < 1:
        return None
    order = np.argsort(glance, kind="stable")
    lost = np.cumsum(np.where(final > OPEN, matches, 0.0)[order])
    ends = int(np.searchsorted(lost, LOST * total, side="right"))
    bound = min(float(glance[order[ends]]) if ends < len(order) else OPEN, OPEN)
    settled = glance < bound
    return Gate(
        model,
        bound,
        lost=float(np.where(final > OPEN, matches, 0.0)[settled].sum() / total),
        settled=float(weights[settled].sum() / weights.sum()),
    )
