"""Blocking and scoring against plain Splink: the same rules, the same model, the same process, one after the other.

    python benchmarks/link.py RECORDS [--events EVENTS] [--memory GIB] [--threads N] [--runs N]

Prints seconds, pairs and peak memory of each, and the ratio. Training and planning are the same for both and are not
counted; building keys and blocks is. Splink's own blocking has no caps on block sizes, so the rules it gets leave out
the same large blocks; it gets them as columns of keys, which is more than it would have in plain use.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

import bare
import duckdb

from resolver import database
from resolver.link import blocking, linking, splinking
from resolver.link.scoring import LN2, score_all
from resolver.progress import Progress
from resolver.settings import Settings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("records", type=Path)
    parser.add_argument("--events", type=Path)
    parser.add_argument("--memory", type=float, default=10.0, help="GiB for the database")
    parser.add_argument("--threads", type=int, default=database.cores())
    parser.add_argument("--candidates", type=float, default=25.0, help="budget per record")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        settings = bare.settings(
            scratch, threads=asked.threads, memory=asked.memory, max_candidates_per_record=asked.candidates
        )
        with database.connect(memory_gib=asked.memory, threads=asked.threads, spill=scratch) as con:
            compare(con, asked.records, asked.events, settings, scratch)


def compare(
    con: duckdb.DuckDBPyConnection, records: Path, events: Path | None, settings: Settings, scratch: Path
) -> None:
    began = time.perf_counter()
    ready = linking.prepared(con, records, events, settings)
    print(f"{'read, train, plan':24} {time.perf_counter() - began:8.1f} s   {len(ready.model.rules)} rules")
    floor = settings.link.floor_logit

    began = time.perf_counter()
    blocked = blocking.blocks(con, ready.model.rules, ready.model.max_block)
    blocks_done = time.perf_counter()
    proposals = [(blocking.joined(one.number), one.pairs) for one in blocked if one.pairs]
    chunks = blocking.candidates(con, proposals, ready.read.records, scratch, Progress())
    with Progress().step("") as step:
        parts, scored = score_all(ready.scorer, chunks, floor, scratch, step)
    ours = time.perf_counter() - began
    files = ", ".join(database.quote(path) for path in parts)
    kept = con.execute(f"SELECT count(*), sum(logit) FROM read_parquet([{files}])").fetchall()[0]
    show("resolver", ours, scored, kept)
    print(f"{'':24} {blocks_done - began:8.1f} s   of it building blocks")

    keyed = [f"key_{one.number}" for one in blocked if one.planned.rule.source == "parts"]
    joins = " ".join(f"LEFT JOIN (SELECT rid, key AS {key} FROM block_{key[4:]}) USING (rid)" for key in keyed)
    con.execute(f"CREATE TABLE keyed AS SELECT compared.*, {', '.join(keyed)} FROM compared {joins}")
    for one in blocked:
        con.execute(f"DROP TABLE block_{one.number}")
    plain = ready.model.settings | {"blocking_rules_to_generate_predictions": [f"l.{key} = r.{key}" for key in keyed]}
    with splinking.silent():
        linker = splinking.linker(con, plain, "keyed")
        began = time.perf_counter()
        found = linker.inference.predict(threshold_match_weight=floor / LN2, warning_mode="never")
        theirs = time.perf_counter() - began
    kept = con.execute(f"SELECT count(*), sum(match_weight) * {LN2} FROM {found.physical_name}").fetchall()[0]
    show("plain Splink", theirs, None, kept)
    print(f"{'ratio':24} {ours / theirs:8.2f}")
    print(f"{'peak memory':24} {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:8.2f} GiB")


def show(who: str, seconds: float, scored: int | None, kept: tuple[int, float]) -> None:
    pairs = "" if scored is None else f"{scored:,} pairs scored, "
    print(f"{who:24} {seconds:8.1f} s   {pairs}{kept[0]:,} kept, their log-odds add up to {kept[1] or 0.0:,.0f}")


if __name__ == "__main__":
    main()
