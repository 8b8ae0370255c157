"""Where files pass between this machine and a rented one. Names are paths; a file appears whole or not at all.

A bridge never sees what is in a file (sealed.py). It has two ends: at home with the user's own credentials, and on the
rented machine with a ticket, which opens the files of one job and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from resolver.errors import UsageError

Files = Iterable[tuple[str, bytes]]


class FarEnd(Protocol):
    """What a worker can do."""

    pause: float
    """Seconds between two times that it wants to be written to; 0 for no wish."""

    def put(self, name: str, content: bytes) -> None: ...

    def put_all(self, files: Files) -> None:
        """All or nothing where the store can; else one by one, so that the last one tells that all are there."""

    def get(self, name: str) -> bytes | None:
        """None where there is no such file."""

    def close(self) -> None: ...


class Bridge(FarEnd, Protocol):
    """What can be done at home."""

    def names(self, prefix: str) -> list[str]:
        """All files whose names begin so, sorted."""

    def remove(self, prefix: str) -> None: ...

    def ticket(self, wanted: Ticket) -> Mapping[str, str]:
        """What the worker is told to open the far end: BRIDGE, and what else it needs. No credential of the user."""


@dataclass(frozen=True)
class Ticket:
    """What one worker may do, and until when."""

    name: str  # under which the bridge may keep it, sealed
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    until: float  # Unix time
    seal: Callable[[bytes], bytes]  # the list of what it may, as it may lie at the bridge


def home(address: str | Path, endpoint: str | None = None) -> Bridge:
    """The bridge at that address, opened with the user's own credentials; `endpoint` for S3-compatible stores."""
    place = urlsplit(str(address))
    if place.scheme == "s3":
        from llm_classifier.pods.bridges.s3 import S3

        return S3(place.netloc, place.path.strip("/"), endpoint)
    if place.scheme == "hf":
        from llm_classifier import hub
        from llm_classifier.pods.bridges.hub import Hub

        return Hub(str(address), hub.token())
    if place.scheme in ("", "file"):
        from llm_classifier.pods.bridges.folder import Folder

        return Folder(Path(place.path))
    raise _unknown(str(address))


def far(told: Mapping[str, str], unseal: Callable[[bytes], bytes]) -> FarEnd:
    """The far end, by what a ticket told the worker; `unseal` opens the ticket if that lies at the bridge."""
    address = told["BRIDGE"]
    kind = urlsplit(address).scheme
    if kind in ("http", "https"):
        from llm_classifier.pods.bridges.urls import Urls

        return Urls(address, unseal)
    if kind == "hf":
        from llm_classifier.pods.bridges.hub import Hub

        return Hub(address, told["HF_TOKEN"], endpoint=told["HF_ENDPOINT"])
    if kind == "file":
        from llm_classifier.pods.bridges.folder import Folder

        return Folder(Path(urlsplit(address).path))
    raise _unknown(address)


def _unknown(address: str) -> UsageError:
    return UsageError(
        f"{address.partition('?')[0]} is no address of a bridge.",
        do="Write it as a folder, s3://BUCKET/PREFIX or hf://datasets/OWNER/NAME.",
    )
