"""First stage: reads the sources, normalises them, and puts aside what can't be used, each row with its reason.

synthea.py fhir.py table.py   one per kind of source: from files to rows of one shape (raw.py)
normalise.py                  from raw values to the forms of resolver/tables.py
assemble.py                   from rows to record numbers, content hashes and the four tables
forbidden.py                  what must never be read to match
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

from resolver.database import quote
from resolver.errors import InputError, UsageError
from resolver.ingest import facts
from resolver.ingest.assemble import Assembly, Unreadable
from resolver.ingest.opening import Opener
from resolver.ingest.raw import Batch, Rows
from resolver.ingest.readers import READERS
from resolver.runs import stat_of
from resolver.settings import Settings
from resolver.stage import Facts, StageContext

__all__ = ["run", "watches"]


def watches(settings: Settings) -> Mapping[str, Any]:
    """Size and time of every file that the stage reads."""
    return stat_of([path for source in settings.sources for path in READERS[source.kind].files(source)])


def run(context: StageContext) -> Facts:
    settings = context.settings
    only_changes = settings.ingest.input == "changes"
    con = context.connect()
    try:
        con.execute(f"ATTACH {quote(context.scratch / 'ingest.duckdb')} AS work; USE work; SET TimeZone = 'UTC'")
        opener = Opener(con, context.scratch)
        assembly = Assembly(con, context.base if only_changes else {})
        batches = [batch for source in settings.sources for batch in READERS[source.kind].read(source, opener)]
        _distinct([batch.name for batch in batches])
        for batch in batches:
            for rows in batch.persons:
                with _named(batch, rows), context.progress.step(f"records of {batch.name}", rows.total) as step:
                    assembly.add_persons(batch, rows, settings.ingest.placeholders)
                    step.advance(rows.total)
        records = assembly.number_records()
        if not records:
            raise InputError(
                "The sources hold no record that can be used.", do="Look at them with: resolver check CONFIG"
            )
        for batch in batches:
            total = sum(rows.total for rows in batch.events)
            with context.progress.step(f"events of {batch.name}", total) as step:
                for rows in batch.events:
                    with _named(batch, rows):
                        assembly.add_events(batch, rows)
                    step.advance(rows.total)
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


@contextlib.contextmanager
def _named(batch: Batch, rows: Rows) -> Iterator[None]:
    """Says which file it was that failed while it was read."""
    try:
        yield
    except Unreadable as error:
        raise InputError(
            f"{rows.file} of {batch.name} can't be read to its end: it is damaged, or holds text that is not UTF-8.",
            do="Write it again.",
        ) from error
