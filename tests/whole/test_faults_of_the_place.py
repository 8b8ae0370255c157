"""What can go wrong around a run: a full disk, a folder that can't be written, two runs at once, damaged files."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from resolver import decide, golden, ingest, pipeline, runs, settings
from resolver.progress import Progress
from resolver.stage import StageContext


def with_stage(monkeypatch: pytest.MonkeyPatch, name: str, **changes: Any) -> None:
    """Put a changed stage into the pipeline."""
    changed = tuple(dataclasses.replace(one, **changes) if one.name == name else one for one in pipeline.STAGES)
    monkeypatch.setattr(pipeline, "STAGES", changed)


def done_stages(found: dict[str, Any]) -> list[str]:
    return [stage["stage"] for stage in found["stages"] if stage["done"]]


def mounted(*arguments: str) -> bool:
    return os.geteuid() == 0 and subprocess.run(["mount", *arguments], capture_output=True, check=False).returncode == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of two MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    if not mounted("-t", "tmpfs", "-o", "size=2m", "tmpfs", str(place)):
        pytest.skip("mounting a small file system needs root and the right to mount")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_nothing_changed_nothing_done(again: Path, whole: Any) -> None:
    """A second run of the same does nothing, and the manifest stays as it is."""
    before = (again.parent / "run" / "manifest.json").read_bytes()
    found = whole.command("run", again, "--json").json

    assert done_stages(found) == []
    assert (again.parent / "run" / "manifest.json").read_bytes() == before


def test_a_small_disk_fills_up(small_disk: Path, bed: Path, whole: Any, finished: Path) -> None:
    """A full disk is one line; with more room the same command goes on after the stages that were finished."""
    path = whole.config(small_disk / "job", bed)
    ended = whole.command("run", path)

    assert ended.code == 1
    assert "disk" in ended.line
    assert "full" in ended.line
    assert subprocess.run(["mount", "-o", "remount,size=200m", str(small_disk)], check=True).returncode == 0
    manifest = small_disk / "job" / "run" / "manifest.json"
    kept = json.loads(manifest.read_text())["stages"] if manifest.exists() else {}
    found = whole.command("run", path, "--json").json
    assert done_stages(found) == [stage.name for stage in pipeline.STAGES if stage.name not in kept]
    assert whole.persons(small_disk / "job" / "run") == whole.persons(finished / "run")


@pytest.mark.parametrize("where", ["in Python", "in the database"])
def test_a_disk_that_fills_up_late(again: Path, whole: Any, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    """What was finished before the disk was full is kept, and is not done again."""
    import duckdb

    def full(context: StageContext) -> dict[str, Any]:
        if where == "in Python":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(context.outputs["golden"]))
        raise duckdb.IOException('IO Error: Could not write file "x": No space left on device')

    (again.parent / "run" / "golden.parquet").unlink()
    with_stage(monkeypatch, "golden", run=full)
    ended = whole.command("run", again)
    assert (ended.code, "disk is full" in ended.line) == (1, True)

    with_stage(monkeypatch, "golden", run=golden.run)
    found = whole.command("run", again, "--json").json
    assert done_stages(found) == ["golden"]  # and as it wrote the same again, nothing after it


def test_a_run_folder_that_cant_be_made(people: Path, tmp_path: Path, whole: Any) -> None:
    """A run folder below a file is one line that names the setting."""
    (tmp_path / "file").write_text("")
    path = whole.config(tmp_path, people, run={"dir": "file/run"})
    ended = whole.command("run", path)

    assert ended.code == 1
    assert str(tmp_path / "file" / "run") in ended.line
    assert "run.dir" in ended.line


def test_a_read_only_folder(again: Path, whole: Any) -> None:
    """A run folder on a file system that is read-only is one line, and nothing in it is touched."""
    folder = again.parent / "run"
    if not (mounted("--bind", str(folder), str(folder)) and mounted("-o", "remount,bind,ro", str(folder))):
        pytest.skip("mounting a folder read-only needs root and the right to mount")
    try:
        ended = whole.command("run", again, "--from", "decide")
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)

    assert ended.code == 1
    assert str(folder) in ended.line
    assert "run.dir" in ended.line
    assert done_stages(whole.command("run", again, "--json").json) == []


def test_an_index_that_cant_be_made(again: Path, whole: Any) -> None:
    """An index below a file is one line; all stages before are kept."""
    (again.parent / "file").write_text("")
    ended = whole.command("run", again, "--set", "index.path=file/mpi.duckdb")

    assert ended.code == 1
    assert "index" in ended.line
    assert done_stages(whole.command("run", again, "--json").json) == []


def test_two_runs_at_once(again: Path, whole: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second run is refused with pid and start of the first, and disturbs nothing that the first is writing."""
    at_work, may_go = threading.Event(), threading.Event()

    def slow(context: StageContext) -> dict[str, Any]:
        facts = decide.run(context)
        (context.scratch / "own").write_text("")
        at_work.set()
        assert may_go.wait(60)
        assert (context.scratch / "own").exists()
        assert context.outputs["decisions"].exists()
        return facts

    with_stage(monkeypatch, "decide", run=slow)
    mine = tuple(one for one in pipeline.STAGES if one.name in ("decide", "cluster"))
    loaded = settings.load(again)
    ended: list[Any] = []
    first = threading.Thread(target=lambda: ended.append(runs.execute(mine, loaded, Progress(), restart_from="decide")))
    first.start()
    try:
        assert at_work.wait(60)
        refused = subprocess.run(
            [sys.executable, "-m", "resolver", "run", again], capture_output=True, text=True, check=False
        )
    finally:
        may_go.set()
        first.join()

    assert refused.returncode == 1
    assert re.search(rf"in use by process {os.getpid()}, started \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d", refused.stderr)
    assert [report.name for report in ended[0]] == ["decide", "cluster"]


