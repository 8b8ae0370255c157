"""The clustering itself, as one pure function of arrays: evidence in, persons out.

Two clusters are joined only if the log-odds of all pairs between them add up to more than nothing; one that was never
scored counts as mild evidence against. What speaks against may count less than what speaks for: an error in one record
is held against it by every record of its person, and is one error all the same. Components of the pairs that speak for
a join are independent of each other. This file knows nothing of run folders; `learn` calls the same function.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from scipy import sparse

from resolver.cluster.graph import NEVER, Flags, Floats, Graph, Ints, Links, components, scramble, smallest
from resolver.cluster.join import join
from resolver.cluster.repair import repair

# Why a pair that its own score would link was left apart.
BY_A_PERSON = "a person said no"
BY_SOURCE = "two records of one source"
BY_OTHERS = "other pairs speak against it"
BY_SILENCE = "too many pairs between were never scored"


@dataclass(frozen=True)
class Clustering:
    labels: npt.NDArray[np.int32]  # per record, the smallest record of its cluster
    cut_left: Ints
    cut_right: Ints
    cut_logit: Floats
    cut_between: Floats
    cut_reason: npt.NDArray[np.object_]
    conflicts: Ints = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    """Pairs (their row) that a person parted, and that the same person's other answers join."""
    total: float = 0.0  # log-odds of all pairs inside clusters, pairs joined by a person left out
    largest_component: int = 0
    searched: int = 0  # records in components that were not settled at a glance


def cluster(
    records: int,
    left: npt.ArrayLike,
    right: npt.ArrayLike,
    logit: npt.ArrayLike,
    source: npt.ArrayLike | None = None,
    *,
    unscored: float = -1.5,
    same_source: float = 0.0,
    against: float = 1.0,
    together: npt.ArrayLike | None = None,
    apart: npt.ArrayLike | None = None,
) -> Clustering:
    """Partition `records` records by the log-odds of scored pairs, of which those below 0 count `against` times.

    `source` numbers each record's source from 0. `together` and `apart` flag pairs that a person has settled: they hold
    whatever the log-odds say, and where they contradict each other, `together` wins and the pair is reported.
    The order of the pairs, and which of a pair's records comes first, change nothing.
    """
    if unscored > 0 or same_source > 0:
        raise ValueError("unscored and same_source are costs: they can't be above 0")
    if not 0 < against <= 1:
        raise ValueError("against is a share: it lies above 0 and is 1 at most")
    pairs = _pairs(records, left, right, weighed(logit, against), together, apart)
    codes = None if source is None or same_source == 0.0 else np.asarray(source, dtype=np.int64)
    worth = pairs.logit if codes is None else pairs.logit + same_source * (codes[pairs.left] == codes[pairs.right])

    unit = _units(records, pairs)
    left_unit, right_unit = unit[pairs.left], unit[pairs.right]
    conflict = pairs.apart & (left_unit == right_unit)
    speaks = (worth > 0) & ~pairs.apart
    across = left_unit != right_unit
    part = components(records, left_unit[speaks & across], right_unit[speaks & across])[unit]

    inner = np.flatnonzero(across & (part[left_unit] == part[right_unit]))
    simple = _simple(unit, part, left_unit[inner], right_unit[inner], speaks[inner])
    hard = inner[~simple[part[left_unit[inner]]]]
    labels = smallest(part, records)  # right for the simple components
    searched = 0
    if len(hard):
        search = np.flatnonzero(~simple[part])
        searched = len(search)
        graph, units = _graph(search, unit, part, pairs, hard, worth, speaks, codes, unscored, same_source)
        best = _search(graph)
        place = np.full(records, -1, dtype=np.int64)
        place[units] = units[best]
        labels[search] = place[unit[search]]
        labels = smallest(labels, records)

    cuts = _cuts(records, pairs, labels, codes, unscored, same_source)
    sizes = np.bincount(part)
    return Clustering(
        labels=labels.astype(np.int32),
        cut_left=cuts[0],
        cut_right=cuts[1],
        cut_logit=cuts[2],
        cut_between=cuts[3],
        cut_reason=cuts[4],
        conflicts=pairs.row[conflict],
        total=_total(records, pairs, labels, unit, codes, unscored, same_source),
        largest_component=int(sizes.max()) if len(sizes) else 0,
        searched=searched,
    )


