"""The errand of making a model on a rented machine: folders go in, a folder comes out, whole or not at all.

Knows nothing of what is done with them: tasks.py names the kinds, training.py and exporting.py are two.

    <key>/chunk/, index/     what goes in, in chunks (folders.py); the base travels on its own (carrying.py)
    <key>/out/<number>       what comes out, in chunks; `done` lists its files
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

import resolver
from llm_classifier import prompt
from llm_classifier.pods import folders
from llm_classifier.pods.carrying import Carried
from llm_classifier.pods.errand import Errand
from llm_classifier.pods.machine import Collected
from llm_classifier.pods.parcel import DONE, SPEC, HomeParcel
from llm_classifier.pods.scoring import strange
from resolver import files
from resolver.errors import DamagedError, RunError
from resolver.progress import Progress

# What may come out: nothing that runs when it is loaded, and nothing outside the folder.
RESULT = re.compile(r"(run/record\.json|\w[\w.-]*\.(safetensors|json|model|jinja|parquet))")
FILES = 64  # at most
SPARE = 2**28  # bytes beside the weights


class Task(Protocol):
    """What is to be made, as home knows it."""

    kind: ClassVar[str]

    @property
    def out(self) -> Path:
        """Where it appears."""

    def asked(self) -> dict[str, str]:
        """Digests of all that it is made of."""

    def told(self) -> dict[str, Any]:
        """What the worker has to know beside its folders; of `base` and `out` the names, which are part of a result."""

    def pack(self, folder: Path) -> list[Path]:
        """Put what goes in, but for the base, into an empty folder; its files."""

    def weights(self) -> int:
        """Bytes of the weights that it is made of."""

    def there(self) -> bool:
        """Whether it is in `out` already."""

    def accept(self, folder: Path) -> str:
        """Hold what came back against what was asked, and make it what it would be here; how it is another thing.
        DamagedError where it is not whole."""


def making(asked: Mapping[str, str], image: str) -> dict[str, str]:
    """What makes a model, as this very program does: told with the order, and told back with the result."""
    return {**asked, "prompt": prompt.VERSION, "package": resolver.__version__, "image": image}


@dataclass(frozen=True)
class Building(Errand):
    parcel: HomeParcel
    seal: bytes
    task: Task
    model: Path | Carried | None  # the base; None where there is none
    forget: Callable[[], None]
    image: str
    bench: Path  # a folder that is free to pack things in
    progress: Progress

    def asked(self) -> dict[str, str]:
        return making(self.task.asked(), self.image)

    def pack(self) -> dict[str, Any]:
        base = self.model.pack() if isinstance(self.model, Carried) else None
        self.parcel.remove("chunk/")  # an earlier try's, which may have been altered
        with self._packed() as paths:
            index = folders.pack(self.parcel, self.bench, paths, lambda size: None)
        spec = {"kind": self.task.kind, "asked": self.asked(), "told": self.task.told(), "model": base, "input": index}
        self.parcel.put(SPEC, json.dumps(spec, sort_keys=True).encode())
        return spec

    @contextmanager
    def _packed(self) -> Iterator[list[Path]]:
        shutil.rmtree(self.bench, ignore_errors=True)
        self.bench.mkdir(parents=True, mode=0o700)
        try:
            yield self.task.pack(self.bench)
        finally:
            shutil.rmtree(self.bench, ignore_errors=True)

    def names(self, spec: Mapping[str, Any]) -> tuple[list[str], list[str]]:
        most = (2 * self.task.weights() + SPARE) // folders.CHUNK + FILES
        return folders.names(self.parcel, spec["input"]), [folders.numbered(number) for number in range(most)]

    def collect(self) -> Collected:
        """It appears where it belongs, whole and as it was asked for; what is not is named, and made again."""
        if self.task.there():
            return Collected("whole", "the model is here")
        if self.task.out.exists() and any(self.task.out.iterdir()):
            raise RunError(
                f"{self.task.out} is not empty, where the model of job {self.parcel.job[:12]} belongs.",
                do="Move away what is in it, and run the same command again.",
            )
        spec, done = self.parcel.get_json(SPEC), self.parcel.get_json(DONE)
        landing = files.temporary(self.task.out)
        shutil.rmtree(landing, ignore_errors=True)
        try:
            if done is None:
                raise DamagedError("What the worker said at its end was altered.")
            other = strange(self.asked() if spec is None else spec["asked"], done["made"])
            if not other:
                self._fetch(done["files"], landing)
                other = self.task.accept(landing)
            if other:
                return self._refused("foreign", f"What came back is {other}.")
            self.task.out.parent.mkdir(parents=True, exist_ok=True)
            if self.task.out.exists():
                self.task.out.rmdir()
            landing.replace(self.task.out)
        except DamagedError as error:
            return self._refused("partial", error.what)
        finally:
            shutil.rmtree(landing, ignore_errors=True)
        return Collected("whole", "the model is here")

    def _refused(self, result: Any, why: str) -> Collected:
        self.parcel.remove(DONE)
        self.parcel.remove("out/")
        return Collected(result, why)

    def _fetch(self, listed: list[dict[str, Any]], landing: Path) -> None:
        for file in listed:
            if not RESULT.fullmatch(file["name"]):
                raise DamagedError("What came back holds a file that no model has.")
        size = sum(file["size"] for file in listed)
        with self.progress.step("model from the bridge", size, "bytes") as step:
            landing.mkdir(parents=True)
            folders.put_together(self.parcel, listed, landing, step.advance)

    def tidy(self) -> None:
        shutil.rmtree(files.temporary(self.task.out), ignore_errors=True)
        self.put_away()


def results(folder: Path) -> list[Path]:
    """What comes out of a folder in which a worker made something."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return sorted(path for path in found if RESULT.fullmatch(path.relative_to(folder).as_posix()))
