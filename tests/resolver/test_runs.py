"""Which stages of a run are done, and which are done again, shown on three small stages."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from resolver import runs, settings
from resolver.errors import DamagedError, RunError
from resolver.progress import Progress
from resolver.settings import Settings
from resolver.stage import Base, Facts, Stage, StageContext


@dataclass
class Line:
    """Stages one -> two -> three, each of which writes one file, and what they were asked to do."""

    folder: Path
    did: list[str] = field(default_factory=list)
    says: dict[str, str] = field(default_factory=lambda: {"one": "a", "two": "b", "three": "c"})
    watched: dict[str, Any] = field(default_factory=dict)
    stands: bool = True
    bases: list[dict[str, Path]] = field(default_factory=list)

    def stages(self) -> tuple[Stage, ...]:
        def run(name: str) -> Callable[[StageContext], Facts]:
            def work(context: StageContext) -> Facts:
                self.did.append(name)
                self.bases.append(dict(context.base))
                read = "".join(path.read_text() for path in context.inputs.values())
                context.outputs[f"{name}.txt"].write_text(read + self.says[name])
                return {"read": len(read)}

            return work

        one = Stage("one", "", (), ("one.txt",), ("sources",), run("one"), watches=lambda _: self.watched, adds=True)
        two = Stage("two", "", ("one.txt",), ("two.txt",), ("link",), run("two"), adds=True)
        three = Stage(
            "three", "", ("two.txt",), ("three.txt",), (), run("three"), stands=lambda settings, facts: self.stands
        )
        return one, two, three

    def settings(self, **sections: Any) -> Settings:
        content = {"run": {"dir": "run"}, "sources": [{"kind": "synthea", "path": "data"}], **sections}
        return settings.parse(content, base=self.folder, where="test")

    def run(self, *, base: Base | None = None, sections: dict[str, Any] | None = None, **options: Any) -> list[str]:
        """Run, and which stages were done."""
        self.did.clear()
        runs.execute(self.stages(), self.settings(**sections or {}), Progress(), base=lambda *_: base, **options)
        return list(self.did)

    @property
    def result(self) -> str:
        return (self.folder / "run" / "three.txt").read_text()


@pytest.fixture
def line(tmp_path: Path) -> Line:
    return Line(tmp_path)


def test_a_run_does_all_stages_once(line: Line) -> None:
    """The first run does everything, the second nothing."""
    assert line.run() == ["one", "two", "three"]
    assert line.result == "abc"
    assert line.run() == []


def test_a_failure_says_what_is_kept(line: Line) -> None:
    """A stage that fails is named with the finished ones that stay, and the same command goes on after these."""
    told: list[str] = []

    class Told(Progress):
        def say(self, text: str) -> None:
            told.append(text)

    def fail(context: StageContext) -> Facts:
        raise RunError("It broke.")

    one, two, three = line.stages()
    with pytest.raises(RunError, match="It broke"):
        runs.execute((one, replace(two, run=fail), three), line.settings(), Told())

    assert told == ["Stopped in two. Kept: one; the same command goes on from there."]
    line.did.clear()
    assert line.run() == ["two", "three"]


def test_from_does_a_stage_and_all_after_it(line: Line) -> None:
    """--from does that stage and those after it, though nothing changed."""
    line.run()

    assert line.run(restart_from="two") == ["two", "three"]


def test_only_does_one_stage(line: Line) -> None:
    """--only does that stage alone; the next run does those that its new result concerns."""
    line.run()
    line.says["two"] = "B"

    assert line.run(only="two") == ["two"]
    assert line.result == "abc"
    assert line.run() == ["three"]
    assert line.result == "aBc"


def test_only_without_what_it_reads(line: Line) -> None:
    """--only before its inputs are there is one line."""
    with pytest.raises(RunError, match=r"one.txt is not there yet.*resolver run"):
        line.run(only="two")


def test_only_refuses_what_another_wrote(line: Line) -> None:
    """--only does not build on a file that is not what the manifest says."""
    line.run()
    (line.folder / "run" / "one.txt").write_text("x")

    with pytest.raises(DamagedError, match=r"one.txt is not the file that one wrote.*--from one"):
        line.run(only="two")


def test_a_setting_concerns_its_stages(line: Line) -> None:
    """A changed setting makes the stages of its section be done again; others only if their inputs changed."""
    line.run()

    assert line.run(sections={"link": {"max_block": 50}}) == ["two"]
    line.says["two"] = "B"
    assert line.run(sections={"link": {"max_block": 60}}) == ["two", "three"]
    assert line.run(sections={"link": {"max_block": 60}, "report": {"title": "Other"}}) == []


def test_the_seed_concerns_all(line: Line) -> None:
    """Another seed does everything again."""
    line.run()

    assert line.run(sections={"run": {"dir": "run", "seed": 7}})[0] == "one"


def test_a_watched_file_concerns_its_stage(line: Line) -> None:
    """What a stage watches outside the run folder makes it be done again when it changes."""
    line.run()
    line.watched["file"] = [1, 2]

    assert line.run() == ["one"]


def test_another_program_does_all_again(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new version of the program does the work again."""
    line.run()
    monkeypatch.setattr(runs, "_program", lambda: "another")

    assert line.run() == ["one", "two", "three"]