def weighed(logit: npt.ArrayLike, against: float) -> Floats:
    """What pairs count for in a sum with others."""
    value = np.asarray(logit, dtype=np.float64)
    return np.where(value < 0, value * against, value)


@dataclass(frozen=True)
class _Pairs:
    left: Ints
    right: Ints
    logit: Floats
    together: Flags
    apart: Flags
    row: Ints  # where the pair was in the input

    def __len__(self) -> int:
        return len(self.left)


def _pairs(
    records: int,
    left: npt.ArrayLike,
    right: npt.ArrayLike,
    logit: npt.ArrayLike,
    together: npt.ArrayLike | None,
    apart: npt.ArrayLike | None,
) -> _Pairs:
    one, other = np.asarray(left, dtype=np.int64), np.asarray(right, dtype=np.int64)
    low, high = np.minimum(one, other), np.maximum(one, other)
    value = np.asarray(logit, dtype=np.float64)
    if len(low) and (low.min() < 0 or high.max() >= records):
        raise ValueError("a pair names a record that does not exist")
    if (low == high).any():
        raise ValueError("a record is paired with itself")
    if not np.isfinite(value).all():
        raise ValueError("a pair's log-odds are not a finite number")
    key = low * records + high
    order = np.argsort(key, kind="stable") if (np.diff(key) < 0).any() else np.arange(len(key))
    if (np.diff(key[order]) == 0).any():
        raise ValueError("a pair is given twice")
    none = np.zeros(len(low), dtype=bool)
    yes = none if together is None else np.asarray(together, dtype=bool)
    no = none if apart is None else np.asarray(apart, dtype=bool)
    if (yes & no).any():
        raise ValueError("a pair is both together and apart")
    return _Pairs(low[order], high[order], value[order], yes[order], no[order], order)


def _units(records: int, pairs: _Pairs) -> Ints:
    """Each record's unit, named by its smallest record: records that a person put together are one."""
    if not pairs.together.any():
        return np.arange(records)
    return smallest(components(records, pairs.left[pairs.together], pairs.right[pairs.together]), records)


def _simple(unit: Ints, part: Ints, left: Ints, right: Ints, speaks: Flags) -> Flags:
    """Per component, whether every pair of its units is scored and for it: then it is one person."""
    units = np.bincount(part[np.unique(unit)], minlength=len(part))
    # Units of one record each share at most one pair; others are left to the search.
    grouped = np.zeros(len(part), dtype=bool)
    grouped[part[np.flatnonzero(unit != np.arange(len(unit)))]] = True
    scored_for = np.bincount(part[left[speaks]], minlength=len(part))
    simple = scored_for == units * (units - 1) // 2
    return np.asarray((simple & ~grouped) | (units <= 1), dtype=bool)


def _graph(
    search: Ints,
    unit: Ints,
    part: Ints,
    pairs: _Pairs,
    hard: Ints,
    worth: Floats,
    speaks: Flags,
    codes: Ints | None,
    unscored: float,
    same_source: float,
) -> tuple[Graph, Ints]:
    """The units to search, numbered anew, with their evidence; and their names."""
    units, inverse = np.unique(unit[search], return_inverse=True)
    number = np.full(len(unit), -1, dtype=np.int32)
    number[units] = np.arange(len(units))
    a, b = number[unit[pairs.left[hard]]], number[unit[pairs.right[hard]]]
    # Strongest first; equals in a fixed scrambled order, so that many equals don't all turn to the same record.
    rank = np.full(len(hard), NEVER, dtype=np.int32)
    ahead = speaks[hard]
    mixed = scramble(pairs.left[hard][ahead], pairs.right[hard][ahead])
    place = np.empty(int(ahead.sum()), dtype=np.int32)
    place[np.lexsort((mixed, -worth[hard][ahead]))] = np.arange(len(place))
    rank[ahead] = place
    links = Links(a, b, pairs.logit[hard], np.ones(len(hard), dtype=np.int32), pairs.apart[hard], rank).between(
        np.minimum(a, b), np.maximum(a, b)
    )
    sources = None
    if codes is not None:
        _, found = np.unique(codes[search], return_inverse=True)
        sources = sparse.csr_array((np.ones(len(search)), (inverse, found)), shape=(len(units), int(found.max()) + 1))
    _, parts = np.unique(part[units], return_inverse=True)
    return Graph(np.bincount(inverse), parts, links, sources, unscored, same_source), units


