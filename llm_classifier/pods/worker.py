"""What runs apart from the run: does one job, or the parts of it that are not done yet, and ends.

    python -m llm_classifier.pods.worker

Everything it has to know stands in its environment (errand.py says what). It ends on success, on failure, when no part
was done for too long, and at the deadline, whatever else happens: a thread of its own watches. On a rented machine its
end is that of the machine (ending.py). One that is started a second time ends at once, since the first start may have
failed for a reason that costs money again.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from llm_classifier.pods import carrying, ending, parcel, scoring
from llm_classifier.pods.bridges import Files
from llm_classifier.pods.machine import Heartbeat
from llm_classifier.pods.parcel import DONE, HEARTBEAT, SPEC
from resolver import files
from resolver.errors import DamagedError, ResolverError, TrainingError
from resolver.progress import Progress, Step

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
        self.parcel = parcel.opened(told, told["KEY"], bytes.fromhex(told["SEAL"]), self.pod)
        self.model = told.get("MODEL", "")
        self.image = told.get("IMAGE", "")
        self._done = self._total = 0
        self._unit = "parts"
        self._held: dict[str, bytes] = {}  # results that wait until the bridge wants to be written to
        self._sent = time.monotonic()
        self._sending = threading.Lock()
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
                why = error.what if isinstance(error, ResolverError) else type(error).__name__
                # Training that failed by its settings would fail on another machine as well, and cost as much.
                self._say(why, final=isinstance(error, TrainingError))
            return 1
        else:
            return 0
        finally:
            self._over.set()

    def _work(self) -> None:
        spec = self.parcel.get_json(SPEC)
        if spec is None:
            raise ResolverError("what is to be done is not at the bridge, or not of this job")
        done = self._answers(spec) if spec["kind"] == "score" else self._build(spec)
        self._say(more={DONE: json.dumps({"pod": self.pod, **done}, sort_keys=True).encode()})

    def _answers(self, spec: Mapping[str, Any]) -> dict[str, Any]:
        parts: dict[str, str] = spec["parts"]
        self._total = len(parts)
        with self._folder(spec) as folder:
            backend, made = _open(spec, folder, self.image)
            try:
                return {"made": made, "results": self._score(parts, backend, made)}
            finally:
                backend.close()

    def _build(self, spec: Mapping[str, Any]) -> dict[str, Any]:
        from llm_classifier.pods import rooms, tasks

        self._unit = tasks.COUNTED[spec["kind"]]
        with rooms.room(self.parcel.job, self.deadline) as place:
            return tasks.build(spec, self.parcel, place, self.model, self.image, self._put_all, _Watched(self))

    def _put_all(self, files: Files) -> None:
        with self._sending:
            self.parcel.put_all(files)

    def _folder(self, spec: Mapping[str, Any]) -> contextlib.AbstractContextManager[Path]:
        """Where the model lies, or is brought to."""
        if spec["model"] is None:
            return contextlib.nullcontext(Path(self.model))
        return carrying.unpacked(spec["model"], self.parcel, self.pod, lambda size: self._moves())

    def _moves(self) -> None:
        self._moved = time.monotonic()

    def counts(self, unit: str, done: int, total: int | None) -> None:
        """Something was done of something; the heartbeat tells it where the unit is that of this job."""
        self._moves()
        if unit == self._unit:
            self._done, self._total = done, total or 0

    def _score(self, parts: Mapping[str, str], backend: Any, made: Mapping[str, str]) -> dict[str, str]:
        """Do the parts that are not done yet; the digests of all results."""
        results: dict[str, str] = {}
        for name, sha in parts.items():
            result = self._finished(name, made)
            if result is None:
                result = scoring.work(self._part(name, sha), backend, made)
                self._held[f"out/{name}"] = result
            results[name] = files.digest_bytes(result)
            self._done = len(results)
            self._moves()
            if time.monotonic() - self._sent >= self.parcel.bridge.pause:
                self._say()
        return results

    def _part(self, name: str, sha: str) -> bytes:
        part = self.parcel.get(f"in/{name}")
        if part is None or files.digest_bytes(part) != sha:
            raise ResolverError(f"the part {name} is not what the job says")
        return part

    def _finished(self, name: str, made: Mapping[str, str]) -> bytes | None:
        """The result of a part that an earlier worker did, if that was one like this."""
        try:
            result = self.parcel.get(f"out/{name}")
            return result if result is not None and scoring.made_by(result) == made else None
        except DamagedError:  # altered since, so it is done again
            return None

    def _say(self, failed: str = "", more: Mapping[str, bytes] | None = None, *, final: bool = False) -> None:
        """Send what is held, then how far this worker is, then `more`."""
        beat = Heartbeat(self.pod, time.time(), self._done, self._total, failed, self._unit, final)
        with self._sending:
            held = dict(self._held)
            self.parcel.put_all([*held.items(), (HEARTBEAT, json.dumps(beat.__dict__).encode()), *(more or {}).items()])
            self._sent = time.monotonic()
            for name in held:
                del self._held[name]

    def _beat(self) -> None:
        while not self._over.wait(max(BEAT, self.parcel.bridge.pause)):
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


class _Watched(Progress):
    """Keeps the worker alive while something is done."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    @contextlib.contextmanager
    def step(self, label: str, total: int | None = None, unit: str = "rows") -> Iterator[Step]:
        worker, known = self._worker, total

        class Counted:
            done, of = 0, known

            def advance(self, count: int) -> None:
                self.done += count
                worker.counts(unit, self.done, self.of)

            def total(self, count: int) -> None:
                self.of = count

        counted = Counted()
        counted.advance(0)
        yield counted


def _open(spec: Mapping[str, Any], folder: Path, image: str) -> tuple[Any, dict[str, str]]:
    """The backend, once it has shown that it answers as the model does; and what makes its answers."""
    from llm_classifier import artifact, golden
    from llm_classifier.score import open_backend

    made = scoring.making(artifact.check(folder).fingerprint, image)
    other = scoring.strange(spec["asked"], made)
    if other:
        raise ResolverError(f"the worker is {other}")
    backend = open_backend(folder, backend=spec["backend"])
    golden.compare(backend, folder).check("the model on this machine")
    return backend, made


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
