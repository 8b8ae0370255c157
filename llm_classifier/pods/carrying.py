"""The model of a job, or its base, where it travels over the bridge: packed once per model, unpacked by each worker.

It has a seal of its own, which the job's sealed spec tells, so that many jobs share one copy. Knows nothing of jobs.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llm_classifier import artifact
from llm_classifier.pods import folders
from llm_classifier.pods.names import parse
from llm_classifier.pods.parcel import HomeParcel, Parcel
from resolver.errors import UsageError
from resolver.progress import Progress

MODEL = "model-"  # and its fingerprint: the first part of the names of all of its files
LEFT = 3600.0  # seconds past a pod's deadline, after which what it unpacked is nobody's


@dataclass(frozen=True)
class Carried:
    """A model that lies here."""

    folder: Path
    parcel: HomeParcel
    seal: bytes
    progress: Progress
    answers: bool = True  # by itself; the base of a model does not

    def pack(self) -> dict[str, str]:
        """Bring it to the bridge; what a job's spec tells of it."""
        if self.answers and artifact.read(self.folder).weights != "merged":
            raise UsageError(
                f"{self.folder} is an adapter, which does not travel alone.",
                do="Set llm.model to an exported model: resolver llm export.",
            )
        # Pickles are not needed by anybody who uses a model.
        paths = [one for one in self.folder.iterdir() if one.is_file() and one.suffix not in (".bin", ".pt", ".tmp")]
        with self.progress.step("model to the bridge", sum(one.stat().st_size for one in paths), "bytes") as step:
            index = folders.pack(self.parcel, self.folder, paths, step.advance)
        return {"parcel": self.parcel.job, "seal": self.seal.hex(), "index": index}

    def reads(self, told: Mapping[str, str]) -> list[str]:
        """What a worker has to read of it, by the names at the bridge."""
        return [f"{self.parcel.job}/{name}" for name in folders.names(self.parcel, told["index"])]


@contextmanager
def unpacked(told: Mapping[str, Any], parcel: Parcel, pod: str, advance: folders.Advance) -> Iterator[Path]:
    """The model in a folder of this machine, as long as it is needed."""
    root = Path(tempfile.gettempdir())
    for other in root.iterdir():  # of workers that were killed: their names tell when they had to be gone
        name = parse(other.name)
        if name is not None and name.deadline + LEFT < time.time():
            shutil.rmtree(other, ignore_errors=True)
    place = root / pod
    place.mkdir(mode=0o700, exist_ok=True)
    try:
        unpack(told, parcel, place, advance)
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def unpack(told: Mapping[str, Any], parcel: Parcel, place: Path, advance: folders.Advance) -> None:
    """The model, as `Carried.pack` told of it, into a folder."""
    folders.unpack(Parcel(parcel.bridge, told["parcel"], bytes.fromhex(told["seal"])), told["index"], place, advance)
