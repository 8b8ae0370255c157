"""Turns what Synthea wrote into a population: typed Parquet, FHIR if wanted, and a manifest that is written last.

All tables are made in a folder aside and moved into place together, so that a population is never a mixture of two.
Knows nothing about how Synthea was run; how one table is read is in tables.py.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from resolver import database, files
from resolver.errors import InputError, RunError, UsageError
from resolver.progress import Progress
from synthea_runner import content, generate, population, tables
from synthea_runner.layout import LAYOUT
from synthea_runner.population import Population, TableFacts

_ASIDE = ".converting"
# DuckDB's own limit does not cover all that it allocates, nor Python.
_SHARE_FOR_DATABASE = 0.6


class Source:
    """What Synthea left: its tables, its FHIR, and what is known of how they were made."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        if not folder.is_dir():
            raise UsageError(
                f"There is no folder {folder}.", do="Name the folder that `resolver synthea generate` made."
            )
        record = generate.read_record(folder)
        if record is None:
            base = folder if (folder / "csv").is_dir() else folder.parent
            self.csv = folder / "csv" if (folder / "csv").is_dir() else folder
            self.fhir = base / "fhir"
            self.made = _own_record(base / "metadata")
        elif record["status"] != "complete":
            raise InputError(
                f"The generation in {folder} did not finish: {generate.unfinished(folder, record)}.",
                do="Run the same `resolver synthea generate` again; it starts over.",
            )
        else:
            self.csv = folder / generate.RESULT / "csv"
            self.fhir = folder / generate.RESULT / "fhir"
            self.made = {key: record[key] for key in ("synthea", "options", "arguments", "persons")}
        if not (self.csv / "patients.csv").exists():
            raise InputError(f"{folder} holds no Synthea tables (no patients.csv).", do="Check the folder.")

    def tables(self, leave_out: frozenset[str]) -> list[Path]:
        """The CSV files to convert, in the order of the layout."""
        found = {path.stem: path for path in self.csv.glob("*.csv")}
        unknown = sorted(found.keys() - LAYOUT.keys() - leave_out)
        if unknown:
            raise InputError(
                f"{self.csv} holds tables that Synthea 3.3.0 does not write: {', '.join(unknown)}.",
                do="Leave them out with --leave-out.",
            )
        return [found[table] for table in LAYOUT if table in found and table not in leave_out]


def _own_record(folder: Path) -> dict[str, Any]:
    """What Synthea itself noted of a run that was not started here."""
    notes = sorted(folder.glob("*.json"))
    if len(notes) != 1:
        return {}
    noted = json.loads(notes[0].read_text(encoding="utf-8"))
    return {
        "synthea": {"version": None, "build": str(noted.get("version", "")).strip() or None},
        "options": {
            "seed": noted.get("seed"),
            "clinician_seed": noted.get("clinicianSeed"),
            "reference_date": noted.get("referenceTime"),
            "end_date": noted.get("endTime"),
            "state": noted.get("state"),
            "years_of_history": noted.get("exporter.years_of_history"),
        },
    }


def convert(
    folder: Path,
    out: Path,
    progress: Progress,
    *,
    fhir: bool = False,
    leave_out: frozenset[str] = frozenset(),
    overwrite: bool = False,
    memory_gib: float = 2.0,
    threads: int | None = None,
) -> Population:
    """Make the population in `out` from Synthea's output in `folder`."""
    source = Source(folder)
    sources = source.tables(leave_out)
    ndjson = _ndjson(source) if fhir else []
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f"{out} can't be made: {error.strerror}.", do="Choose another --out.") from None
    with files.lock(out / ".lock", f"The population folder {out}"):
        _require_ours(out, source, overwrite=overwrite)
        aside = out / _ASIDE
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir()
        try:
            con = database.connect(
                memory_gib=memory_gib * _SHARE_FOR_DATABASE, threads=threads or database.cores(), spill=aside / "spill"
            )
            with con:
                con.execute("SET enable_progress_bar = true")
                con.execute("SET enable_progress_bar_print = false")
                made = _tables(con, sources, aside, progress)
                resources = _keep_fhir(con, ndjson, aside, progress)
            shutil.rmtree(aside / "spill", ignore_errors=True)
            result = Population(made=source.made, tables=made, fhir=resources)
            _move_in(aside, out)
            population.write(out, result)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    return result


def _tables(con: Any, sources: list[Path], aside: Path, progress: Progress) -> dict[str, TableFacts]:
    facts: dict[str, TableFacts] = {}
    mega = 1_000_000
    with progress.step("Convert", total=sum(path.stat().st_size for path in sources) // mega, unit="MB") as step:
        done = told = 0

        def advance(count: int) -> None:
            nonlocal done, told
            done += count
            step.advance(done // mega - told)
            told = done // mega

        for csv in sources:
            written = tables.convert(con, csv, aside / f"{csv.stem}.parquet", advance=advance)
            facts[csv.stem] = TableFacts(written.rows, written.content, written.columns)
    return facts


def _ndjson(source: Source) -> list[Path]:
    found = sorted(source.fhir.glob("*.ndjson"))
    if not any(path.name == "Patient.ndjson" for path in found):
        raise InputError(f"{source.folder} holds no FHIR.", do="Generate it with --fhir, or convert without it.")
    _require_bare_names(source.fhir / "Patient.ndjson")
    return found


def _require_bare_names(patients: Path) -> None:
    """Names stand in many places of FHIR, so they are not rewritten: Synthea must have left the digits off."""
    with patients.open(encoding="utf-8") as lines:
        first = json.loads(next(lines, "{}"))
    names = [entry.get("family", "") + "".join(entry.get("given", ())) for entry in first.get("name", ())]
    if any(character.isdigit() for entry in names for character in entry):
        raise InputError(
            f"{patients} holds names with Synthea's digits, which would identify everyone.",
            do="Generate it with the property generate.append_numbers_to_person_names: false (the default here).",
        )


def _keep_fhir(con: Any, ndjson: list[Path], aside: Path, progress: Progress) -> dict[str, TableFacts]:
    facts: dict[str, TableFacts] = {}
    if not ndjson:
        return facts
    (aside / "fhir").mkdir()
    with progress.step("FHIR", total=len(ndjson), unit="files") as step:
        for path in ndjson:
            kept = aside / "fhir" / path.name
            try:
                os.link(path, kept)
            except OSError:  # another disk, or one without links
                shutil.copyfile(path, kept)
            rows, hashed = content.of_lines(con, kept)
            facts[path.stem] = TableFacts(rows, hashed, {})
            step.advance(1)
    return facts


def _require_ours(out: Path, source: Source, *, overwrite: bool) -> None:
    """Refuse to write over something else."""
    there = population.read(out) if (out / population.MANIFEST).exists() else None
    if there is not None and there.made != source.made and not overwrite:
        raise UsageError(f"{out} holds another population.", do="Choose another --out, or replace it with --overwrite.")
    if there is None:
        strangers = [path.name for path in out.iterdir() if path.name not in (".lock", _ASIDE)]
        if strangers and not overwrite:
            raise UsageError(f"{out} holds other files.", do="Choose a new or empty folder for --out.")


def _move_in(aside: Path, out: Path) -> None:
    """Replace what is in `out`. Without a manifest until all is there, so a kill leaves nothing that looks whole."""
    (out / population.MANIFEST).unlink(missing_ok=True)
    for table in LAYOUT:
        (out / f"{table}.parquet").unlink(missing_ok=True)
    shutil.rmtree(out / "fhir", ignore_errors=True)
    for path in sorted(aside.iterdir()):
        path.rename(out / path.name)
