"""The files of one job at a bridge, sealed: what goes in, what comes out, and what the worker says meanwhile.

    <key>/in/spec.json           what is to be done, and which parts there are
    <key>/in/<part>              the parts
    <key>/out/<part>             results, each as soon as it is whole
    <key>/started/<pod>          a worker of this pod began
    <key>/heartbeat              how far the last worker is
    <key>/done                   digests of all results, written last

Knows nothing of what is in a part.
"""

from __future__ import annotations

import json
from typing import Any

from llm_classifier.pods import sealed
from llm_classifier.pods.bridges import Bridge
from llm_classifier.pods.machine import Heartbeat
from resolver.errors import DamagedError

SPEC = "in/spec.json"
HEARTBEAT = "heartbeat"
DONE = "done"


class Parcel:
    def __init__(self, bridge: Bridge, job: str, seal: bytes) -> None:
        self.bridge, self.job, self._seal = bridge, job, seal

    def put(self, name: str, content: bytes) -> None:
        self.bridge.put(f"{self.job}/{name}", sealed.seal(self._seal, self.job, name, content))

    def get(self, name: str) -> bytes | None:
        """None where it is not there; an error where it is not what this job wrote."""
        found = self.bridge.get(f"{self.job}/{name}")
        return None if found is None else sealed.unseal(self._seal, self.job, name, found)

    def there(self, name: str) -> bool:
        return f"{self.job}/{name}" in self.bridge.names(f"{self.job}/{name}")

    def names(self, prefix: str) -> list[str]:
        return [name.removeprefix(f"{self.job}/") for name in self.bridge.names(f"{self.job}/{prefix}")]

    def remove(self) -> None:
        self.bridge.remove(f"{self.job}/")

    def put_json(self, name: str, value: Any) -> None:
        self.put(name, json.dumps(value, sort_keys=True).encode())

    def get_json(self, name: str) -> Any:
        found = self.get(name)
        if found is None:
            return None
        try:
            return json.loads(found)
        except ValueError:
            raise DamagedError(f"{name} of job {self.job[:12]} is not JSON.") from None

    def say(self, heartbeat: Heartbeat) -> None:
        self.put_json(HEARTBEAT, heartbeat.__dict__)

    def heard(self) -> Heartbeat | None:
        found = self.get_json(HEARTBEAT)
        return None if found is None else Heartbeat(**found)
