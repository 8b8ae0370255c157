"""What each blocking rule adds, in true pairs and in candidates, against a truth.

    python benchmarks/blocking.py RECORDS TRUTH [--events EVENTS] [--candidates N] [--memory GIB] [--threads N]

TRUTH is Parquet with record_id (the source's own id, or <source>:<id>) and person_id, and, where ids repeat between
facilities, facility (a number: <facility> stands for the source facility_<number>). Then what is kept of the pairs that
the rules and third records propose, and how many true pairs fall below some floors of Splink's log-odds. The truth is
read after everything else is done.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import bare
import duckdb

from resolver import database
from resolver.database import quote
from resolver.link import blocking, closure, linking
from resolver.progress import Progress


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("records", type=Path)
    parser.add_argument("truth", type=Path)
    parser.add_argument("--events", type=Path)
    parser.add_argument("--candidates", type=float, default=25.0, help="budget per record")
    parser.add_argument("--memory", type=float, default=4.0, help="GiB for the database")
    parser.add_argument("--threads", type=int, default=database.cores())
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        settings = bare.settings(
            scratch, threads=asked.threads, memory=asked.memory, max_candidates_per_record=asked.candidates
        )
        with database.connect(memory_gib=asked.memory, threads=asked.threads, spill=scratch) as con:
            began = time.perf_counter()
            ready = linking.prepared(con, asked.records, asked.events, settings)
            print(f"read, train, plan: {time.perf_counter() - began:.1f} s; model: {ready.model.kind}")
            began = time.perf_counter()
            blocked = blocking.blocks(con, ready.model.rules, ready.model.max_block)
            proposals = [(blocking.joined(one.number), one.pairs) for one in blocked if one.pairs]
            con.execute("CREATE TABLE pairs (left_rid INTEGER, right_rid INTEGER, rule SMALLINT, logit DOUBLE)")
            for table, _ in blocking.candidates(con, proposals, ready.read.records, scratch, Progress()):
                ready.scorer.score(table, "scored")
                con.execute("INSERT INTO pairs FROM scored")
            closing = closure.propose(con, f"(FROM pairs WHERE logit >= {ready.model.floor})")
            if closing:
                ready.scorer.score("closing", "scored")
                # One that a rule proposed and the cut dropped is kept after all.
                con.execute("""
                    DELETE FROM pairs USING scored
                    WHERE pairs.left_rid = scored.left_rid AND pairs.right_rid = scored.right_rid""")
                con.execute("INSERT INTO pairs FROM scored")
            print(f"block and score: {time.perf_counter() - began:.1f} s")
            con.execute(f"""
                CREATE TABLE true_pairs AS
                WITH whose AS (
                    SELECT rid, any_value(person_id) AS person FROM read_parquet({quote(asked.records)}) AS records
                    JOIN ({_truth(con, asked.truth)}) AS truth ON truth.id IN (records.record_id, source_record_id)
                        AND (truth.source IS NULL OR truth.source = records.source)
                    GROUP BY rid)
                SELECT a.rid AS left_rid, b.rid AS right_rid FROM whose AS a JOIN whose AS b USING (person)
                WHERE a.rid < b.rid""")
            _report(con, ready.read.records, blocked, ready.model.floor)


def _truth(con: duckdb.DuckDBPyConnection, path: Path) -> str:
    columns = [row[0] for row in con.execute(f"DESCRIBE FROM read_parquet({quote(path)})").fetchall()]
    source = "'facility_' || facility" if "facility" in columns else "NULL"
    return f"SELECT record_id AS id, {source} AS source, person_id FROM read_parquet({quote(path)})"


def _report(con: duckdb.DuckDBPyConnection, records: int, blocked: list[blocking.Blocked], floor: float) -> None:
    rows = con.execute("""
        SELECT rule, count(*), count(true_pairs.left_rid)
        FROM pairs LEFT JOIN true_pairs USING (left_rid, right_rid) GROUP BY rule""").fetchall()
    new = {rule: (pairs, true) for rule, pairs, true in rows}
    total = con.execute("SELECT count(*) FROM true_pairs").fetchall()[0][0]
    print(f"{'':3} {'rule':72} {'cap':>5} {'pairs':>10} {'new':>10} {'new true':>9} {'true so far':>11}")
    sum_pairs = sum_true = 0
    for one in blocked:
        pairs, true = new.get(one.number, (0, 0))
        sum_pairs, sum_true = sum_pairs + pairs, sum_true + true
        share = sum_true / total if total else 0.0
        name = one.planned.rule.name
        print(f"{one.number:3} {name:72} {one.planned.cap:5} {one.pairs:10,} {pairs:10,} {true:9,} {share:11.4%}")
    pairs, true = new.get(closure.NUMBER, (0, 0))
    sum_pairs, sum_true = sum_pairs + pairs, sum_true + true
    what = "near a third record, where no rule kept the pair"
    print(f"{'':3} {what:72} {'':5} {pairs:10,} {pairs:10,} {true:9,} {sum_true / max(total, 1):11.4%}")
    ((kept, kept_true),) = con.execute(f"""
        SELECT count(*), count(true_pairs.left_rid)
        FROM pairs LEFT JOIN true_pairs USING (left_rid, right_rid)
        WHERE logit >= {floor} OR rule = {closure.NUMBER}""").fetchall()
    for what, found, true in ((f"kept, from {floor:.2f} on", kept, kept_true), ("proposed", sum_pairs, sum_true)):
        print(
            f"{what:22} recall {true / max(total, 1):.5f} ({total - true:,} of {total:,} missed) at "
            f"{found / max(records, 1):.2f} pairs per record"
        )
    print("found true pairs below, and all candidates from, a floor:")
    for floor in (-4, -6, -8, -10, -12, -15):
        below, above = con.execute(f"""
            SELECT count(true_pairs.left_rid) FILTER (logit < {floor}), count(*) FILTER (logit >= {floor})
            FROM pairs LEFT JOIN true_pairs USING (left_rid, right_rid)""").fetchall()[0]
        print(f"  {floor:4}   {below:7,}   {above:12,}")


if __name__ == "__main__":
    main()
