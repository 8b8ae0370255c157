"""The job's own side, for scoring: packs prompts, orders a machine for them, takes their answers home.

What a worker is told, in its environment: the job's key and seal, its own name and deadline, what opens its end of the
bridge, where the model is. The seal is the job's alone; with it one can read this job's files and nothing else.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llm_classifier.pods.carrying import Carried
from llm_classifier.pods.machine import Collected, Heartbeat
from llm_classifier.pods.names import PodName
from llm_classifier.pods.parcel import DONE, HEARTBEAT, SPEC, HomeParcel
from llm_classifier.pods.providers import Offer, Order
from llm_classifier.pods.results import Results
from llm_classifier.pods.scoring import made_by, making, strange
from llm_classifier.pods.worker import PREFIX
from resolver import files
from resolver.errors import DamagedError

AFTER = 3600.0  # seconds past its deadline that a worker's ticket is good for: its last word may be late


@dataclass(frozen=True)
class Scoring:
    """One list of prompts and the model that they are for."""

    parcel: HomeParcel
    seal: bytes
    results: Results
    fingerprint: str  # of the model
    backend: str  # on the rented machine
    model: Path | Carried  # where the rented machine finds the model, or the one to bring there
    forget: Callable[[], None]  # destroys the seal
    image: str = ""  # what the rented machine runs, where it runs images

    def prepare(self) -> None:
        self._prepared()

    def _prepared(self) -> dict[str, Any]:
        """The spec, with all that it names at the bridge."""
        missing, parts = self.results.missing(), dict[str, str]()
        spec = {
            "asked": self._asked(),
            "backend": self.backend,
            "model": self.model.pack() if isinstance(self.model, Carried) else None,
            "parts": parts,
        }

        def travelling() -> Iterator[tuple[str, bytes]]:
            for name in missing:
                content = self.results.packed(name)
                parts[name] = files.digest_bytes(content)
                yield f"in/{name}", content
            yield SPEC, json.dumps(spec, sort_keys=True).encode()

        self.parcel.put_all(travelling())
        return spec

    def order(self, name: PodName, offer: Offer) -> Order:
        spec = self.parcel.get_json(SPEC)
        # What a worker could not read may have been altered at the bridge, so that another attempt gets it anew.
        if spec is None or spec["asked"] != self._asked() or name.attempt > 1:
            spec = self._prepared()
        model = self.model.reads(spec["model"]) if isinstance(self.model, Carried) else []
        told = {
            "KEY": self.parcel.job,
            "SEAL": self.seal.hex(),
            "POD": str(name),
            "DEADLINE": str(name.deadline),
            "SECONDS": f"{name.deadline - time.time():.0f}",
            "IMAGE": self.image,
            "MODEL": "" if isinstance(self.model, Carried) else str(self.model),
            **self._ticket(name, model),
        }
        return Order(str(name), offer, self.image, {f"{PREFIX}{key}": value for key, value in told.items()})

    def _ticket(self, name: PodName, model: Sequence[str]) -> Mapping[str, str]:
        parts, started = self.results.parts(), f"started/{name}"
        out = [f"out/{one}" for one in parts]
        reads = [f"{self.parcel.job}/{one}" for one in (SPEC, *(f"in/{one}" for one in parts), *out, started)]
        return self.parcel.ticket(str(name), [*reads, *model], [*out, started, HEARTBEAT, DONE], name.deadline + AFTER)

    def heartbeat(self) -> Heartbeat | None:
        return self.parcel.heard()

    def done(self) -> bool:
        return self.parcel.get_json(DONE) is not None

    def collect(self) -> Collected:
        """Every part that is whole and ours comes home; a part that is not is named, and removed to be done again."""
        spec, done = self.parcel.get_json(SPEC), self.parcel.get_json(DONE)
        asked = self._asked() if spec is None else spec["asked"]
        bad = self._fetch(asked, None if done is None else done["results"])
        if not bad:
            return Collected("whole", f"{len(self.results.prompts):,} answers are here")
        self.parcel.remove(DONE)
        other = "" if done is None else strange(asked, done["made"])
        if other:
            return Collected("foreign", f"What came back is {other}.")
        return Collected("partial", bad[0] if len(bad) == 1 else f"{bad[0]} And {len(bad) - 1} more.")

    def _fetch(self, asked: Mapping[str, str], digests: Mapping[str, str] | None) -> list[str]:
        """Take home what is whole; what is wrong with the others. `digests`: what the worker says that it wrote."""
        bad = []
        for name in self.results.missing():
            try:
                result = self.parcel.get(f"out/{name}")
                if result is None:
                    raise DamagedError(f"The result {name} is missing.")
                if digests is not None and digests.get(name) != files.digest_bytes(result):
                    raise DamagedError(f"The result {name} is not what the worker wrote.")
                self.results.keep(name, result, asked)
            except DamagedError as error:
                bad.append(error.what)
                self.parcel.remove(f"out/{name}")
        return bad

    def tidy(self) -> None:
        """What is whole comes home; then nothing of this job is left at the bridge, nor can be read by anybody."""
        spec = self.parcel.get_json(SPEC)
        if spec is not None:
            self._fetch(spec["asked"], None)
        self.parcel.remove()
        self.forget()

    def _asked(self) -> dict[str, str]:
        """What must make the answers; the worker tells the same of itself with each result."""
        return making(self.fingerprint, self.image)


@dataclass(frozen=True)
class Leftovers:
    """A job of which nothing more is wanted, and whose prompts are not at hand: it is only put away."""

    parcel: HomeParcel
    folder: Path  # where its results are kept
    forget: Callable[[], None]

    def prepare(self) -> None: ...

    def order(self, name: PodName, offer: Offer) -> Order:
        raise AssertionError("a cancelled job orders no machine")

    def heartbeat(self) -> Heartbeat | None:
        return None

    def done(self) -> bool:
        return False

    def collect(self) -> Collected:
        return Collected("partial", "cancelled")

    def tidy(self) -> None:
        """What came back is kept; whether it answers the prompts is looked at when somebody asks with them."""
        spec = self.parcel.get_json(SPEC)
        for name in self.parcel.names("out/") if spec is not None else ():
            with contextlib.suppress(DamagedError):
                result = self.parcel.get(name)
                if result is not None and not strange(spec["asked"], made_by(result)):
                    with files.whole(self.folder / Path(name).name) as scratch:
                        scratch.write_bytes(result)
        self.parcel.remove()
        self.forget()
