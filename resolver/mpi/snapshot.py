"""The base: the files of the last published run, kept beside the index for the runs that add to it.

Lies in <index stem>.base/<run id>/ as hard links, or copies where the run folder is on another filesystem. It is whole
before the index says that there is such a run, and those of earlier runs go after that; so at any moment the folder
of the index's last run is there and whole. Knows nothing of what the files hold.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from resolver import files

LIST = "base.json"


def folder(index: Path) -> Path:
    return index.with_name(index.stem + ".base")


def keep(index: Path, run_id: str, content: str, inputs: Mapping[str, Path]) -> None:
    """Put the files of a run aside, before the change that makes it the last one is committed."""
    place = folder(index) / run_id
    if place.exists():  # of a run that was killed before its commit
        shutil.rmtree(place)
    place.mkdir(parents=True)
    kept = {}
    for name, path in sorted(inputs.items()):
        copy = place / path.name
        try:
            copy.hardlink_to(path)
        except OSError:  # another filesystem, or one without hard links
            shutil.copyfile(path, copy)
            with copy.open("rb") as file:
                os.fsync(file.fileno())
        kept[name] = {"file": path.name, "bytes": copy.stat().st_size}
    files.write_json(place / LIST, {"run": run_id, "content": content, "files": kept})


def drop_others(index: Path, run_id: str) -> None:
    """Remove what earlier runs put aside."""
    for place in folder(index).iterdir():
        if place.name != run_id:
            shutil.rmtree(place, ignore_errors=True)


def find(index: Path, run_id: str, content: str) -> tuple[dict[str, Path] | None, str]:
    """The files of a run by name; None and the reason where they are not all there."""
    place = folder(index) / run_id
    try:
        listed = json.loads((place / LIST).read_text(encoding="utf-8"))
        if listed["run"] != run_id or listed["content"] != content:
            return None, f"{place} belongs to another run"
        found = {name: place / entry["file"] for name, entry in listed["files"].items()}
        sizes = {name: entry["bytes"] for name, entry in listed["files"].items()}
    except FileNotFoundError:
        return None, f"{place} is gone"
    except (OSError, ValueError, KeyError, TypeError):
        return None, f"{place / LIST} can't be read"
    for name, path in found.items():
        if not path.exists() or path.stat().st_size != sizes[name]:
            return None, f"{path} is gone or damaged"
    return found, ""
