"""The kinds of job that make a folder of folders, as a worker does them: unpack, look, do, send.

Scoring, whose parts come home one by one, is in worker.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from llm_classifier.pods import building, carrying, exporting, folders, training
from llm_classifier.pods.bridges import Files
from llm_classifier.pods.parcel import Parcel
from llm_classifier.pods.scoring import strange
from resolver.errors import ResolverError
from resolver.progress import Progress

TASKS: Mapping[str, ModuleType] = {"train": training, "export": exporting}
COUNTED = {"train": "steps", "export": "prompts"}  # what of a task's progress its heartbeat tells


def build(
    spec: Mapping[str, Any],
    parcel: Parcel,
    place: Path,
    model: str,
    image: str,
    put_all: Callable[[Files], None],
    progress: Progress,
) -> dict[str, Any]:
    """What came of it: what made it, and its files. `model`: where the base lies on this machine, if it does."""
    task, told = TASKS[spec["kind"]], spec["told"]
    given, out = place / "in", place / "out" / told["out"]
    base = place / "base" / told["base"] if told["base"] else None  # by its name at home, which an adapter keeps
    with progress.step("input from the bridge", unit="bytes") as step:
        folders.unpack(parcel, spec["input"], given, step.advance)
        if spec["model"] is not None and base is not None:
            carrying.unpack(spec["model"], parcel, base, step.advance)
        elif base is not None and not base.exists():
            base.parent.mkdir(parents=True, exist_ok=True)
            base.symlink_to(model)
    made = building.making(task.made(told, given, base, out), image)
    other = strange(spec["asked"], made)
    if other:
        raise ResolverError(f"the worker is {other}")
    task.work(told, given, base, out, progress)
    with progress.step("model to the bridge", unit="bytes") as step:
        return {"made": made, "files": folders.send(put_all, out, building.results(out), step.advance)}
