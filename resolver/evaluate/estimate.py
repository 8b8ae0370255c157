"""Says how right a run is without any truth, from the log-odds of its decisions and the persons that came of them.

A pair inside a person is as sure as the less sure of its two records is of the person: what all the person's other
records say of it, added up. Two persons that were left apart might be one with what all pairs between them say. So a
link that stands alone counts as its own probability says, and one that others bear out counts as surer. What keeps two
persons apart is mostly one record that fits badly, held against each record of the other person: n such pairs count as
the square root of n.
Log-odds are trusted to a factor of two in the odds; intervals span that, and chance. Pairs that blocking never proposed
are not known of, so recall is of scored pairs. Knows nothing of truth.
"""

from __future__ import annotations

from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

Floats = npt.NDArray[np.float64]

TRUST = float(np.log(2))
SUREST = 9.0  # log-odds that one pair may say, so that no single score makes a person certain
HOPELESS = -9.0  # two persons none of whose pairs says more are two
UNSCORED = -1.5


def estimate(con: duckdb.DuckDBPyConnection, decisions: str, cluster: npt.NDArray[np.int64]) -> dict[str, Any]:
    """Expected precision and recall of the pairs inside persons, each with an interval."""
    con.register("persons_found", pa.table({"rid": np.arange(len(cluster)), "person": cluster}))
    own = np.zeros(len(cluster))
    links = np.zeros(len(cluster))
    said = f"greatest(least(logit, {SUREST}), -{SUREST})"
    con.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE placed AS
        SELECT left_rid, right_rid, l.person AS one, r.person AS other, {said} AS logit
        FROM {decisions} JOIN persons_found l ON l.rid = left_rid JOIN persons_found r ON r.rid = right_rid"""
    )
    inside = con.sql("SELECT left_rid, right_rid, logit FROM placed WHERE one = other ORDER BY ALL").fetchnumpy()
    for side in ("left_rid", "right_rid"):
        own += np.bincount(inside[side], inside["logit"], minlength=len(cluster))
        links += np.bincount(inside[side], minlength=len(cluster))
    sizes = np.bincount(cluster, minlength=len(cluster))
    own += UNSCORED * (sizes[cluster] - 1 - links)
    apart = con.sql(
        f"""
        SELECT least(one, other) AS a, greatest(one, other) AS b, sum(logit) AS logit, count(*) AS scored
        FROM placed WHERE one <> other GROUP BY ALL HAVING max(logit) > {HOPELESS} ORDER BY ALL"""
    ).fetchnumpy()
    con.unregister("persons_found")
    con.execute("DROP TABLE placed")
    every = sizes[apart["a"].astype(np.int64)] * sizes[apart["b"].astype(np.int64)]
    between = (apart["logit"] + UNSCORED * (every - apart["scored"])) / np.sqrt(every)

    # Of the pairs of a person, each counts as its less sure record: in order of sureness, the n-th record brings n.
    order = np.lexsort((-own, cluster))
    start = np.concatenate([[0], np.cumsum(sizes[sizes > 0])[:-1]]) if len(cluster) else np.zeros(0, dtype=np.int64)
    place = np.arange(len(cluster)) - np.repeat(start, sizes[sizes > 0])
    sure, weight = own[order][place > 0], place[place > 0].astype(float)
    found = float(weight.sum())
    if not found and not len(between):
        return {"precision": None, "recall": None, "true": 0.0, "of": "scored pairs", "intervals": {}}

    def figures(shift: float) -> tuple[float | None, float | None, float, float, float]:
        right, lost = _probability(sure + shift), _probability(between + shift)
        inner, outer = float((right * weight).sum()), float((lost * every).sum())
        # A record that does not belong takes all its pairs along, so they vary together.
        spread = float((weight**2 * right * (1 - right)).sum())
        missing = float((every.astype(float) ** 2 * lost * (1 - lost)).sum())
        precision = inner / found if found else None
        recall = inner / (inner + outer) if inner + outer else None
        return precision, recall, inner + outer, spread, missing

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


def _probability(logit: Floats) -> Floats:
    result: Floats = 1 / (1 + np.exp(-np.clip(logit, -30, 30)))
    return result


def _short(value: float | None) -> float | None:
    return None if value is None else round(float(value), 6)


def _interval(low: float, high: float) -> list[float]:
    return [round(max(0.0, float(low)), 6), round(min(1.0, float(high)), 6)]
