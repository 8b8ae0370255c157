"""Scores candidate pairs with a link model, chunk by chunk, and takes a score apart for one pair.

Splink does the scoring; this file feeds it and turns its match weights (log-odds to the base of two) into natural
log-odds. Knows nothing of how candidates or models are made.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from resolver.database import quote
from resolver.link import splinking
from resolver.link.comparisons import COMPARISONS
from resolver.progress import Step

LN2 = math.log(2)


class Scorer:
    """Splink with one model over table `compared`."""

    def __init__(self, con: duckdb.DuckDBPyConnection, settings: dict[str, Any]) -> None:
        self.con = con
        self.empty = not settings["comparisons"]
        if not self.empty:
            with splinking.guarded("reading the link model"):
                self.linker = splinking.linker(con, settings)

    def score(self, pairs: str, into: str, floor: float | None = None) -> None:
        """Make table `into` (left_rid, right_rid, rule, logit) from a table of pairs, sorted."""
        with splinking.guarded("scoring pairs"):
            weights = splinking.score(self.con, self.linker, pairs, None if floor is None else floor / LN2)
            self.con.execute(f"""
                CREATE OR REPLACE TABLE {into} AS
                SELECT rid_l AS left_rid, rid_r AS right_rid, match_key::SMALLINT AS rule,
                    match_weight * {LN2!r} AS logit
                FROM {weights} ORDER BY left_rid, right_rid""")
            self.con.execute(f"DROP TABLE {weights}")

    def for_plan(self, con: duckdb.DuckDBPyConnection, pairs: str) -> str:
        """Scores of the planner's pairs (a, b)."""
        con.execute(f"""
            CREATE OR REPLACE TABLE planning AS
            SELECT a AS join_key_l, b AS join_key_r, 0::SMALLINT AS match_key FROM {pairs}""")
        self.score("planning", "planned")
        con.execute("DROP TABLE planning")
        con.execute("CREATE OR REPLACE TABLE weighed AS SELECT left_rid AS a, right_rid AS b, logit FROM planned")
        con.execute("DROP TABLE planned")
        return "weighed"


def score_all(
    scorer: Scorer, chunks: Iterable[tuple[str, int]], floor: float | None, folder: Path, step: Step
) -> tuple[list[Path], int]:
    """Score every chunk into a sorted Parquet file of its own; the files in order, and how many pairs were scored."""
    parts: list[Path] = []
    scored = 0
    for table, count in chunks:
        scorer.score(table, "scored", floor)
        path = folder / f"scored-{len(parts):05}.parquet"
        scorer.con.execute(f"COPY scored TO {quote(path)} (FORMAT parquet, COMPRESSION lz4)")
        parts.append(path)
        scored += count
        step.advance(count)
    scorer.con.execute("DROP TABLE IF EXISTS scored")
    return parts, scored


@dataclass(frozen=True)
class Contribution:
    comparison: str
    level: str  # what was found, in words
    logit: float  # what it adds to the log-odds, frequency of the value included
    frequency: float  # the part of it that is due to how frequent the value is


@dataclass(frozen=True)
class PairScore:
    left_rid: int
    right_rid: int
    prior: float
    contributions: tuple[Contribution, ...]

    @property
    def logit(self) -> float:
        return self.prior + sum(one.logit for one in self.contributions)


def take_apart(
    con: duckdb.DuckDBPyConnection, settings: dict[str, Any], prior: float, pairs: Sequence[tuple[int, int]]
) -> list[PairScore]:
    """The score of each pair, comparison by comparison; `compared` must hold the records."""
    names = [comparison["output_column_name"] for comparison in settings["comparisons"]]
    if not names or not pairs:
        return [PairScore(*pair, prior, ()) for pair in pairs]
    wanted = [(min(pair), max(pair)) for pair in pairs]
    con.execute("CREATE OR REPLACE TABLE asked (join_key_l INTEGER, join_key_r INTEGER, match_key SMALLINT)")
    con.executemany("INSERT INTO asked VALUES (?, ?, 0)", [list(pair) for pair in sorted(set(wanted))])
    detailed = settings | {"retain_intermediate_calculation_columns": True, "retain_matching_columns": True}
    with splinking.guarded("scoring a pair"):
        table = splinking.score(con, splinking.linker(con, detailed), "asked")
        cursor = con.execute(f"FROM {table}")
        columns = [column[0] for column in cursor.description or ()]
        rows = [dict(zip(columns, row, strict=True)) for row in cursor.fetchall()]
        con.execute(f"DROP TABLE {table}")
    levels = {(c.name, len(c.evidence) - 1 - at): lv.label for c in COMPARISONS for at, lv in enumerate(c.evidence)}
    nothing = {c.name: next(level.label for level in c.levels if level.null) for c in COMPARISONS}
    found: dict[tuple[int, int], PairScore] = {}
    for row in rows:
        parts = []
        for name in names:
            frequency = LN2 * float(row.get(f"mw_tf_adj_{name}") or 0.0)
            label = levels.get((name, int(row[f"gamma_{name}"])), nothing[name])
            parts.append(Contribution(name, label, LN2 * float(row[f"mw_{name}"]) + frequency, frequency))
        key = int(row["rid_l"]), int(row["rid_r"])
        found[key] = PairScore(*key, prior, tuple(parts))
    return [found[pair] for pair in wanted]
