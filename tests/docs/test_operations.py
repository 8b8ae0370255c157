"""The page on operations: what it tells to type works, and a restored index goes on."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

FIRST = ("ADA", "BRUNO", "CLARA", "DARIO", "EDITH", "FELIX", "GRETA", "HUGO")
LAST = ("ABEL", "BRANDT", "CONRAD", "DORN", "EBERT", "FABER", "GEIGER", "HAUPT")
CONFIG = """\
run: {dir: runs/my, threads: 1, memory_gib: 1}
index: {path: index/mpi.duckdb}
learn: {way: none}
sources:
  - kind: table
    path: patients.csv
    name: registry
    source: clinic
    record_id: id
    fields: {first_name: first, last_name: last, birth_date: born, ssn: ssn}
"""


def rows(persons: int) -> list[str]:
    draw = random.Random(5)
    found = ["id,clinic,first,last,born,ssn"]
    for number in range(persons):
        born, ssn = f"{draw.randint(1940, 2000)}-0{draw.randint(1, 9)}-12", draw.randint(100_000_000, 699_999_999)
        name = f"{draw.choice(FIRST)},{draw.choice(LAST)}"
        found += [f"{number}{clinic},{clinic},{name},{born},{ssn}" for clinic in ("north", "south")[: 1 + number % 2]]
    return found


@pytest.mark.slow
def test_operations(pages: Any, follow: Callable[[Path, Path], None], tmp_path: Path, monkeypatch: Any) -> None:
    """Every command of the page works in order; after a restore new records are brought in, and old ids stay."""
    if sys.platform != "linux":
        pytest.skip("the page uses flock and stat as Linux has them")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.yaml").write_text(CONFIG, encoding="utf-8")
    (tmp_path / "patients.csv").write_text("\n".join(rows(12)) + "\n", encoding="utf-8")
    follow(pages.root / "docs" / "operations.md", tmp_path)
    before = crosswalk(pages, tmp_path)
    (tmp_path / "patients.csv").write_text("\n".join(rows(13)) + "\n", encoding="utf-8")
    pages.run("resolver run my.yaml")
    after = crosswalk(pages, tmp_path)

    assert set(before) < set(after)
    assert len(after) == len(before) + 1


def crosswalk(pages: Any, folder: Path) -> list[str]:
    text: str = pages.query(
        f"ATTACH '{folder}/index/mpi.duckdb' AS mpi (READ_ONLY);"
        "SELECT record_id, person_id FROM mpi.crosswalk ORDER BY record_id"
    )
    return text.splitlines()
