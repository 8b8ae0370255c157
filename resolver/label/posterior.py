"""What answers about some pairs say of all of them: precision and recall of the run, with intervals.

Pairs fall into strata of about equal log-odds, and within a stratum the pairs asked are a random sample, so the share
of "same" among the answers tells of the rest. A stratum's true share is taken to be the one that its log-odds promise,
times errors in the odds of three kinds: one that all strata share (the run is too hopeful), one that grows with the
log-odds (the run is too sure of itself), and one of its own. Answers narrow all of them down, so a few answers tell of
strata that nobody was asked about, and many answers speak for themselves, whatever was promised. People press the wrong
key: how often is weighed along. Everything is summed over a grid, so nothing hangs on the order or the moment of
stopping. Knows nothing of records or files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from resolver.fusion import probability

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

# Beforehand: errors in the odds that are common (a factor of two is one standard deviation), of the slope, and of each
# stratum. The last have long tails, so that a stratum whose scores mean nothing is believed to do so once it shows.
SHIFTS = np.linspace(-2, 2, 9)
SHIFT_SPREAD = 0.7
SLOPES = np.array([0.65, 0.8, 0.9, 1.0, 1.2, 1.45])
SLOPE_SPREAD = 0.25
LOCALS = np.linspace(-6, 6, 25)
LOCAL_SPREAD = 0.6  # of Student's t with three degrees of freedom
SLIPS = np.array([0.002, 0.006, 0.012, 0.025, 0.04, 0.06, 0.09, 0.14])
SLIP_RATE = 45.0  # of the exponential that wrong answers follow beforehand: 1 in 45
SUREST = 7.0  # no promise counts for more than a thousand to one: only answers can say more
DRAWS = 1000
SURE = (0.025, 0.975)


@dataclass(frozen=True)
class Strata:
    """Arrays over strata. `drawn` are answers on pairs that came up by the design, `known` all pairs spoken of."""

    together: npt.NDArray[np.bool_]
    promised: Floats  # log-odds of the share that is one person
    count: Ints  # questions that there are
    weight: Floats  # pairs that one question stands for, on average
    drawn: Ints
    drawn_same: Ints
    known_same: Ints
    known_different: Ints

    @property
    def unknown(self) -> Ints:
        return self.count - self.known_same - self.known_different


@dataclass(frozen=True)
class Figure:
    value: float
    low: float
    high: float

    @property
    def spread(self) -> float:
        """Half the width of the interval."""
        return (self.high - self.low) / 2


@dataclass(frozen=True)
class Posterior:
    precision: Figure | None  # of the pairs inside persons; None where there are none
    recall: Figure | None  # of scored pairs
    slope: Figure  # by how much the run's log-odds are to be multiplied
    slips: float  # share of wrong answers that is likeliest
    share: Floats  # per stratum, expected share of pairs of one person
    doubt: Floats  # per stratum, variance of that share


def weigh(strata: Strata, seed: int) -> Posterior:
    promise = strata.promised[:, None, None, None]
    share = probability(
        SLOPES[None, None, :, None] * promise + SHIFTS[None, :, None, None] + LOCALS[None, None, None, :]
    )
    local = (1 + (LOCALS / LOCAL_SPREAD) ** 2 / 3) ** -2
    before = (
        np.log(_bell(SHIFTS, SHIFT_SPREAD))[:, None, None]
        + np.log(_bell(np.log(SLOPES), SLOPE_SPREAD))[None, :, None]
        + np.log(np.exp(-SLIP_RATE * SLIPS) * np.gradient(SLIPS))[None, None, :]
    )
    # Likelihood of each stratum's answers: stratum, shift, slope, local, slip. Where nobody was asked it is level.
    asked = strata.drawn > 0
    says = share[asked, ..., None] * (1 - SLIPS) + (1 - share[asked, ..., None]) * SLIPS
    same, other = (one[asked, None, None, None, None] for one in (strata.drawn_same, strata.drawn - strata.drawn_same))
    likely = same * np.log(says) + other * np.log1p(-says)
    weight = np.ones((len(asked), *share.shape[1:], len(SLIPS)))
    weight[asked] = np.exp(likely - likely.max(axis=(1, 2, 3, 4), keepdims=True))
    weight *= (local / local.sum())[None, None, None, :, None]
    joint = before + np.log(weight.sum(axis=3)).sum(axis=0)
    joint = np.exp(joint - joint.max())
    joint /= joint.sum()

    rng = np.random.default_rng(seed)
    place = np.unravel_index(rng.choice(joint.size, DRAWS, p=joint.ravel()), joint.shape)
    shift, slope, slip = place
    # Of each draw the stratum's own error, from what is left of it given the others.
    chosen = weight[:, shift, slope, :, slip]  # draw, stratum, local
    sums = np.cumsum(chosen, axis=-1)
    at = (rng.random(sums.shape[:-1])[..., None] * sums[..., -1:] > sums).sum(axis=-1).clip(max=len(LOCALS) - 1)
    drawn = share[np.arange(len(share))[None, :], shift[:, None], slope[:, None], at]
    wrong = SLIPS[slip][:, None]
    truly_same = drawn * (1 - wrong) / (drawn * (1 - wrong) + (1 - drawn) * wrong)
    truly_different = drawn * wrong / (drawn * wrong + (1 - drawn) * (1 - wrong))
    right = (
        rng.binomial(strata.unknown, drawn)
        + rng.binomial(strata.known_same, truly_same)
        + rng.binomial(strata.known_different, truly_different)
    )
    pairs = right * strata.weight
    inside, outside = pairs[:, strata.together].sum(axis=1), pairs[:, ~strata.together].sum(axis=1)
    linked = float((strata.count * strata.weight)[strata.together].sum())
    true = inside + outside
    return Posterior(
        _figure(inside / linked) if linked else None,
        _figure(inside / np.maximum(true, 1)) if true.any() else None,
        _figure(SLOPES[slope]),
        float((joint.sum(axis=(0, 1)) * SLIPS).sum()),
        drawn.mean(axis=0),
        drawn.var(axis=0),
    )


def gain(strata: Strata, found: Posterior) -> Floats:
    """By how much one more answer in a stratum is expected to lower the variance of the number of true pairs."""
    noise = found.share * (1 - found.share)
    result: Floats = (strata.unknown * strata.weight * found.doubt) ** 2 / np.maximum(found.doubt + noise, 1e-12)
    return result


def promised(logit: Sequence[float] | Floats) -> float:
    """Log-odds of the mean share that these log-odds promise, none of them counting for more than it may."""
    mean = float(probability(np.clip(np.asarray(logit, dtype=float), -SUREST, SUREST)).mean())
    return float(np.log(mean / (1 - mean)))


def _bell(at: Floats, spread: float) -> Floats:
    result: Floats = np.exp(-((at / spread) ** 2) / 2)
    return result / result.sum()


def _figure(values: Floats) -> Figure:
    low, high = np.quantile(values, SURE)
    return Figure(float(values.mean()), float(low), float(high))
