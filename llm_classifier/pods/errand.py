"""The job's own side: packs what goes in, orders a machine for it, takes home what comes out.

What all errands have in common, the one for scoring, and that of a job that is only to be put away; building.py has the
one for making models. What a worker is told, in its environment: the job's key and seal, its own name and deadline,
what opens its end of the bridge, where the model is. The seal is the job's alone; with it one can read this job's files
and nothing else.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

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


class Errand(Protocol):
    """What all errands have in common."""

    parcel: HomeParcel
    seal: bytes
    model: Path | Carried | None  # where the rented machine finds the model, or the one to bring there
    forget: Callable[[], None]  # destroys the seal
    image: str  # what the rented machine runs, where it runs images

    def asked(self) -> dict[str, str]:
        """What must make the result; the worker tells the same of itself with it."""

    def pack(self) -> dict[str, Any]:
        """Bring what goes in to the bridge; the spec, with all that it names there."""

    def names(self, spec: Mapping[str, Any]) -> tuple[list[str], list[str]]:
        """What the worker reads and writes beside what every worker does."""

    def prepare(self) -> None:
        self.pack()

    def order(self, name: PodName, offer: Offer) -> Order:
        spec = self.parcel.get_json(SPEC)
        # What a worker could not read may have been altered at the bridge, so that another attempt gets it anew.
        if spec is None or spec["asked"] != self.asked() or name.attempt > 1:
            spec = self.pack()
        reads, writes = self.names(spec)
        started = f"started/{name}"
        reads = [f"{self.parcel.job}/{one}" for one in (SPEC, *reads, started)]
        if isinstance(self.model, Carried):
            reads += self.model.reads(spec["model"])
        told = {
            "KEY": self.parcel.job,
            "SEAL": self.seal.hex(),
            "POD": str(name),
            "DEADLINE": str(name.deadline),
            "SECONDS": f"{name.deadline - time.time():.0f}",
            "IMAGE": self.image,
            "MODEL": str(self.model) if isinstance(self.model, Path) else "",
            **self.parcel.ticket(str(name), reads, [*writes, started, HEARTBEAT, DONE], name.deadline + AFTER),
        }
        return Order(str(name), offer, self.image, {f"{PREFIX}{key}": value for key, value in told.items()})

    def heartbeat(self) -> Heartbeat | None:
        return self.parcel.heard()

    def done(self) -> bool:
        return self.parcel.get_json(DONE) is not None

    def collect(self) -> Collected: ...

    def tidy(self) -> None: ...

    def put_away(self) -> None:
        """Nothing of this job is left at the bridge, nor can be read by anybody."""
        self.parcel.remove()
        self.forget()


@dataclass(frozen=True)
class Scoring(Errand):
    """One list of prompts and the model that they are for."""

    parcel: HomeParcel
    seal: bytes
    results: Results
    fingerprint: str  # of the model
    backend: str  # on the rented machine
    model: Path | Carried  # where the rented machine finds the model, or the one to bring there
    forget: Callable[[], None]  # destroys the seal
    image: str = ""  # what the rented machine runs, where it runs images

    def pack(self) -> dict[str, Any]:
        missing, parts = self.results.missing(), dict[str, str]()
        spec = {
            "kind": "score",
            "asked": self.asked(),
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

    def names(self, spec: Mapping[str, Any]) -> tuple[list[str], list[str]]:
        parts = self.results.parts()
        out = [f"out/{one}" for one in parts]
        return [*(f"in/{one}" for one in parts), *out], out

    def collect(self) -> Collected:
        """Every part that is whole and ours comes home; a part that is not is named, and removed to be done again."""
        spec, done = self.parcel.get_json(SPEC), self.parcel.get_json(DONE)
        asked = self.asked() if spec is None else spec["asked"]
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
        """What is whole comes home first."""
        spec = self.parcel.get_json(SPEC)
        if spec is not None:
            self._fetch(spec["asked"], None)
        self.put_away()

    def asked(self) -> dict[str, str]:
        return making(self.fingerprint, self.image)


@dataclass(frozen=True)
class Leftovers:
    """A job of which nothing more is wanted, and whose input is not at hand: it is only put away."""

    parcel: HomeParcel
    folder: Path | None  # where its results are kept part by part, if they are
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
        for name in self.parcel.names("out/") if spec is not None and self.folder is not None else ():
            with contextlib.suppress(DamagedError):
                result = self.parcel.get(name)
                if result is not None and self.folder is not None and not strange(spec["asked"], made_by(result)):
                    with files.whole(self.folder / Path(name).name) as scratch:
                        scratch.write_bytes(result)
        self.parcel.remove()
        self.forget()
