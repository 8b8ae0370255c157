"""Adds to a published run: pairs of records that did not change are carried over, the others are proposed and scored.

The result is what scoring everything with the same model gives, pair by pair. Blocks grow and shrink, so two cases
need care: a block that has passed its cap loses its pairs, unless another rule still proposes them, and a block that
has come below it brings pairs of old records that were never scored. Pairs that a third record proposes are proposed
anew, since any record may be the third, and only their scores are carried over. The model's weights, frequencies, rules
and caps are those of the base; a run that trains anew would differ, and does not carry anything over. Knows nothing of
training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

from resolver.database import quote
from resolver.link import blocking, clinical, closure, fields, rules
from resolver.link.blocking import Blocked
from resolver.link.model import FREQUENCIES_FILE, LinkModel

NEEDED = ("records", "events", "pairs", "link_model.json", FREQUENCIES_FILE)


@dataclass(frozen=True)
class Base:
    records: Path
    pairs: Path
    rules: int


def complete(base: Mapping[str, Path]) -> bool:
    """Whether a base holds what is needed to carry pairs over."""
    return all(name in base and base[name].exists() for name in NEEDED)


def read(con: duckdb.DuckDBPyConnection, base: Mapping[str, Path], used: LinkModel) -> Base:
    """Make the base's blocks; leaves `base_block_<n>` and `base_crowd`. Before the run's own records are read."""
    fields.prepare(con, base["records"])
    fields.set_crowds_apart(con)
    rules.prepare(con, clinical.prepare(con, base["events"]))
    blocking.blocks(con, used.rules, used.max_block, prefix="base_block")
    con.execute("CREATE OR REPLACE TABLE base_crowd AS SELECT DISTINCT rid FROM crowd")
    return Base(base["records"], base["pairs"], len(used.rules))


def proposals(con: duckdb.DuckDBPyConnection, base: Base, blocked: Sequence[Blocked]) -> list[tuple[str, int]]:
    """Queries for the pairs to score: those of new and changed records, and those of blocks that have opened."""
    con.execute(f"""
        CREATE OR REPLACE TABLE unchanged AS
        SELECT now.rid, old.rid AS base_rid
        FROM fields JOIN (SELECT rid, record_id, content_hash FROM records_now) AS now ON now.rid = fields.rid
        JOIN (SELECT rid, record_id, content_hash FROM read_parquet({quote(base.records)})) AS old
            ON old.record_id = now.record_id AND old.content_hash = now.content_hash
        ANTI JOIN crowd ON crowd.rid = now.rid
        ANTI JOIN base_crowd ON base_crowd.rid = old.rid""")
    found = []
    for one in blocked:
        block, old = f"block_{one.number}", f"base_block_{one.number}"
        touched = f"""
            SELECT least(a.rid, b.rid) AS join_key_l, greatest(a.rid, b.rid) AS join_key_r,
                {one.number}::SMALLINT AS match_key
            FROM (FROM {block} ANTI JOIN unchanged USING (rid)) AS a
            JOIN {block} AS b ON a.key = b.key AND a.rid <> b.rid"""
        opened = blocking.joined(one.number, f"WHERE a.key NOT IN (SELECT key FROM {old})")
        for query in (touched, opened):
            row = con.execute(f"SELECT count(*) FROM ({query})").fetchone()
            if row and row[0]:
                found.append((query, int(row[0])))
    return found


def carry(con: duckdb.DuckDBPyConnection, base: Base, blocked: Sequence[Blocked], floor: float) -> int:
    """Make table `carried` (left_rid, right_rid, rule, logit); the number of pairs taken over from the base."""
    con.execute(f"""
        CREATE OR REPLACE VIEW known AS
        SELECT least(a.rid, b.rid) AS left_rid, greatest(a.rid, b.rid) AS right_rid, rule, logit
        FROM read_parquet({quote(base.pairs)}) AS pairs
        JOIN unchanged AS a ON a.base_rid = left_rid JOIN unchanged AS b ON b.base_rid = right_rid""")
    con.execute(f"""
        CREATE OR REPLACE TABLE carried AS
        FROM known WHERE logit >= {floor!r} AND rule <> {closure.NUMBER}""")
    con.execute("CREATE OR REPLACE TABLE doubtful (left_rid INTEGER, right_rid INTEGER)")
    for one in blocked:
        block, old = f"block_{one.number}", f"base_block_{one.number}"
        con.execute(f"""
            INSERT INTO doubtful
            WITH closed AS (
                SELECT unchanged.rid, key FROM {old} AS old JOIN unchanged ON unchanged.base_rid = old.rid
                WHERE key NOT IN (SELECT key FROM {block}))
            SELECT a.rid, b.rid FROM closed AS a JOIN closed AS b ON a.key = b.key AND a.rid < b.rid""")
    still = " UNION ALL ".join(
        f"""
        SELECT left_rid, right_rid, {one.number}::SMALLINT AS rule FROM (SELECT DISTINCT * FROM doubtful)
        JOIN block_{one.number} AS a ON a.rid = left_rid
        JOIN block_{one.number} AS b ON b.rid = right_rid AND a.key = b.key"""
        for one in blocked
    )
    if blocked:
        con.execute(f"""
            CREATE OR REPLACE TABLE carried AS
            WITH still AS (SELECT left_rid, right_rid, min(rule) AS rule FROM ({still}) GROUP BY left_rid, right_rid)
            SELECT * FROM carried ANTI JOIN doubtful USING (left_rid, right_rid)
            UNION ALL
            SELECT left_rid, right_rid, still.rule, logit FROM carried JOIN still USING (left_rid, right_rid)""")
    row = con.execute("SELECT count(*) FROM carried").fetchone()
    return int(row[0]) if row else 0


def carry_closing(con: duckdb.DuckDBPyConnection, path: Path) -> int:
    """Move those pairs of `closing` whose scores the base has to a file, with their scores; their number."""
    con.execute(f"""
        COPY (
            SELECT join_key_l AS left_rid, join_key_r AS right_rid, match_key AS rule, known.logit
            FROM closing JOIN known ON left_rid = join_key_l AND right_rid = join_key_r
        ) TO {quote(path)} (FORMAT parquet, COMPRESSION lz4)""")
    con.execute(f"""
        CREATE OR REPLACE TABLE closing AS
        FROM closing ANTI JOIN read_parquet({quote(path)}) ON left_rid = join_key_l AND right_rid = join_key_r""")
    row = con.execute(f"SELECT count(*) FROM read_parquet({quote(path)})").fetchone()
    return int(row[0]) if row else 0
