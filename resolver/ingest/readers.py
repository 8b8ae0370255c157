"""Kinds of sources by name: which file reads what.

Further kinds come from other packages: an entry point in the group `resolver.readers`, named like the kind, names a
module or an object that is a Reader. What such a source is set up with says resolver/settings/sources.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

from resolver import plugins
from resolver.errors import UsageError
from resolver.ingest import fhir, synthea, table
from resolver.ingest.opening import Opener
from resolver.ingest.raw import Batch

GROUP = "resolver.readers"


class Reader(Protocol):
    """Reads one kind of source; `source` is its section of the config."""

    def files(self, source: Any) -> list[Path]:
        """Every file that it reads, of those that are there."""

    def read(self, source: Any, opener: Opener) -> list[Batch]:
        """The rows of these files in one shape, as SQL."""


OWN: dict[str, Reader] = {"synthea": synthea, "fhir": fhir, "table": table}


def find(kind: str) -> Reader:
    """The reader of that kind of source."""
    if kind in OWN:
        return OWN[kind]
    entry = plugins.named(GROUP).get(kind)
    if entry is None:
        raise UsageError(
            f"No package says how a source of the kind {kind} is read.",
            do=f"The package that brings it needs an entry point {kind} in the group {GROUP}.",
        )
    reader: Reader = plugins.load(entry)
    return reader


def versions(kinds: Iterable[str]) -> dict[str, str]:
    """Kind -> the package that reads it, where that is not this one."""
    others = plugins.named(GROUP)
    return {kind: plugins.version(others[kind]) for kind in sorted(set(kinds) & others.keys() - OWN.keys())}
