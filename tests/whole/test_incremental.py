"""Records that come later: linked against the index, to the persons of a run over everything, under their old ids."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pytest

from resolver import pipeline, runs, settings
from resolver.progress import Progress
from resolver.stage import Base

NEW = 20  # records of facility_3 that come later
CHANGED = 5  # records of facility_1 of which an older form came first


@dataclass(frozen=True)
class Site:
    """A config whose sources lie in `bed`, and what its last run said."""

    config: Path
    said: dict[str, Any]
    screen: str = ""

    @property
    def run(self) -> Path:
        return self.config.parent / "run"

    @property
    def index(self) -> Path:
        return self.run / "mpi.duckdb"

    def facts(self, stage: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.run / "manifest.json").read_text())["stages"][stage]["facts"]
        return found


def ids(bed: Path, facility: str, count: int, last: bool) -> list[str]:
    order = "DESC" if last else "ASC"
    with duckdb.connect() as con:
        rows = con.execute(f"SELECT Id FROM '{bed}/{facility}/patients.parquet' ORDER BY Id {order} LIMIT {count}")
        return [row[0] for row in rows.fetchall()]


def choose(whole: Any, facility: Path, patients: list[str], keep: bool) -> None:
    """Keep, or leave out, these patients and all that happened to them."""
    chosen = "(" + ", ".join(f"'{one}'" for one in patients) + ")"
    for path in facility.glob("*.parquet"):
        column = "Id" if path.stem == "patients" else "PATIENT"
        if any(row[0] == column for row in whole.query(f"DESCRIBE FROM '{path}'")):
            whole.edit(path, f"FROM {{}} WHERE {column} {'' if keep else 'NOT'} IN {chosen}")


@pytest.fixture(scope="module")
def first(larger_bed: Path, tmp_path_factory: pytest.TempPathFactory, whole: Any) -> Site:
    """A published run over all but the last records, with some records in an older form. Read only."""
    folder = tmp_path_factory.mktemp("first")
    own = Path(shutil.copytree(larger_bed, folder / "bed"))
    choose(whole, own / "facility_3", ids(larger_bed, "facility_3", NEW, last=True), keep=False)
    older = ", ".join(f"'{one}'" for one in ids(larger_bed, "facility_1", CHANGED, last=False))
    whole.edit(
        own / "facility_1" / "patients.parquet",
        f"SELECT * REPLACE (CASE WHEN Id IN ({older}) THEN '77 Older Road' ELSE ADDRESS END AS ADDRESS) FROM {{}}",
    )
    config = whole.config(folder, Path("bed"))
    return Site(config, whole.command("run", config, "--json").json)


def later(first: Site, folder: Path) -> Site:
    """A copy of the first run, for more to come in."""
    shutil.copytree(first.config.parent, folder)
    return Site(folder / "resolver.yaml", first.said)


@pytest.fixture(scope="module")
def added(first: Site, larger_bed: Path, tmp_path_factory: pytest.TempPathFactory, whole: Any) -> Site:
    """All records listed: the new and changed among the others."""
    site = later(first, tmp_path_factory.mktemp("added") / "site")
    shutil.rmtree(site.config.parent / "bed")
    shutil.copytree(larger_bed, site.config.parent / "bed")
    said = whole.command("run", site.config, "--json").json
    return Site(site.config, said, whole.command("run", site.config).out)


@pytest.fixture(scope="module")
def changes(first: Site, larger_bed: Path, tmp_path_factory: pytest.TempPathFactory, whole: Any) -> Site:
    """Only the new and the changed records listed."""
    site = later(first, tmp_path_factory.mktemp("changes") / "site")
    own = site.config.parent / "bed"
    shutil.rmtree(own)
    for facility, count, last in (("facility_1", CHANGED, False), ("facility_3", NEW, True)):
        shutil.copytree(larger_bed / facility, own / facility)
        choose(whole, own / facility, ids(larger_bed, facility, count, last), keep=True)
    said = whole.command("run", site.config, "--set", "ingest.input=changes", "--json").json
    return Site(site.config, said)


@pytest.fixture(scope="module")
def at_once(first: Site, larger_bed: Path, tmp_path_factory: pytest.TempPathFactory, whole: Any) -> Site:
    """One run over everything, with the link model and the learned judges of the first."""
    folder = tmp_path_factory.mktemp("at_once")
    model = folder / "model"
    model.mkdir()
    for name in ("link_model.json", "link_tf.parquet"):
        shutil.copyfile(first.run / name, model / name)
    config = whole.config(folder, larger_bed, link={"model": str(model / "link_model.json")})
    judges = Base("other", {"learned.json": first.run / "learned.json"})
    runs.execute(pipeline.STAGES, settings.load(config), Progress(), base=lambda *_: judges)
    return Site(config, {})


def scored(whole: Any, site: Site) -> dict[tuple[str, str], float]:
    """Splink's log-odds by record ids."""
    records = f"'{site.run}/records.parquet'"
    return {
        (left, right): logit
        for left, right, logit in whole.query(
            f"SELECT l.record_id, r.record_id, round(logit, 9) FROM '{site.run}/pairs.parquet'"
            f" JOIN {records} l ON l.rid = left_rid JOIN {records} r ON r.rid = right_rid"
        )
    }


