"""Makes candidate pairs: every two records that share a key of a planned rule, each pair once.

Blocks larger than a rule's cap are left out; values that more records share than link.max_block are hubs, reported by
rule and number, never by value. Pairs are made rule by rule and spill to Parquet in chunks of left records, so that
memory stays flat. Knows nothing of scores.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from resolver.database import quote
from resolver.link import rules
from resolver.link.planner import Planned
from resolver.progress import Progress

CHUNK = 6_000_000  # pairs, before those that several rules propose are merged


@dataclass(frozen=True)
class Blocked:
    number: int  # of the rule, from 1
    planned: Planned
    pairs: int  # that the rule proposes
    hubs: int  # values that more records share than link.max_block
    hub_records: int
    large: int  # values above the rule's own cap, hubs not counted


def blocks(
    con: duckdb.DuckDBPyConnection, planned: Sequence[Planned], max_block: int, prefix: str = "block"
) -> list[Blocked]:
    """Make one table <prefix>_<number> (rid, key) per rule, with the blocks that are compared."""
    found = []
    for number, one in enumerate(planned, start=1):
        keys = rules.keys(one.rule)
        con.execute(f"CREATE OR REPLACE TEMP TABLE sizes AS SELECT key, count(*) AS n FROM ({keys}) GROUP BY key")
        con.execute(f"""
            CREATE OR REPLACE TABLE {prefix}_{number} AS
            SELECT rid, key FROM ({keys})
            SEMI JOIN (SELECT key FROM sizes WHERE n BETWEEN 2 AND {one.cap}) USING (key)""")
        row = con.execute(f"""
            SELECT coalesce(sum(n * (n - 1) / 2) FILTER (n <= {one.cap}), 0),
                count(*) FILTER (n > {max_block}), coalesce(sum(n) FILTER (n > {max_block}), 0),
                count(*) FILTER (n > {one.cap} AND n <= {max_block})
            FROM sizes""").fetchone()
        assert row is not None
        found.append(Blocked(number, one, *map(int, row)))
    con.execute("DROP TABLE IF EXISTS sizes")
    return found


IDENTITIES = ("ssn", "ssn_last4", "phone", "email", "member_id", "street", "birth_date")


def hubs(con: duckdb.DuckDBPyConnection, max_block: int) -> list[dict[str, Any]]:
    """Fields that should tell persons apart but hold values that more records share than max_block; none is quoted."""
    parts = " UNION ALL ".join(
        f"""
        SELECT '{column}' AS field, count(*) AS found, sum(n) AS records
        FROM (SELECT {column}, count(*) AS n FROM parts WHERE {column} IS NOT NULL GROUP BY {column})
        WHERE n > {max_block}"""
        for column in IDENTITIES
    )
    rows = con.execute(f"SELECT * FROM ({parts}) WHERE found > 0 ORDER BY field").fetchall()
    return [{"field": field, "values": int(found), "records": int(records)} for field, found, records in rows]


def unreached(con: duckdb.DuckDBPyConnection, blocked: Sequence[Blocked]) -> int:
    """Records that share no block with another."""
    reached = " UNION ALL ".join(f"SELECT rid FROM block_{one.number}" for one in blocked) or "SELECT -1 AS rid"
    row = con.execute(f"SELECT count(*) FROM fields ANTI JOIN ({reached}) AS reached USING (rid)").fetchone()
    return int(row[0]) if row else 0


def joined(number: int, where: str = "") -> str:
    """SQL for the pairs of one rule."""
    return f"""
        SELECT a.rid AS join_key_l, b.rid AS join_key_r, {number}::SMALLINT AS match_key
        FROM block_{number} AS a JOIN block_{number} AS b ON a.key = b.key AND a.rid < b.rid {where}"""


MERGED = "SELECT join_key_l, join_key_r, min(match_key) AS match_key"


def candidates(
    con: duckdb.DuckDBPyConnection,
    proposals: Sequence[tuple[str, int]],
    records: int,
    scratch: Path,
    progress: Progress,
) -> Iterator[tuple[str, int]]:
    """Tables of distinct pairs (join_key_l, join_key_r, match_key), and their sizes, in the order of left records.

    `proposals` are queries with the number of pairs that each is expected to give. Each table is dropped when the next
    one is asked for.
    """
    expected = sum(count for _, count in proposals)
    chunks = max(1, math.ceil(expected / CHUNK))
    if chunks == 1:
        union = " UNION ALL ".join(query for query, _ in proposals)
        if proposals:
            yield _table(con, f"({union})")
    else:
        width = math.ceil(records / chunks)
        spilled = scratch / "proposed"
        with progress.step("Proposing pairs", expected, "pairs") as step:
            for number, (query, count) in enumerate(proposals):
                folder = spilled / str(number)
                folder.mkdir(parents=True, exist_ok=True)
                con.execute(f"""
                    COPY (SELECT *, join_key_l // {width} AS chunk FROM ({query})) TO {quote(folder)}
                    (FORMAT parquet, PARTITION_BY (chunk), COMPRESSION lz4, OVERWRITE_OR_IGNORE)""")
                step.advance(count)
        for chunk in range(chunks):
            files = sorted(str(path) for path in spilled.glob(f"*/chunk={chunk}/*.parquet"))
            if files:
                listed = ", ".join(quote(path) for path in files)
                yield _table(con, f"read_parquet([{listed}], hive_partitioning = false)")
        shutil.rmtree(spilled, ignore_errors=True)
    con.execute("DROP TABLE IF EXISTS candidates")


def _table(con: duckdb.DuckDBPyConnection, source: str) -> tuple[str, int]:
    con.execute(f"CREATE OR REPLACE TABLE candidates AS {MERGED} FROM {source} GROUP BY join_key_l, join_key_r")
    row = con.execute("SELECT count(*) FROM candidates").fetchone()
    return "candidates", int(row[0]) if row else 0
