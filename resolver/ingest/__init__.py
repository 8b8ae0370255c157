"""First stage: reads the sources, normalises them, and puts aside what can't be used, each row with its reason.

synthea.py fhir.py table.py   one per kind of source: from files to rows of one shape (raw.py)
normalise.py                  from raw values to the forms of resolver/tables.py
assemble.py                   from rows to record numbers, content hashes and the four tables
forbidden.py                  what must never be read to match
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from typing import Any

from resolver.database import quote
from resolver.errors import InputError, UsageError
from resolver.ingest import facts, readers
from resolver.ingest.assemble import Assembly, File
from resolver.ingest.opening import Opener
from resolver.ingest.raw import Batch
from resolver.progress import Step
from resolver.runs import stat_of
from resolver.settings import Settings
from resolver.stage import Facts, StageContext

__all__ = ["run", "watches"]

FILES_PER_QUERY = 32


def watches(settings: Settings) -> Mapping[str, Any]:
    """Size and time of every file that the stage reads, and versions of the packages that read them for it."""
    files = [path for source in settings.sources for path in readers.find(source.kind).files(source)]
    return {**stat_of(files), **readers.versions(source.kind for source in settings.sources)}


def run(context: StageContext) -> Facts:
    settings = context.settings
    only_changes = settings.ingest.input == "changes"
    con = context.connect()
    try:
        con.execute(f"ATTACH {quote(context.scratch / 'ingest.duckdb')} AS work; USE work; SET TimeZone = 'UTC'")
        opener = Opener(con, context.scratch)
        assembly = Assembly(con, context.base if only_changes else {})
        batches = [batch for source in settings.sources for batch in readers.find(source.kind).read(source, opener)]
        _distinct([batch.name for batch in batches])
        numbered = _numbered(batches)
        for files in _groups(file for file in numbered if file.rows.kind == "person"):
            with _step(context, "records", files) as step:
                assembly.add_persons(files, settings.ingest.placeholders)
                step.advance(sum(file.rows.total for file in files))
        records = assembly.number_records()
        if not records:
            raise InputError(
                "The sources hold no record that can be used.", do="Look at them with: resolver check CONFIG"
            )
        for files in _groups(file for file in numbered if file.rows.kind != "person"):
            with _step(context, files[0].rows.kind, files) as step:
                assembly.add_events(files)
                step.advance(sum(file.rows.total for file in files))
        sources = facts.of_sources(assembly, batches)
        facts.too_many_rejected(sources, settings.ingest.max_rejected)
        with context.progress.step("write the tables"):
            assembly.reject()
            written = assembly.write(context)
        carried = assembly.carried()
        facts.check(sources, written, carried)
        return {
            "records": records,
            "events": written["events"],
            "rejected": written["rejected"],
            "carried": carried["records"],
            "sources": sources,
            "filled": facts.filled(con, context),
        }
    finally:
        con.close()


def _distinct(names: list[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise UsageError(
                f"Two sources are called {name}.", do="Give each its own name under sources in the config."
            )


def _numbered(batches: list[Batch]) -> list[File]:
    files = [(batch, rows) for batch in batches for rows in (*batch.persons, *batch.events)]
    return [File(number, batch, rows) for number, (batch, rows) in enumerate(files)]


def _groups(files: Iterable[File]) -> list[list[File]]:
    """Files that one query can read, in order: planning a query takes longer than reading a small file."""
    groups: dict[tuple[str, tuple[str, ...]], list[File]] = {}
    for file in files:
        groups.setdefault((file.rows.kind, file.batch.date_formats), []).append(file)
    return [
        group[at : at + FILES_PER_QUERY] for group in groups.values() for at in range(0, len(group), FILES_PER_QUERY)
    ]


def _step(context: StageContext, what: str, files: list[File]) -> contextlib.AbstractContextManager[Step]:
    names = sorted({file.batch.name for file in files})
    of = names[0] if len(names) == 1 else f"{len(names)} sources"
    return context.progress.step(f"{what} of {of}", sum(file.rows.total for file in files))
