"""Quick looks at a pair, and the bounds below which they are the last look.

First a few trees over what is seen at a glance; then a few trees over all that is known of the demographics. The bounds
are the highest ones below which, both together, at most one in ten thousand matches lies that the other judges would
have left open. Knows nothing of how a pair is looked at, nor of where labels come from.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from resolver.fusion import logit
from resolver.judges.learned import Gate, Gates, Model
from resolver.judges.trees import Floats

TREES = 60
LEAVES = 15
RATE = 0.15  # fewer trees that learn faster: each costs every pair
LOST = 1e-4  # share of the matches that may be lost
OPEN = logit(0.01)  # from these log-odds on, a pair is not a sure non-match


@dataclass(frozen=True)
class Look:
    """Trees, and log-odds by trees that have not seen the pair; of some pairs not a number, if they are not known."""

    model: Model
    logit: Floats


def closed(glance: Look, quick: Look, final: Floats, matches: Floats, weights: Floats) -> Gates | None:
    """The gates; none where the matches are too few to tell how many would be lost.

    All over the same pairs. `final`: log-odds by all the trees; `matches`: how many matches each stands for;
    `weights`: how many pairs.
    """
    if matches.sum() * LOST < 1:
        return None
    at_stake = np.where(final > OPEN, matches, 0.0) / matches.sum()
    first = _bound(glance.logit, at_stake, LOST / 2)
    left = glance.logit >= first
    second = _bound(quick.logit[left], at_stake[left], LOST / 2)
    return Gates(
        _gate(glance.model, first, glance.logit, at_stake, weights),
        _gate(quick.model, second, quick.logit[left], at_stake[left], weights[left]),
    )


def _bound(logit: Floats, at_stake: Floats, most: float) -> float:
    """The highest log-odds below which no more than that is at stake."""
    order = np.argsort(logit, kind="stable")
    ends = int(np.searchsorted(np.cumsum(at_stake[order]), most, side="right"))
    return min(float(logit[order[ends]]), OPEN) if ends < len(order) else OPEN


def _gate(model: Model, bound: float, logit: Floats, at_stake: Floats, weights: Floats) -> Gate:
    below = logit < bound
    settled = float(weights[below].sum() / max(weights.sum(), 1e-12))
    return Gate(model, bound, lost=float(at_stake[below].sum()), settled=settled)
