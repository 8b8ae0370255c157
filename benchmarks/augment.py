"""How fast `resolver augment all` is, next to reading and writing the same tables without doing anything.

    python benchmarks/augment.py POPULATION [--config realistic] [--runs 3] [--memory-gib 1.2] [--threads 2]

POPULATION  a folder with a population's Parquet tables: 2,961 persons with 4.4 million events for the wanted figures

Prints the time, CPU time and peak memory of the whole way (look-alikes, facilities, errors, clinical noise, integrity),
and of DuckDB reading every table and writing it again. The two take turns, each in a process of its own, and the best
run of each counts. CPU time is what to look at on a machine that has other work. Wanted are 30 s within 2 GiB on 2
cores.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from augmentation import pipeline, presets
from augmentation.population import PARQUET, tables
from resolver import database
from resolver.database import quote
from resolver.progress import Progress

WANTED_SECONDS, WANTED_GIB = 30, 2.0


def augmented(out: Path, population: Path, config: str, memory_gib: float, threads: int) -> None:
    chosen = (f"population.dir={population.absolute()}", f"threads={threads}", f"memory_gib={memory_gib}")
    pipeline.make(presets.load(config, chosen), out / "bed", Progress())


def copied(out: Path, population: Path, config: str, memory_gib: float, threads: int) -> None:
    with database.connect(memory_gib=memory_gib, threads=threads, spill=out) as con:
        for table in tables(con, population).values():
            con.execute(f"COPY (FROM read_parquet({quote(table.path)})) TO {quote(out / table.name)} {PARQUET}")


def measure(work: Callable[..., None], *arguments: object) -> tuple[float, float, float]:
    """Seconds, CPU seconds and peak GiB of the work, in a process of its own, without starting it."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measured, (work, arguments))


def _measured(work: Callable[..., None], arguments: tuple[object, ...]) -> tuple[float, float, float]:
    with tempfile.TemporaryDirectory() as out:
        began, cpu = time.perf_counter(), time.process_time()
        work(Path(out), *arguments)
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return seconds, cpu, peak / 2**30


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("population", type=Path)
    parser.add_argument("--config", default="realistic")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--memory-gib", type=float, default=1.2)
    parser.add_argument("--threads", type=int, default=2)
    asked = parser.parse_args()
    with database.connect(memory_gib=asked.memory_gib, threads=asked.threads) as con:
        rows = {
            table.name: con.execute(f"SELECT count(*) FROM {table.source}").fetchall()[0][0]
            for table in tables(con, asked.population).values()
        }
    print(
        f"{rows['patients']:,} persons, {sum(rows.values()):,} rows, {asked.config}, {asked.threads} threads,"
        f" {asked.memory_gib:g} GiB for the database"
    )
    best: dict[str, tuple[float, float, float]] = {}
    for _ in range(asked.runs):
        for name, work in (("plain copy", copied), ("augment", augmented)):
            found = measure(work, asked.population, asked.config, asked.memory_gib, asked.threads)
            best[name] = min(best.get(name, found), found)
    for name, (seconds, cpu, peak) in best.items():
        print(f"  {name:10}  {seconds:7.2f} s  {cpu:7.2f} s of CPU  peak {peak:.2f} GiB")
    seconds, _, peak = best["augment"]
    met = "met" if seconds <= WANTED_SECONDS and peak <= WANTED_GIB else "NOT met"
    print(f"augment takes {seconds / best['plain copy'][0]:.1f} times as long as the plain copy")
    print(f"wanted: {WANTED_SECONDS} s within {WANTED_GIB:g} GiB: {met}")


if __name__ == "__main__":
    main()
