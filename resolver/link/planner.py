"""Chooses blocking rules: the most expected matches for the fewest candidate pairs, within a budget.

A sample of records is blocked against all others by every rule of the catalogue, and the pairs are scored. A rule with
a cap on the size of its blocks is worth the matches that it adds to those already chosen, by the model's own
probabilities, and costs the pairs that it adds. As a population grows, keys that say little get expensive and give way
to the same keys with company, so pairs per record stay within the budget at any size.

Rules may propose several times as many pairs as are kept: a score costs little, a judge's look much. Of those proposed
the best by score are kept, as many as the budget allows. The cut between them is one score for all, so that whether a
pair is kept depends on that pair alone. Knows nothing of how candidates are made for everyone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import duckdb

from resolver.link import rules
from resolver.link.rules import EVERYTHING, Rule

if TYPE_CHECKING:
    import numpy as np

SAMPLED = 2000  # records
PROPOSED = 4  # pairs that rules may propose for each that is kept
CAPS = (5, 10, 20, 40, 80, 160, 320, 640, 1280)  # block sizes to choose from, below link.max_block
LEAST_WORTH = 2e-6  # expected matches per candidate below which a rule is not worth its pairs
# What finding a match is worth that no, one, two other rules find. A match of the sample that hangs on one rule stands
# for others, outside the sample, that this rule just misses.
WORTH = (1.0, 0.1, 0.03, 0.0)
MOST_RULES = 40  # each costs a join; a rule is charged its share of the budget on top of its pairs
SURE = 3.0  # log-odds from which on the model alone is sure enough to learn from a pair what a clinical key says

Score = Callable[[duckdb.DuckDBPyConnection, str], str]


@dataclass(frozen=True)
class Planned:
    rule: Rule
    cap: int  # a block with more records than that is left out
    adds_candidates: float = 0.0  # expected, per record, beyond the rules before it
    adds_matches: float = 0.0  # expected share of all matches that are found, beyond the rules before it


@dataclass(frozen=True)
class Plan:
    rules: tuple[Planned, ...]
    proposed_per_record: float  # expected
    candidates_per_record: float  # expected: those of them that are kept
    cut: float | None  # log-odds from which on a pair is kept; none: all are
    matches_per_record: float  # expected pairs of one person per record, among all that any rule could find
    missed: float  # expected share of those that the plan does not find


def plan(
    con: duckdb.DuckDBPyConnection,
    records: int,
    budget: float,
    max_block: int,
    seed: int,
    score: Score,
    clinical: bool,
) -> Plan:
    """The rules to use, best first. `score` gives a table (a, b, logit) for a table of pairs (a, b)."""
    if records - 1 <= 2 * budget and records <= max_block:
        return Plan((Planned(EVERYTHING, max_block),), (records - 1) / 2, (records - 1) / 2, None, 0.0, 0.0)
    con.execute(
        f"CREATE OR REPLACE TABLE sampled AS SELECT rid FROM fields ORDER BY hash(rid, {seed}), rid LIMIT {SAMPLED}"
    )
    con.execute("CREATE OR REPLACE TABLE proposed (rule SMALLINT, a INTEGER, b INTEGER, size INTEGER)")
    catalogue = [rule for rule in rules.RULES if clinical or rule.source not in ("heights", "codes")]
    for number, rule in enumerate(catalogue):
        _propose(con, number, rule, PROPOSED * budget, max_block)
    con.execute("""
        CREATE OR REPLACE TABLE sampled_pairs AS
        SELECT DISTINCT least(a, b) AS a, greatest(a, b) AS b FROM proposed ORDER BY a, b""")
    scored = score(con, "sampled_pairs")
    rows = con.execute(f"""
        WITH numbered AS (
            SELECT a, b, logit, row_number() OVER (ORDER BY a, b) - 1 AS pair,
                (a IN (FROM sampled))::INTEGER + (b IN (FROM sampled))::INTEGER AS ends
            FROM {scored})
        SELECT pair, rule, min(size) AS size, any_value(logit) AS logit, any_value(ends) AS ends
        FROM (SELECT rule, least(a, b) AS a, greatest(a, b) AS b, size FROM proposed) JOIN numbered USING (a, b)
        GROUP BY pair, rule ORDER BY rule, pair""").fetchnumpy()
    says = {source: _says(con, source, scored, records) for source in ("heights", "codes") if clinical}
    for table in ("sampled", "proposed", "sampled_pairs", scored):
        con.execute(f"DROP TABLE {table}")
    return _choose(catalogue, rows, records, budget, max_block, says)


def _caps(max_block: int) -> list[int]:
    return [cap for cap in CAPS if cap < max_block] + [max_block]


def _propose(con: duckdb.DuckDBPyConnection, number: int, rule: Rule, budget: float, max_block: int) -> None:
    """Put the sample's pairs by this rule into `proposed`, from blocks small enough to be affordable at all."""
    keys = rules.keys(rule)
    con.execute(f"""
        CREATE OR REPLACE TEMP TABLE mine AS
        SELECT * FROM (SELECT rid, key FROM ({keys}) SEMI JOIN sampled USING (rid)) JOIN (
            SELECT key, count(*) AS size FROM ({keys}) SEMI JOIN (
                SELECT key FROM ({keys}) SEMI JOIN sampled USING (rid)) USING (key)
            GROUP BY key HAVING count(*) BETWEEN 2 AND {max_block}) USING (key)""")
    costs = con.execute(
        "SELECT size, sum(size - 1) OVER (ORDER BY size) / 2 / greatest((SELECT count(*) FROM sampled), 1) FROM mine "
        "ORDER BY size"
    ).fetchall()
    affordable = [cap for cap in _caps(max_block) if max((c for size, c in costs if size <= cap), default=0) <= budget]
    if not costs or not affordable:
        return
    con.execute(f"""
        INSERT INTO proposed
        SELECT {number}, mine.rid, others.rid, size FROM mine JOIN ({keys}) AS others USING (key)
        WHERE size <= {max(affordable)} AND mine.rid <> others.rid""")