def test_what_stands_outside_is_asked(line: Line) -> None:
    """A stage whose work outside the run folder is gone is done again."""
    line.run()
    line.stands = False

    assert line.run() == ["three"]


@pytest.mark.parametrize("name", ["one", "two", "three"])
def test_a_lost_file_is_written_again(line: Line, name: str) -> None:
    """A lost or changed file is written again, by its stage alone where the result is the same."""
    line.run()
    (line.folder / "run" / f"{name}.txt").write_text("longer than it was")

    assert line.run() == [name]
    assert line.result == "abc"


def test_an_input_that_changes_while_it_is_read(line: Line) -> None:
    """A result of inputs that changed meanwhile is thrown away."""
    one, *rest = line.stages()
    ticks = iter(range(100))
    moving = replace(one, watches=lambda _: {"file": next(ticks)})

    with pytest.raises(RunError, match=r"An input of one changed while it ran"):
        runs.execute((moving, *rest), line.settings(), Progress())
    assert not (line.folder / "run" / "one.txt").exists()


def test_a_stage_that_writes_nothing_is_at_fault(line: Line) -> None:
    """A stage that does not write what it declares stops the run."""
    one, *rest = line.stages()

    with pytest.raises(RunError, match=r"did not write one.txt"):
        runs.execute((replace(one, run=lambda context: {}), *rest), line.settings(), Progress())


def test_a_run_adds_to_the_base_it_began_with(line: Line) -> None:
    """A run folder takes the newest base when its first stage is done, and keeps it when a newer one is published."""
    first, second = Base("R1", {"x": line.folder / "x1"}), Base("R2", {"x": line.folder / "x2"})
    line.run()
    assert line.bases[0] == {}
    assert line.run(base=first) == []
    line.watched["file"] = 1
    line.bases.clear()

    assert line.run(base=first) == ["one", "two"]
    assert line.bases == [first.files, first.files]
    assert line.run(base=second) == []
    assert json.loads((line.folder / "run" / "manifest.json").read_text())["base"] == "R1"


def test_without_its_base_a_run_starts_over(line: Line) -> None:
    """Where a stage must be done again and its base is no longer kept, all is done again with the newest."""
    first, second = Base("R1", {"x": line.folder / "x1"}), Base("R2", {"x": line.folder / "x2"})
    line.run(base=first)
    (line.folder / "run" / "two.txt").unlink()
    line.bases.clear()

    assert line.run(base=second) == ["one", "two", "three"]
    assert line.bases == [second.files, second.files, {}]


def test_what_a_killed_run_left_is_cleared(line: Line) -> None:
    """Half-written files and scratch of a killed run go with the next start."""
    line.run()
    run = line.folder / "run"
    (run / ".one.txt.tmp").write_text("half")
    (run / "scratch").mkdir()
    (run / "scratch" / "spill").write_text("x")
    line.run()

    assert sorted(path.name for path in run.iterdir()) == [".lock", "manifest.json", "one.txt", "three.txt", "two.txt"]


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "null", '{"stages": [1]}', '{"base": null, "stages": {"one": {"outputs": []}}}']
)
def test_a_manifest_that_cant_be_read_counts_as_none(line: Line, content: str) -> None:
    """Whatever is in manifest.json, the run begins anew instead of failing."""
    line.run()
    (line.folder / "run" / "manifest.json").write_text(content)

    assert line.run() == ["one", "two", "three"]
