"""The demographic judge against Splink's own scoring: the same pairs, the same process, one after the other.

    python benchmarks/judging.py RECORDS [--model MODEL] [--memory GIB] [--threads N]

Candidates are proposed, scored and kept as in a run; then Splink scores those that were kept once more, and the judge
with the model that ships reads and scores them. Prints seconds of the clock and of the processor, the ratio, and how
many pairs the judge settled with a quick look.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import bare
import polars as pl

from resolver import database
from resolver.adjudicate import CHUNK
from resolver.database import quote
from resolver.judges import Evidence
from resolver.judges.embedded import DemographicJudge
from resolver.learn import SHIPPED
from resolver.link import blocking, linking
from resolver.link.scoring import score_all
from resolver.progress import Progress


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("records", type=Path)
    parser.add_argument("--model", type=Path, default=SHIPPED)
    parser.add_argument("--memory", type=float, default=4.0, help="GiB for the database")
    parser.add_argument("--threads", type=int, default=database.cores())
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        settings = bare.settings(scratch, threads=asked.threads, memory=asked.memory)
        with database.connect(memory_gib=asked.memory, threads=asked.threads, spill=scratch) as con:
            ready = linking.prepared(con, asked.records, None, settings)
            blocked = blocking.blocks(con, ready.model.rules, ready.model.max_block)
            proposals = [(blocking.joined(one.number), one.pairs) for one in blocked if one.pairs]
            chunks = blocking.candidates(con, proposals, ready.read.records, scratch, Progress())
            with Progress().step("") as step:
                parts, scored = score_all(ready.scorer, chunks, ready.model.floor, scratch, step)
            kept = f"read_parquet([{', '.join(quote(path) for path in parts)}])"
            con.execute(f"""
                CREATE TABLE kept AS
                SELECT left_rid AS join_key_l, right_rid AS join_key_r, 0::SMALLINT AS match_key FROM {kept}""")
            con.execute(f"COPY (FROM {kept}) TO {quote(scratch / 'pairs.parquet')} (FORMAT parquet)")
            pairs = con.sql(f"SELECT left_rid, right_rid FROM {kept} ORDER BY left_rid, right_rid").pl()
            print(f"{scored:,} pairs proposed, {len(pairs):,} kept of {ready.read.records:,} records")
            splink = timed("Splink scores the kept", lambda: ready.scorer.score("kept", "again"))
            evidence = Evidence(
                settings,
                asked.records,
                asked.records,  # the demographic judge reads no events
                asked.model,
                scratch / "population.parquet",
                scratch,
                Progress(),
                pairs=scratch / "pairs.parquet",
            )
            judges: list[DemographicJudge] = []
            timed("the judge gets ready", lambda: judges.append(DemographicJudge(evidence)))
            judge = timed("the judge", lambda: [judges[0].judge(pairs[at : at + CHUNK]) for at in chunks_of(pairs)])
            for name, count in judges[0].facts().items():
                print(f"{name.replace('_', ' '):24} {count / max(len(pairs), 1):8.1%} of the pairs")
            print(f"{'ratio':24} {judge / splink:8.2f}")


def chunks_of(pairs: pl.DataFrame) -> range:
    return range(0, len(pairs), CHUNK)


def timed(what: str, work: Callable[[], object]) -> float:
    """Seconds of the processor; those of the clock are printed too."""
    clock, processor = time.perf_counter(), time.process_time()
    work()
    spent = time.process_time() - processor
    print(f"{what:24} {time.perf_counter() - clock:8.1f} s   {spent:8.1f} s of the processor", flush=True)
    return spent


if __name__ == "__main__":
    main()
