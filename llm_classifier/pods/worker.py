"""What runs apart from the run: does the parts of one job that are not done yet, and ends.

    python -m llm_classifier.pods.worker

Everything it has to know stands in its environment (errand.py says what). It ends on success, on failure, when no part
was done for too long, and at the deadline, whatever else happens: a thread of its own watches. On a rented machine its
end is that of the machine (ending.py). One that is started a second time ends at once, since the first start may have
failed for a reason that costs money again.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llm_classifier.pods import bridges, ending, scoring
from llm_classifier.pods.machine import Heartbeat
from llm_classifier.pods.parcel import DONE, SPEC, Parcel
from resolver import files
from resolver.errors import ResolverError

PREFIX = "RESOLVER_JOB_"
BEAT = 15.0  # seconds between two heartbeats
IDLE = 900.0  # seconds without a part done, after which the worker ends
LAST_WORD = 10.0  # seconds that a bridge gets for the reason of an end


class Worker:
    def __init__(self, environment: Mapping[str, str]) -> None:
        told = {name.removeprefix(PREFIX): value for name, value in environment.items() if name.startswith(PREFIX)}
        self.environment = environment
        self.pod = told["POD"]
        self.deadline = float(told["DEADLINE"])
        self._ends = time.monotonic() + float(told["SECONDS"])
        self.parcel = Parcel(bridges.reach(told["BRIDGE"]), told["KEY"], bytes.fromhex(told["SEAL"]))
        self.model = told.get("MODEL", "")
        self._done = self._total = 0
        self._moved = time.monotonic()
        self._over = threading.Event()

    def run(self) -> int:
        """0 when all is done."""
        threading.Thread(target=self._watch, daemon=True).start()
        try:
            if self.parcel.there(f"started/{self.pod}"):
                return 1
            self.parcel.put(f"started/{self.pod}", b"")
            threading.Thread(target=self._beat, daemon=True).start()
            self._work()
        except Exception as error:  # noqa: BLE001  its text may quote a prompt, so only its kind is told
            with contextlib.suppress(Exception):
                self._say(error.what if isinstance(error, ResolverError) else type(error).__name__)
            return 1
        else:
            return 0
        finally:
            self._over.set()

    def _work(self) -> None:
        spec = self.parcel.get_json(SPEC)
        parts: dict[str, str] = spec["parts"]
        self._total = len(parts)
        results: dict[str, str] = {}
        backend = _open(spec, self.model)
        try:
            for name, sha in parts.items():
                result = self.parcel.get(f"out/{name}")
                if result is None:
                    part = self.parcel.get(f"in/{name}")
                    if part is None or files.digest_bytes(part) != sha:
                        raise ResolverError(f"the part {name} is not what the job says")
                    result = scoring.work(part, backend)
                    self.parcel.put(f"out/{name}", result)
                results[name] = files.digest_bytes(result)
                self._done, self._moved = len(results), time.monotonic()
                self._say()
        finally:
            backend.close()
        self.parcel.put_json(DONE, {"pod": self.pod, "fingerprint": spec["fingerprint"], "results": results})

    def _say(self, failed: str = "") -> None:
        self.parcel.say(Heartbeat(self.pod, time.time(), self._done, self._total, failed))

    def _beat(self) -> None:
        while not self._over.wait(BEAT):
            with contextlib.suppress(Exception):  # a bridge that is away for a while costs no work
                self._say()

    def _watch(self) -> None:
        """Ends the worker when it is late or idle. Waits for no bridge: one that hangs must not keep it alive."""
        while not self._over.wait(max(0.0, min(BEAT, self._left()))):
            late, idle = self._left() <= 0, time.monotonic() - self._moved > IDLE
            if late or idle:
                why = "the deadline came" if late else "no part was done for long"
                last = threading.Thread(target=self._say, args=(why,), daemon=True)
                last.start()
                last.join(LAST_WORD)
                ending.end_own_pod(self.environment)
                os._exit(1)

    def _left(self) -> float:
        """Seconds until the deadline, by this machine's clock or by the time since the start, whichever is less."""
        return min(self.deadline - time.time(), self._ends - time.monotonic())


def _open(spec: Mapping[str, Any], model: str) -> Any:
    """The backend, once it has shown that it answers as the model does."""
    from llm_classifier import artifact, golden
    from llm_classifier.score import open_backend

    folder = Path(model)
    told = artifact.check(folder)
    if told.fingerprint != spec["fingerprint"]:
        raise ResolverError(f"the machine holds model {told.fingerprint}, and the job wants {spec['fingerprint']}")
    backend = open_backend(folder, backend=spec["backend"])
    golden.compare(backend, folder).check("the model on this machine")
    return backend


def main() -> int:
    try:
        return Worker(os.environ).run()
    except Exception as error:  # noqa: BLE001  as above
        sys.stderr.write(f"the worker can't begin: {type(error).__name__}\n")
        return 1
    finally:
        ending.end_own_pod(os.environ)


if __name__ == "__main__":
    sys.exit(main())