def _says(con: duckdb.DuckDBPyConnection, source: str, scored: str, records: int) -> float:
    """Log-odds that sharing a clinical key adds: how often pairs that are surely one person's share one, to chance."""
    import numpy as np

    column = "height" if source == "heights" else "code"
    sure, agree, chance = con.execute(f"""
        WITH sure AS (
            SELECT a, b FROM {scored} WHERE logit > {SURE}
                AND a IN (SELECT rid FROM {source}) AND b IN (SELECT rid FROM {source}))
        SELECT (SELECT count(*) FROM sure),
            (SELECT count(DISTINCT (a, b)) FROM sure JOIN {source} AS x ON x.rid = a
                JOIN {source} AS y ON y.rid = b AND y.{column} = x.{column}),
            (SELECT sum(n * (n - 1) / 2) FROM (SELECT count(*) AS n FROM {source} GROUP BY {column}))
                / (SELECT count(DISTINCT rid) * (count(DISTINCT rid) - 1) / 2 FROM {source})""").fetchall()[0]
    # With few pairs to learn from, the key is taken to say nothing.
    if not chance or sure < 50 or not agree:
        return 0.0
    return max(float(np.log(agree / sure / min(float(chance), 1.0))), 0.0)


def _choose(
    catalogue: list[Rule],
    rows: dict[str, np.ndarray],
    records: int,
    budget: float,
    max_block: int,
    says: dict[str, float],
) -> Plan:
    """Greedy cover: again and again the rule and cap that add the most expected matches per candidate."""
    import numpy as np

    sample = min(SAMPLED, records)
    caps = np.array(_caps(max_block))
    pair, rule, size = rows["pair"], rows["rule"], rows["size"]
    if len(pair) == 0:
        return Plan((), 0.0, 0.0, None, 0.0, 0.0)
    logit = rows["logit"].astype(float)
    # The model has not seen the clinical keys.
    logit = logit + np.array([says.get(one.source, 0.0) for one in catalogue])[rule]
    pairs = int(pair.max()) + 1
    best = np.full(pairs, -np.inf)
    np.maximum.at(best, pair, logit)
    weight = np.zeros(pairs)
    weight[pair] = rows["ends"]
    matches = weight / (1 + np.exp(-np.clip(best, -700, 700)))
    bucket = np.searchsorted(caps, size)
    starts = np.searchsorted(rule, np.arange(len(catalogue) + 1))
    times = np.zeros(pairs, dtype=np.int32)  # rules that find each pair
    worth = np.array(WORTH)
    unit = 2 * sample
    left = PROPOSED * budget * unit
    total = float(matches.sum())
    chosen: dict[int, int] = {}
    while len(chosen) < MOST_RULES:
        best_ratio, pick = LEAST_WORTH, None
        for number in range(len(catalogue)):
            mine = slice(starts[number], starts[number + 1])
            # An upgrade to a larger cap counts what the smaller one had not found.
            fresh = bucket[mine] > chosen.get(number, -1)
            if not fresh.any():
                continue
            ids, into = pair[mine][fresh], bucket[mine][fresh]
            found = np.minimum(times[ids], len(WORTH) - 1)
            cost = np.cumsum(np.bincount(into, weight[ids] * (found == 0), len(caps)))
            gain = np.cumsum(np.bincount(into, matches[ids] * worth[found], len(caps)))
            fits = (cost <= left) & (np.arange(len(caps)) > chosen.get(number, -1))
            fixed = 0.0 if number in chosen else PROPOSED * budget / MOST_RULES * unit
            ratio = np.where(fits, gain / np.maximum(cost + fixed, 1e-9), 0.0)
            # Of caps that are about as good, the largest: it holds up better where the sample was thin.
            top = float(ratio.max())
            if top > best_ratio:
                cap = int(np.flatnonzero(ratio >= top * 0.8).max())
                best_ratio, pick = top, (number, cap, float(cost[cap]))
        if pick is None:
            break
        number, cap, cost_of = pick
        mine = slice(starts[number], starts[number + 1])
        fresh = (bucket[mine] <= cap) & (bucket[mine] > chosen.get(number, -1))
        times[pair[mine][fresh]] += 1
        left -= cost_of
        chosen[number] = cap
    covered = np.zeros(pairs, dtype=bool)
    planned = []
    for number, cap in chosen.items():
        mine = slice(starts[number], starts[number + 1])
        ids = pair[mine][bucket[mine] <= cap]
        new = ids[~covered[ids]]
        covered[new] = True
        adds, gains = float(weight[new].sum()) / unit, float(matches[new].sum()) / max(total, 1e-9)
        planned.append(Planned(catalogue[number], int(caps[cap]), adds, gains))
    proposed = float(weight[covered].sum()) / unit
    raw = np.zeros(pairs)
    raw[pair] = rows["logit"]
    order = np.flatnonzero(covered)[np.argsort(-raw[covered], kind="stable")]
    within = int(np.searchsorted(np.cumsum(weight[order]), budget * unit, side="right"))
    cut = float(f"{raw[order[within]]:.4g}") if within < len(order) else None
    return Plan(
        tuple(planned),
        proposed,
        min(proposed, budget),
        cut,
        total / unit,
        float(matches[~covered].sum()) / max(total, 1e-9),
    )
