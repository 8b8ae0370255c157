"""The folder of a test bed: what lies where in it, how it appears whole or not at all, and which steps it has seen.

    OUT/facility_1/patients.parquet ...     what the resolver reads
    OUT/truth/truth.parquet                 record_id, facility, person_id
    OUT/truth/errors.parquet                record_id, step, field, kind, before, after
    OUT/truth/lookalikes.parquet            which person was made to look like which
    OUT/truth/persons.parquet               the clean persons
    OUT/truth/records.parquet               the clean records
    OUT/truth/manifest.json                 the settings and the steps done with them, with what they counted
    OUT/summary.json                        counts

Knows nothing of what is in the tables.
"""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from augmentation.settings import AugmentSettings
from resolver import files
from resolver.errors import DamagedError, RunError

TRUTH = "truth"
SUMMARY = "summary.json"
_MANIFEST = "manifest.json"


@contextlib.contextmanager
def whole(out: Path) -> Iterator[Path]:
    """An empty folder to write a test bed into, renamed to OUT if the block succeeds, removed if it does not.

    OUT must be free, empty or an older test bed, which goes when the new one is done.
    """
    if out.exists() and not out.is_dir():
        raise RunError(f"{out} is a file.", do="Name a folder.")
    if out.is_dir() and any(out.iterdir()) and not _manifest(out).exists():
        raise RunError(f"{out} holds something else than a test bed.", do="Name another folder, or empty this one.")
    with files.lock(out.with_name(f".{out.name}.lock"), f"The test bed {out}"):
        scratch = out.with_name(f".{out.name}.tmp")
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        try:
            yield scratch
            if out.exists():
                shutil.rmtree(out)
            scratch.replace(out)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def _manifest(out: Path) -> Path:
    return out / TRUTH / _MANIFEST


def note(out: Path, settings: AugmentSettings, step: str, facts: dict[str, Any] | None) -> None:
    """Write down that a step is done and what it counted; `None` where it has begun and is not done."""
    content = steps(out)
    content[step] = facts
    # Threads and memory change nothing in what is written, so they are left out and two machines agree.
    chosen = settings.model_dump(mode="json", exclude={"out": True, "threads": True, "memory_gib": True})
    chosen["population"] = {}
    files.write_json(_manifest(out), {"settings": chosen, "steps": content})


def steps(out: Path) -> dict[str, Any]:
    """The steps that a test bed has seen, with their counts; None for one that was begun and did not end."""
    path = _manifest(out)
    if not path.exists():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))["steps"]
    except (OSError, ValueError, KeyError, TypeError):
        raise DamagedError(f"{path} can't be read.", do="Make the test bed again.") from None
    if not isinstance(found, dict):
        raise DamagedError(f"{path} is not a test bed's manifest.", do="Make the test bed again.")
    return found
