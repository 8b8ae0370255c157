"""The package that docs/extending.md shows, written out, installed and run as it stands there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

pytestmark = pytest.mark.slow

PAGE = Path(__file__).parents[2] / "docs" / "extending.md"
BLOCK = re.compile(r"^```\w+\n# (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

# id, family name, given name, birthday, sex, street, ZIP
PEOPLE = [
    *((f"D{n}", "Dorn" + "abcdefghi"[n], f"Clara{n}", f"19{50 + n}-03-0{n + 1}", "F", f"{n} Elm St") for n in range(9)),
    ("A1", "Lindqvist", "Astrid", "1984-05-06", "F", "12 Main St"),
    ("A2", "Lindqvist", "Astrid", "1984-05-06", "F", "12 Main St"),
    ("A3", "Lindqvist", "Greta", "1984-05-06", "F", "12 Main St"),
]


# People are made in large blocks, so that each is the same however many are asked for; here small ones do.
PROGRAM = "from augmentation.people import persons; persons.HOUSEHOLDS = 250; from resolver import cli; cli.main()"


def installed_program(site: Path, *arguments: object) -> str:
    """Run resolver with the package beside it; what it says."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of the page, and the source that its config names."""
    folder = tmp_path_factory.mktemp("written")
    for name, text in BLOCK.findall(PAGE.read_text(encoding="utf-8")):
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    (folder / "clinic_extras" / "__init__.py").touch()
    lines = [
        f"{number:5}{last:12}{first:10}{born}{sex}{street:18}02139" for number, last, first, born, sex, street in PEOPLE
    ]
    (folder / "admissions.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def site(written: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package installed by pip."""
    folder = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index", "--no-deps"]
    subprocess.run([*pip, "--no-build-isolation", "--target", folder, written], check=True)
    return folder


@pytest.fixture(scope="module")
def run(written: Path, site: Path) -> Path:
    """The run of the page's config."""
    installed_program(site, "run", written / "clinic.yaml", "--json")
    return written / "runs" / "clinic"


def test_the_source_of_another_package_is_read(run: Path) -> None:
    """Each line of the file is a record, with its fields taken from their places."""
    rows = duckdb.execute(
        "SELECT source_record_id, raw_last_name, raw_first_name, raw_birth_date, sex, raw_street"
        f" FROM '{run}/records.parquet'"
    ).fetchall()

    assert sorted(rows) == sorted(PEOPLE)


def test_the_judge_of_another_package_is_asked(run: Path) -> None:
    """It speaks against the pairs of twins and of no others, and the twin is a person of her own."""
    verdicts = duckdb.execute(
        "SELECT l.source_record_id, r.source_record_id, v.logit"
        f" FROM '{run}/verdicts.parquet' v JOIN '{run}/records.parquet' l ON l.rid = left_rid"
        f" JOIN '{run}/records.parquet' r ON r.rid = right_rid WHERE judge = 'twins' ORDER BY ALL"
    ).fetchall()
    persons = duckdb.execute(
        f"SELECT list_sort(list(source_record_id)) AS records FROM '{run}/clusters.parquet'"
        f" JOIN '{run}/records.parquet' USING (rid) WHERE raw_last_name = 'Lindqvist' GROUP BY cluster ORDER BY records"
    ).fetchall()

    assert verdicts == [("A1", "A3", -4.0), ("A2", "A3", -4.0)]
    assert persons == [(["A1", "A2"],), (["A3"],)]


def test_the_kind_of_error_of_another_package_strikes(written: Path, site: Path) -> None:
    """A bed made by the page's config has errors of that kind, written down with what stood there before."""
    bed = written / "bed"
    config = ("--config", written / "bed.yaml", "--threads", 1)
    installed_program(site, "augment", "people", "--records", 200, *config, "--out", bed, "--quiet")
    made = duckdb.execute(f"SELECT before, after FROM '{bed}/truth/errors.parquet' WHERE kind = 'azerty'").fetchall()

    assert len(made) > 50
    assert all(len(before) == len(after) and before != after for before, after in made)