@pytest.mark.parametrize("damage", ["cut", "other bytes", "gone", "another table"])
def test_a_damaged_table_is_made_again(again: Path, whole: Any, damage: str) -> None:
    """A table that is not what the manifest says is written again by its stage; the rest stands."""
    path = again.parent / "run" / "decisions.parquet"
    good = path.read_bytes()
    if damage == "cut":
        path.write_bytes(good[: len(good) // 2])
    elif damage == "other bytes":
        path.write_bytes(good[:100] + bytes(len(good) - 200) + good[-100:])
    elif damage == "gone":
        path.unlink()
    else:
        shutil.copyfile(path.with_name("clusters.parquet"), path)
    found = whole.command("run", again, "--json").json

    assert done_stages(found) == ["decide"]
    assert path.read_bytes() == good


def test_only_on_damaged_input(again: Path, whole: Any) -> None:
    """--only refuses a table that is not what its stage wrote, and says which stage to run."""
    path = again.parent / "run" / "pairs.parquet"
    path.write_bytes(path.read_bytes()[:-50])
    ended = whole.command("run", again, "--only", "decide")

    assert ended.code == 1
    assert "--from link" in ended.line


def test_a_damaged_index(again: Path, whole: Any) -> None:
    """A damaged index is one line that names it; the run folder stays, and without it a new index is made."""
    index = again.parent / "run" / "mpi.duckdb"
    index.write_bytes(b"nothing that a database would be" * 300)
    ended = whole.command("run", again)
    assert ended.code == 1
    assert str(index) in ended.line

    index.unlink()
    found = whole.command("run", again, "--json").json
    assert done_stages(found)[0] == "publish"


def test_input_that_changes_during_a_run(
    own_people: Path, tmp_path: Path, whole: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A source that changes while it is read is one line, and what was read is thrown away."""
    path = whole.config(tmp_path / "job", own_people)
    source = own_people / "facility_1" / "patients.parquet"

    def disturbed(context: StageContext) -> dict[str, Any]:
        facts = ingest.run(context)
        whole.edit(source, "FROM {} OFFSET 1")
        return facts

    with_stage(monkeypatch, "ingest", run=disturbed)
    ended = whole.command("run", path)
    assert ended.code == 1
    assert "changed while it ran" in ended.line
    assert not (tmp_path / "job" / "run" / "records.parquet").exists()

    with_stage(monkeypatch, "ingest", run=ingest.run)
    assert whole.command("run", path, "--only", "ingest", "--json").json["records"] == 167


@pytest.mark.parametrize("damage", ["cut", "overwritten"])
def test_a_damaged_source(own_people: Path, tmp_path: Path, whole: Any, damage: str) -> None:
    """A source that can't be read is one line with its name, and the next run goes on when it is back."""
    path = whole.config(tmp_path / "job", own_people)
    source = own_people / "facility_2" / "patients.parquet"
    good = source.read_bytes()
    half = len(good) // 2
    source.write_bytes(good[:half] if damage == "cut" else good[:20] + bytes(half) + good[20 + half :])
    ended = whole.command("run", path)

    assert ended.code == 1
    assert "patients.parquet of facility_2" in ended.line or str(source) in ended.line
    source.write_bytes(good)
    assert whole.command("run", path, "--only", "ingest", "--json").json["records"] == 168
