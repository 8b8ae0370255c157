"""How sure a run is of its persons, one question at a time: the table `standing`.

A record inside a person: what all the person's other records say of it, added up. It stands for its pairs with the
records that are surer than it, and one of these, drawn at random, is its pair. Two persons that were left apart: what
all pairs between them say; n such pairs count as the square root of n, since they mostly tell the same thing again. The
strongest is their pair, and stands for all that were scored. So the weights of a person's records add up to its pairs,
and every wrong link is in reach of a question. Knows nothing of truth or answers.
"""

from __future__ import annotations

import duckdb

SUREST = 9.0  # log-odds that one pair may say, so that no single score makes a person certain
UNSCORED = -1.5  # log-odds of a pair that blocking never proposed
RULED_OUT = -6.0  # two persons whose pairs say less than 1 to 400 are taken to be two


def lay(con: duckdb.DuckDBPyConnection, decisions: str, clusters: str) -> None:
    """Make the table `standing`: left_rid, right_rid, together (in one person of the run), logit, weight (pairs)."""
    con.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE members AS
        SELECT rid, cluster, count(*) OVER (PARTITION BY cluster) AS records FROM {clusters}"""
    )
    con.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE scored AS
        SELECT left_rid, right_rid, l.cluster AS one, r.cluster AS other, l.records * r.records AS pairs,
            greatest(least(logit, {SUREST}), -{SUREST}) AS logit
        FROM {decisions} JOIN members l ON l.rid = left_rid JOIN members r ON r.rid = right_rid"""
    )
    con.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE own AS
        WITH ends AS (
            SELECT left_rid AS rid, logit FROM scored WHERE one = other
            UNION ALL SELECT right_rid, logit FROM scored WHERE one = other),
        sums AS (SELECT rid, sum(logit) AS logit, count(*) AS pairs FROM ends GROUP BY rid),
        placed AS (
            SELECT rid, cluster, coalesce(s.logit, 0) + {UNSCORED} * (records - 1 - coalesce(s.pairs, 0)) AS logit
            FROM members LEFT JOIN sums s USING (rid) WHERE records > 1)
        SELECT *, row_number() OVER (PARTITION BY cluster ORDER BY logit DESC, rid) - 1 AS place FROM placed"""
    )
    con.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE standing AS
        SELECT least(a.rid, b.rid) AS left_rid, greatest(a.rid, b.rid) AS right_rid, true AS together, a.logit,
            a.place AS weight
        FROM own a JOIN own b ON b.cluster = a.cluster
            AND b.place = CAST(md5_number_lower(CAST(a.rid AS VARCHAR)) % a.place AS BIGINT)
        WHERE a.place > 0
        UNION ALL
        SELECT arg_max(left_rid, (logit, -left_rid, -right_rid)), arg_max(right_rid, (logit, -left_rid, -right_rid)),
            false, (sum(logit) + {UNSCORED} * (pairs - count(*))) / sqrt(pairs) AS sum, count(*)
        FROM scored WHERE one <> other
        GROUP BY least(one, other), greatest(one, other), pairs HAVING sum > {RULED_OUT}"""
    )
    for name in ("members", "scored", "own"):
        con.execute(f"DROP TABLE {name}")
