"""The folder of a test bed: what lies where in it, and how it appears whole or not at all.

    OUT/facility_1/patients.parquet ...     what the resolver reads
    OUT/truth/truth.parquet                 record_id, facility, person_id
    OUT/truth/errors.parquet                record_id, step, field, kind, before, after
    OUT/truth/lookalikes.parquet            which person was made to look like which
    OUT/truth/persons.parquet               the clean persons
    OUT/truth/settings.json                 the settings that it was made with
    OUT/summary.json                        counts

Knows nothing of what is in the tables.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from resolver.errors import RunError

TRUTH = "truth"
SUMMARY = "summary.json"


def scratch_of(out: Path) -> Path:
    """An empty name beside OUT to write under. OUT must be free, empty or an older test bed."""
    if out.exists() and not out.is_dir():
        raise RunError(f"{out} is a file.", do="Name a folder.")
    if out.is_dir() and any(out.iterdir()) and not (out / SUMMARY).exists():
        raise RunError(f"{out} holds something else than a test bed.", do="Name another folder, or empty this one.")
    scratch = out.with_name(f".{out.name}.tmp")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    return scratch


def put_in_place(scratch: Path, out: Path) -> None:
    """Rename a finished test bed into place of an older one."""
    if out.exists():
        shutil.rmtree(out)
    scratch.replace(out)
