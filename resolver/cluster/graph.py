"""Evidence between units, and how it adds up between groups of them.

A unit is a record, or several that a person has said belong together. Pairs that were never scored are not stored:
their number follows from the sizes, so memory grows with the scored pairs alone.
This file knows nothing of how clusters are sought.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse

Ints = npt.NDArray[np.integer]
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

NEVER = np.iinfo(np.int32).max  # rank of a pair that does not speak for a join


@dataclass(frozen=True)
class Links:
    """Scored evidence between two groups each, a < b, each couple once, sorted."""

    a: Ints
    b: Ints
    logit: Floats  # of all scored pairs between the two
    scored: Ints  # how many these are
    apart: Flags  # a person said that some of them are not one
    rank: Ints  # of the strongest pair between them, 0 being the strongest of all

    def __len__(self) -> int:
        return len(self.a)

    def where(self, keep: Flags) -> Links:
        if keep.all():
            return self
        return Links(self.a[keep], self.b[keep], self.logit[keep], self.scored[keep], self.apart[keep], self.rank[keep])

    def under(self, labels: Ints) -> Links:
        """The same evidence between the groups that `labels` makes; what lies inside a group is left out."""
        inner = self.where(labels[self.a] != labels[self.b])
        a, b = labels[inner.a], labels[inner.b]
        return inner.between(np.minimum(a, b), np.maximum(a, b))

    def between(self, a: Ints, b: Ints) -> Links:
        """The rows added up over equal (a, b), which may be in any order."""
        if not len(a):
            return Links(a, b, self.logit, self.scored, self.apart, self.rank)
        names = np.zeros(int(max(a.max(), b.max())) + 1, dtype=np.int64)
        names[a], names[b] = 1, 1
        names = np.cumsum(names) - 1
        groups = int(names[-1]) + 1
        if groups * groups <= 4 * len(a):
            return self._dense(a, b, names[a] * groups + names[b], groups * groups)
        key = a.astype(np.int64) * len(names) + b
        order = np.argsort(key, kind="stable")
        key = key[order]
        first = np.flatnonzero(np.concatenate(([True], key[1:] != key[:-1])))
        return Links(
            a[order][first],
            b[order][first],
            np.add.reduceat(self.logit[order], first),
            np.add.reduceat(self.scored[order], first),
            np.logical_or.reduceat(self.apart[order], first),
            np.minimum.reduceat(self.rank[order], first),
        )

    def _dense(self, a: Ints, b: Ints, key: Ints, keys: int) -> Links:
        """`between` without sorting, for few groups with many rows: one cell per couple of groups."""
        row = np.full(keys, -1, dtype=np.int64)
        row[key] = np.arange(len(key))
        filled = np.flatnonzero(row >= 0)
        rank = np.full(keys, NEVER, dtype=self.rank.dtype)
        np.minimum.at(rank, key, self.rank)
        row = row[filled]
        return Links(
            a[row],
            b[row],
            np.asarray(np.bincount(key, weights=self.logit, minlength=keys)[filled], dtype=np.float64),
            np.bincount(key, weights=self.scored, minlength=keys)[filled].astype(self.scored.dtype),
            np.bincount(key, weights=self.apart, minlength=keys)[filled] > 0,
            rank[filled],
        )


@dataclass(frozen=True)
class Graph:
    """Units, the evidence between them, and what a pair costs beside its own score."""

    size: Ints  # records per unit
    part: Ints  # connected component of each unit
    links: Links
    sources: sparse.csr_array | None  # records per unit and source; None where sources don't count
    unscored: float
    same_source: float

    @property
    def units(self) -> int:
        return len(self.size)

    def parts(self, keep: Flags) -> Links:
        """The links inside the components that are flagged."""
        return self.links.where(keep[self.part[self.links.a]])

    def sizes(self, labels: Ints) -> Ints:
        return np.bincount(labels, weights=self.size, minlength=self.units).astype(np.int64)

    def source_counts(self, labels: Ints) -> sparse.csr_array | None:
        """Records per cluster and source."""
        if self.sources is None:
            return None
        entries = self.sources.tocoo()
        return sparse.csr_array((entries.data, (labels[entries.row], entries.col)), shape=self.sources.shape)

    def between(self, links: Links, size: Ints, sources: sparse.csr_array | None) -> Floats:
        """Log-odds of all pairs between the two groups of each link, those never scored included."""
        total = links.logit + self.unscored * (size[links.a] * size[links.b] - links.scored)
        if sources is not None:
            total = total + self.same_source * shared(sources[links.a], sources[links.b])
        return np.asarray(total, dtype=np.float64)

    def total(self, labels: Ints) -> Floats:
        """Per component: log-odds of all pairs inside clusters, pairs inside a unit left out."""
        components = int(self.part.max()) + 1 if self.units else 0
        inside = labels[self.links.a] == labels[self.links.b]
        links = self.links.where(inside)
        result = np.zeros(components)
        result += np.bincount(
            self.part[links.a], weights=links.logit - self.unscored * links.scored, minlength=components
        )
        own = self.size * (self.size - 1) // 2
        size = self.sizes(labels)
        pairs = size * (size - 1) / 2
        result += np.bincount(self.part, weights=self.unscored * (pairs - own), minlength=components)
        if self.sources is not None:
            merged = self.source_counts(labels)
            result += np.bincount(
                self.part, weights=self.same_source * (_pairs(merged) - _pairs(self.sources)), minlength=components
            )
        return np.asarray(result, dtype=np.float64)


def shared(one: sparse.csr_array, other: sparse.csr_array) -> Floats:
    """Row by row, how many pairs with one record from each side come from one source."""
    return np.asarray(one.multiply(other).sum(axis=1), dtype=np.float64).ravel()


def _pairs(counts: sparse.csr_array | None) -> Floats:
    """Pairs of one source inside each row."""
    assert counts is not None
    entries = counts.tocoo()
    return np.asarray(
        np.bincount(entries.row, weights=entries.data * (entries.data - 1) / 2, minlength=counts.shape[0]),
        dtype=np.float64,
    )


def smallest(labels: Ints, units: int) -> Ints:
    """The same partition, each cluster named by its smallest unit."""
    least = np.full(int(labels.max()) + 1 if len(labels) else 0, units, dtype=np.int64)
    np.minimum.at(least, labels, np.arange(units))
    return np.asarray(least[labels], dtype=np.int64)


def scramble(left: Ints, right: Ints, salt: int = 0) -> npt.NDArray[np.uint64]:
    """A fixed hash of two numbers (the finalizer of splitmix64)."""
    value = left.astype(np.uint64) << np.uint64(32) | right.astype(np.uint64)
    value = value + np.uint64(salt * 0x9E3779B97F4A7C15 & 0xFFFFFFFFFFFFFFFF)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(value ^ (value >> np.uint64(31)), dtype=np.uint64)


def components(units: int, left: Ints, right: Ints) -> Ints:
    """Connected components, numbered from 0."""
    graph = sparse.coo_array((np.ones(len(left), dtype=np.int8), (left, right)), shape=(units, units))
    _, found = sparse.csgraph.connected_components(graph.tocsr(), directed=False)
    return np.asarray(found, dtype=np.int64)
