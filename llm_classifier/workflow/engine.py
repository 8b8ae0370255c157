"""Does steps in order, each only where its inputs changed or its result is gone, with a record of every one.

    DIR/workflow.json   per step: fingerprint of what it hangs on, when, how long, what came out; and the last failure

A step that fails stops the workflow. Steps before it that can be undone are, the latest first, if this workflow did
them. Knows nothing of models.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import resolver
from resolver import files
from resolver.errors import DamagedError, ResolverError
from resolver.progress import Progress

RECORD = "workflow.json"
Facts = Mapping[str, Any]
Done = Mapping[str, Facts]  # step -> what came out of it


def _stands(facts: Facts) -> bool:
    return True


@dataclass(frozen=True)
class Step:
    name: str
    does: str  # one line, for whoever watches
    hangs_on: Callable[[Done], Any]  # settings and facts of earlier steps; where they are the same, so is the result
    run: Callable[[Done], Facts]  # facts are JSON: pins, digests, paths, figures
    stands: Callable[[Facts], bool] = _stands  # whether what came out is still there
    undo: Callable[[Facts, str], None] | None = None  # take back what the step did, with the reason


@dataclass(frozen=True)
class StepReport:
    name: str
    skipped: bool
    seconds: float
    facts: Facts


def execute(folder: Path, steps: Sequence[Step], progress: Progress) -> list[StepReport]:
    with files.lock(folder / ".lock", f"The workflow {folder}"):
        record = _read(folder / RECORD)
        record.pop("failed", None)
        reports: list[StepReport] = []
        done: dict[str, Facts] = {}
        for step in steps:
            try:
                report = _step(folder, record, step, done, progress)
            except Exception as error:
                # Only kinds and lines of this program's own errors: others can quote records.
                reason = str(error) if isinstance(error, ResolverError) else type(error).__name__
                record["failed"] = {"step": step.name, "at": _now(), "reason": reason}
                record["steps"].pop(step.name, None)
                _undo(record, steps[: steps.index(step)], done, f"{step.name} failed: {reason}", progress)
                files.write_json(folder / RECORD, record)
                raise
            done[step.name] = report.facts
            reports.append(report)
        files.write_json(folder / RECORD, record)
        return reports


def _step(folder: Path, record: dict[str, Any], step: Step, done: Done, progress: Progress) -> StepReport:
    fingerprint = files.digest_of(step.hangs_on(done))
    known = record["steps"].get(step.name)
    if known is not None and known["fingerprint"] == fingerprint and step.stands(known["facts"]):
        progress.say(f"{step.name}: done already")
        return StepReport(step.name, True, 0.0, known["facts"])
    progress.say(f"{step.name}: {step.does}")
    began = time.monotonic()
    # As JSON, so that a step sees the same whether the one before ran now or in an earlier process.
    facts = json.loads(json.dumps(step.run(done), default=str))
    seconds = time.monotonic() - began
    record["steps"][step.name] = {
        "fingerprint": fingerprint,
        "program": resolver.__version__,
        "finished": _now(),
        "seconds": round(seconds, 3),
        "facts": facts,
    }
    files.write_json(folder / RECORD, record)
    return StepReport(step.name, False, seconds, facts)


def _undo(record: dict[str, Any], before: Sequence[Step], done: Done, reason: str, progress: Progress) -> None:
    for step in reversed(before):
        if step.undo is not None:
            progress.say(f"{step.name}: taken back")
            step.undo(done[step.name], reason)
            record["steps"].pop(step.name, None)


def _read(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(found["steps"], dict):
            raise ValueError
    except FileNotFoundError:
        return {"steps": {}}
    except (OSError, ValueError, KeyError, TypeError):
        raise DamagedError(f"{path} can't be read.", do="Remove it; every step is then looked at anew.") from None
    return found


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")
