"""Who is in which split. A person is the truth's own id, so that one person in two beds stays one.

Persons whom the linker confuses most stay together, so that their pairs are not torn apart; each such group goes to a
split by a stable hash. Pairs between two splits belong to neither. Knows nothing of records.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse import csgraph

LARGEST = 0.02  # share of all persons that one group may have
STEPS = 20  # of the search for how close persons must be to stay together

Ints = NDArray[np.int64]


def assign(persons: pl.Series, pairs: pl.DataFrame, shares: Sequence[float], seed: int) -> pl.DataFrame:
    """person, knot (those who stay together), split (position in `shares`).

    `persons`: distinct ids in order. `pairs`: left_person, right_person, closeness; only of different persons.
    """
    place = pl.DataFrame({"person": persons, "place": np.arange(len(persons))})
    edges = (
        pairs.group_by("left_person", "right_person")
        .agg(pl.col("closeness").max())
        .join(place.rename({"person": "left_person", "place": "left"}), on="left_person")
        .join(place.rename({"person": "right_person", "place": "right"}), on="right_person")
        .sort("left", "right")
    )
    left, right, closeness = (edges[name].to_numpy() for name in ("left", "right", "closeness"))
    knot = _knots(len(persons), left, right, closeness)
    # A knot is named by its first person, so that it is the same whatever else there is.
    first = place.with_columns(pl.Series("knot", knot)).with_columns(name=pl.col("person").min().over("knot"))
    named = first.select("knot", "name").unique(maintain_order=True)
    bounds = np.cumsum(shares)[:-1]
    drawn = named.with_columns(
        pl.Series("split", np.searchsorted(bounds, uniform(named["name"], seed), side="right"), dtype=pl.Int64)
    )
    return first.join(drawn.select("knot", "split"), on="knot", maintain_order="left").select("person", "knot", "split")


def _knots(count: int, left: Ints, right: Ints, closeness: NDArray[np.float64]) -> Ints:
    """Connected components over the closest pairs: as many pairs as leave no component too large."""
    most = max(int(LARGEST * count), 4)
    levels = np.unique(closeness)[::-1]
    low, high = 0, len(levels)  # so many levels, from the closest
    best = np.arange(count)
    for _ in range(STEPS):
        middle = (low + high + 1) // 2
        if middle == low:
            break
        keep = closeness >= levels[middle - 1]
        knot = components(count, left[keep], right[keep])
        if np.bincount(knot).max(initial=0) <= most:
            low, best = middle, knot
        else:
            high = middle - 1
    return best


def components(count: int, left: Ints, right: Ints) -> Ints:
    graph = sparse.coo_array((np.ones(len(left), dtype=np.int8), (left, right)), shape=(count, count))
    return np.asarray(csgraph.connected_components(graph, directed=False)[1], dtype=np.int64)


def uniform(names: pl.Series, seed: int) -> NDArray[np.float64]:
    """A number between 0 and 1 for each name: the same on every machine and in every version."""
    found = [hashlib.blake2b(f"{seed} {name}".encode(), digest_size=8).digest() for name in names]
    return np.frombuffer(b"".join(found), dtype=">u8").astype(np.float64) / 2.0**64
