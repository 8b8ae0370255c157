"""The workflow does each step once, goes on after a kill, and takes back what it promoted when something fails."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llm_classifier.workflow import engine
from llm_classifier.workflow.engine import Step
from resolver.errors import DamagedError, LockedError, QualityGateError
from resolver.progress import Progress


class Work:
    """Three steps that count how often they were done: data, model (undoable), check."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.did: list[str] = []
        self.undone: list[str] = []
        self.rows = 10
        self.trouble: dict[str, BaseException] = {}
        self.gone: set[str] = set()

    def step(self, name: str, hangs_on: Callable[[engine.Done], Any], undo: bool = False) -> Step:
        def run(done: engine.Done) -> engine.Facts:
            self.did.append(name)
            if name in self.trouble:
                raise self.trouble[name]
            self.gone.discard(name)
            return {"name": name, "saw": sorted(done), "rows": self.rows}

        def take_back(facts: engine.Facts, reason: str) -> None:
            self.undone.append(f"{facts['name']}: {reason}")

        return Step(
            name,
            "does it",
            hangs_on=hangs_on,
            run=run,
            stands=lambda facts: name not in self.gone,
            undo=take_back if undo else None,
        )

    def execute(self) -> list[engine.StepReport]:
        steps = [
            self.step("data", lambda done: self.rows),
            self.step("model", lambda done: done["data"], undo=True),
            self.step("check", lambda done: done["model"]),
        ]
        self.did.clear()
        self.undone.clear()
        return engine.execute(self.folder, steps, Progress())

    @property
    def record(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.folder / engine.RECORD).read_text(encoding="utf-8"))
        return found


@pytest.fixture
def work(tmp_path: Path) -> Work:
    return Work(tmp_path / "flow")


def test_steps_are_done_once(work: Work) -> None:
    """The second time everything stands, and the facts are those of the first."""
    first = work.execute()
    assert work.did == ["data", "model", "check"]
    assert first[2].facts == {"name": "check", "saw": ["data", "model"], "rows": 10}

    second = work.execute()
    assert work.did == [] and all(one.skipped for one in second)
    assert [one.facts for one in second] == [one.facts for one in first]


def test_what_changed_is_done_again_with_all_that_hangs_on_it(work: Work) -> None:
    """Other data make another model; a result that is gone is made again, and what follows from it stands."""
    work.execute()
    work.rows = 11
    work.execute()
    assert work.did == ["data", "model", "check"]

    work.gone.add("model")
    work.execute()
    assert work.did == ["model"]


def test_after_a_kill_it_goes_on(work: Work) -> None:
    """What was finished is kept; a kill takes nothing back."""
    work.trouble["check"] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        work.execute()
    assert work.undone == [] and list(work.record["steps"]) == ["data", "model"]

    work.trouble.clear()
    work.execute()
    assert work.did == ["check"]


def test_a_failure_takes_back_and_says_why(work: Work) -> None:
    """The step before the failure is undone with the reason, which the record keeps too, and is done anew later."""
    work.trouble["check"] = QualityGateError("The golden logits differ.")
    with pytest.raises(QualityGateError):
        work.execute()

    assert work.undone == ["model: check failed: The golden logits differ."]
    assert work.record["failed"]["step"] == "check" and list(work.record["steps"]) == ["data"]
    work.trouble.clear()
    work.execute()
    assert work.did == ["model", "check"] and "failed" not in work.record


def test_a_failure_before_undoable_steps_takes_nothing_back(work: Work) -> None:
    """Only what was done is undone."""
    work.trouble["model"] = QualityGateError("no")
    with pytest.raises(QualityGateError):
        work.execute()

    assert work.undone == []


def test_what_others_say_in_errors_is_not_kept(work: Work) -> None:
    """A message of a library can quote a record, so the record of a workflow holds only its kind."""
    work.trouble["check"] = ValueError("JOHN DOE")
    with pytest.raises(ValueError, match="JOHN"):
        work.execute()

    assert work.record["failed"]["reason"] == "ValueError"
    assert "JOHN" not in json.dumps([work.record, work.undone])


def test_one_workflow_at_a_time(work: Work) -> None:
    """A second one on the same folder is refused, and a damaged record is named."""
    from resolver import files

    with files.lock(work.folder / ".lock", "x"), pytest.raises(LockedError):
        work.execute()
    (work.folder / engine.RECORD).write_text('{"steps": []}', encoding="utf-8")
    with pytest.raises(DamagedError, match="Remove it"):
        work.execute()
