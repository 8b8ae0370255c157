"""Runs a config, killed with SIGKILL at every moment that matters, and started again after each.

A program of its own, for test_kills.py: it imports everything once and forks for each start, before any thread runs.
Writes one line of JSON per start: the point, how the start ended, and what the manifest says then.

    python kill_points.py CONFIG
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from resolver import files, pipeline, runs, settings
from resolver.mpi import identities, snapshot
from resolver.progress import Progress, Step
from resolver.stage import Facts, Stage, StageContext

IMPORTED_LATE = ("jinja2", "lightgbm", "polars", "resolver.link.linking", "splink")
IN_ALL = ("in its middle", "before its last rename", "before the manifest")
IN_PUBLISH = ("its events are written", "its files are kept", "it is committed")


def points() -> Iterator[tuple[str, str]]:
    for stage in pipeline.STAGES:
        for moment in (*(IN_PUBLISH if stage.name == "publish" else ()), *IN_ALL):
            yield stage.name, moment


def die(*_: object, **__: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Fatal(Progress):
    """Kills at the end of the first step."""

    @contextlib.contextmanager
    def step(self, label: str, total: int | None = None, unit: str = "rows") -> Iterator[Step]:
        with super().step(label, total, unit) as step:
            yield step
        die()


class FatalContext(StageContext):
    """Kills when the first table is written."""

    def write(self, *arguments: Any) -> int:
        super().write(*arguments)
        die()
        raise AssertionError


def armed(name: str, moment: str, folder: runs.RunFolder) -> tuple[Stage, ...]:
    """The stages, of which one does not survive that moment."""
    stage = next(stage for stage in pipeline.STAGES if stage.name == name)
    if moment == "in its middle":

        def fatal(context: StageContext) -> Facts:
            fields = {one.name: getattr(context, one.name) for one in dataclasses.fields(context)}
            return stage.run(FatalContext(**fields | {"progress": Fatal()}))

        mortal = dataclasses.replace(stage, run=fatal)
        return tuple(mortal if one is stage else one for one in pipeline.STAGES)
    if moment == "before its last rename":
        last, commit = folder.file(stage.writes[-1]), files.commit
        files.commit = lambda written, path: die() if path == last else commit(written, path)
    elif moment == "before the manifest":
        whole, manifest = files.whole, folder.path / runs.MANIFEST

        @contextlib.contextmanager
        def half(path: Path) -> Iterator[Path]:
            with whole(path) as scratch:
                yield scratch
                if path == manifest:
                    die()

        files.whole = half
    elif moment == "its events are written":
        assign = identities.assign
        identities.assign = lambda *arguments: (assign(*arguments), die())
    elif moment == "its files are kept":
        keep = snapshot.keep
        snapshot.keep = lambda *arguments: (keep(*arguments), die())
    else:
        assert moment == "it is committed"
        snapshot.drop_others = die
    return pipeline.STAGES


def start(config: Path, point: tuple[str, str] | None) -> int:
    """Run in a child process; how it ended, as os.waitpid has it."""
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    code = 1
    try:
        loaded = settings.load(config)
        stages = armed(*point, runs.RunFolder(loaded.run.dir)) if point else pipeline.STAGES
        runs.execute(stages, loaded, Progress(), base=pipeline.base)
        code = 0
    finally:
        os._exit(code)


def main(config: Path) -> None:
    folder = runs.RunFolder(settings.load(config).run.dir)
    runs._program()  # once, and the same for all starts
    for module in IMPORTED_LATE:
        importlib.import_module(module)
    for point in (*points(), None):
        status = start(config, point)
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        ended = "killed" if killed else f"ended with {os.waitstatus_to_exitcode(status)}"
        print(json.dumps({"point": point, "ended": ended, "stages": folder.manifest()["stages"]}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
