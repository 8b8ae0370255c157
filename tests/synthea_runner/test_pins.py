"""Pinned data sets."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import duckdb
import pytest

from resolver.errors import DamagedError, UsageError
from resolver.progress import Progress
from synthea_runner import pins
from synthea_runner.pins import ChangedError

SAMPLE = Path(__file__).parents[1] / "data" / "population"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data set of three tables, one in a folder below."""
    folder = tmp_path / "data"
    (folder / "one").mkdir(parents=True)
    for name in ("allergies.parquet", "payers.parquet"):
        shutil.copy(SAMPLE / name, folder / name)
    shutil.copy(SAMPLE / "devices.parquet", folder / "one" / "devices.parquet")
    return folder


@pytest.fixture
def pinned(data: Path, tmp_path: Path) -> Path:
    """The pins of that data set."""
    path = tmp_path / "data-pins.json"
    pins.pin("set", data, path, Progress())
    return path


def _rewrite(path: Path, select: str) -> None:
    with duckdb.connect() as con:
        con.execute(f"COPY (SELECT {select} FROM '{path}') TO '{path}.new' (FORMAT parquet)")
    Path(f"{path}.new").replace(path)


def test_unchanged(pinned: Path) -> None:
    """A data set that did not change is accepted."""
    assert pins.verify("set", pinned, Progress()) == 3


def test_other_order_is_no_change(data: Path, pinned: Path) -> None:
    """The same rows in another order and packing are the same data."""
    path = data / "one" / "devices.parquet"
    with duckdb.connect() as con:
        con.execute(f"COPY (FROM '{path}' ORDER BY UDI DESC) TO '{path}.new' (FORMAT parquet, COMPRESSION snappy)")
    Path(f"{path}.new").replace(path)

    assert pins.verify("set", pinned, Progress()) == 3


@pytest.mark.parametrize(
    ("select", "says"),
    [
        ("* REPLACE ('2' AS CODE)", "one/devices.parquet has other values"),
        ("* EXCLUDE UDI", "one/devices.parquet has other columns"),
    ],
)
def test_changed_table_is_named(data: Path, pinned: Path, select: str, says: str) -> None:
    """A table that changed is named, and only that one."""
    _rewrite(data / "one" / "devices.parquet", select)

    with pytest.raises(ChangedError) as caught:
        pins.verify("set", pinned, Progress())

    assert says in str(caught.value)
    assert "payers" not in str(caught.value)


def test_rows_gone_new_and_missing_tables(data: Path, pinned: Path) -> None:
    """All tables that changed are named at once: fewer rows, missing, new."""
    with duckdb.connect() as con:
        con.execute(f"COPY (FROM '{data}/payers.parquet' LIMIT 3) TO '{data}/new.parquet'")
    (data / "new.parquet").rename(data / "payers.parquet")
    (data / "allergies.parquet").rename(data / "other.parquet")

    with pytest.raises(ChangedError) as caught:
        pins.verify("set", pinned, Progress())

    assert "allergies.parquet is missing; other.parquet is new; payers.parquet has 3 rows instead of 10" in str(
        caught.value
    )


def test_unreadable_table(data: Path, pinned: Path) -> None:
    """A file that is no Parquet any more is refused by name."""
    (data / "payers.parquet").write_text("no")

    with pytest.raises(DamagedError, match=r"payers\.parquet can't be read"):
        pins.verify("set", pinned, Progress())


def test_pins_move_with_their_data(data: Path, pinned: Path, tmp_path: Path) -> None:
    """Paths are kept relative to the pins, so a checkout can lie anywhere."""
    there = tmp_path / "elsewhere"
    there.mkdir()
    shutil.move(data, there / "data")
    shutil.move(pinned, there / pinned.name)

    assert pins.verify("set", there / pinned.name, Progress()) == 3
    assert json.loads((there / pinned.name).read_text())["set"]["path"] == "data"


def test_pinning_again_replaces_only_that_name(data: Path, pinned: Path) -> None:
    """A second pin joins the first; pinning a name again replaces it."""
    pins.pin("other", data / "one", pinned, Progress())
    (data / "payers.parquet").unlink()
    pins.pin("set", data, pinned, Progress())

    assert list(pins.read(pinned)) == ["other", "set"]
    assert pins.verify("set", pinned, Progress()) == 2


def test_unknown_name(pinned: Path) -> None:
    """A name that is not pinned is a wrong usage."""
    with pytest.raises(UsageError, match="pins no sett; it pins set"):
        pins.verify("sett", pinned, Progress())


def test_no_pins_or_damaged_pins(tmp_path: Path) -> None:
    """Missing pins say how to make them, damaged ones are refused."""
    with pytest.raises(UsageError, match="resolver data pin NAME PATH"):
        pins.read(tmp_path / "none.json")
    (tmp_path / "bad.json").write_text('{"set": {"path": 3}}')
    with pytest.raises(DamagedError, match="is not a file of pins"):
        pins.read(tmp_path / "bad.json")


def test_nothing_to_pin(tmp_path: Path) -> None:
    """A folder without data, or none at all, can't be pinned."""
    with pytest.raises(UsageError, match="There is no folder"):
        pins.pin("x", tmp_path / "none", tmp_path / "p.json", Progress())
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="holds no data"):
        pins.pin("x", tmp_path / "empty", tmp_path / "p.json", Progress())
