"""The steps of a test bed in order: the first file to read.

    population -> look-alikes -> facilities -> contact and errors in demographics -> clinical noise -> integrity

Knows nothing of what happens within a step.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import duckdb

from augmentation import bed
from augmentation.clinical import add_noise
from augmentation.errors.choose import check
from augmentation.lookalikes import make_lookalikes
from augmentation.population import Layout
from augmentation.registration import keep_clean, register
from augmentation.segment import integrity, segment
from augmentation.settings import AugmentSettings
from augmentation.summary import Summary
from resolver import database, files
from resolver.errors import RunError
from resolver.progress import Progress


def make(settings: AugmentSettings, out: Path, progress: Progress) -> Summary:
    """All steps. OUT appears when the last is done."""
    check(settings.errors)
    with bed.whole(out) as scratch:
        _split(settings, scratch, progress)
        return _break(settings, scratch, progress)


def split(settings: AugmentSettings, out: Path, progress: Progress) -> Summary:
    """Look-alikes and facilities: a test bed without errors. OUT appears when it is done."""
    with bed.whole(out) as scratch:
        return _split(settings, scratch, progress)


def corrupt(settings: AugmentSettings, out: Path, progress: Progress) -> Summary:
    """Contact data, errors and clinical noise on a test bed that `split` made, in place."""
    check(settings.errors)
    done = bed.steps(out)
    if "segment" not in done:
        raise RunError(f"{out} is not a test bed.", do="Make it with: resolver augment segment CONFIG")
    if "clinical" in done:
        raise RunError(f"The events of {out} have been changed before.", do="Start over with: resolver augment segment")
    with files.lock(out.with_name(f".{out.name}.lock"), f"The test bed {out}"):
        return _break(settings, out, progress)


def _split(settings: AugmentSettings, out: Path, progress: Progress) -> Summary:
    layout, summary = Layout(out), Summary()
    with _database(settings, out) as con:
        bed.note(out, settings, "lookalikes", make_lookalikes(con, settings, layout, progress))
        bed.note(out, settings, "segment", segment(con, settings, layout, progress))
    keep_clean(layout, summary)
    return _counted(summary, out)


def _break(settings: AugmentSettings, out: Path, progress: Progress) -> Summary:
    layout, summary = Layout(out), Summary()
    bed.note(out, settings, "errors", register(settings, layout, summary, progress))
    with _database(settings, out) as con:
        # Events can't be changed twice: what was begun is known even if it is not finished.
        bed.note(out, settings, "clinical", None)
        bed.note(out, settings, "clinical", add_noise(con, settings, layout, progress))
        bed.note(out, settings, "integrity", integrity.check(con, layout, progress))
    return _counted(summary, out)


def _counted(summary: Summary, out: Path) -> Summary:
    summary.facts = {"steps": bed.steps(out)}
    summary.write(out / bed.SUMMARY)
    return summary


@contextlib.contextmanager
def _database(settings: AugmentSettings, folder: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A database in memory that spills to a folder within the test bed while it is made."""
    spill = folder / ".spill"
    con = database.connect(memory_gib=settings.memory_gib, threads=settings.threads, spill=spill)
    try:
        yield con
    finally:
        con.close()
        shutil.rmtree(spill, ignore_errors=True)