def _search(graph: Graph) -> Ints:
    """The better, component by component, of joining from nothing and of repairing the whole component."""
    labels = repair(graph, join(graph, graph.links, np.arange(graph.units)))
    whole = smallest(graph.part, graph.units)
    forbidden = np.zeros(int(graph.part.max()) + 1, dtype=bool)
    forbidden[graph.part[graph.links.a[graph.links.apart]]] = True
    better = (graph.total(whole) > graph.total(labels)) & ~forbidden
    if better.any():
        labels = repair(graph, np.where(better[graph.part], whole, labels))
    return labels


def _total(
    records: int, pairs: _Pairs, labels: Ints, unit: Ints, codes: Ints | None, unscored: float, same_source: float
) -> float:
    """What the search tries to raise, over all records."""
    inside = (labels[pairs.left] == labels[pairs.right]) & (unit[pairs.left] != unit[pairs.right])
    total = float(pairs.logit[inside].sum())
    count = _inner(np.bincount(labels)) - _inner(np.bincount(unit))
    total += unscored * (count - int(inside.sum()))
    if codes is not None:
        wide = int(codes.max()) + 1 if len(codes) else 1
        alike = [_inner(np.unique(group * wide + codes, return_counts=True)[1]) for group in (labels, unit)]
        total += same_source * (alike[0] - alike[1])
    return total


def _inner(sizes: npt.NDArray[np.int64]) -> int:
    return int((sizes * (sizes - 1) // 2).sum())


def _cuts(
    records: int, pairs: _Pairs, labels: Ints, codes: Ints | None, unscored: float, same_source: float
) -> tuple[Ints, Ints, Floats, Floats, npt.NDArray[np.object_]]:
    """Pairs whose own log-odds are above nothing and whose records are in two clusters, with what decided."""
    cut = np.flatnonzero((pairs.logit > 0) & (labels[pairs.left] != labels[pairs.right]))
    a, b = labels[pairs.left[cut]], labels[pairs.right[cut]]
    couple, inverse = np.unique(np.minimum(a, b) * records + np.maximum(a, b), return_inverse=True)
    low, high = couple // max(records, 1), couple % max(records, 1)
    # All scored pairs between the couples.
    touched = np.zeros(records, dtype=bool)
    touched[low], touched[high] = True, True
    a, b = labels[pairs.left], labels[pairs.right]
    near = np.flatnonzero(touched[a] & touched[b] & (a != b))
    key = np.minimum(a[near], b[near]) * records + np.maximum(a[near], b[near])
    place = np.searchsorted(couple, key)
    known = place < len(couple)
    known[known] = couple[place[known]] == key[known]
    near, place = near[known], place[known]
    scored = np.bincount(place, minlength=len(couple))
    logit = np.bincount(place, weights=pairs.logit[near], minlength=len(couple))
    parted = np.bincount(place, weights=pairs.apart[near], minlength=len(couple)) > 0
    size = np.bincount(labels, minlength=records)
    silence = unscored * (size[low] * size[high] - scored)
    alike = np.zeros(len(couple))
    if codes is not None:
        counts = sparse.csr_array((np.ones(records), (labels, codes)), shape=(records, int(codes.max()) + 1))
        alike = same_source * np.asarray(counts[low].multiply(counts[high]).sum(axis=1)).ravel()
    between = logit + silence + alike
    reason = np.full(len(couple), BY_OTHERS, dtype=object)
    reason[logit > 0] = BY_SILENCE
    reason[(between <= 0) & (between - alike > 0)] = BY_SOURCE
    reason[parted] = BY_A_PERSON
    return pairs.left[cut], pairs.right[cut], pairs.logit[cut], between[inverse], reason[inverse]
