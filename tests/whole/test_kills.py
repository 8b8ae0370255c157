"""kill -9 at every moment that matters: the next start goes on where the last one was, to the identical result."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from resolver import files, pipeline

PROGRAM = Path(__file__).with_name("kill_points.py")
NAMES = [stage.name for stage in pipeline.STAGES]


@pytest.fixture(scope="module")
def killed(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    """A run that was killed at every point in turn and came to its end, and what was there after each start."""
    folder = tmp_path_factory.mktemp("killed")
    (folder / "resolver.yaml").write_text((finished / "resolver.yaml").read_text())
    done = subprocess.run(
        [sys.executable, PROGRAM, folder / "resolver.yaml"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder, [json.loads(line) for line in done.stdout.splitlines()]


def test_every_point_is_reached(killed: tuple[Path, list[dict[str, Any]]]) -> None:
    """Each start dies where it should, in each stage at three moments or more, and the last one comes to the end."""
    *starts, last = killed[1]

    assert [(one["point"], one["ended"]) for one in starts if one["ended"] != "killed"] == []
    assert {name: sum(one["point"][0] == name for one in starts) for name in NAMES} == dict.fromkeys(NAMES, 3) | {
        "publish": 6
    }
    assert last["ended"] == "ended with 0"


def test_what_was_done_stays_done(killed: tuple[Path, list[dict[str, Any]]]) -> None:
    """A stage that was killed is not in the manifest; the stages before it are, and are never done again."""
    *starts, last = killed[1]

    for one in starts:
        before = NAMES[: NAMES.index(one["point"][0])]
        assert list(one["stages"]) == before, one["point"]
        assert {name: one["stages"][name] for name in before} == {name: last["stages"][name] for name in before}


def test_the_result_is_that_of_an_undisturbed_run(
    killed: tuple[Path, list[dict[str, Any]]], finished: Path, whole: Any
) -> None:
    """All tables are the same byte for byte, and so are models, metrics, persons, their ids and their history."""
    folder, _ = killed
    digests = {name: files.digest(finished / "run" / name) for name in whole.exact}

    assert {name: files.digest(folder / "run" / name) for name in whole.exact} == digests
    assert whole.index_content(folder / "run" / "mpi.duckdb") == whole.index_content(finished / "run" / "mpi.duckdb")
    assert [path.name for path in (folder / "run" / "mpi.base").iterdir()] == ["R1"]


def test_nothing_half_is_left(killed: tuple[Path, list[dict[str, Any]]], finished: Path) -> None:
    """After the last start the folder holds what that of an undisturbed run holds, and nothing else."""
    kept = {path.name for path in (killed[0] / "run").iterdir()}

    assert kept == {path.name for path in (finished / "run").iterdir()}
