"""Running Synthea: all of a population or nothing. A stand-in for Java acts as Synthea does."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from resolver.errors import LockedError, ResolverError, UsageError
from resolver.files import lock
from resolver.progress import Progress
from synthea_runner import locate
from synthea_runner.generate import Outcome, Request, arguments, generate
from synthea_runner.settings import SyntheaSettings

Java = Callable[[], list[str]]


class Heard(Progress):
    """Remembers what was said and counted."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.label, self.of, self.counted = "", 0, 0

    def say(self, text: str) -> None:
        self.lines.append(text)

    @contextlib.contextmanager
    def step(self, label: str, total: int | None = None, unit: str = "rows") -> Iterator[Heard]:
        self.label, self.of = label, total or 0
        yield self

    def advance(self, count: int) -> None:
        self.counted += count

    def total(self, count: int) -> None:
        self.of = count


@pytest.fixture
def run(java: Java, jar: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Outcome]:
    """Generates the sample's 65 persons into a folder, with the stand-in acting as it is told."""

    def call(
        says: str = "all", progress: Progress | None = None, overwrite: bool = False, **request: object
    ) -> Outcome:
        monkeypatch.setenv("SYNTHEA_SAYS", says)
        settings = SyntheaSettings(classpath=str(jar), heap_gib=1)
        wanted = Request(**({"population": 65, "seed": 1, "state": "Ohio"} | request))  # type: ignore[arg-type]
        out = tmp_path / "raw"
        found = locate.find(settings)
        return generate(settings, wanted, found, out, progress or Progress(), overwrite=overwrite)

    return call


def test_seeds_and_dates_are_always_set() -> None:
    """Synthea gets both seeds, both dates and the state, whatever the config says."""
    given = arguments(SyntheaSettings(), Request(10, 7, "Ohio"))

    assert given[:10] == ["-p", "10", "-s", "7", "-cs", "7", "-r", "20260101", "-e", "20260101"]
    assert given[-1] == "Ohio"


def test_settings_reach_synthea() -> None:
    """Modules, history, tables left out, clinicians' seed and any property are passed on."""
    settings = SyntheaSettings(
        modules=("gout", "asthma*"),
        years_of_history=3,
        leave_out=("claims", "supplies"),
        clinician_seed=9,
        threads=1,
        properties={"generate.middle_names": 0.5, "lifecycle.death_by_natural_causes": True},
    )

    given = arguments(settings, Request(10, 7, "Ohio", fhir=True))

    assert given[given.index("-cs") + 1] == "9"
    assert given[given.index("-m") + 1] == "gout:asthma*"
    assert {
        "--exporter.years_of_history=3",
        "--exporter.csv.excluded_files=claims.csv,supplies.csv",
        "--exporter.fhir.export=true",
        "--exporter.fhir.bulk_data=true",
        "--generate.thread_pool_size=1",
        "--generate.middle_names=0.5",
        "--lifecycle.death_by_natural_causes=true",
    } <= set(given)


def test_a_whole_population(run: Callable[..., Outcome], java: Java, tmp_path: Path) -> None:
    """A finished population has its tables, its log and a record of what made it, and no folder of the attempt."""
    outcome = run()

    out = tmp_path / "raw"
    record = json.loads((out / "generation.json").read_text())
    assert (outcome.persons, outcome.alive, outcome.dead, outcome.made) == (71, 65, 6, True)
    assert record["status"] == "complete"
    assert record["synthea"] == {"version": "3.3.0", "build": "v3.3.0-1-gabcdef"}
    assert record["options"]["seed"] == 1
    assert (out / "synthea" / "csv" / "patients.csv").exists()
    assert "Population: 65" in (out / "synthea.log").read_text()
    assert {path.name for path in out.iterdir()} == {".lock", "generation.json", "synthea", "synthea.log"}
    assert "-Xmx1024m" in java()
    assert "-Duser.timezone=UTC" in java()


def test_progress_counts_each_person_once(run: Callable[..., Outcome]) -> None:
    """A person who died and was simulated again under the same number counts once."""
    heard = Heard()

    run(progress=heard)

    assert (heard.label, heard.of, heard.counted) == ("Synthea", 65, 65)


