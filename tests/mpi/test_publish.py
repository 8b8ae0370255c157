"""The publish stage: files of a run in, one transaction on the index, whatever goes wrong."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from resolver import mpi, publish
from resolver.errors import DamagedError, LockedError, RunError
from resolver.judges import Evidence
from resolver.judges.human import HumanJudge
from resolver.mpi import corrections, snapshot, store
from resolver.progress import Progress

# A run in a process of its own, with a hook before the step at which it is to die.
CHILD = """
import os, pathlib, resource, signal, sys
sys.path.insert(0, {here!r})
import conftest
from resolver import publish
from resolver.mpi import identities, runs, snapshot, store

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

{hook}
site = conftest.Site(pathlib.Path({folder!r}))
publish.run(site.context())
"""
HOOKS = {
    "with events written": "runs._persons = die",
    "before the base is kept": "snapshot.keep = die",
    "right before the commit": "keep = snapshot.keep\ndef both(*a):\n    keep(*a)\n    die()\nsnapshot.keep = both",
    "right after the commit": "snapshot.drop_others = die",
}


def in_a_child(site: Any, hook: str) -> subprocess.CompletedProcess[str]:
    code = CHILD.format(here=str(Path(__file__).parent), folder=str(site.folder), hook=hook)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def link(site: Any, a: str, b: str) -> int:
    with store.write(site.index) as change:
        corrections.link(change, a, b)
    return change.event


def test_a_run_is_published_with_a_receipt(site: Any) -> None:
    """The index holds the run, the receipt says which one, and the stage's facts stand."""
    facts = site.publish([["a:1", "b:1"], ["a:2"]])

    assert site.rows("SELECT run_id, records, persons FROM runs") == [("R1", 3, 2)]
    assert (facts["run"], facts["created"]) == ("R1", 2)
    assert json.loads((site.folder / "run" / ".publish.json.tmp").read_text()) == facts
    assert publish.stands(site.settings(), facts)


def test_the_same_run_twice_changes_nothing(site: Any) -> None:
    """No run, no event and no row is added, and the facts are the same."""
    facts = site.publish([["a:1", "b:1"], ["a:2"]])
    before = site.content()

    assert site.publish() == facts
    assert site.content() == before


def test_the_receipt_no_longer_stands_once_the_index_moved_on(site: Any) -> None:
    """The stage is done again when another run was published, a run undone or the index removed; not after a link."""
    facts = site.publish([["a:1"], ["b:1"]])
    link(site, "a:1", "b:1")
    assert publish.stands(site.settings(), facts)

    second = site.publish([["a:1"], ["b:1"], ["c:1"]])
    assert not publish.stands(site.settings(), facts)
    assert publish.stands(site.settings(), second)

    site.index.unlink()
    assert not publish.stands(site.settings(), second)


@pytest.mark.parametrize("moment", HOOKS)
def test_killed_in_the_middle_the_index_is_as_it_was(site: Any, moment: str) -> None:
    """After kill -9 the old state is there with its base, or the new one; the next run ends where it would have."""
    site.publish([["a:1", "b:1"], ["a:2"]])
    before = site.content()
    site.prepare([["a:1", "b:1", "a:2"], ["c:1"]])
    undisturbed = type(site)(site.folder / "copy")
    shutil.copytree(site.folder / "run", undisturbed.folder / "run")
    shutil.copytree(site.index.parent, undisturbed.index.parent)

    done = in_a_child(site, HOOKS[moment])
    assert done.returncode == -9, done.stderr
    after_commit = moment == "right after the commit"
    assert (site.content() == before) != after_commit
    base = mpi.base(site.index)
    assert base is not None
    assert base["records"].parent.name == ("R2" if after_commit else "R1")

    assert site.publish()["run"] == "R2"
    undisturbed.publish()
    mine, others = site.content(), undisturbed.content()
    assert [table for n, table in enumerate(mine) if n] == [table for n, table in enumerate(others) if n]
    assert [path.name for path in snapshot.folder(site.index).iterdir()] == ["R2"]


