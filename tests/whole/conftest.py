"""The whole way on a small hard test bed of synthetic patients: three facilities, made once per session."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pytest

from augmentation import pipeline as augmentation_pipeline
from augmentation.presets import load as preset
from resolver import cli, pipeline
from resolver.progress import Progress
from resolver.stage import file_of

SAMPLE = Path(__file__).parents[1] / "data" / "population"
# What a run writes that must not differ from run to run. The report tells seconds, the receipt where the index lies.
EXACT = tuple(
    file_of(name) for stage in pipeline.STAGES for name in stage.writes if name not in ("publish.json", "report.html")
)


@dataclass(frozen=True)
class Ended:
    """A command that has ended, as a person saw it."""

    code: int
    out: str
    err: str

    @property
    def line(self) -> str:
        """The one line that says what went wrong; anything more is a fault."""
        said = [line for line in self.err.splitlines() if line.startswith("resolver: ")]
        assert len(said) == 1, self.err
        assert self.err.rstrip().endswith(said[0]), self.err
        assert "Traceback" not in self.err
        return said[0].removeprefix("resolver: ")

    @property
    def json(self) -> dict[str, Any]:
        assert self.code == 0, self.err
        found: dict[str, Any] = json.loads(self.out)
        return found


def command(*arguments: object) -> Ended:
    """Run a command of the program in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as leave:
        cli.main([str(one) for one in arguments])
    code = leave.value.code
    assert isinstance(code, int)
    return Ended(code, out.getvalue(), err.getvalue())


def config(folder: Path, sources: Path | Sequence[Mapping[str, Any]], **sections: Any) -> Path:
    """A config in `folder` whose run goes to folder/run. YAML reads JSON."""
    folder.mkdir(parents=True, exist_ok=True)
    content: dict[str, Any] = {
        "run": {"dir": "run", "threads": 1, "memory_gib": 2},
        "sources": [{"kind": "synthea", "path": str(sources)}] if isinstance(sources, Path) else list(sources),
        "evaluate": {"bootstrap": 5},
    }
    for name, section in sections.items():
        content[name] = content.get(name, {}) | section
    path = folder / "resolver.yaml"
    path.write_text(json.dumps(content, indent=1), encoding="utf-8")
    return path


def query(sql: str) -> list[tuple[Any, ...]]:
    with duckdb.connect() as con:
        return con.execute(sql).fetchall()


def persons(run: Path) -> set[frozenset[str]]:
    """The records of each person of a run folder, by record id."""
    rows = query(
        f"SELECT list(record_id) FROM '{run}/clusters.parquet' JOIN '{run}/records.parquet' USING (rid)"
        " GROUP BY cluster"
    )
    return {frozenset(row[0]) for row in rows}


def crosswalk(index: Path) -> dict[str, str]:
    """Record -> enterprise id, as the index has it."""
    with duckdb.connect(str(index), read_only=True) as con:
        return dict(con.execute("SELECT record_id, person_id FROM crosswalk").fetchall())


def index_content(index: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Everything that the index holds, but for times and where the run lay."""
    with duckdb.connect(str(index), read_only=True) as con:
        return {
            name: con.execute(
                f"SELECT COLUMNS(lambda c: c NOT IN ('happened_at', 'config')) FROM {name} ORDER BY ALL"
            ).fetchall()
            for name in ("runs", "events", "all_persons", "all_crosswalk", "all_records", "all_links", "all_verdicts")
        }


def edit(path: Path, sql: str) -> None:
    """Replace a Parquet file by a query over it; {} stands for the file."""
    scratch = path.with_suffix(".new")
    with duckdb.connect() as con:
        con.execute(f"COPY ({sql.format(repr(str(path)))}) TO '{scratch}' (FORMAT parquet)")
    scratch.replace(path)


class Whole:
    """The functions above, for tests, which can't import a conftest."""

    exact = EXACT
    command = staticmethod(command)
    config = staticmethod(config)
    query = staticmethod(query)
    persons = staticmethod(persons)
    crosswalk = staticmethod(crosswalk)
    index_content = staticmethod(index_content)
    edit = staticmethod(edit)


@pytest.fixture(scope="session")
def whole() -> type[Whole]:
    return Whole


def make_bed(out: Path, facilities: int, visited: str) -> Path:
    settings = preset(
        "realistic",
        (
            f"population.dir={json.dumps(str(SAMPLE))}",
            *("seed=5", "threads=2", f"segment.facilities={facilities}", f"segment.visited={visited}"),
        ),
    )
    augmentation_pipeline.make(settings, out, Progress())
    return out


@pytest.fixture(scope="session")
def bed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Facilities with realistic errors, look-alikes and people registered twice; truth beside them. Read only.

    There are too few records to train on, so that runs are quick: the link model is the documented one, and its score
    stands.
    """
    return make_bed(tmp_path_factory.mktemp("beds") / "bed", 3, "[0.2,0.4,0.4]")


@pytest.fixture(scope="session")
def larger_bed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same persons at more facilities: enough to train the link model and the judges. Read only."""
    return make_bed(tmp_path_factory.mktemp("larger") / "bed", 5, "[0.05,0.1,0.15,0.3,0.4]")


@pytest.fixture
def own_bed(bed: Path, tmp_path: Path) -> Path:
    """A copy of the test bed to spoil."""
    return Path(shutil.copytree(bed, tmp_path / "bed"))


@pytest.fixture(scope="session")
def people(bed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The facilities' patients alone, without histories: quicker where histories don't matter. Read only."""
    out = tmp_path_factory.mktemp("people") / "bed"
    for path in sorted(bed.glob("facility_*/patients.parquet")):
        target = out / path.parent.name / path.name
        target.parent.mkdir(parents=True)
        shutil.copyfile(path, target)
    return out


@pytest.fixture
def own_people(people: Path, tmp_path: Path) -> Path:
    """A copy of the patients to spoil."""
    return Path(shutil.copytree(people, tmp_path / "bed"))


@pytest.fixture(scope="session")
def finished(bed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a config and its finished run, undisturbed. Read only."""
    folder = tmp_path_factory.mktemp("finished")
    truth = bed / "truth"
    path = config(
        folder,
        bed,
        evaluate={"truth": str(truth / "truth.parquet"), "persons": str(truth / "persons.parquet")},
    )
    assert command("run", path).code == 0
    return folder


@pytest.fixture
def again(finished: Path, tmp_path: Path) -> Path:
    """A copy of the finished folder to spoil; its config."""
    shutil.copytree(finished, tmp_path / "again")
    return tmp_path / "again" / "resolver.yaml"
