"""How fast `resolver synthea convert` is, next to reading and writing the same tables without doing anything.

    python benchmarks/convert.py POPULATION [--runs 3] [--memory-gib 2] [--threads 2]

POPULATION  a folder that `resolver synthea generate` made, or any folder with Synthea's CSV tables

Prints MB of CSV per second, CPU time and peak memory of convert, and of DuckDB's own CSV reader and Parquet writer on
the same files with every column as text: no types, no sorting, no hashes, no count of rows. The two take turns, each in
a process of its own, and the best run of each counts. CPU time is what to look at on a machine that has other work.
Wanted are 60 MB a second on 2 cores within 2 GiB.
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

from resolver import database
from resolver.database import quote
from resolver.progress import Progress
from synthea_runner import convert

WANTED_MB_A_SECOND, WANTED_GIB = 60, 2.0


def converted(folder: Path, out: Path, memory_gib: float, threads: int) -> None:
    convert.convert(folder, out / "population", Progress(), memory_gib=memory_gib, threads=threads)


def copied(folder: Path, out: Path, memory_gib: float, threads: int) -> None:
    with database.connect(memory_gib=memory_gib, threads=threads, spill=out) as con:
        con.execute("SET preserve_insertion_order = false")
        for csv in convert.Source(folder).tables(frozenset()):
            con.execute(
                f"COPY (FROM read_csv({quote(csv)}, all_varchar = true, header = true, delim = ',', quote = '\"')) "
                f"TO {quote(out / csv.stem)} (FORMAT parquet, COMPRESSION zstd)"
            )


def measure(work: Callable[..., None], *arguments: object) -> tuple[float, float, float]:
    """Seconds, CPU seconds and peak GiB of the work, in a process of its own, without starting it."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measured, (work, arguments))


def _measured(work: Callable[..., None], arguments: tuple[object, ...]) -> tuple[float, float, float]:
    with tempfile.TemporaryDirectory() as out:
        began, cpu = time.perf_counter(), time.process_time()
        work(arguments[0], Path(out), *arguments[1:])
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return seconds, cpu, peak / 2**30


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("population", type=Path)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--memory-gib", type=float, default=2.0)
    parser.add_argument("--threads", type=int, default=2)
    asked = parser.parse_args()
    size = sum(path.stat().st_size for path in convert.Source(asked.population).tables(frozenset())) / 1e6
    print(f"{size:,.0f} MB of CSV, {asked.threads} threads, {asked.memory_gib:g} GiB")
    best: dict[str, tuple[float, float, float]] = {}
    for _ in range(asked.runs):
        for name, work in (("plain copy", copied), ("convert", converted)):
            found = measure(work, asked.population, asked.memory_gib, asked.threads)
            best[name] = min(best.get(name, found), found)
    for name, (seconds, cpu, peak) in best.items():
        print(f"  {name:10}  {seconds:7.2f} s  {size / seconds:6.0f} MB/s  {cpu:7.2f} s of CPU  peak {peak:.2f} GiB")
    seconds, _, peak = best["convert"]
    met = "met" if size / seconds >= WANTED_MB_A_SECOND and peak <= WANTED_GIB else "NOT met"
    print(f"convert takes {seconds / best['plain copy'][0]:.1f} times as long as the plain copy")
    print(f"wanted: {WANTED_MB_A_SECOND} MB/s within {WANTED_GIB:g} GiB: {met}")


if __name__ == "__main__":
    main()
