"""Versions of models on disk, and the changes to them: register, measure, promote, roll back.

    REGISTRY/history.jsonl                         every decision (history.py)
    REGISTRY/versions/0003/model/                  the artifact as it was registered, read-only
    REGISTRY/versions/0003/metrics/<digest>.json   what it scored on a test set

A version appears whole or not at all, and does not change. One process at a time changes a registry; reading needs no
lock. Knows nothing of how a model answers.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from llm_classifier import artifact
from llm_classifier.artifact import Artifact
from llm_classifier.registry import gate, history, metrics
from llm_classifier.registry.history import Entry, Stage, State
from llm_classifier.registry.metrics import Metrics
from llm_classifier.settings.registry import GateSettings
from resolver import files
from resolver.errors import DamagedError, RunError, UsageError

HISTORY = "history.jsonl"
# What is taken along: weights, what lies beside them, golden logits, papers. No pickles: loading one runs code.
KEPT = (".safetensors", ".json", ".model", ".jinja", ".parquet", ".md", ".yaml", ".txt")


@dataclass(frozen=True)
class Version:
    number: int
    stage: Stage
    folder: Path
    registered: str  # when
    source: str  # the folder that it was taken from
    artifact: Artifact
    metrics: dict[str, Metrics] = field(default_factory=dict)  # by pin of the test set

    @property
    def model(self) -> Path:
        return self.folder / "model"

    @property
    def name(self) -> str:
        return f"version {self.number}"


@dataclass(frozen=True)
class Registry:
    dir: Path

    # reading

    def entries(self) -> list[Entry]:
        return history.read(self.dir / HISTORY)

    def state(self) -> State:
        return history.state(self.entries())

    def versions(self) -> list[Version]:
        entries = self.entries()
        stages = history.state(entries).stages
        return [self._version(entry, stages[entry.version], entries) for entry in entries if entry.what == "registered"]

    def version(self, number: int) -> Version:
        found = next((one for one in self.versions() if one.number == number), None)
        if found is None:
            raise UsageError(
                f"There is no version {number} in {self.dir}.", do="See them with: resolver llm models --registry DIR"
            )
        return found

    def production(self) -> Version | None:
        number = self.state().production
        return None if number is None else self.version(number)

    def require_production(self) -> Version:
        found = self.production()
        if found is None:
            raise UsageError(
                f"Nothing is in production in {self.dir}.", do="Promote a model with: resolver llm promote MODEL"
            )
        return found

    def check(self, version: Version) -> Artifact:
        """The artifact, if all of the version's files are still those that were registered."""
        entry = next(one for one in self.entries() if one.what == "registered" and one.version == version.number)
        if _digest(version.model) != entry.facts["digest"]:
            raise DamagedError(
                f"The files of {version.name} in {self.dir} are not those that were registered.",
                do="Restore the folder from a backup, or register the model again from where it was made.",
            )
        return artifact.check(version.model)

    # changing

    def register(self, folder: Path, *, reason: str = "") -> Version:
        """Take a model in as a candidate. The same model again is the version that it already is."""
        artifact.check(folder)
        if not (folder / artifact.GOLDEN).exists():
            raise UsageError(
                f"{folder} has no golden logits ({artifact.GOLDEN}), so no copy of it could be verified.",
                do="Make it again with this version of the program.",
            )
        with self._lock():
            return self._register(folder, reason)

    def measure(self, version: Version, found: Metrics) -> Version:
        """Keep what a version scored on a test set; the same again changes nothing."""
        with self._lock():
            return self._measure(version, found)

    def judge(self, version: Version, pin: str, bounds: GateSettings, *, again: bool = False) -> gate.Verdict:
        """What the gate says about a version, without deciding anything.

        `pin` says which of the version's metrics count. `again`: allow a version that was rolled back.
        """
        found = version.metrics.get(pin)
        if found is None:
            which = metrics.short(pin) or "that counts"
            raise UsageError(
                f"{version.name.capitalize()} was never measured on the test set {which}.",
                do="Measure it first with: resolver llm validate",
            )
        state = self.state()
        earlier = state.rolled_back.get(version.number)
        if earlier is not None and not again:
            reason = f"it was rolled back ({earlier})"
            return gate.Verdict(False, (reason,), state.production, pin)
        production = None if state.production is None else self.version(state.production)
        measured = {} if production is None else production.metrics
        return gate.judge(found, measured, bounds, against=state.production, test_set=state.test_set)

    def promote(self, version: Version, pin: str, bounds: GateSettings, *, again: bool = False) -> gate.Verdict:
        """Ask the gate, and write down what it said; where it agrees, the version is in production from then on.

        A version that is in production already stays there, and nothing is written.
        """
        with self._lock():
            version = self.version(version.number)
            verdict = self.judge(version, pin, bounds, again=again)
            production = self.state().production
            if verdict.passed and production == version.number:
                return verdict
            self.check(version)
            what: history.What = "promoted" if verdict.passed else "refused"
            facts = {"test_set": pin, "bounds": bounds.model_dump(mode="json"), "gate": verdict.facts()}
            self._add(what, version.number, reason=verdict.reason, instead_of=production, **facts)
            return verdict

    def roll_back(self, reason: str, *, leave_none: bool = False) -> tuple[Version, Version | None]:
        """Put the version before into production again: (what was taken out, what is there now)."""
        with self._lock():
            line = self.state().line
            if not line:
                raise UsageError(f"Nothing is in production in {self.dir}, so there is nothing to roll back.")
            if len(line) == 1 and not leave_none:
                raise UsageError(
                    f"Before version {line[-1]} nothing was in production in {self.dir}.",
                    do="Say --none to leave nothing in production.",
                )
            before = None if len(line) == 1 else self.version(line[-2])
            if before is not None:
                self.check(before)
            self._add("rolled back", line[-1], reason=reason, instead_of=None if before is None else before.number)
            return self.version(line[-1]), None if before is None else self.version(before.number)

    # inside

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        with files.lock(self.dir / ".lock", f"The registry {self.dir}"):
            yield

    def _add(self, what: history.What, version: int, **more: Any) -> Entry:
        return history.add(self.dir / HISTORY, what, version, **more)

    def _version(self, entry: Entry, stage: Stage, entries: list[Entry]) -> Version:
        folder = self._folder(entry.version)
        measured = {
            one.facts["test_set"]: one.facts["digest"]
            for one in entries
            if one.what == "measured" and one.version == entry.version
        }
        return Version(
            number=entry.version,
            stage=stage,
            folder=folder,
            registered=entry.at,
            source=entry.facts["source"],
            artifact=artifact.read(folder / "model"),
            metrics={pin: _known(folder, digest) for pin, digest in measured.items()},
        )

    def _folder(self, number: int) -> Path:
        return self.dir / "versions" / f"{number:04d}"

    def _register(self, folder: Path, reason: str) -> Version:
        entries = self.entries()
        digest = _digest(folder)
        known = [one for one in entries if one.what == "registered"]
        for entry in known:
            if entry.facts["digest"] == digest:
                return self.version(entry.version)
        number = len(known) + 1
        place = self._folder(number)
        scratch = files.temporary(place)
        for left in (scratch, place):  # of a kill: no line in the history knows of it
            if left.exists():
                shutil.rmtree(left)
        _room(folder, self.dir)
        (scratch / "model").mkdir(parents=True)
        for path in _kept(folder):
            copy = scratch / "model" / path.name
            shutil.copyfile(path, copy)
            copy.chmod(0o444)
            _sync(copy)
        if _digest(scratch / "model") != digest:
            raise RunError(f"{folder} changed while it was copied.", do="Run again when nothing writes to it.")
        scratch.rename(place)
        self._add("registered", number, reason=reason, digest=digest, source=str(folder.absolute()))
        return self.version(number)

    def _measure(self, version: Version, found: Metrics) -> Version:
        _same_model(version, found)
        if version.metrics.get(found.test_set) == found:
            return version
        digest = files.digest_of(found.model_dump(mode="json"))
        metrics.write(_metrics_file(version.folder, digest), found)
        headline = {name: figure.value for name, figure in found.headline.items()}
        self._add(
            "measured",
            version.number,
            reason="",
            test_set=found.test_set,
            digest=digest,
            pairs=found.pairs,
            headline=headline,
        )
        return self.version(version.number)


