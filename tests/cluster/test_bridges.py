"""What lies across each bridge of a cluster is what counting it pair by pair comes to."""

from __future__ import annotations

import numpy as np
import pytest

from resolver.cluster.graph import Graph, Links, components, smallest
from resolver.cluster.tree import bridges


@pytest.mark.parametrize("seed", range(5))
def test_all_evidence_across_a_bridge_is_counted(seed: int) -> None:
    """For every bridge: pairs, scored pairs and log-odds between the two sides that are left without its link."""
    rng = np.random.default_rng(seed)
    units = 14
    every = np.array([(a, b) for a in range(units) for b in range(a + 1, units)])
    chosen = every[rng.random(len(every)) < 0.3]
    a, b = chosen.T
    logit = np.round(rng.normal(1, 3, len(a)), 2)
    rank = np.argsort(np.argsort(-logit, kind="stable"), kind="stable")
    one = np.ones(len(a), dtype=np.int64)
    labels = smallest(components(units, a, b), units)
    links = Links(a, b, logit, one, np.zeros(len(a), dtype=bool), rank)
    found = bridges(Graph(np.ones(units, dtype=np.int64), labels, links, None, -1.5, 0.0), labels)
    tree = set(zip(*(end.tolist() for end in found.ends), strict=True))

    assert len(tree) == units - len(np.unique(labels))
    for row, link in enumerate(zip(*found.ends, strict=True)):
        rest = np.array([pair for pair in tree if pair != link]).reshape(-1, 2)
        side = components(units, rest[:, 0], rest[:, 1])
        left, right = side == side[link[0]], side == side[link[1]]
        across = (left[a] & right[b]) | (left[b] & right[a])
        assert found.pairs[row] == left.sum() * right.sum()
        assert found.scored[row] == across.sum()
        assert found.logit[row] == pytest.approx(logit[across].sum())
