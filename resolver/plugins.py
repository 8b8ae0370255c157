"""Finds what other packages add: judges, sources, kinds of error. docs/extending.md says how to add one.

Knows nothing of what is added; who asks for it checks what was found.
"""

from __future__ import annotations

from importlib import metadata
from typing import Any

from resolver.errors import UsageError


def named(group: str) -> dict[str, metadata.EntryPoint]:
    """Name -> entry point, of all installed packages."""
    found: dict[str, metadata.EntryPoint] = {}
    for entry in sorted(metadata.entry_points(group=group), key=lambda entry: entry.name):
        other = found.setdefault(entry.name, entry)
        if other is not entry and other.value != entry.value:
            raise UsageError(
                f"Two packages bring {entry.name} ({group}): {other.value} and {entry.value}.",
                do="Uninstall one of them.",
            )
    return found


def load(entry: metadata.EntryPoint) -> Any:
    """What an entry point names; one line where its package is broken."""
    try:
        return entry.load()
    except (ImportError, AttributeError) as error:
        raise UsageError(
            f"{entry.name} can't be loaded from {entry.value}: {error}.",
            do="Install its package anew, or what it needs.",
        ) from error


def version(entry: metadata.EntryPoint) -> str:
    """Name and version of the package that an entry point comes from."""
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else ""
