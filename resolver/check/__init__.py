"""Looks over data and config before a long run: what the data is like, what is lost, what a run will take.

Does the ingest stage, which a run then need not do again, and plans the blocking without proposing pairs.

    profile.py   fields, evidence, losses
    estimate.py  time, memory, gray zone, the GPU bill
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from resolver.check import estimate, profile
from resolver.errors import InputError, ResolverError, UsageError
from resolver.progress import Progress
from resolver.settings import Settings

__all__ = ["look"]


def look(settings: Settings, progress: Progress, gpu: estimate.Gpu) -> dict[str, Any]:
    """Everything that `resolver check` shows. `faults` lists what would make a run fail, one line each."""
    from resolver import link, pipeline, runs

    faults = [fault for fault in (_truth(settings), *_judges(settings)) if fault]
    (report,) = runs.execute(pipeline.STAGES[:1], settings, progress, base=pipeline.base)
    folder = runs.RunFolder(settings.run.dir)
    ingested = folder.manifest()["stages"]["ingest"]
    records, events = folder.require("records"), folder.require("events")
    found: dict[str, Any] = {"records": report.facts["records"], "events": report.facts["events"]}
    with (
        tempfile.TemporaryDirectory(prefix="check-", dir=settings.run.dir) as scratch,
        progress.step("count values"),
        estimate.connect(settings, Path(scratch)) as con,
    ):
        fields = profile.of_records(con, records, settings.ingest.placeholders)
        found["fields"] = [row for row in fields if row["source"] is None]
        found["fields_per_source"] = [row for row in fields if row["source"] is not None]
        found["odd_records"] = profile.of_persons(con, records, events)
        found["clinical"] = profile.of_events(con, found["records"], events)
    found["lost"] = profile.lost(report.facts)
    found["files_not_read"] = profile.files_not_read(report.facts)
    with (
        tempfile.TemporaryDirectory(prefix="check-", dir=settings.run.dir) as scratch,
        progress.step("plan the blocking"),
    ):
        timer = estimate.Timer()
        try:
            reach = link.plan(records, events, settings, Path(scratch))
        except ResolverError as error:
            faults.append(str(error))
            found["blocking"] = None
        else:
            found["blocking"] = {
                "rules": list(reach.rules),
                "proposed": round(reach.proposed_per_record * reach.records),
                "candidates_per_record": round(reach.candidates_per_record, 2),
                "candidates": round(reach.candidates_per_record * reach.records),
                "hubs": list(reach.hubs),
                "records_no_rule_reaches": reach.unreached,
                "expected_missed": round(reach.expected_missed, 4),
            }
            found["estimate"] = estimate.of_run(settings, ingested, found, timer.seconds(), gpu)
            faults += estimate.faults(settings, found["estimate"])
    found["faults"] = faults
    return found


def _truth(settings: Settings) -> str | None:
    """What is wrong with the truth file."""
    import duckdb

    from resolver.evaluate import truth

    path = settings.evaluate.truth
    if path is None:
        return None
    try:
        with duckdb.connect() as con:
            truth.columns(con, path, "truth file", ("record_id", "person_id"))
    except InputError as error:
        return str(error)
    return None


def _judges(settings: Settings) -> list[str]:
    """Judges that no package brings."""
    from resolver import judges

    faults = []
    for name in settings.adjudicate.judges:
        try:
            judges.known((name,))
        except UsageError as error:
            faults.append(str(error))
    return faults
