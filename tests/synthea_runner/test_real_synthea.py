"""The real Synthea, where Java and a class path are found."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from resolver.progress import Progress
from synthea_runner import locate, states
from synthea_runner.convert import convert
from synthea_runner.generate import Request, generate
from synthea_runner.settings import SyntheaSettings

pytestmark = [
    pytest.mark.java,
    pytest.mark.slow,
    pytest.mark.skipif(
        shutil.which("java") is None or not os.environ.get("SYNTHEA_CLASSPATH"),
        reason="needs Java and a Synthea class path (SYNTHEA_CLASSPATH)",
    ),
]

SETTINGS = SyntheaSettings(via="jar", heap_gib=2, leave_out=("claims", "claims_transactions", "patient_expenses"))


def test_a_handful_of_persons(tmp_path: Path) -> None:
    """Real Synthea makes four living persons, as tables and as FHIR; the same seed makes the same people again."""
    found = locate.find(SETTINGS)
    request = Request(4, 11, "Vermont", fhir=True)

    outcome = generate(SETTINGS, request, found, tmp_path / "raw", Progress())
    made = convert(tmp_path / "raw", tmp_path / "population", Progress(), fhir=True)
    generate(SETTINGS, request, found, tmp_path / "raw2", Progress())
    again = convert(tmp_path / "raw2", tmp_path / "population2", Progress(), fhir=True)

    assert outcome.alive == 4
    assert made.tables["patients"].rows == made.fhir["Patient"].rows == outcome.persons
    assert made.tables["observations"].rows > 100
    assert again.tables == made.tables
    tabled = {row["Id"] for row in csv.DictReader(io.StringIO((tmp_path / "raw/synthea/csv/patients.csv").read_text()))}
    lines = (tmp_path / "population/fhir/Patient.ndjson").read_text().splitlines()
    assert {json.loads(line)["id"] for line in lines} == tabled


def test_interrupting_the_real_synthea(tmp_path: Path) -> None:
    """A kill ends Synthea too, says how far it came, and leaves no population."""
    make = [sys.executable, "-c", "from resolver.cli import main; main()", "synthea", "generate", "--heap-gib", "2"]
    make += ["--population", "500", "--seed", "11", "--out", str(tmp_path / "raw")]
    with subprocess.Popen(make, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        log = tmp_path / "raw" / "synthea.log"
        waited = time.monotonic()
        while not (log.exists() and " -- " in log.read_text()):
            assert time.monotonic() - waited < 120
            assert process.poll() is None
            time.sleep(0.2)
        process.terminate()
        _, said = process.communicate(timeout=60)

    assert process.returncode == 130
    assert "of 500 persons. Run the same command again" in said
    assert not (tmp_path / "raw" / "synthea").exists()
    assert json.loads((tmp_path / "raw" / "generation.json").read_text())["status"] == "stopped"
    running = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert str(tmp_path) not in running


def test_states_are_those_of_synthea() -> None:
    """The names of states here are exactly those in Synthea's own demographics."""
    jar = locate.synthea_jar(os.environ["SYNTHEA_CLASSPATH"])
    assert jar is not None
    with zipfile.ZipFile(jar) as content, content.open("geography/demographics.csv") as file:
        known = {row["STNAME"] for row in csv.DictReader(io.TextIOWrapper(file, encoding="utf-8"))}

    assert known == set(states.STATES.values())