def _same_model(version: Version, found: Metrics) -> None:
    if (found.model, found.calibration) != (version.artifact.fingerprint, version.artifact.calibration):
        raise UsageError(
            f"The metrics are of another model, or of another calibration, than {version.name}.",
            do="Measure this very folder with: resolver llm validate",
        )


def _metrics_file(folder: Path, digest: str) -> Path:
    """Named by its content: until the history speaks of the new file, the old one holds."""
    return folder / "metrics" / f"{digest[:16]}.json"


def _known(folder: Path, digest: str) -> Metrics:
    path = _metrics_file(folder, digest)
    if path.exists():
        found = metrics.read(path)
        if files.digest_of(found.model_dump(mode="json")) == digest:
            return found
    raise DamagedError(f"{path} is not what the registry's history tells of.", do="Restore it from a backup.")


def _kept(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_file() and path.suffix in KEPT)


def _digest(folder: Path) -> str:
    """Of everything that a version keeps: another calibration or other golden logits make another version."""
    return files.digest_of([[path.name, files.digest(path)] for path in _kept(folder)])


def _room(folder: Path, registry: Path) -> None:
    needed = sum(path.stat().st_size for path in _kept(folder))
    free = shutil.disk_usage(registry).free
    if needed > free:
        raise RunError(
            f"{registry} has {free / 2**30:.1f} GiB free, and the model takes {needed / 2**30:.1f} GiB.",
            do="Make room, or put the registry elsewhere (registry.dir).",
        )


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
