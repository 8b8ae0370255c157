"""Kinds of sources by name: which file reads what. The one list to add to for a further kind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from resolver.ingest import fhir, synthea, table
from resolver.ingest.opening import Opener
from resolver.ingest.raw import Batch


class Reader(NamedTuple):
    files: Callable[[Any], list[Path]]  # every file that it reads, of those that are there
    read: Callable[[Any, Opener], list[Batch]]


READERS: dict[str, Reader] = {
    "synthea": Reader(synthea.files, synthea.read),
    "fhir": Reader(fhir.files, fhir.read),
    "table": Reader(table.files, table.read),
}
