"""Runs Synthea into a folder: all of a population or nothing, never parts of two.

    OUT/generation.json   what was asked for, what ran, how far it came
    OUT/synthea.log       Synthea's own output
    OUT/synthea/csv/      its tables; OUT/synthea/fhir/ the same people as FHIR, if wanted

Synthea writes into a folder of this attempt alone, which gets its name when all is there.
Knows nothing of what is in the tables.
"""

from __future__ import annotations

import errno
import json
import shutil
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from resolver import files
from resolver.errors import RunError, UsageError
from resolver.progress import Progress
from synthea_runner import failures, states, watch
from synthea_runner.locate import Synthea
from synthea_runner.settings import SyntheaSettings

RECORD = "generation.json"
LOG = "synthea.log"
RESULT = "synthea"
_ATTEMPT = ".attempt-"


@dataclass(frozen=True)
class Request:
    """A population that is wanted."""

    population: int
    seed: int
    state: str
    fhir: bool = False


@dataclass(frozen=True)
class Outcome:
    """A population that is there."""

    persons: int
    alive: int
    dead: int
    seconds: float
    made: bool  # False: it was there already


def arguments(settings: SyntheaSettings, request: Request) -> list[str]:
    """Synthea's arguments, all but the folder that it writes to."""
    clinicians = request.seed if settings.clinician_seed is None else settings.clinician_seed
    switches = ["-p", str(request.population), "-s", str(request.seed), "-cs", str(clinicians)]
    switches += ["-r", f"{settings.reference_date:%Y%m%d}", "-e", f"{settings.end_date:%Y%m%d}"]
    if settings.modules:
        switches += ["-m", ":".join(settings.modules)]
    fhir = request.fhir
    properties: dict[str, Any] = {
        "exporter.csv.export": True,
        "exporter.csv.append_mode": False,
        "exporter.csv.folder_per_run": False,
        "exporter.csv.included_files": "",
        "exporter.csv.excluded_files": ",".join(f"{table}.csv" for table in settings.leave_out),
        "exporter.metadata.export": True,
        "exporter.fhir.export": fhir,
        "exporter.fhir.bulk_data": fhir,
        "exporter.hospital.fhir.export": fhir,
        "exporter.practitioner.fhir.export": fhir,
        "exporter.years_of_history": settings.years_of_history,
        "generate.log_patients.detail": "simple",
        "generate.thread_pool_size": settings.threads or -1,
    }
    properties |= settings.properties
    switches += [f"--{name}={_text(value)}" for name, value in properties.items()]
    return [*switches, request.state]


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def generate(
    settings: SyntheaSettings,
    request: Request,
    synthea: Synthea,
    out: Path,
    progress: Progress,
    *,
    overwrite: bool = False,
) -> Outcome:
    """Make the population in `out`, unless it is there already."""
    # With other demographics there may be other places than US states.
    if "generate.demographics.default_file" not in settings.properties:
        request = replace(request, state=states.require(request.state))
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{out} can't be made: {error.strerror}.", do="Choose another --out.") from None
    # How Synthea is reached and how much memory it has make no difference to the people.
    chosen = settings.model_dump(mode="json", exclude={"version", "via", "classpath", "image", "heap_gib"})
    wanted = {
        "synthea": {"version": synthea.version, "build": synthea.build},
        "options": asdict(request) | chosen | {"state": request.state},
        "arguments": arguments(settings, request),
    }
    with files.lock(out / ".lock", f"The population folder {out}") as descriptor:
        there = _look_before(out, wanted, progress, overwrite=overwrite)
        if there is not None:
            return there
        return _make(settings, request, synthea, out.absolute(), wanted, progress, descriptor)


