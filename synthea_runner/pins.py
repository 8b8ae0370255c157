"""Pins data sets: notes what is in each table, and says later which table changed.

Any folder with Parquet or NDJSON files can be pinned, with the folders below it; the pins lie in one small JSON file
that belongs under version control. Hidden files and folders do not count.
Knows nothing about who made a data set.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from resolver import database, files
from resolver.errors import DamagedError, UsageError
from resolver.progress import Progress
from synthea_runner import population
from synthea_runner.population import TableFacts

PINS = Path("data-pins.json")
KINDS = (".parquet", ".ndjson")


class ChangedError(DamagedError):
    """A pinned data set is not what it was."""


def pin(name: str, folder: Path, pins: Path, progress: Progress) -> dict[str, TableFacts]:
    """Note what is in `folder` under `name`, over an earlier pin of that name."""
    facts = measure(folder, progress)
    known = read(pins) if pins.exists() else {}
    where = Path(os.path.relpath(folder.resolve(), pins.absolute().parent.resolve())).as_posix()
    known[name] = {"path": where, "tables": {table: asdict(facts[table]) for table in facts}}
    files.write_json(pins, dict(sorted(known.items())))
    return facts


def verify(name: str, pins: Path, progress: Progress) -> int:
    """Hold a pinned data set against its pin; the number of its tables if nothing changed."""
    known = read(pins)
    if name not in known:
        raise UsageError(f"{pins} pins no {name}; it pins {', '.join(known) or 'nothing'}.")
    folder = pins.absolute().parent / known[name]["path"]
    pinned = {table: TableFacts(**facts) for table, facts in known[name]["tables"].items()}
    found = measure(folder, progress)
    changed = [
        _change(table, pinned.get(table), found.get(table))
        for table in sorted(pinned.keys() | found.keys())
        if pinned.get(table) != found.get(table)
    ]
    if changed:
        raise ChangedError(
            f"{name} is not what was pinned: {'; '.join(changed)}.",
            do=f"Restore it, or pin it anew if the change is meant: resolver data pin {name} {folder}",
        )
    return len(found)


def read(pins: Path) -> dict[str, Any]:
    """All pins of a file, by name."""
    try:
        known = json.loads(pins.read_text(encoding="utf-8"))
        for entry in known.values():
            assert isinstance(entry["path"], str)
            for facts in entry["tables"].values():
                TableFacts(**facts)
    except FileNotFoundError:
        raise UsageError(
            f"There are no pins at {pins}.", do="Pin a data set first: resolver data pin NAME PATH"
        ) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, AssertionError):
        raise DamagedError(f"{pins} is not a file of pins.", do="Restore it from version control.") from None
    return dict(known)


def measure(folder: Path, progress: Progress) -> dict[str, TableFacts]:
    """Facts of every table below `folder`, by its path without suffix."""
    if not folder.is_dir():
        raise UsageError(f"There is no folder {folder}.")
    paths = sorted(
        path
        for path in folder.rglob("*")
        if path.suffix in KINDS and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )
    if not paths:
        raise UsageError(f"{folder} holds no data ({' or '.join(KINDS)} files).")
    facts = {}
    with (
        database.connect(memory_gib=min(2.0, database.memory_gib() / 2), threads=database.cores()) as con,
        progress.step("Read", total=len(paths), unit="files") as step,
    ):
        for path in paths:
            facts[path.relative_to(folder).as_posix()] = population.measure(con, path)
            step.advance(1)
    return facts


def _change(table: str, pinned: TableFacts | None, found: TableFacts | None) -> str:
    if pinned is None:
        return f"{table} is new"
    if found is None:
        return f"{table} is missing"
    if pinned.columns != found.columns:
        return f"{table} has other columns"
    if pinned.rows != found.rows:
        return f"{table} has {found.rows:,} rows instead of {pinned.rows:,}"
    return f"{table} has other values"