def fresh(bed: Path) -> set[str]:
    new = {f"facility_3:{one}" for one in ids(bed, "facility_3", NEW, last=True)}
    return new | {f"facility_1:{one}" for one in ids(bed, "facility_1", CHANGED, last=False)}


@pytest.mark.parametrize("way", ["added", "changes"])
def test_persons_are_those_of_one_run_over_everything(
    way: str, at_once: Site, whole: Any, request: pytest.FixtureRequest
) -> None:
    """Whether all records are listed or only the changes, pairs, scores and persons are those of a run at once."""
    site: Site = request.getfixturevalue(way)

    assert (site.run / "learned.json").read_bytes() == (at_once.run / "learned.json").read_bytes()
    assert scored(whole, site) == scored(whole, at_once)
    assert whole.persons(site.run) == whole.persons(at_once.run)


@pytest.mark.parametrize("way", ["added", "changes"])
def test_what_did_not_change_is_not_scored_again(
    way: str, larger_bed: Path, whole: Any, request: pytest.FixtureRequest
) -> None:
    """Pairs of two old records keep their scores and verdicts; the facts count them, and those that were scored."""
    site: Site = request.getfixturevalue(way)
    pairs, new = scored(whole, site), fresh(larger_bed)
    touched = sum(bool({left, right} & new) for left, right in pairs)
    link = site.facts("link")

    assert link["pairs_carried_over"] == len(pairs) - touched
    assert touched <= link["pairs_scored"] < len(pairs)
    assert site.said["added_to"] == "R1"
    judges = site.facts("adjudicate")["judges"]
    assert judges["demographic"]["carried_over"] == len(pairs) - touched
    assert judges["demographic"]["asked"] == touched


def test_the_screen_says_where_it_can_differ(added: Site, first: Site) -> None:
    """The end screen names the run that was added to, what was carried over, and how to do all anew."""
    (line,) = [line for line in added.screen.splitlines() if line.strip().startswith("added to")]

    assert "run R1" in line
    assert f"{added.facts('link')['pairs_carried_over']:,} scores" in line
    assert "--full" in line
    assert first.said["added_to"] is None


@pytest.mark.parametrize("way", ["added", "changes"])
def test_persons_keep_their_ids(way: str, first: Site, whole: Any, request: pytest.FixtureRequest) -> None:
    """Every record keeps its person's id, but for those of which an event says who they are now, and why."""
    site: Site = request.getfixturevalue(way)
    before, after = whole.crosswalk(first.index), whole.crosswalk(site.index)
    with duckdb.connect(str(site.index), read_only=True) as con:
        told = con.execute(
            "SELECT DISTINCT unnest([person_id, other_id]) FROM events"
            " WHERE run_id = 'R2' AND kind IN ('merged', 'split', 'moved', 'retired')"
        ).fetchall()
    other = {(before[record], after[record]) for record in before if before[record] != after[record]}

    assert set(before) < set(after)
    assert {one for pair in other for one in pair} <= {person for (person,) in told}
    assert len(other) < 5
    assert len(set(before.values()) & set(after.values())) > 60


def test_nothing_is_done_again_after_publishing(added: Site, whole: Any) -> None:
    """The run that added to the index stands: the same command does nothing."""
    again = whole.command("run", added.config, "--json").json

    assert [stage["stage"] for stage in again["stages"] if stage["done"]] == []


def test_full_does_everything_anew(again: Path, own_bed: Path, whole: Any) -> None:
    """--full scores and judges anew and carries nothing over; a record that is gone leaves its person; persons that are
    as they were keep their ids."""
    run = again.parent / "run"
    content = json.loads(again.read_text())
    content["sources"][0]["path"] = str(own_bed)
    again.write_text(json.dumps(content))
    before, persons = whole.crosswalk(run / "mpi.duckdb"), whole.persons(run)
    gone = ids(own_bed, "facility_2", 1, last=False)
    choose(whole, own_bed / "facility_2", gone, keep=False)
    said = whole.command("run", again, "--full", "--json").json
    after = whole.crosswalk(run / "mpi.duckdb")
    same = persons & whole.persons(run)

    assert (said["added_to"], said["carried_over"], said["verdicts_carried_over"]) == (None, 0, 0)
    assert set(before) - set(after) == {f"facility_2:{gone[0]}"}
    assert len(same) > 60
    for person in same:
        assert {before[record] for record in person} == {after[record] for record in person}
