"""Joins clusters, strongest first, while the evidence between them is for it.

In each round every cluster names the partner with which it shares the strongest pair, among those where all pairs
between the two add up to more than nothing. Two clusters that name each other join. So the result hangs neither on
the order of the input nor on the other components, and all components advance together, in numpy.
This file knows nothing of undoing a join; repair.py does.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from resolver.cluster.graph import NEVER, Flags, Floats, Graph, Ints, Links, scramble, smallest

GAIN = 1e-6  # less than this is rounding
PATIENCE = 12  # rounds of single joins; after that a component may join several to one cluster at once
HURRIED = 20_000  # links; a component with more may do so from the start
STUBBORN = 64  # rounds; after that a fixed scrambled order replaces the strength, which frees long chains
WORK = 200_000_000  # link visits per component; joining may stop at any time and leave a partition


def join(graph: Graph, links: Links, labels: Ints) -> Ints:
    """Labels with clusters joined; `links` are those of the components to look at."""
    rest = links.under(labels)
    size, sources = graph.sizes(labels), graph.source_counts(labels)
    parts = int(graph.part.max()) + 1 if graph.units else 0
    links_of = np.bincount(graph.part[rest.a], minlength=parts)
    rounds = np.maximum(WORK // np.maximum(links_of, 1), 2 * STUBBORN)
    for turn in range(graph.units):
        between = graph.between(rest, size, sources)
        good = (between > GAIN) & ~rest.apart & (rest.rank < NEVER) & (turn < rounds)[graph.part[rest.a]]
        if not good.any():
            break
        if turn >= STUBBORN:
            rest = _scrambled(rest, turn)
        into = _mutual(rest, good, graph.units)
        hurried = (links_of > HURRIED) | (turn >= PATIENCE)
        if hurried.any():
            into = _suitors(graph, rest, good & hurried[graph.part[rest.a]], between, into, size)
        labels = smallest(into[labels], graph.units)
        alive = np.zeros(parts, dtype=bool)
        alive[graph.part[rest.a[good]]] = True
        rest = rest.where(alive[graph.part[rest.a]]).under(into)
        size, sources = graph.sizes(labels), graph.source_counts(labels)
    return labels


def _scrambled(links: Links, turn: int) -> Links:
    """The links with those for a join in an order that follows no pattern of the data."""
    speaking = np.flatnonzero(links.rank < NEVER)
    rank = np.full(len(links), NEVER, dtype=links.rank.dtype)
    order = np.lexsort((links.b[speaking], scramble(links.a[speaking], links.b[speaking], turn)))
    rank[speaking[order]] = np.arange(len(speaking))
    return replace(links, rank=rank)


def _best(links: Links, good: Flags, units: int) -> Ints:
    """Rank of each cluster's strongest good link."""
    best = np.full(units, NEVER, dtype=np.int64)
    np.minimum.at(best, links.a[good], links.rank[good])
    np.minimum.at(best, links.b[good], links.rank[good])
    return best


def _mutual(links: Links, good: Flags, units: int) -> Ints:
    """For each cluster the one it joins: itself, or the smaller of a couple that name each other."""
    best = _best(links, good, units)
    couple = good & (links.rank == best[links.a]) & (links.rank == best[links.b])
    into = np.arange(units)
    into[links.b[couple]] = links.a[couple]
    return into


def _suitors(graph: Graph, links: Links, good: Flags, between: Floats, into: Ints, size: Ints) -> Ints:
    """Further clusters that join a couple in the same round.

    Where one cluster is everybody's favourite, one join a round would take as many rounds as there are records. One
    is let in if it gains even when everything that speaks against it from the other suitors is counted.
    """
    best = _best(links, good, graph.units)
    partner = np.full(graph.units, -1, dtype=np.int64)
    a_names, b_names = good & (links.rank == best[links.a]), good & (links.rank == best[links.b])
    partner[links.a[a_names]] = links.b[a_names]
    partner[links.b[b_names]] = links.a[b_names]
    couples = np.flatnonzero(into != np.arange(graph.units))
    core = np.full(graph.units, -1, dtype=np.int64)  # of each cluster in a couple, the couple's smaller one
    core[couples], core[into[couples]] = into[couples], into[couples]
    courting = (partner >= 0) & (core < 0)
    group = core.copy()
    group[courting] = core[partner[courting]]
    suitor = courting & (group >= 0)
    if not suitor.any():
        return into

    # Lower bound of what each suitor gains: its links to the couple, and all that is against it from the others.
    a, b = links.a, links.b
    same = (group[a] == group[b]) & (group[a] >= 0)
    value = np.where(links.apart, -np.inf, between)
    bound = np.zeros(graph.units)
    known = np.zeros(graph.units, dtype=np.int64)  # records of the group to which some pair is scored
    for one, other in ((a, b), (b, a)):
        use = same & suitor[one]
        worth = np.where(suitor[other[use]], np.minimum(value[use], 0.0), value[use])
        np.add.at(bound, one[use], worth)
        np.add.at(known, one[use], size[other[use]])
    members = np.flatnonzero(group >= 0)
    everyone = np.bincount(group[members], weights=size[members], minlength=graph.units).astype(np.int64)
    unknown = np.where(group >= 0, everyone[group] - size - known, 0)
    bound += (graph.unscored + min(graph.same_source, 0.0)) * size * unknown
    accepted = suitor & (bound > GAIN)
    into = into.copy()
    into[accepted] = group[accepted]
    return into
