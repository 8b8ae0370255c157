"""Run folders: which stages are done, from what, and what has to be done again.

A stage writes under temporary names; when it has returned, its files are renamed and manifest.json says so, in that
order. A kill at any moment leaves either the old state or the new one. A stage is done again when its inputs, its
settings or the program changed, or when a file of its is not what the manifest says.
This file knows nothing of what stages do.
"""

from __future__ import annotations

import functools
import json
import shutil
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import resolver
from resolver import files, tables
from resolver.errors import DamagedError, PendingError, RunError
from resolver.progress import Progress
from resolver.settings import Settings
from resolver.stage import Base, Stage, StageContext, file_of

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class StageReport:
    """What became of one stage in this run."""

    name: str
    skipped: bool
    seconds: float
    peak_mib: float
    facts: dict[str, Any]


class RunFolder:
    def __init__(self, path: Path) -> None:
        self.path = path

    def open(self) -> None:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            probe = self.path / ".writable"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise RunError(
                f"The run folder {self.path} can't be written: {error.strerror}.", do="Set run.dir to another folder."
            ) from error

    def clear(self) -> None:
        """Remove what a killed run left half done. Only for the holder of the lock: another run may be writing it."""
        for leftover in self.path.glob(".*.tmp"):
            leftover.unlink()
        shutil.rmtree(self.scratch, ignore_errors=True)

    @property
    def scratch(self) -> Path:
        return self.path / "scratch"

    def file(self, output: str) -> Path:
        return self.path / file_of(output)

    def manifest(self) -> dict[str, Any]:
        """The manifest, empty where there is none yet or where it can't be read: then every stage is done again."""
        empty: dict[str, Any] = {"base": None, "stages": {}}
        try:
            found = json.loads((self.path / MANIFEST).read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return empty
        return found if _is_manifest(found) else empty

    def start_over(self) -> None:
        """Forget what was done, so that every stage is done again. Files stay until they are replaced."""
        (self.path / MANIFEST).unlink(missing_ok=True)

    def require(self, output: str) -> Path:
        """A file of a finished run; an error that says what to run where it is missing."""
        path = self.file(output)
        if not path.exists():
            raise RunError(f"{path} is not there yet.", do="Run the config first: resolver run CONFIG")
        return path


def _is_manifest(found: Any) -> bool:
    """Whether it has the shape that this program writes: another one may be of another version, or damaged."""
    if not (isinstance(found, dict) and "base" in found and isinstance(found.get("stages"), dict)):
        return False
    return all(
        isinstance(entry, dict)
        and isinstance(entry.get("fingerprint"), str)
        and isinstance(entry.get("facts"), dict)
        and isinstance(entry.get("outputs"), dict)
        and all(isinstance(one, dict) and {"bytes", "sha256"} <= one.keys() for one in entry["outputs"].values())
        for entry in found["stages"].values()
    )


def execute(
    stages: Sequence[Stage],
    settings: Settings,
    progress: Progress,
    *,
    restart_from: str | None = None,
    only: str | None = None,
    base: Callable[[Settings, Progress], Base | None] = lambda settings, progress: None,
) -> list[StageReport]:
    """Run the stages in order, each only if something it depends on changed.

    `base` finds the published run that new work adds to. A run folder stays with the one it began with, so that nothing
    is done again only because the run itself was published; it takes the newest one when its first stage is done anew.
    """
    folder = RunFolder(settings.run.dir)
    folder.open()
    with files.lock(folder.path / ".lock", f"The run folder {folder.path}"):
        folder.clear()
        found = base(settings, progress)
        try:
            return _all(stages, settings, folder, progress, restart_from, only, found)
        except _BaseIsGone:
            folder.start_over()
            return _all(stages, settings, folder, progress, None, None, found)
        finally:
            shutil.rmtree(folder.scratch, ignore_errors=True)


class _BaseIsGone(Exception):
    """A stage must be done again, and the published run that it added to is no longer kept."""


def _all(
    stages: Sequence[Stage],
    settings: Settings,
    folder: RunFolder,
    progress: Progress,
    restart_from: str | None,
    only: str | None,
    found: Base | None,
) -> list[StageReport]:
    reports = []
    redo = False
    for stage in stages:
        redo = redo or stage.name == restart_from
        if only is not None and stage.name != only:
            continue
        again = redo or stage.name == only
        try:
            reports.append(_one(stage, settings, folder, progress, found, again=again, first=stage is stages[0]))
        except (_BaseIsGone, PendingError):
            raise
        except Exception:
            if reports:
                kept = ", ".join(report.name for report in reports)
                progress.say(f"Stopped in {stage.name}. Kept: {kept}; the same command goes on from there.")
            raise
    return reports


def _one(
    stage: Stage,
    settings: Settings,
    folder: RunFolder,
    progress: Progress,
    found: Base | None,
    *,
    again: bool,
    first: bool,
) -> StageReport:
    manifest = folder.manifest()
    fingerprint = _fingerprint(stage, settings, manifest)
    known = manifest["stages"].get(stage.name)
    done = known and known["fingerprint"] == fingerprint and _intact(folder, known)
    if done and not again and stage.stands(settings, known["facts"]):
        return StageReport(stage.name, True, 0.0, 0.0, known["facts"])
    if first:
        manifest["base"] = found.run if found else None
        fingerprint = _fingerprint(stage, settings, manifest)
    adds_to: Mapping[str, Path] = {}
    if stage.adds and manifest["base"] is not None:
        if found is None or found.run != manifest["base"]:
            raise _BaseIsGone
        adds_to = found.files

    inputs = {name: folder.require(name) for name in stage.reads}
    _check_inputs(folder, manifest, inputs)
    outputs = {name: files.temporary(folder.file(name)) for name in stage.writes}
    folder.scratch.mkdir(exist_ok=True)
    began = time.monotonic()
    with _PeakMemory() as memory:
        facts = stage.run(StageContext(settings, inputs, outputs, folder.scratch, progress, adds_to))
    if _fingerprint(stage, settings, manifest) != fingerprint:
        raise RunError(
            f"An input of {stage.name} changed while it ran, so its result was thrown away.",
            do="Run again when nothing writes to the sources.",
        )
    written = {name: _finish(folder, name, scratch) for name, scratch in outputs.items()}
    seconds = time.monotonic() - began
    manifest["version"] = resolver.__version__
    manifest["stages"][stage.name] = {
        "fingerprint": fingerprint,
        "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "seconds": round(seconds, 3),
        "peak_mib": round(memory.peak_mib, 1),
        "outputs": written,
        "facts": facts,
    }
    files.write_json(folder.path / MANIFEST, manifest)
    shutil.rmtree(folder.scratch, ignore_errors=True)
    return StageReport(stage.name, False, seconds, memory.peak_mib, facts)


def _finish(folder: RunFolder, output: str, scratch: Path) -> dict[str, Any]:
    if not scratch.exists():
        raise RunError(f"A stage did not write {output}; this is a fault of the program.")
    rows = tables.check(scratch, tables.TABLES[output]) if output in tables.TABLES else None
    entry = {"bytes": scratch.stat().st_size, "sha256": files.digest(scratch), "rows": rows}
    files.commit(scratch, folder.file(output))
    return entry


def _fingerprint(stage: Stage, settings: Settings, manifest: Mapping[str, Any]) -> str:
    inputs = {}
    for other in manifest["stages"].values():
        inputs.update({name: entry["sha256"] for name, entry in other["outputs"].items() if name in stage.reads})
    return files.digest_of(
        {
            "stage": stage.name,
            "program": _program(),
            "settings": {name: getattr(settings, name) for name in stage.sections} | {"seed": settings.run.seed},
            "inputs": inputs,
            "watches": dict(stage.watches(settings)),
            "base": manifest["base"] if stage.adds else None,
        }
    )


@functools.cache
def _program() -> str:
    """Digest of the program's own code: a new version does the work again."""
    root = Path(resolver.__file__).parent
    return files.digest_of([[str(path.relative_to(root)), files.digest(path)] for path in sorted(root.rglob("*.py"))])


def _intact(folder: RunFolder, known: Mapping[str, Any]) -> bool:
    for name, entry in known["outputs"].items():
        path = folder.file(name)
        if not path.exists() or path.stat().st_size != entry["bytes"] or files.digest(path) != entry["sha256"]:
            return False
    return True


def _check_inputs(folder: RunFolder, manifest: Mapping[str, Any], inputs: Mapping[str, Path]) -> None:
    for name, path in inputs.items():
        writer = next((stage for stage, entry in manifest["stages"].items() if name in entry["outputs"]), None)
        if writer is None or files.digest(path) != manifest["stages"][writer]["outputs"][name]["sha256"]:
            raise DamagedError(
                f"{path} is not the file that {writer or 'a stage'} wrote.",
                do=f"Run again with --from {writer}." if writer else "Run again without --only.",
            )


def stat_of(paths: Sequence[Path]) -> dict[str, Any]:
    """Size and time of files: enough to see that an input changed, quick enough to look at every night."""
    return {str(path): [path.stat().st_size, path.stat().st_mtime_ns] for path in sorted(paths) if path.exists()}


class _PeakMemory:
    """The highest resident memory of this process while the block runs, sampled 20 times a second."""

    def __init__(self) -> None:
        self.peak_mib = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> _PeakMemory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while True:
            self.peak_mib = max(self.peak_mib, _resident_mib())
            if self._stop.wait(0.05):
                return


def _resident_mib() -> float:
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:  # not Linux: the highest of the whole process is the best there is
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    import resource

    return pages * resource.getpagesize() / 2**20
