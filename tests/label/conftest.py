"""A small finished run of made-up records, published to an index: wrong in a few known places."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

from resolver import cli, publish, tables
from resolver.explain.opened import Opened
from resolver.judges.features.population import Population
from resolver.progress import Progress
from resolver.settings import Settings, load
from resolver.stage import StageContext


@dataclass(frozen=True)
class Labelled:
    folder: Path
    person: np.ndarray[Any, Any]  # per record

    @property
    def config(self) -> Path:
        return self.folder / "run.yaml"

    @property
    def settings(self) -> Settings:
        return load(self.config)

    @property
    def index(self) -> Path:
        return self.settings.index_path

    def record_ids(self) -> list[str]:
        with duckdb.connect() as con:
            rows = con.execute(f"SELECT record_id FROM '{self.folder}/run/records.parquet' ORDER BY rid").fetchall()
        return [row[0] for row in rows]

    def same(self, left: str, right: str) -> bool:
        ids = self.record_ids()
        return bool(self.person[ids.index(left)] == self.person[ids.index(right)])

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with duckdb.connect(str(self.index), read_only=True) as con:
            return con.execute(query).fetchall()


def _made(folder: Path, world: Any) -> Labelled:
    """Decisions that are mostly right; persons that are those of the decisions; an index that holds them."""
    run = folder / "run"
    run.mkdir(parents=True)
    rng = np.random.default_rng(1)
    person = world.person
    config = {
        "run": {"dir": "run", "threads": 1, "memory_gib": 1},
        "sources": [{"kind": "synthea", "path": "data"}],
    }
    (folder / "run.yaml").write_text(json.dumps(config))
    shutil.copy(world.events, run / "events.parquet")
    with duckdb.connect() as con:
        con.execute(
            f"COPY (SELECT * REPLACE (md5(record_id) AS content_hash) FROM '{world.records}' ORDER BY rid)"
            f" TO '{run}/records.parquet' (FORMAT parquet)"
        )
    left, right = np.triu_indices(len(person), 1)
    true = person[left] == person[right]
    keep = true | (rng.random(len(left)) < 0.1)
    left, right, true = left[keep], right[keep], true[keep]
    logit = np.where(true, 5.0, -6.0) + rng.normal(0, 2.5, len(left))
    cluster = np.arange(len(person))
    for one, other, odds in sorted(zip(left, right, logit, strict=True), key=lambda pair: -pair[2]):
        if odds > 0 and (cluster == cluster[other]).sum() == 1:
            cluster[other] = cluster[one]
    with duckdb.connect() as con:
        for name in ("verdicts", "cuts", "pairs", "decisions", "clusters", "golden", "golden_fields"):
            con.execute(f"CREATE TABLE {name} ({tables.TABLES[name].ddl})")
        con.executemany(
            "INSERT INTO decisions SELECT l, r, -5, x + 5, NULL, NULL, NULL, x, 1 / (1 + exp(-x)), 'gray', '', ''"
            " FROM (SELECT ?::INTEGER AS l, ?::INTEGER AS r, ?::DOUBLE AS x)",
            [list(row) for row in zip(left.tolist(), right.tolist(), logit.tolist(), strict=True)],
        )
        con.executemany("INSERT INTO clusters VALUES (?, ?)", list(enumerate(cluster.tolist())))
        con.execute("INSERT INTO golden (cluster, records) SELECT cluster, count(*) FROM clusters GROUP BY cluster")
        for name in ("verdicts", "cuts", "pairs", "decisions", "clusters", "golden", "golden_fields"):
            con.execute(f"COPY {name} TO '{run / name}.parquet' (FORMAT parquet)")
    Population.empty().save(run / "clinical_population.parquet")
    made = Labelled(folder, person)
    scratch = folder / "scratch"
    scratch.mkdir()
    inputs = {name: run / f"{name}.parquet" for name in publish.READ}
    context = StageContext(made.settings, inputs, {"publish.json": run / "publish.json"}, scratch, Progress())
    facts = publish.run(context)
    stages = {"decide": {}, "cluster": {}, "publish": facts}
    manifest = {name: {"fingerprint": "", "facts": found, "outputs": {}} for name, found in stages.items()}
    (run / "manifest.json").write_text(json.dumps({"base": None, "stages": manifest}))
    return made


@pytest.fixture(scope="session")
def published(make_world: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Labelled:
    """Not to be changed."""
    folder = tmp_path_factory.mktemp("labelled")
    return _made(folder / "made", make_world(folder / "world", persons=30, seed=3))


@pytest.fixture
def site(published: Labelled, tmp_path: Path) -> Labelled:
    """A copy to be answered about."""
    shutil.copytree(published.folder, tmp_path / "site")
    return Labelled(tmp_path / "site", published.person)


@pytest.fixture
def opened(site: Labelled) -> Iterator[Opened]:
    with Opened(site.settings) as run:
        yield run


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def label(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, str, str]]:
    """Runs `resolver label` in a terminal where `keys` are pressed, or without one: exit code, output, errors."""

    def run(*arguments: object, keys: str | None = None) -> tuple[int, str, str]:
        out = io.StringIO() if keys is None else Terminal()
        err = io.StringIO()
        pressed = iter(keys or "")
        monkeypatch.setattr("click.getchar", lambda: next(pressed))
        monkeypatch.setattr("sys.stdin", Terminal() if keys is not None else io.StringIO())
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as leave:
            cli.main(["label", *map(str, arguments)])
        assert isinstance(leave.value.code, int)
        return leave.value.code, out.getvalue(), err.getvalue()

    return run
