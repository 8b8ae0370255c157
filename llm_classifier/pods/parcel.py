"""The files of one job at a bridge, sealed: what goes in, what comes out, and what the worker says meanwhile.

    <key>/in/spec.json           what is to be done, and which parts there are
    <key>/in/<part>              the parts
    <key>/out/<part>             results, each as soon as it is whole
    <key>/ticket/<pod>           what this pod's worker may read and write, where the bridge needs telling
    <key>/started/<pod>          a worker of this pod began
    <key>/heartbeat              how far the last worker is
    <key>/done                   digests of all results, written last

Knows nothing of what is in a part.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from llm_classifier.pods import sealed
from llm_classifier.pods.bridges import Bridge, FarEnd, Files, Ticket, far
from llm_classifier.pods.machine import Heartbeat
from resolver.errors import DamagedError

SPEC = "in/spec.json"
HEARTBEAT = "heartbeat"
DONE = "done"


class Parcel:
    """The files as either end sees them."""

    def __init__(self, bridge: FarEnd, job: str, seal: bytes) -> None:
        self.bridge, self.job, self._seal = bridge, job, seal

    def put(self, name: str, content: bytes) -> None:
        self.bridge.put(f"{self.job}/{name}", self._sealed(name, content))

    def put_all(self, files: Files) -> None:
        """In one go where the bridge can; else in this order."""
        self.bridge.put_all((f"{self.job}/{name}", self._sealed(name, content)) for name, content in files)

    def get(self, name: str) -> bytes | None:
        """None where it is not there; an error where it is not what this job wrote."""
        found = self.bridge.get(f"{self.job}/{name}")
        return None if found is None else sealed.unseal(self._seal, self.job, name, found)

    def name_of(self, content: bytes) -> str:
        return sealed.name_of(self._seal, content)

    def there(self, name: str) -> bool:
        return self.bridge.get(f"{self.job}/{name}") is not None

    def get_json(self, name: str) -> Any:
        """None where it is not there, or is not what this job wrote: nobody is believed who lacks the seal."""
        try:
            found = self.get(name)
        except DamagedError:
            return None
        return None if found is None else json.loads(found)

    def heard(self) -> Heartbeat | None:
        found = self.get_json(HEARTBEAT)
        return None if found is None else Heartbeat(**found)

    def _sealed(self, name: str, content: bytes) -> bytes:
        return sealed.seal(self._seal, self.job, name, content)


class HomeParcel(Parcel):
    """The files as home sees them."""

    def __init__(self, bridge: Bridge, job: str, seal: bytes) -> None:
        super().__init__(bridge, job, seal)
        self._home = bridge

    def names(self, prefix: str = "") -> list[str]:
        return [name.removeprefix(f"{self.job}/") for name in self._home.names(f"{self.job}/{prefix}")]

    def remove(self, name: str = "") -> None:
        """One file; without a name, all that there is of this job."""
        self._home.remove(f"{self.job}/{name}")

    def ticket(self, pod: str, reads: Iterable[str], writes: Iterable[str], until: float) -> Mapping[str, str]:
        """What the worker of this pod is told to open its end. Names in `reads` begin with their job's."""
        name = _ticket(pod)
        return self._home.ticket(
            Ticket(
                f"{self.job}/{name}",
                tuple(reads),
                tuple(f"{self.job}/{one}" for one in writes),
                until,
                lambda content: self._sealed(name, content),
            )
        )


def opened(told: Mapping[str, str], job: str, seal: bytes, pod: str) -> Parcel:
    """The files as the worker of a pod sees them, by its ticket."""
    unseal: Callable[[bytes], bytes] = lambda content: sealed.unseal(seal, job, _ticket(pod), content)  # noqa: E731
    return Parcel(far(told, unseal), job, seal)


def _ticket(pod: str) -> str:
    return f"ticket/{pod}"
