"""Configs: read, refused with all their faults, and changed from the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from resolver import settings
from resolver.errors import SettingsError, UsageError

LEAST = "run: {dir: run}\nsources:\n  - {kind: synthea, path: data}\n"


def load(folder: Path, text: str, *overrides: str) -> settings.Settings:
    path = folder / "my.yaml"
    path.write_text(text, encoding="utf-8")
    return settings.load(path, overrides)


def test_paths_are_relative_to_the_config(tmp_path: Path) -> None:
    """A relative path is taken from the config's folder, an absolute one as it is, in lists too."""
    found = load(tmp_path, LEAST + "evaluate: {truth: /abs/truth.csv}\nlink: {model: ../model/link.json}\n")

    assert found.run.dir == tmp_path / "run"
    assert found.sources[0].path == tmp_path / "data"
    assert found.evaluate.truth == Path("/abs/truth.csv")
    assert found.link.model is not None
    assert found.link.model.resolve() == tmp_path.parent / "model" / "link.json"
    assert found.index_path == tmp_path / "run" / "mpi.duckdb"


def test_all_faults_are_told_together(tmp_path: Path) -> None:
    """Every fault of a config has a line; an unknown key names the nearest one."""
    text = LEAST + "link: {max_blocks: 5, match_probability: 2}\ndecide: {method: guess}\nlearn: {max_pairs: many}\n"
    with pytest.raises(SettingsError) as caught:
        load(tmp_path, text)

    told = str(caught.value)
    assert len(caught.value.faults) == 4
    assert str(tmp_path / "my.yaml") in told
    assert "link.max_blocks: unknown key; did you mean max_block?" in told
    for key in ("link.match_probability", "decide.method", "learn.max_pairs"):
        assert key in told


def test_unknown_keys_of_a_source_and_of_the_top(tmp_path: Path) -> None:
    """Unknown keys name the nearest key of the kind of source that they stand in, and sections the nearest section."""
    text = "run: {dir: run}\nevaluat: {}\nsources:\n  - {kind: table, path: a, name: a, recordid: id, fields: {}}\n"
    with pytest.raises(SettingsError) as caught:
        load(tmp_path, text)

    assert "did you mean evaluate?" in str(caught.value)
    assert "recordid: unknown key; did you mean record_id?" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("run: {dir: run}\nlink: [", "line 2"),
        ("just words", "must hold keys"),
        ("run: {dir: run}\n", "sources"),
        ("run: {dir: run}\nsources: []\n", "sources"),
    ],
)
def test_a_config_that_is_none(tmp_path: Path, text: str, said: str) -> None:
    """Text that is no YAML, no mapping or lacks sources is refused with the place."""
    with pytest.raises(SettingsError, match=said):
        load(tmp_path, text)


def test_no_config(tmp_path: Path) -> None:
    """A config that is not there is a wrong use of the command, and says how to make one."""
    with pytest.raises(UsageError, match="resolver init"):
        settings.load(tmp_path / "none.yaml")


@pytest.mark.parametrize("name", ["patients.csv", "patients.parquet", "folder"])
def test_data_is_no_config(tmp_path: Path, name: str) -> None:
    """Data where a config is wanted is called so, and how a config is made for it is said."""
    if name == "folder":
        (tmp_path / name).mkdir()
    else:
        (tmp_path / name).write_bytes(b"id,name\n1,\xff")
    with pytest.raises(UsageError, match=r"not a config\..*resolver init"):
        settings.load(tmp_path / name)


def test_a_kind_of_source_that_is_none(tmp_path: Path) -> None:
    """A kind of source that does not exist names the nearest."""
    with pytest.raises(SettingsError, match=r"there is no kind tabel; did you mean table\?"):
        load(tmp_path, "run: {dir: run}\nsources: [{kind: tabel, path: data}]\n")


def test_overrides(tmp_path: Path) -> None:
    """--set takes YAML values, makes sections that the config lacks, and the last one counts."""
    found = load(
        tmp_path,
        LEAST + "link: {max_block: 10}\n",
        *("link.max_block=20", "decide.target_precision=0.95", "adjudicate.judges=[human]", "link.max_block=30"),
    )

    assert found.link.max_block == 30
    assert found.decide.target_precision == 0.95
    assert found.adjudicate.judges == ("human",)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("link.max_block", "section.key=value"),
        ("sources.0.path=x", "edit the config"),
        ("run.dir.x=1", "dir is not a section"),
        ("link.max_blok=5", "did you mean max_block"),
        ("link.max_block=[", "link.max_block"),
    ],
)
def test_overrides_that_mean_nothing(tmp_path: Path, override: str, said: str) -> None:
    """--set that can't be carried out is a wrong use of the command, and says why."""
    with pytest.raises(UsageError, match=said):
        load(tmp_path, LEAST, override)


def test_settings_do_not_change(tmp_path: Path) -> None:
    """Settings are fixed once they are read."""
    found = load(tmp_path, LEAST)

    with pytest.raises(ValueError, match="frozen"):
        found.link.max_block = 5  # type: ignore[misc]
