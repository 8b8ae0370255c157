"""Where files pass between this machine and a rented one. Names are paths; a file appears whole or not at all.

A bridge never sees what is in a file (sealed.py). Whoever works at the other end opens the same bridge by its address.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from resolver.errors import UsageError


class Bridge(Protocol):
    address: str
    """What the other end opens it by. Holds no secret."""

    def put(self, name: str, content: bytes) -> None: ...

    def get(self, name: str) -> bytes | None:
        """None where there is no such file."""

    def names(self, prefix: str) -> list[str]:
        """All files whose names begin so, sorted."""

    def remove(self, prefix: str) -> None: ...


def reach(address: str) -> Bridge:
    """The bridge of that address."""
    kind, separator, place = address.partition("://")
    if separator and kind == "file":
        from llm_classifier.pods.bridges.folder import Folder

        return Folder(Path(place))
    raise UsageError(f"{address} is no address of a bridge.", do="Write it as file:///FOLDER.")
