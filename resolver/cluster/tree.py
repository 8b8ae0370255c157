"""Weighs every bridge of every cluster's tree of strongest links at once, and cuts the cheapest.

Cutting a tree at the link above a unit leaves the unit's subtree and the rest. A pair of units lies across that cut if
the link is on the way between them, so its evidence is added at both units and taken off twice where their ways to the
root meet; sums over subtrees then give, for every cut, all evidence across it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from resolver.cluster.graph import NEVER, Floats, Graph, Ints, smallest
from resolver.cluster.join import GAIN


@dataclass(frozen=True)
class _Forest:
    """Trees under one common root, which is the last number."""

    above: Ints  # the unit one step nearer to the root
    levels: list[Ints]  # units by distance from the common root, the root left out


@dataclass(frozen=True)
class Bridges:
    """What lies across each link of the clusters' trees."""

    cluster: Ints
    ends: tuple[Ints, Ints]  # the units that the link ties
    pairs: Ints  # of records, one from each side
    scored: Ints  # of them
    logit: Floats  # of those that are scored, together


def bridges(graph: Graph, labels: Ints) -> Bridges:
    """All bridges of all clusters; each cluster is named by one of its units."""
    forest = _forest(graph, labels)
    logit, scored, below = _across(graph, forest)
    lower = np.ones(graph.units, dtype=bool)
    lower[forest.levels[0]] = False  # above a root there is none
    pairs = below * (graph.sizes(labels)[labels] - below)
    ends = np.flatnonzero(lower), forest.above[:-1][lower]
    return Bridges(labels[lower], ends, pairs[lower], scored[lower], logit[lower])


def cheapest_cuts(graph: Graph, labels: Ints) -> Ints:
    """Labels with each cluster cut once, at its most negative bridge, where that is negative."""
    forest = _forest(graph, labels)
    cost = _costs(graph, labels, forest)
    roots = forest.levels[0]
    cost[roots] = 0.0  # above a root there is nothing to cut
    order = np.lexsort((np.arange(graph.units), cost, labels))
    first = order[np.concatenate(([True], labels[order][1:] != labels[order][:-1]))]
    cut = first[cost[first] < -GAIN]
    below = np.zeros(graph.units + 1, dtype=bool)
    below[cut] = True
    for level in forest.levels:
        below[level] |= below[forest.above[level]]
    return smallest(np.where(below[:-1], labels + graph.units, labels), graph.units)


def _forest(graph: Graph, labels: Ints) -> _Forest:
    links, n = graph.links, graph.units
    speaking = links.rank < NEVER
    a, b = links.a[speaking], links.b[speaking]
    # Any order-preserving weight gives the same tree; scipy takes 0 for "no link".
    weight = sparse.coo_array((links.rank[speaking] + 1.0, (a, b)), shape=(n, n)).tocsr()
    tree = sparse.csgraph.minimum_spanning_tree(weight).tocoo()
    roots = np.unique(labels)
    joined = sparse.coo_array(
        (
            np.ones(len(tree.row) + len(roots)),
            (np.concatenate([tree.row, np.full(len(roots), n)]), np.concatenate([tree.col, roots])),
        ),
        shape=(n + 1, n + 1),
    ).tocsr()
    order, above = sparse.csgraph.breadth_first_order(joined, n, directed=False)
    above = above.astype(np.int64)
    above[n] = n
    place = np.empty(n + 1, dtype=np.int64)
    place[order] = np.arange(n + 1)
    parents = place[above[order]]  # rises along the order, so each level is one stretch
    levels, begin = [], 1
    while begin <= n:
        end = int(np.searchsorted(parents[1:], begin)) + 1
        levels.append(order[begin:end].astype(np.int64))
        begin = end
    return _Forest(above, levels)


def _costs(graph: Graph, labels: Ints, forest: _Forest) -> Floats:
    """For every unit, the log-odds of all pairs across the link above it."""
    logit, scored, below = _across(graph, forest)
    pairs = below * (graph.sizes(labels)[labels] - below)
    cost = logit + graph.unscored * (pairs - scored)
    if graph.sources is not None:
        cost = cost + graph.same_source * _same_source(graph, labels, forest)
    return np.asarray(cost, dtype=np.float64)


def _across(graph: Graph, forest: _Forest) -> tuple[Floats, Ints, Ints]:
    """For every unit: log-odds and number of scored pairs across the link above it, and records below that link."""
    links, n = graph.links, graph.units
    meet = _meet(forest, links.a, links.b, n)
    logit, scored, below = np.zeros(n + 1), np.zeros(n + 1), np.zeros(n + 1)
    for sums, worth in ((logit, links.logit), (scored, links.scored.astype(np.float64))):
        sums += np.bincount(links.a, weights=worth, minlength=n + 1)
        sums += np.bincount(links.b, weights=worth, minlength=n + 1)
        sums -= 2 * np.bincount(meet, weights=worth, minlength=n + 1)
    below[:-1] = graph.size
    for level in reversed(forest.levels[1:]):
        for sums in (logit, scored, below):
            np.add.at(sums, forest.above[level], sums[level])
    return logit[:-1], scored[:-1].astype(np.int64), below[:-1].astype(np.int64)


def _meet(forest: _Forest, a: Ints, b: Ints, n: int) -> Ints:
    """Where the ways of a and b to the root meet."""
    depth = np.zeros(n + 1, dtype=np.int64)
    for number, level in enumerate(forest.levels, start=1):
        depth[level] = number
    jumps = [forest.above]
    while (1 << len(jumps)) <= len(forest.levels):
        jumps.append(jumps[-1][jumps[-1]])
    deep, high = np.where(depth[a] >= depth[b], a, b), np.where(depth[a] >= depth[b], b, a)
    lift = depth[deep] - depth[high]
    for power, jump in enumerate(jumps):
        deep = np.where((lift >> power) & 1, jump[deep], deep)
    for jump in reversed(jumps):
        differ = jump[deep] != jump[high]
        deep, high = np.where(differ, jump[deep], deep), np.where(differ, jump[high], high)
    return np.asarray(np.where(deep == high, deep, forest.above[deep]), dtype=np.int64)


def _same_source(graph: Graph, labels: Ints, forest: _Forest) -> Floats:
    """For every unit, how many pairs of one source lie across the link above it."""
    assert graph.sources is not None
    whole = graph.source_counts(labels)
    assert whole is not None
    result = np.zeros(graph.units)
    carried = sparse.csr_array(graph.sources.shape, dtype=graph.sources.dtype)
    for level in reversed(forest.levels):
        chosen = np.zeros(graph.units)
        chosen[level] = 1
        here = sparse.csr_array((sparse.diags_array(chosen) @ (graph.sources + carried)).tocsr())
        entries = here.tocoo()
        entire = np.asarray(whole[labels[entries.row], entries.col]).ravel()
        result += np.bincount(entries.row, weights=entries.data * (entire - entries.data), minlength=graph.units)
        rows = forest.above[entries.row]
        inner = rows < graph.units
        carried = sparse.csr_array((entries.data[inner], (rows[inner], entries.col[inner])), shape=graph.sources.shape)
    return result
