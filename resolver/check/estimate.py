"""What a run will take: time, memory, disk, the size of the gray zone, and what a rented GPU would cost for it.

A simple model, right within a factor of two or three. Its unit of time is what ingest takes for a million rows, which
`check` has just measured on this machine; the other stages are given in that unit, per record or per pair.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import duckdb

from resolver import database
from resolver.settings import Settings

# From two runs over five facilities on 2 cores, one of each way of learning: 6,337 records, 4.0 million event rows,
# 0.63 million proposed pairs, of which 164,275 were kept; ingest took 3.1 s per million rows. Per unit of that:
LINK_PER_MILLION_PROPOSED = 0.7
LEARN_PER_MILLION_PAIRS = 95.0
ADJUDICATE_PER_MILLION_PAIRS = 23.0
DECIDE_PER_MILLION_PAIRS = 0.6
CLUSTER_PER_MILLION_PAIRS = 0.3
GOLDEN_PER_MILLION_RECORDS = 50.0
PUBLISH_PER_MILLION_RECORDS = 21.0
REPORT_PER_MILLION_PAIRS = 4.5

USUAL_SECONDS_PER_MILLION_ROWS = 1.5  # where there are too few rows to measure it
ENOUGH_ROWS = 500_000

GRAY_PER_RECORD = 0.5
GRAY_FACTOR = 3  # of what it may be less or more

# Of the same run: resident memory, and bytes on disk, temporary files included.
BASE_GIB = 0.4
BYTES_PER_RECORD = 4_000
BYTES_PER_LEARNED_PAIR = 4_500
DISK_PER_RECORD = 2_000
DISK_PER_EVENT = 40
DISK_PER_PROPOSED = 20

GPU_START_SECONDS = 600


@dataclass(frozen=True)
class Gpu:
    """What a rented GPU does and costs. Assumed, not measured: give your own."""

    pairs_per_second: float = 20.0
    dollars_per_hour: float = 2.5


class Timer:
    def __init__(self) -> None:
        self.began = time.monotonic()

    def seconds(self) -> float:
        return time.monotonic() - self.began


@contextmanager
def connect(settings: Settings, scratch: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    limits = settings.run
    with database.connect(memory_gib=limits.memory_gib, threads=limits.threads, spill=scratch) as con:
        con.execute("SET TimeZone = 'UTC'")
        yield con


def of_run(
    settings: Settings, ingested: dict[str, Any], found: dict[str, Any], plan_seconds: float, gpu: Gpu
) -> dict[str, Any]:
    records, events = found["records"], found["events"]
    proposed, pairs = found["blocking"]["proposed"], found["blocking"]["candidates"]
    # auto may take the model that ships, which costs next to nothing; whether it does is seen only in the run.
    learned = min(pairs, settings.learn.max_pairs) if settings.learn.way in ("auto", "unlabelled") else 0
    unit = _unit(ingested)
    seconds = {
        "ingest (done)": ingested["seconds"],
        "link": plan_seconds + unit * LINK_PER_MILLION_PROPOSED * proposed / 1e6,
        "learn": unit * LEARN_PER_MILLION_PAIRS * learned / 1e6,
        "adjudicate": unit * ADJUDICATE_PER_MILLION_PAIRS * pairs / 1e6,
        "decide": unit * DECIDE_PER_MILLION_PAIRS * pairs / 1e6,
        "cluster": unit * CLUSTER_PER_MILLION_PAIRS * pairs / 1e6,
        "golden": unit * GOLDEN_PER_MILLION_RECORDS * records / 1e6,
        "publish": unit * PUBLISH_PER_MILLION_RECORDS * records / 1e6,
        "evaluate, report": unit * REPORT_PER_MILLION_PAIRS * pairs / 1e6,
    }
    working = min(settings.run.memory_gib, records * BYTES_PER_RECORD / 2**30)
    memory = max(ingested["peak_mib"] / 1024, BASE_GIB + working + learned * BYTES_PER_LEARNED_PAIR / 2**30)
    disk = records * DISK_PER_RECORD + events * DISK_PER_EVENT + proposed * DISK_PER_PROPOSED
    gray = round(records * GRAY_PER_RECORD)
    gpu_seconds = GPU_START_SECONDS + gray / gpu.pairs_per_second
    return {
        "seconds": {stage: round(value, 1) for stage, value in seconds.items()},
        "total_seconds": round(sum(seconds.values()), 1),
        "memory_gib": round(memory, 1),
        "disk_gib": round(disk / 2**30, 2),
        "gray_pairs": {"about": gray, "between": [gray // GRAY_FACTOR, gray * GRAY_FACTOR]},
        "gpu": {
            **asdict(gpu),
            "seconds": round(gpu_seconds),
            "dollars": round(gpu_seconds / 3600 * gpu.dollars_per_hour, 2),
        },
    }


def faults(settings: Settings, estimate: dict[str, Any]) -> list[str]:
    """What of this the machine does not have."""
    free = shutil.disk_usage(settings.run.dir).free / 2**30
    if estimate["disk_gib"] > free:
        return [
            f"{settings.run.dir} has {free:.1f} GiB free, and a run needs about {estimate['disk_gib']}. "
            "Make room, or set run.dir to another disk."
        ]
    return []


def _unit(ingested: dict[str, Any]) -> float:
    rows = sum(one["person_rows"] + one["event_rows"] for one in ingested["facts"]["sources"].values())
    return ingested["seconds"] / (rows / 1e6) if rows >= ENOUGH_ROWS else USUAL_SECONDS_PER_MILLION_ROWS
