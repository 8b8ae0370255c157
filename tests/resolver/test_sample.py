"""The sample that comes with the package."""

from __future__ import annotations

from pathlib import Path

import duckdb

from augmentation.population import Layout
from augmentation.segment import integrity
from resolver import database, sample, settings
from resolver.progress import Progress


def test_the_sample_is_small_and_hangs_together() -> None:
    """It fits a package, every reference resolves, truth is whole, and the README gives its size right."""
    files = [path for path in Path(sample.__file__).parent.rglob("*") if path.suffix in (".parquet", ".json")]
    with database.connect(memory_gib=0.3, threads=1) as con:
        checked = integrity.check(con, Layout(sample.FOLDER), Progress())
    ((persons,),) = duckdb.execute(f"SELECT count(*) FROM '{sample.FOLDER}/truth/persons.parquet'").fetchall()
    ((pairs,),) = duckdb.execute(
        f"SELECT sum(n * (n - 1) // 2)::INT FROM (SELECT count(*) AS n FROM '{sample.FOLDER}/truth/truth.parquet'"
        " GROUP BY person_id)"
    ).fetchall()
    readme = (sample.FOLDER.parent / "README.md").read_text(encoding="utf-8")

    assert sum(path.stat().st_size for path in files) < 3_000_000
    assert checked["facilities"] == 3
    assert f"{checked['records']} records of {persons} synthetic persons" in readme
    assert f"there are {pairs} true pairs" in readme


def test_the_sample_config_runs_the_facilities_and_keeps_truth_apart(tmp_path: Path) -> None:
    """The config loads as settings; no source folder holds the truth."""
    (tmp_path / "demo.yaml").write_text(sample.config(tmp_path / "run"), encoding="utf-8")
    loaded = settings.load(tmp_path / "demo.yaml")

    assert loaded.run.dir == tmp_path / "run"
    assert len(loaded.sources) == 3
    assert loaded.evaluate.truth is not None
    assert loaded.evaluate.persons is not None
    assert loaded.evaluate.truth.is_file()
    assert loaded.evaluate.persons.is_file()
    for source in loaded.sources:
        assert (source.path / "patients.parquet").is_file()
        assert source.path not in loaded.evaluate.truth.parents


def test_a_path_with_odd_characters_is_still_yaml(tmp_path: Path) -> None:
    """Quotes, colons and accents in the name of a folder do not break the config."""
    odd = tmp_path / 'it\'s: a "run" für # alle'
    (tmp_path / "demo.yaml").write_text(sample.config(odd), encoding="utf-8")

    assert settings.load(tmp_path / "demo.yaml").run.dir == odd
