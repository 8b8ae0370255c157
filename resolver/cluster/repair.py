"""Repairs what the order of joining got wrong: joins again, moves one unit, splits one bridge.

Every step raises the total, so it ends, and may be stopped at any time. Steps that touch different clusters don't
disturb each other and are taken together; components at rest are not looked at again.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

from resolver.cluster.graph import NEVER, Flags, Floats, Graph, Ints, Links, components, shared, smallest
from resolver.cluster.join import GAIN, join
from resolver.cluster.tree import cheapest_cuts

ROUNDS = 200  # real data comes to rest within ten
WORK = 20_000_000  # link visits per component, which leave a very large one fewer rounds
HEAVY = 2_000_000  # links; in a component with more, no bridge is sought: moves and joins alone must do


def repair(graph: Graph, labels: Ints) -> Ints:
    """Labels with a total that is at least as high in every component."""
    active = np.ones(int(graph.part.max()) + 1 if graph.units else 0, dtype=bool)
    links_of = np.bincount(graph.part[graph.links.a], minlength=len(active))
    rounds = np.clip(WORK // np.maximum(links_of, 1), 5, ROUNDS)
    for turn in range(ROUNDS):
        active &= turn < rounds
        if not active.any():
            break
        links = graph.parts(active)
        before = labels
        labels = join(graph, links, labels)
        labels = move(graph, links, labels)
        labels = split(graph, graph.parts(active & (links_of <= HEAVY)), labels)
        active = np.zeros_like(active)
        active[graph.part[before != labels]] = True
    return labels


def move(graph: Graph, links: Links, labels: Ints) -> Ints:
    """Move units to another cluster, or out into one of their own, where that gains most."""
    unit = np.concatenate([links.a, links.b])
    other = np.concatenate([labels[links.b], labels[links.a]])
    both = Links(
        unit,
        other,
        *(np.concatenate([column, column]) for column in (links.logit, links.scored, links.apart, links.rank)),
    )
    to = both.between(unit, other)  # unit -> cluster
    own = labels[to.a] == to.b
    size, sources = graph.sizes(labels), graph.source_counts(labels)

    there = size[to.b] - np.where(own, graph.size[to.a], 0)
    worth = to.logit + graph.unscored * (graph.size[to.a] * there - to.scored)
    if graph.sources is not None and sources is not None:
        mine = graph.sources[to.a]
        alike = shared(mine, sources[to.b])
        alike -= np.where(own, shared(mine, mine), 0.0)
        worth = worth + graph.same_source * alike

    looked = np.zeros(graph.units, dtype=bool)
    looked[unit] = True
    stay = np.zeros(graph.units)
    lonely = looked & (size[labels] > graph.size)
    lonely[to.a[own]] = False
    stay[to.a[own]] = worth[own]
    # A unit without a scored pair in its own cluster is there for no reason of its own.
    stay[lonely] = graph.unscored * graph.size[lonely] * (size[labels[lonely]] - graph.size[lonely])

    away = ~own & ~to.apart
    alone = np.flatnonzero(looked & (stay < -GAIN))
    units = np.concatenate([to.a[away], alone])
    targets = np.concatenate([to.b[away], graph.units + alone])  # a fresh name for a cluster of one
    gains = np.concatenate([worth[away] - stay[to.a[away]], -stay[alone]])
    rises = gains > GAIN
    units, targets, gains = units[rises], targets[rises], gains[rises]
    if not len(units):
        return labels
    chosen = _independent(labels[units], targets, _order(gains, units, targets), 2 * graph.units)
    labels = labels.copy()
    labels[units[chosen]] = targets[chosen]
    return smallest(labels, graph.units)


def _order(gains: Floats, units: Ints, targets: Ints) -> Ints:
    """Place of each step, the greatest gain first; the rest of the key makes it unique."""
    place = np.empty(len(gains), dtype=np.int64)
    place[np.lexsort((targets, units, -gains))] = np.arange(len(gains))
    return place


def _independent(origin: Ints, target: Ints, place: Ints, names: int) -> Flags:
    """Steps that come first in both clusters that they touch: no two of them share a cluster."""
    first = np.full(names, NEVER, dtype=np.int64)
    np.minimum.at(first, origin, place)
    np.minimum.at(first, target, place)
    return np.asarray((first[origin] == place) & (first[target] == place), dtype=bool)


def split(graph: Graph, links: Links, labels: Ints) -> Ints:
    """Split clusters where the evidence across one bridge adds up to less than nothing.

    A bridge is a link of the cluster's tree of strongest links: cutting it leaves two sides.
    """
    inside = links.where(labels[links.a] == labels[links.b])
    speaking = inside.rank < NEVER
    looked = np.zeros(graph.units, dtype=bool)
    looked[links.a], looked[links.b] = True, True
    # Units that no link for a join holds together: all between them is against it.
    held = components(graph.units, inside.a[speaking], inside.b[speaking])
    apart = smallest(held, graph.units)
    labels = np.where(looked, apart, labels)
    inside = inside.where(labels[inside.a] == labels[inside.b])
    speaking = inside.rank < NEVER

    # Only clusters of three or more units in which some pair is against it can gain.
    count = np.bincount(labels, minlength=graph.units)
    for_it = np.bincount(labels[inside.a[speaking]], minlength=graph.units)
    worth_it = (count >= 3) & (for_it < count * (count - 1) // 2)
    inside = inside.where(worth_it[labels[inside.a]])
    if not len(inside):
        return labels

    units = np.flatnonzero(worth_it[labels] & looked)
    number = np.full(graph.units, -1, dtype=np.int32)
    number[units] = np.arange(len(units))
    small = Graph(
        size=graph.size[units],
        part=graph.part[units],
        links=Links(number[inside.a], number[inside.b], inside.logit, inside.scored, inside.apart, inside.rank),
        sources=None if graph.sources is None else sparse.csr_array(graph.sources[units]),
        unscored=graph.unscored,
        same_source=graph.same_source,
    )
    parted = cheapest_cuts(small, number[labels[units]])
    labels = labels.copy()
    labels[units] = units[parted]
    return labels
