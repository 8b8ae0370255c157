"""How fast made-up people are written, next to reading and writing the same Parquet without doing anything.

    python benchmarks/people.py [--records 1000000] [--config realistic] [--threads 2]

Prints seconds on the clock, and the most memory that one process held (with several threads there is one more process
than threads). With one thread it prints seconds of processor time too, which say more on a machine with other work.
The second line is what the machine takes to read all of these files and write them again, in one thread.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
from pathlib import Path

import pyarrow.parquet as pq

from augmentation.people.write import people
from augmentation.presets import load
from resolver.progress import Progress


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--records", type=int, default=1_000_000)
    arguments.add_argument("--config", default="realistic")
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--dir", type=Path, help="where to write; default: a temporary folder")
    given = arguments.parse_args()

    with tempfile.TemporaryDirectory(dir=given.dir) as folder:
        out = Path(folder) / "bed"
        settings = load(given.config, (f"threads={given.threads}",))
        began, used = time.monotonic(), processor()
        summary = people(given.records, out, settings, Progress())
        own = f", {processor() - used:7.1f} s processor" if given.threads == 1 else ""
        print(f"{'make':6} {time.monotonic() - began:7.1f} s clock{own}")

        began, used = time.monotonic(), processor()
        size = 0
        for path in sorted(out.rglob("*.parquet")):
            size += path.stat().st_size
            source = pq.ParquetFile(path)
            with pq.ParquetWriter(Path(folder) / "copy.parquet", source.schema_arrow, compression="zstd") as writer:
                for group in range(source.num_row_groups):
                    writer.write_table(source.read_row_group(group))
        print(f"{'copy':6} {time.monotonic() - began:7.1f} s clock, {processor() - used:7.1f} s processor")
        print(f"{summary.records:,} records of {summary.persons:,} persons, {sum(summary.errors.values()):,} changes")
        most = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        print(f"{size / 2**20:,.0f} MiB of Parquet; most memory of one process {most / 2**20:.2f} GiB")


def processor() -> float:
    times = os.times()
    return times.user + times.system


if __name__ == "__main__":
    main()
