"""The bundled sample of synthetic patients, run once as far as the index; each test gets what it needs of it."""

from __future__ import annotations

import contextlib
import io
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pytest

from resolver import cli, pipeline, runs, sample, settings
from resolver.explain.opened import Opened
from resolver.progress import Progress
from resolver.settings import Settings

UNTIL_PUBLISH = pipeline.STAGES[: [stage.name for stage in pipeline.STAGES].index("publish") + 1]


@dataclass(frozen=True)
class Finished:
    """A finished run and its config."""

    folder: Path

    @property
    def config(self) -> Path:
        return self.folder / "run.yaml"

    @property
    def run(self) -> Path:
        return self.folder / "run"

    def settings(self, *overrides: str) -> Settings:
        return settings.load(self.config, overrides)

    def go(self, *overrides: str) -> None:
        runs.execute(UNTIL_PUBLISH, self.settings(*overrides), Progress(), base=pipeline.no_base)

    def copy(self, folder: Path) -> Finished:
        shutil.copytree(self.run, folder / "run")
        return made(folder)

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """SQL over the tables of the run."""
        with duckdb.connect() as con:
            for table in ("records", "pairs", "verdicts", "decisions", "clusters", "cuts"):
                con.execute(f"CREATE VIEW {table} AS FROM read_parquet('{self.run}/{table}.parquet')")
            return con.execute(sql).fetchall()

    def rewrite(self, table: str, sql: str) -> None:
        """Replace a table by a query over it."""
        path, other = self.run / f"{table}.parquet", self.run / f"{table}.new"
        with duckdb.connect() as con:
            con.execute(f"CREATE VIEW {table} AS FROM read_parquet('{path}')")
            con.execute(f"COPY ({sql}) TO '{other}' (FORMAT parquet)")
        other.replace(path)

    def record_id(self, rid: int) -> str:
        return str(self.query(f"SELECT record_id FROM records WHERE rid = {rid}")[0][0])


def made(folder: Path) -> Finished:
    folder.mkdir(parents=True, exist_ok=True)
    finished = Finished(folder)
    finished.config.write_text(sample.config(finished.run), encoding="utf-8")
    return finished


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A run of the sample; not to be changed."""
    result = made(tmp_path_factory.mktemp("explained"))
    result.go()
    return result


@pytest.fixture(scope="session")
def plain(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """The same without learned judges: Splink's score stands. Not to be changed."""
    result = finished.copy(tmp_path_factory.mktemp("plain"))
    result.go("learn.way=none")
    return result


@pytest.fixture
def opened(finished: Finished) -> Iterator[Opened]:
    with Opened(finished.settings()) as run:
        yield run


Said = tuple[int, str, str]


@pytest.fixture
def explain() -> Callable[..., Said]:
    """Runs `resolver explain`: exit code, standard output, standard error."""

    def run(*arguments: object) -> Said:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as leave:
            cli.main(["explain", *map(str, arguments)])
        assert isinstance(leave.value.code, int)
        return leave.value.code, out.getvalue(), err.getvalue()

    return run
