"""Which pairs are worth an answer: those that would change the persons most, as everything said so far leaves them.

An answer matters as far as it can turn what the persons are now: whether two of them are joined, or whether a record
stays in its person. All pairs between the two sides decide that together, so a pair that the rest has settled is worth
nothing, however doubtful it is by itself; and a large person is worth more than a small one. Knows nothing of prompts.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from resolver.cluster.solve import cluster, weighed

Floats = NDArray[np.float64]

SPREAD = (
    2.0  # log-odds: how far an answer usually moves a pair; chosen on a test bed, with answers made up by the truth
)


def worth(asked: pl.DataFrame, standing: pl.DataFrame, *, unscored: float, against: float = 1.0) -> Floats:
    """For each row of `asked` (left_rid, right_rid) how much its answer may change, in pairs of records.

    `standing`: where every pair stands. `unscored`: log-odds of a pair that nobody scored.
    `against`: how much what speaks against a join counts of what it is.
    """
    if not len(asked):
        return np.empty(0)
    left, right = (standing[side].to_numpy().astype(np.int64) for side in ("left_rid", "right_rid"))
    logit = weighed(standing["logit"].to_numpy(), against)
    records = 1 + int(max(right.max(), left.max(), asked["left_rid"].max(), asked["right_rid"].max()))
    sources = np.arange(records)  # which source a record is from plays no part here
    person = cluster(records, left, right, logit, sources, unscored=unscored, same_source=0.0).labels
    size = np.bincount(person, minlength=records)

    known = pl.DataFrame({"a": person[left], "b": person[right], "left": left, "right": right, "logit": logit})
    one = person[asked["left_rid"].to_numpy()]
    other = person[asked["right_rid"].to_numpy()]
    apart = one != other

    # Two persons: they are joined once all pairs between them speak for it.
    low, high = np.minimum(one, other), np.maximum(one, other)
    between = _sums(
        known.filter(pl.col("a") != pl.col("b")).select(
            low=pl.min_horizontal("a", "b"), high=pl.max_horizontal("a", "b"), logit="logit"
        ),
        pl.DataFrame({"low": low, "high": high}),
        size[low] * size[high],
        unscored,
    )
    # One person: a record leaves once all pairs to the others speak for it; the looser of the two would.
    inside = known.filter(pl.col("a") == pl.col("b"))
    ends = pl.concat([inside.select(rid="left", logit="logit"), inside.select(rid="right", logit="logit")])
    holds = [
        _sums(ends, pl.DataFrame({"rid": asked[side].to_numpy().astype(np.int64)}), size[one] - 1, unscored)
        for side in ("left_rid", "right_rid")
    ]
    margin = np.where(apart, between, np.minimum(*holds))
    turns = np.where(apart, size[one] * size[other], size[one] - 1)
    gain = turns * _tail(np.abs(margin) / SPREAD)
    # What an answer is about: two persons, or one record that would leave its own.
    loose = np.where(holds[0] <= holds[1], asked["left_rid"].to_numpy(), asked["right_rid"].to_numpy())
    about = asked.select("left_rid", "right_rid").with_columns(
        one=pl.Series(np.where(apart, low, -1)), other=pl.Series(np.where(apart, high, loose)), gain=pl.Series(gain)
    )
    return gain / _turn(about)


def _sums(known: pl.DataFrame, wanted: pl.DataFrame, pairs: NDArray[np.int64], unscored: float) -> Floats:
    """Log-odds of all pairs of each group that is wanted; those of its `pairs` that nobody scored count too."""
    keys = wanted.columns
    summed = known.group_by(keys).agg(pl.col("logit").sum(), pl.len().alias("scored"))
    found = wanted.join(summed, on=keys, how="left", maintain_order="left")
    scored = found["scored"].fill_null(0).to_numpy()
    total: Floats = found["logit"].fill_null(0.0).to_numpy() + unscored * np.maximum(pairs - scored, 0)
    return total


def _tail(distance: Floats) -> Floats:
    """About how often a normal answer goes so far: logistic, which is near enough and needs no table."""
    result: Floats = 1 / (1 + np.exp(1.702 * np.minimum(distance, 400)))
    return result


def _turn(about: pl.DataFrame) -> Floats:
    """The best pair about the same thing is the first, the next the second, ...: each further answer tells less."""
    ranked = about.with_row_index("place").sort("gain", "left_rid", "right_rid", descending=[True, False, False])
    turns = ranked.with_columns(turn=pl.int_range(1, pl.len() + 1).over("one", "other"))
    result: Floats = turns.sort("place")["turn"].to_numpy().astype(np.float64)
    return result
