"""All pairs within one person as a matrix: the strongest way between two records, and the weakest bridge.

Counts as clustering does: what speaks against, a pair that was never scored and two records of one source cost what the
run says.
Knows nothing of other persons.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from resolver.cluster.solve import weighed
from resolver.explain.opened import Opened, Row

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Bridge:
    """A cut of a person in two along one link of its tree of strongest links."""

    left: int  # the link's records
    right: int
    logit: float  # the link's own log-odds
    between: float  # log-odds of all pairs across
    side: tuple[int, ...]  # records on the smaller side


@dataclass(frozen=True)
class Ties:
    rids: NDArray[np.int64]
    own: Floats  # log-odds of each pair; nan where it was never scored
    worth: Floats  # what it counts for clustering; 0 on the diagonal

    @classmethod
    def of(cls, run: Opened, rids: Sequence[int], decisions: Sequence[Row] | None = None) -> Ties:
        """`decisions` are those on the pairs among these records, where they were read already."""
        order = np.array(sorted(rids), dtype=np.int64)
        size = len(order)
        own = np.full((size, size), np.nan)
        for row in run.decisions(order.tolist()) if decisions is None else decisions:
            a, b = np.searchsorted(order, [row["left_rid"], row["right_rid"]])
            own[a, b] = own[b, a] = row["logit"]
        names = run.names(order.tolist())
        source = np.array([names[int(rid)][1] for rid in order])
        same_source = float(run.facts["cluster"]["same_source_logit"])
        cluster = run.settings.cluster
        worth = np.nan_to_num(weighed(own, cluster.against), nan=cluster.unscored_logit)
        worth = worth + same_source * (source[:, None] == source[None, :])
        np.fill_diagonal(worth, 0.0)
        return cls(order, own, worth)

    @property
    def total(self) -> float:
        return float(np.triu(self.worth, 1).sum())

    def tree(self) -> list[tuple[int, int]]:
        """Places of the links of the tree of strongest links, each with the end that is nearer to the first record."""
        strength = np.where(np.isnan(self.own), -np.inf, self.own)
        size = len(self.rids)
        best, origin = strength[0].copy() if size else np.empty(0), np.zeros(size, dtype=np.int64)
        out = np.ones(size, dtype=bool)
        links = []
        if size:
            out[0] = False
        for _ in range(size - 1):
            place = int(np.argmax(np.where(out, best, -np.inf)))
            if not out[place]:  # nothing scored reaches the rest: any of them will do
                place = int(np.flatnonzero(out)[0])
            links.append((int(origin[place]), place))
            out[place] = False
            nearer = out & (strength[place] > best)
            best[nearer], origin[nearer] = strength[place][nearer], place
        return links

    def strongest_way(self, one: int, other: int) -> tuple[list[int], float]:
        """Records on the way whose weakest step is strongest, and that step's log-odds."""
        above = {child: parent for parent, child in self.tree()}

        def upwards(place: int) -> list[int]:
            way = [place]
            while way[-1] in above:
                way.append(above[way[-1]])
            return way

        a, b = (upwards(int(np.searchsorted(self.rids, rid))) for rid in (one, other))
        meet = next(place for place in a if place in set(b))
        way = [*a[: a.index(meet) + 1], *reversed(b[: b.index(meet)])]
        steps = [self.worth[x, y] if np.isnan(self.own[x, y]) else self.own[x, y] for x, y in pairwise(way)]
        return [int(self.rids[place]) for place in way], float(min(steps))

    def weakest_bridge(self) -> Bridge | None:
        """The link of the tree whose cut costs least."""
        size = len(self.rids)
        if size < 2:
            return None
        links = self.tree()
        below = np.eye(size, dtype=bool)
        for parent, child in reversed(links):  # children come after their parents
            below[parent] |= below[child]
        sides = below[[child for _, child in links]]
        across = ((sides @ self.worth) * ~sides).sum(axis=1)
        least = int(np.argmin(across))
        parent, child = links[least]
        side = sides[least] if sides[least].sum() * 2 <= size else ~sides[least]
        return Bridge(
            int(self.rids[min(parent, child)]),
            int(self.rids[max(parent, child)]),
            float(self.own[parent, child]),
            float(across[least]),
            tuple(int(rid) for rid in self.rids[side]),
        )
