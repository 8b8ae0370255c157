"""Says how right a run is without any truth, from the log-odds of its decisions and the persons that came of them.

Two groups of records, whether joined or left apart, are as likely one person as all pairs between them together say.
Inside a person the groups are the two sides of each link of its tree of strongest links, and a pair of records is as
sure as the least sure link on the way between them. Left apart, they are any two persons with scored pairs between
them. Pairs between the same two groups repeat each other (one wrong birth date fits badly with every record of the
other side), so n of them count for less than n: see REPEAT. Log-odds are trusted to a factor of two in the odds;
intervals span that, and chance. Pairs that blocking never proposed are not known of, so recall is of scored pairs.
Knows nothing of truth.
"""

from __future__ import annotations

from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from resolver.cluster.graph import Graph, Links, smallest
from resolver.cluster.tree import Bridges, bridges
from resolver.fusion import probability

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

TRUST = float(np.log(2))
SUREST = 9.0  # log-odds that one pair may say, so that no single score makes a person certain
HOPELESS = -8.0  # two persons none of whose pairs says more are two: a quick look says no more than about that
UNSCORED = -1.5
# n pairs between two groups count as n to the power of 1 less this: between 0, each a witness of its own, and 1, all
# the same. Chosen on label-free runs over populations that nothing is reported on.
REPEAT = 0.6


def estimate(con: duckdb.DuckDBPyConnection, decisions: str, cluster: Ints) -> dict[str, Any]:
    """Expected precision and recall of the pairs inside persons, each with an interval."""
    cluster = np.asarray(smallest(cluster, len(cluster)), dtype=np.int64)
    con.register("persons_found", pa.table({"rid": np.arange(len(cluster)), "person": cluster}))
    said = f"greatest(least(logit, {SUREST}), -{SUREST})"
    con.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE placed AS
        SELECT left_rid, right_rid, l.person AS one, r.person AS other, {said} AS said, logit
        FROM {decisions} JOIN persons_found l ON l.rid = left_rid JOIN persons_found r ON r.rid = right_rid"""
    )
    inside = con.sql("SELECT * FROM placed WHERE one = other ORDER BY left_rid, right_rid").fetchnumpy()
    apart = con.sql(
        f"""
        SELECT least(one, other) AS a, greatest(one, other) AS b, sum(said) AS logit, count(*) AS scored
        FROM placed WHERE one <> other GROUP BY ALL HAVING max(said) > {HOPELESS} ORDER BY ALL"""
    ).fetchnumpy()
    con.unregister("persons_found")
    con.execute("DROP TABLE placed")
    sizes = np.bincount(cluster, minlength=len(cluster))
    found = float((sizes * (sizes - 1) / 2).sum())
    every = sizes[apart["a"].astype(np.int64)] * sizes[apart["b"].astype(np.int64)]
    between = (apart["logit"] + UNSCORED * (every - apart["scored"])) / every**REPEAT
    if not found and not len(between):
        return {"precision": None, "recall": None, "true": 0.0, "of": "scored pairs", "intervals": {}}
    inner = _bridges(inside, cluster)
    # That many copies of one registration are not paired with each other speaks neither for nor against.
    unscored = np.minimum(inner.pairs - inner.scored, inner.scored)
    held = (inner.logit + UNSCORED * unscored) / (inner.scored + unscored) ** REPEAT
    weight = _decided(inner, held, len(cluster))

    def figures(shift: float) -> tuple[float | None, float | None, float, float, float]:
        wrong, lost = probability(-held - shift), probability(between + shift)
        right = found - float((wrong * weight).sum())
        outer = float((lost * every).sum())
        # What does not belong takes all its pairs along, so they vary together.
        spread = float((weight**2 * wrong * (1 - wrong)).sum())
        missing = float((every.astype(float) ** 2 * lost * (1 - lost)).sum())
        precision = right / found if found else None
        recall = right / (right + outer) if right + outer else None
        return precision, recall, right + outer, spread, missing

    precision, recall, true, _, _ = figures(0.0)
    low, high = figures(-TRUST), figures(TRUST)
    result: dict[str, Any] = {
        "precision": _short(precision),
        "recall": _short(recall),
        "true": round(true, 1),
        "of": "scored pairs",
        "intervals": {},
    }
    if precision is not None:
        ends = [
            one[0] + sign * 1.96 * np.sqrt(one[3]) / found for one, sign in ((low, -1), (high, 1)) if one[0] is not None
        ]
        result["intervals"]["precision"] = _interval(*ends)
    if recall is not None:
        # Higher odds make found pairs surer and lost ones likelier; which of the two wins is not known beforehand.
        reach = [1.96 * np.sqrt(one[3] + one[4]) / max(one[2], 1e-9) for one in (low, high)]
        values = [one[1] for one in (low, high) if one[1] is not None]
        result["intervals"]["recall"] = _interval(min(values) - max(reach), max(values) + max(reach))
    return result


def _bridges(inside: dict[str, Any], cluster: Ints) -> Bridges:
    """The bridges of all persons, in trees of their strongest pairs."""
    left, right = (inside[side].astype(np.int64) for side in ("left_rid", "right_rid"))
    rank = np.empty(len(left), dtype=np.int64)
    rank[np.lexsort((right, left, -inside["logit"]))] = np.arange(len(left))
    one = np.ones(len(left), dtype=np.int64)
    links = Links(left, right, inside["said"], one, np.zeros(len(left), dtype=bool), rank)
    people = Graph(np.ones(len(cluster), dtype=np.int64), cluster, links, None, UNSCORED, 0.0)
    return bridges(people, cluster)


def _decided(found: Bridges, held: Floats, units: int) -> Floats:
    """How many pairs of records have each bridge as the least sure on their way.

    These are the pairs between the groups that it joins, if the surest are joined first. Persons don't disturb each
    other, so all of them take a step at once.
    """
    result = np.zeros(len(held))
    order = np.lexsort((-held, found.cluster))
    first = np.concatenate([[True], np.diff(found.cluster[order]) != 0]) if len(order) else np.zeros(0, dtype=bool)
    step = np.arange(len(order)) - np.maximum.accumulate(np.where(first, np.arange(len(order)), 0))
    size, into = np.ones(units), np.arange(units)
    by_step = order[np.argsort(step, kind="stable")]
    for rows in np.split(by_step, np.cumsum(np.bincount(step))[:-1]) if len(order) else []:
        one, other = (_top(into, ends[rows].astype(np.int64)) for ends in found.ends)
        result[rows] = size[one] * size[other]
        large, small = np.where(size[one] >= size[other], (one, other), (other, one))
        into[small] = large
        size[large] += size[small]
    return result


def _top(into: Ints, units: Ints) -> Ints:
    """The group that each unit has come to be in."""
    while (into[units] != units).any():
        units = into[units]
    return units


def _short(value: float | None) -> float | None:
    return None if value is None else round(float(value), 6)


def _interval(low: float, high: float) -> list[float]:
    return [round(max(0.0, float(low)), 6), round(min(1.0, float(high)), 6)]
