"""Pairs of records that are both likely one person with a third: what keys miss of persons with three records or more.

Two records of a person may share no key at all, and each share one with the person's other records. So the nearest
records of each record are paired with each other, and these pairs are scored and kept whatever their score: one that
speaks against the third record's say is worth as much to the clustering as one that is for it. A record proposes as
many pairs as its nearest have among them and no more, so their number grows with the records alone. Knows nothing of
rules, budgets or of how scores are made.
"""

from __future__ import annotations

import duckdb

NUMBER = 1000  # among the rules, none of which has so high a number
LIKELY = 0.0  # log-odds from which on a record is near another
NEAREST = 8  # so many of them, the likeliest first


def propose(con: duckdb.DuckDBPyConnection, kept: str) -> int:
    """Make table `closing` (join_key_l, join_key_r, match_key) from pairs that are kept by rule; how many there are.

    Copies of one registration, which are paired by number 0, propose nothing: link holds their pairs down on purpose.
    """
    con.execute(f"""
        CREATE OR REPLACE TABLE nearest AS
        SELECT rid, other FROM (
            SELECT unnest([left_rid, right_rid]) AS rid, unnest([right_rid, left_rid]) AS other, logit
            FROM {kept} WHERE logit >= {LIKELY} AND rule > 0)
        QUALIFY row_number() OVER (PARTITION BY rid ORDER BY logit DESC, other) <= {NEAREST}""")
    con.execute(f"""
        CREATE OR REPLACE TABLE closing AS
        SELECT DISTINCT a.other AS join_key_l, b.other AS join_key_r, {NUMBER}::SMALLINT AS match_key
        FROM nearest AS a JOIN nearest AS b ON a.rid = b.rid AND a.other < b.other
        ANTI JOIN {kept} AS kept ON kept.left_rid = a.other AND kept.right_rid = b.other""")
    con.execute("DROP TABLE nearest")
    row = con.execute("SELECT count(*) FROM closing").fetchone()
    return int(row[0]) if row else 0
