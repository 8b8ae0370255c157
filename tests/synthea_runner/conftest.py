"""What the tests of the runner share: the sample's tables as Synthea writes them, and a stand-in for Java."""

from __future__ import annotations

import json
import stat
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest

from synthea_runner.layout import LAYOUT

SAMPLE = Path(__file__).parents[1] / "data" / "population"

# Stands in for `java`: says its version, and otherwise acts as Synthea does. SAYS chooses what happens.
_JAVA = """#!{python}
import json, os, pathlib, shutil, signal, sys, time

if sys.argv[1:] == ["-version"]:
    sys.stderr.write('openjdk version "' + os.environ.get("JAVA_SAYS", "17.0.1") + '" 2021-10-19\\n')
    sys.exit(0)
pathlib.Path(os.environ["SYNTHEA_CALLED"]).write_text(json.dumps(sys.argv[1:]))
words = sys.argv[sys.argv.index("App") + 1:]
options = dict(word[2:].split("=", 1) for word in words if word.startswith("--"))
persons = int(words[words.index("-p") + 1])
out = pathlib.Path(options["exporter.baseDirectory"])
says = os.environ.get("SYNTHEA_SAYS", "all")


def say(line):
    print(line, flush=True)


def person(number, end=" (5000)"):
    say(f"{{number}} -- Ann Lee (30 y/o F) Boston, Massachusetts {{end}}")


(out / "csv").mkdir(parents=True)
(out / "csv" / "organizations.csv").touch()
say("Population: " + str(persons))
person(1, "DECEASED (5000)")
for number in range(1, persons // 2 + 1):
    person(number)
if says == "too little heap":
    say("Terminating due to java.lang.OutOfMemoryError: Java heap space")
    sys.exit(3)
if says == "no such heap":
    say("Error: Could not reserve enough space for object heap")
    sys.exit(1)
if says == "disk full":
    say("java.io.IOException: No space left on device")
    time.sleep(60)  # the real one goes on
if says == "no library":
    say("Exception in thread main java.lang.NoClassDefFoundError: com/google/gson/Gson")
    sys.exit(1)
if says == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
if says == "interrupted":
    os.kill(os.getppid(), signal.SIGTERM)
    time.sleep(60)
if says == "something":
    say("Exception in thread main java.lang.NullPointerException: Ann Lee")
    sys.exit(1)
for number in range(persons // 2 + 1, persons + 1):
    person(number)
shutil.copytree(os.environ["SYNTHEA_TABLES"], out / "csv", dirs_exist_ok=True)
if says == "tables missing":
    (out / "csv" / "organizations.csv").write_text("")
if says == "rows missing":
    lines = (out / "csv" / "patients.csv").read_text().splitlines(keepends=True)
    (out / "csv" / "patients.csv").write_text("".join(lines[:-1]))
if options["exporter.fhir.export"] == "true":
    (out / "fhir").mkdir()
    patient = {{"resourceType": "Patient", "name": [{{"family": "Lee", "given": ["Ann"]}}]}}
    (out / "fhir" / "Patient.ndjson").write_text(json.dumps(patient) + "\\n")
alive = persons - (says == "a person failed")
say(f"Records: total={{alive + 6}}, alive={{alive}}, dead=6")
"""


def as_synthea_writes(parquet: Path, csv: Path, *, digits: bool = True) -> None:
    """A table of the sample as CSV in Synthea's form, with digits on the names."""
    table = parquet.stem
    values = []
    for column, kind in LAYOUT[table].items():
        if kind == "TIMESTAMP":
            values.append(f'strftime("{column}", \'%Y-%m-%dT%H:%M:%SZ\') AS "{column}"')
        elif digits and (table, column) in {("patients", name) for name in ("FIRST", "MIDDLE", "LAST", "MAIDEN")}:
            values.append(f"regexp_replace(\"{column}\", '($| )', '712\\1') AS \"{column}\"")
        elif digits and (table, column) in {("providers", "NAME"), ("payer_transitions", "OWNER_NAME")}:
            values.append(f"regexp_replace(\"{column}\", '($| )', '34\\1', 'g') AS \"{column}\"")
        else:
            values.append(f'"{column}"')
    with duckdb.connect() as con:
        shuffled = f"SELECT {', '.join(values)} FROM '{parquet}' AS t ORDER BY md5(CAST(t AS VARCHAR))"
        con.execute(f"COPY ({shuffled}) TO '{csv}' (HEADER)")


@pytest.fixture(scope="session")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample's tables as CSV."""
    folder = tmp_path_factory.mktemp("tables")
    for parquet in sorted(SAMPLE.glob("*.parquet")):
        as_synthea_writes(parquet, folder / f"{parquet.stem}.csv")
    return folder


@pytest.fixture
def jar(tmp_path: Path) -> Path:
    """A jar that looks like Synthea's."""
    path = tmp_path / "lib" / "synthea-3.3.0.jar"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as content:
        content.writestr("App.class", b"")
        content.writestr("org/mitre/synthea/engine/Generator.class", b"")
        content.writestr("version.txt", "v3.3.0-1-gabcdef\n")
    return path


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Path]:
    """Puts a program on a path that holds nothing else; no Java or Synthea comes from the environment."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    for variable in ("JAVA_HOME", "SYNTHEA_CLASSPATH", "JAVA_SAYS", "SYNTHEA_SAYS"):
        monkeypatch.delenv(variable, raising=False)

    def write(name: str, text: str) -> Path:
        path = folder / name
        path.write_text(text, encoding="utf-8")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return path

    return write


@pytest.fixture
def java(
    tmp_path: Path, install: Callable[[str, str], Path], tables: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], list[str]]:
    """A stand-in for Java on the path; gives the arguments of its last call."""
    install("java", _JAVA.format(python=sys.executable))
    called = tmp_path / "called.json"
    monkeypatch.setenv("SYNTHEA_CALLED", str(called))
    monkeypatch.setenv("SYNTHEA_TABLES", str(tables))
    return lambda: list(json.loads(called.read_text()))