def test_killed_before_the_first_commit_there_is_no_index_yet(site: Any) -> None:
    """A first run that was killed leaves nothing that the next one stumbles over."""
    site.prepare([["a:1", "b:1"]])
    assert in_a_child(site, HOOKS["right before the commit"]).returncode == -9

    assert mpi.verdicts_digest(site.index) == "none"
    assert mpi.base(site.index) is None
    with pytest.raises(RunError, match="no index"), store.read(site.index):
        pass
    assert site.publish()["run"] == "R1"


def test_a_full_disk_is_one_line_and_the_index_is_as_it_was(site: Any) -> None:
    """Where the file can't grow, the run stops with a plain message; with room again it goes through."""
    site.publish([["a:1", "b:1"], ["a:2"]])
    before = site.content()
    site.prepare([[f"a:{n}", f"b:{n}"] for n in range(800)])
    done = in_a_child(site, "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))")

    assert done.returncode == 1
    assert "is full; the index is as it was" in done.stderr.splitlines()[-1]
    assert site.content() == before
    assert site.publish()["run"] == "R2"


def test_two_at_once_the_second_is_refused_by_name(site: Any) -> None:
    """The second writer is told the process and start of the first; a reader is told the process."""
    site.publish([["a:1"], ["b:1"]])
    code = f"""
import pathlib, sys
from resolver.mpi import store
with store.write(pathlib.Path({str(site.index)!r})):
    print("ready", flush=True)
    sys.stdin.read()
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as first:
        assert first.stdout is not None
        assert first.stdin is not None
        assert first.stdout.readline() == "ready\n"
        with pytest.raises(LockedError, match=f"process {first.pid}, started 20"):
            link(site, "a:1", "b:1")
        began = time.monotonic()
        with pytest.MonkeyPatch.context() as patch, pytest.raises(LockedError, match=f"process {first.pid}"):
            patch.setattr(store, "PATIENCE_SECONDS", 0.2)
            site.rows("FROM runs")
        assert time.monotonic() - began < 5
        first.stdin.close()
    link(site, "a:1", "b:1")


def test_a_damaged_index_is_one_line(site: Any) -> None:
    """A file that is no database, is cut short, or is another database, is named with what to do."""
    site.publish([["a:1"]])
    whole = site.index.read_bytes()
    site.index.write_bytes(b"not a database" * 1000)
    with pytest.raises(DamagedError, match="Restore it"):
        site.publish()
    site.index.write_bytes(whole[: len(whole) // 3])
    with pytest.raises(DamagedError, match="Restore it"):
        site.content()
    site.index.unlink()
    import duckdb

    with duckdb.connect(str(site.index)) as con:
        con.execute("CREATE TABLE other (a INTEGER)")
    with pytest.raises(RunError, match="not an index"):
        site.publish()


def test_a_folder_that_can_not_be_written_is_one_line(site: Any) -> None:
    """Where no index can be made, its path is named."""
    site.index = Path("/proc/nowhere/mpi.duckdb")
    with pytest.raises(RunError, match="/proc/nowhere can't be written"):
        site.publish([["a:1"]])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_index_is_one_line(site: Any) -> None:
    """An index that may not be changed is named, and reading it still works."""
    site.publish([["a:1"]])
    site.index.chmod(0o400)
    with pytest.raises(RunError, match="permission denied"):
        site.publish([["a:1"], ["b:1"]])
    assert site.rows("SELECT run_id FROM runs") == [("R1",)]


def test_an_index_of_a_newer_program_is_refused(site: Any) -> None:
    """A format that this program does not know is not touched."""
    site.publish([["a:1"]])
    with store.write(site.index) as change:
        change.con.execute("UPDATE about SET value = '99' WHERE key = 'format'")
    with pytest.raises(RunError, match="newer version"):
        site.publish([["a:1"], ["b:1"]])


def test_the_base_is_the_last_published_run(site: Any) -> None:
    """Files of the last run stay as they were published, although the run folder goes on; earlier ones go."""
    site.publish([["a:1"]])
    site.publish([["a:1"], ["b:1"]])
    published = site.folder / "run" / "records.parquet"
    content = published.read_bytes()
    site.prepare([["c:1"]])

    base = mpi.base(site.index)
    assert base is not None
    assert set(base) == set(publish.READ)
    assert base["records"].read_bytes() == content
    assert [path.name for path in snapshot.folder(site.index).iterdir()] == ["R2"]


@pytest.mark.parametrize("harm", ["folder", "file", "list", "other run"])
def test_a_base_that_does_not_fit_is_refused_with_the_reason(site: Any, harm: str) -> None:
    """Where the base is gone, damaged or of another run, there is none, and the reason is given."""
    site.publish([["a:1"]])
    place = snapshot.folder(site.index) / "R1"
    if harm == "folder":
        shutil.rmtree(place)
    elif harm == "file":
        (place / "records.parquet").unlink()
    elif harm == "list":
        (place / snapshot.LIST).write_text("{")
    else:
        listed = json.loads((place / snapshot.LIST).read_text())
        (place / snapshot.LIST).write_text(json.dumps({**listed, "content": "x"}))
    reasons: list[str] = []

    assert mpi.base(site.index, reasons.append) is None
    assert len(reasons) == 1
    assert "can't be added to" in reasons[0]
    site.publish()
    assert mpi.base(site.index) is not None


def test_a_run_of_changes_keeps_the_rest(site: Any) -> None:
    """With ingest.input: changes, records that the run does not hold stay; with all, they leave."""
    site.publish([["a:1"], ["b:1"]])
    site.prepare([["c:1"]])
    publish.run(site.context(input="changes"))
    assert site.rows("SELECT count(*) FROM crosswalk") == [(3,)]

    publish.run(site.context(input="all"))
    assert site.rows("SELECT record_id FROM crosswalk") == [("c:1",)]


def test_the_digest_follows_what_people_say(site: Any) -> None:
    """The digest of verdicts changes with a verdict, and comes back when it is undone."""
    site.publish([["a:1"], ["b:1"], ["c:1"]])
    before = mpi.verdicts_digest(site.index)
    event = link(site, "a:1", "b:1")
    between = mpi.verdicts_digest(site.index)
    with store.write(site.index) as change:
        from resolver.mpi import undo

        undo.undo(change, event)

    assert before != between
    assert mpi.verdicts_digest(site.index) == before == "none"


def test_the_human_judge_passes_verdicts_on(site: Any) -> None:
    """Pairs that a person ruled on get a large logit, all others none, by the rids of this run."""
    site.publish([["a:1"], ["b:1", "b:2"], ["c:1"]])
    link(site, "c:1", "a:1")
    with store.write(site.index) as change:
        corrections.unlink(change, "b:2", "b:1")
    site.prepare([["0:1"], ["a:1"], ["b:1", "b:2"], ["c:1"]])
    run = site.folder / "run"
    judge = HumanJudge(
        Evidence(site.settings(), run / "records.parquet", run / "none", run / "none", run / "none", run, Progress())
    )
    pairs = pl.DataFrame({"left_rid": [0, 1, 1, 2], "right_rid": [1, 2, 4, 3], "logit": [0.0] * 4})

    assert judge.fingerprint == mpi.verdicts_digest(site.index)
    assert judge.judge(pairs).rows() == [(1, 4, mpi.LOGIT, "ok"), (2, 3, -mpi.LOGIT, "ok")]


def test_the_human_judge_says_nothing_without_an_index(site: Any) -> None:
    """Before the first run nobody has said anything."""
    site.prepare([["a:1"], ["b:1"]])
    run = site.folder / "run"
    judge = HumanJudge(
        Evidence(site.settings(), run / "records.parquet", run / "n", run / "n", run / "n", run, Progress())
    )
    pairs = pl.DataFrame({"left_rid": [0], "right_rid": [1], "logit": [0.0]})

    assert judge.judge(pairs).is_empty()