def test_the_same_again_is_not_made_again(run: Callable[..., Outcome], java: Java, tmp_path: Path) -> None:
    """The same command on a finished population does nothing."""
    first = run()
    (tmp_path / "called.json").unlink()

    second = run()

    assert second == Outcome(first.persons, first.alive, first.dead, first.seconds, made=False)
    assert not (tmp_path / "called.json").exists()


def test_another_population_is_not_written_over(run: Callable[..., Outcome], tmp_path: Path) -> None:
    """A folder with another population is refused, unless it may be replaced."""
    run()

    with pytest.raises(UsageError, match=r"holds another population .*seed 1, Ohio"):
        run(seed=2)
    assert run(seed=2, overwrite=True).made
    assert json.loads((tmp_path / "raw" / "generation.json").read_text())["options"]["seed"] == 2


def test_strange_files_are_left_alone(run: Callable[..., Outcome], tmp_path: Path) -> None:
    """A folder that holds other files is refused."""
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "thesis.doc").touch()

    with pytest.raises(UsageError, match="holds other files"):
        run()
    assert (tmp_path / "raw" / "thesis.doc").exists()


@pytest.mark.parametrize(
    ("says", "code", "error"),
    [
        ("too little heap", 1, "a heap of 1 GiB is too little. Raise it with --heap-gib"),
        ("no such heap", 1, "Java can't have a heap of 1 GiB on this machine"),
        ("disk full", 1, "is full. Make room"),
        ("no library", 1, "a library of Synthea is missing"),
        ("killed", 1, "was killed after 32 of 65 persons, most likely because the machine ran out of memory"),
        ("interrupted", 130, "was stopped after 32 of 65 persons"),
        ("something", 1, "failed after 32 of 65 persons with exit code 1. Its log says why"),
        ("a person failed", 1, "1 of 65 persons failed"),
        ("tables missing", 1, "tables are missing"),
        ("rows missing", 1, "patients.csv has 70 rows for 71 persons"),
    ],
)
def test_failures_are_explained(run: Callable[..., Outcome], tmp_path: Path, says: str, code: int, error: str) -> None:
    """Each way to fail is told in one line without a name from the log, and nothing looks like a population."""
    with pytest.raises(ResolverError) as caught:
        run(says)

    assert error in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "Ann" not in str(caught.value)
    assert caught.value.exit_code == code
    assert {path.name for path in (tmp_path / "raw").iterdir()} == {".lock", "generation.json", "synthea.log"}
    assert json.loads((tmp_path / "raw" / "generation.json").read_text())["status"] in ("failed", "stopped")


def test_starting_over_after_an_interruption(run: Callable[..., Outcome], tmp_path: Path) -> None:
    """After an interrupted generation, the next one says how far it came and mixes nothing of it in."""
    with pytest.raises(ResolverError):
        run("interrupted")
    attempt = tmp_path / "raw" / ".attempt-of-a-process-that-was-killed"
    (attempt / "csv").mkdir(parents=True)
    (attempt / "csv" / "claims.csv").write_text("left by it")
    heard = Heard()

    run(progress=heard, seed=2)

    assert "32 of 65 persons (seed 1, Ohio) were simulated; no table is complete. Starting over." in heard.lines[0]
    assert not attempt.exists()
    assert not (tmp_path / "raw" / "synthea" / "csv" / "claims.csv").exists()


def test_a_folder_in_use_is_refused(run: Callable[..., Outcome], tmp_path: Path) -> None:
    """Two generations never share a folder."""
    with lock(tmp_path / "raw" / ".lock", "it"), pytest.raises(LockedError, match="is in use by process"):
        run()


def test_fhir_must_be_there_if_wanted(run: Callable[..., Outcome], tmp_path: Path) -> None:
    """With --fhir the same people come as NDJSON too."""
    run(fhir=True)

    assert (tmp_path / "raw" / "synthea" / "fhir" / "Patient.ndjson").exists()


def test_wrong_state_before_anything_runs(run: Callable[..., Outcome], tmp_path: Path) -> None:
    """A wrong state is refused before a folder is made."""
    with pytest.raises(UsageError, match="Did you mean Ohio"):
        run(state="Ohi")
    assert not (tmp_path / "raw").exists()
