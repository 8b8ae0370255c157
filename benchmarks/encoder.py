"""How many records a second the fusion encoder reads and encodes, and how many pairs a second it scores.

    python benchmarks/encoder.py MODEL RUN [--pairs N] [--threads N] [--rounds N]

MODEL     a folder that `resolver llm encoder train` made
RUN       a run folder with events.parquet and records.parquet

Seconds are those of the processor, so that others on the machine count little; the best of some rounds is told.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import duckdb
import numpy as np

from llm_classifier.encoder import fitting, model, tokens
from resolver import database

T = TypeVar("T")


def best(work: Callable[[], T], rounds: int) -> tuple[T, float]:
    seconds = []
    for _ in range(rounds):
        began = time.process_time()
        result = work()
        seconds.append(time.process_time() - began)
    return result, min(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("--pairs", type=int, default=500_000)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    card, network = model.load(given.model)
    ((records,),) = duckdb.execute(f"SELECT count(*) FROM '{given.run}/records.parquet'").fetchall()
    with database.connect(memory_gib=2, threads=given.threads) as con:
        found, reading = best(
            lambda: tokens.read(
                con,
                given.run / "events.parquet",
                np.arange(records),
                buckets=network.shape.buckets,
                most=network.shape.most,
            ),
            given.rounds,
        )
    places = np.flatnonzero(found.known)
    left, right = np.random.default_rng(0).integers(0, len(places), (2, given.pairs))
    with fitting.steady(given.threads, 0):
        vectors, encoding = best(lambda: fitting.vectors(network, found, places), given.rounds)
        _, scoring = best(lambda: fitting.compare(network, vectors, left, right), given.rounds)
    print(f"encoder {card.fingerprint}: {sum(one.numel() for one in network.parameters()):,} weights")
    print(f"read     {len(places) / reading:>12,.0f} records/s  {len(found.thing) / len(places):.1f} tokens each")
    print(f"encode   {len(places) / encoding:>12,.0f} records/s")
    print(f"score    {given.pairs / scoring:>12,.0f} pairs/s")


if __name__ == "__main__":
    main()
