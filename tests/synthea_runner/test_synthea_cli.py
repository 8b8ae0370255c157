"""The commands, from the outside."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from resolver.cli import main


def _run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    said = capsys.readouterr()
    return int(ended.value.code or 0), said.out, said.err


def test_generate_convert_pin_verify(
    java: Callable[[], list[str]],
    jar: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """From nothing to a pinned population; a change afterwards is refused by the table's name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SYNTHEA_CLASSPATH", str(jar))
    (tmp_path / "my.yaml").write_text("properties: {generate.middle_names: 0.1}\n")

    make = ["synthea", "generate", "--population", "65", "--seed", "3", "--state", "ohio", "--out", "raw", "-q"]
    code, out, err = _run(capsys, *make, "--config", "my.yaml", "--leave-out", "claims")
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == "Synthea 3.3.0 (v3.3.0-1-gabcdef) via jar, Java 17.0.1"
    assert out.splitlines()[1].startswith("71 persons (65 alive, 6 dead) made in ")
    assert java()[-1] == "Ohio"
    assert "--generate.middle_names=0.1" in java()
    assert "--exporter.csv.excluded_files=claims.csv,patient_expenses.csv" in java()

    code, out, err = _run(capsys, "synthea", "convert", "raw", "--out", "pop", "-q")
    assert (code, err) == (0, "")
    assert out.startswith("71 persons, 71,746 rows in 16 tables: pop")
    assert json.loads((tmp_path / "pop" / "population.json").read_text())["made"]["options"]["state"] == "Ohio"

    assert _run(capsys, "data", "pin", "ohio", "pop", "-q")[:2] == (
        0,
        "ohio: 16 tables, 71,746 rows pinned in data-pins.json\n",
    )
    assert _run(capsys, "data", "verify", "-q")[:2] == (0, "ohio: 16 tables as pinned\n")
    (tmp_path / "pop" / "devices.parquet").unlink()
    code, out, err = _run(capsys, "data", "verify", "ohio", "-q")
    assert (code, out) == (1, "")
    assert "ohio is not what was pinned: devices.parquet is missing." in err


def test_wrong_state(install: Callable[[str, str], Path], capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A wrong state ends with exit code 2 and a suggestion, before Synthea is looked for."""
    make = ["synthea", "generate", "--population", "5", "--seed", "3", "--out", str(tmp_path / "raw")]

    assert _run(capsys, *make, "--state", "Texass") == (
        2,
        "",
        "resolver: Synthea knows no state Texass. Did you mean Texas?\n",
    )


def test_no_synthea(install: Callable[[str, str], Path], capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Without any Synthea, one line says why for each way."""
    code, _, err = _run(
        capsys, "synthea", "generate", "--population", "5", "--seed", "3", "--out", str(tmp_path / "raw")
    )

    assert code == 1
    assert err.count("\n") == 1
    assert "jar: no class path is given; maven: mvn is not on the path; docker: docker is not on the path" in err


def test_verify_goes_on_after_a_change(tables: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Without a name all sets are checked, also after one that changed."""
    pins = str(tmp_path / "p.json")
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.ndjson").write_text("{}\n")
        _run(capsys, "data", "pin", name, str(tmp_path / name), "--file", pins, "-q")
    (tmp_path / "a" / "x.ndjson").write_text("[]\n")

    code, out, err = _run(capsys, "data", "verify", "--file", pins, "-q")

    assert (code, out) == (1, "b: 1 tables as pinned\n")
    assert "a is not what was pinned: x.ndjson has other values" in err


def test_help_loads_nothing_heavy() -> None:
    """The help of the commands comes without DuckDB or pydantic."""
    program = (
        "import sys; from resolver.cli import main\n"
        "try: main(['synthea', 'generate', '--help'])\n"
        "except SystemExit: pass\n"
        "print([name for name in ('duckdb', 'pydantic', 'polars') if name in sys.modules])"
    )

    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout

    assert said.splitlines()[-1] == "[]"
    assert "--population" in said