def read_record(out: Path) -> dict[str, Any] | None:
    """generation.json of a folder; None where there is none."""
    try:
        found = json.loads((out / RECORD).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        found = None
    if not isinstance(found, dict) or "status" not in found:
        raise RunError(f"{out / RECORD} can't be read.", do="Remove the folder and generate again.")
    return found


def unfinished(out: Path, record: dict[str, Any]) -> str:
    """How far a generation came that did not finish, in words."""
    asked = record["options"]
    done = watch.simulated_in(out / LOG)
    return (
        f"{done:,} of {asked['population']:,} persons (seed {asked['seed']}, {asked['state']}) were simulated; "
        "no table is complete"
    )


def _look_before(out: Path, wanted: dict[str, Any], progress: Progress, *, overwrite: bool) -> Outcome | None:
    """The population that is in the folder already, if it is the one that is wanted; refuses any other."""
    record = read_record(out)
    if record is None:
        if any(path.name != ".lock" for path in out.iterdir()):
            raise UsageError(f"{out} holds other files.", do="Choose a new or empty folder for --out.")
        return None
    if record["status"] == "complete" and not overwrite:
        if {key: record[key] for key in wanted} == json.loads(json.dumps(wanted)) and (out / RESULT).is_dir():
            counts = record["persons"]
            return Outcome(counts["total"], counts["alive"], counts["dead"], record["seconds"], made=False)
        asked = record["options"]
        raise UsageError(
            f"{out} holds another population ({asked['population']:,} persons, seed {asked['seed']}, "
            f"{asked['state']}, made with other options).",
            do="Choose another --out, or replace it with --overwrite.",
        )
    if record["status"] != "complete":
        progress.say(f"An earlier generation in {out} did not finish: {unfinished(out, record)}. Starting over.")
    return None


def _make(
    settings: SyntheaSettings,
    request: Request,
    synthea: Synthea,
    out: Path,
    wanted: dict[str, Any],
    progress: Progress,
    descriptor: int,
) -> Outcome:
    began = time.monotonic()
    record = wanted | {"via": synthea.via, "java": synthea.java, "started": time.strftime("%Y-%m-%dT%H:%M:%S%z")}
    files.write_json(out / RECORD, record | {"status": "running"})
    for leftover in (*out.glob(f"{_ATTEMPT}*"), out / RESULT):
        shutil.rmtree(leftover, ignore_errors=True)
    attempt = Path(tempfile.mkdtemp(prefix=_ATTEMPT, dir=out))
    attempt.chmod(0o755)
    base = f"--exporter.baseDirectory={synthea.base(attempt)}"
    command = synthea.command(attempt, settings.heap_gib, [base, *wanted["arguments"]])
    try:
        with progress.step("Synthea", total=request.population, unit="persons") as step:
            heard = watch.run(command, out / LOG, step.advance, descriptor)
        done = _so_far(len(heard.simulated), request)
        if heard.code or heard.totals is None:
            raise failures.explain(
                heard.signs, heard.code, done=done, folder=out, log=out / LOG, heap=settings.heap_gib
            )
        _require_all(attempt, request, settings, heard.totals, out)
    except (RunError, OSError) as error:
        shutil.rmtree(attempt, ignore_errors=True)  # first, so that there is room to note it
        status = "stopped" if isinstance(error, failures.StoppedError) else "failed"
        files.write_json(out / RECORD, record | {"status": status})
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise failures.full_disk(_so_far(watch.simulated_in(out / LOG), request), out) from None
        raise
    attempt.rename(out / RESULT)
    seconds = round(time.monotonic() - began, 1)
    persons = dict(zip(("total", "alive", "dead"), heard.totals, strict=True))
    files.write_json(out / RECORD, record | {"persons": persons, "seconds": seconds, "status": "complete"})
    return Outcome(*heard.totals, seconds, made=True)


def _so_far(simulated: int, request: Request) -> str:
    return f"{simulated:,} of {request.population:,} persons"


def _require_all(
    attempt: Path, request: Request, settings: SyntheaSettings, totals: tuple[int, int, int], out: Path
) -> None:
    """Synthea goes on when a person fails or a file can't be written, so its word is not enough."""
    total, alive, _ = totals
    everyone_dies = str(settings.properties.get("generate.only_dead_patients", "")).lower() == "true"
    patients = attempt / "csv" / "patients.csv"
    organizations = attempt / "csv" / "organizations.csv"
    fault = None
    if not everyone_dies and alive < request.population:
        fault = f"{request.population - alive:,} of {request.population:,} persons failed"
    elif not patients.exists() or not organizations.exists() or organizations.stat().st_size == 0:
        fault = "tables are missing"
    elif (rows := _lines(patients) - 1) != total:
        fault = f"patients.csv has {rows:,} rows for {total:,} persons"
    elif request.fhir and not (attempt / "fhir" / "Patient.ndjson").exists():
        fault = "it wrote no FHIR"
    if fault:
        raise failures.GenerationError(
            f"Synthea ended, but {fault}, so nothing of it is kept.", do=f"Its log may say why: {out / LOG}"
        )


def _lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(1 << 20), b""))
