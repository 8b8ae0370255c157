"""What the system says of all processes: what they were told, and what anybody may read of them."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path


def told(what: bytes) -> list[Path]:
    """Processes whose environment holds this."""
    found = []
    for place in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if what in place.read_bytes():
                found.append(place.parent)
    return found


def arguments() -> list[bytes]:
    """The command line of each process."""
    found = []
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            found.append(place.read_bytes())
    return found
