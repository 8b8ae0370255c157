"""The job's own side, for scoring: packs prompts, orders a machine for them, takes their answers home.

What a worker is told, in its environment: the job's key and seal, its own name and deadline, the address of the bridge,
where the model is. The seal is the job's alone; with it one can read this job's files and nothing else.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from llm_classifier.measures import Floats
from llm_classifier.pods import scoring
from llm_classifier.pods.machine import Collected, Heartbeat
from llm_classifier.pods.names import PodName
from llm_classifier.pods.parcel import DONE, SPEC, Parcel
from llm_classifier.pods.providers import Offer, Order
from llm_classifier.pods.worker import PREFIX
from resolver import files
from resolver.errors import DamagedError


@dataclass(frozen=True)
class Scoring:
    """One list of prompts and the model that they are for."""

    parcel: Parcel
    seal: bytes
    prompts: Sequence[str]
    fingerprint: str
    backend: str  # on the rented machine
    model: str  # where the rented machine finds the model
    home: Path  # where results are kept, part by part
    image: str = ""  # what the rented machine runs, where it runs images

    def prepare(self) -> None:
        parts = {}
        for name, content in scoring.pack(self.prompts):
            parts[name] = files.digest_bytes(content)
            self.parcel.put(f"in/{name}", content)
        spec = {"fingerprint": self.fingerprint, "backend": self.backend, "parts": parts}
        self.parcel.put_json(SPEC, spec)

    def order(self, name: PodName, offer: Offer) -> Order:
        told = {
            "KEY": self.parcel.job,
            "SEAL": self.seal.hex(),
            "POD": str(name),
            "DEADLINE": str(name.deadline),
            "SECONDS": f"{name.deadline - time.time():.0f}",
            "BRIDGE": self.parcel.bridge.address,
            "MODEL": self.model,
        }
        return Order(str(name), offer, self.image, {f"{PREFIX}{key}": value for key, value in told.items()})

    def heartbeat(self) -> Heartbeat | None:
        return self.parcel.heard()

    def done(self) -> bool:
        return self.parcel.there(DONE)

    def collect(self) -> Collected:
        """Every part that is whole and ours comes home; a part that is not is named, and removed to be done again."""
        told = self.parcel.get_json(DONE) or {"results": {}}
        if told.get("fingerprint") not in (None, self.fingerprint):
            self.parcel.bridge.remove(f"{self.parcel.job}/{DONE}")
            return Collected("foreign", f"the results are of model {told['fingerprint']}, not of {self.fingerprint}")
        bad = []
        for name, start, some in self._parts():
            if self._kept(name).exists():
                continue
            try:
                result = self.parcel.get(f"out/{name}")
                if result is None or files.digest_bytes(result) != told["results"].get(name):
                    raise DamagedError(f"The result {name} is not what the worker wrote.")
                scoring.check(name, some, start, result)
            except DamagedError as error:
                bad.append(error.what)
                self.parcel.bridge.remove(f"{self.parcel.job}/out/{name}")
                continue
            with files.whole(self._kept(name)) as scratch:
                scratch.write_bytes(result)
        if bad:
            self.parcel.bridge.remove(f"{self.parcel.job}/{DONE}")
            return Collected("partial", bad[0] if len(bad) == 1 else f"{bad[0]} And {len(bad) - 1} more.")
        return Collected("whole", f"{len(self.prompts):,} answers are here")

    def answers(self) -> Floats:
        """The logits, in the order of the prompts; NaN where a prompt could not be scored."""
        found = [scoring.check(name, some, start, self._kept(name).read_bytes()) for name, start, some in self._parts()]
        return np.concatenate(found) if found else np.empty(0)

    def _kept(self, name: str) -> Path:
        return self.home / name

    def _parts(self) -> list[tuple[str, int, Sequence[str]]]:
        starts = range(0, len(self.prompts), scoring.PART)
        return [
            (f"{number:05d}.parquet", start, self.prompts[start : start + scoring.PART])
            for number, start in enumerate(starts)
        ]
