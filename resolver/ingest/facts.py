"""Counts what became of every row, stops a run that lost too many, and says how full the fields are."""

from __future__ import annotations

from typing import Any

import duckdb

from resolver.errors import InputError
from resolver.ingest import raw
from resolver.ingest.assemble import FIELDS, SAME_CONTENT, Assembly
from resolver.ingest.opening import literal
from resolver.stage import StageContext

OWN_FAULT = "This is a fault of the program."


def of_sources(assembly: Assembly, batches: list[raw.Batch]) -> dict[str, dict[str, Any]]:
    """Per source: rows in, and what became of them. Counts in equal counts out, or the program is at fault."""
    con = assembly.con
    unreadable = con.execute(
        'SELECT source, "file", reason, count(*) FROM rejected GROUP BY ALL ORDER BY ALL'
    ).fetchall()
    persons = _by_file(con, "SELECT file, coalesce(reason, ''), count(*) FROM person GROUP BY ALL ORDER BY ALL")
    events = _by_file(con, "SELECT file, coalesce(reason, ''), count(*) FROM event GROUP BY ALL ORDER BY ALL")
    found: dict[str, dict[str, Any]] = {}
    for batch in batches:
        found[batch.name] = {
            "person_rows": 0,
            "records": 0,
            "repeated": 0,
            "event_rows": 0,
            "events": {},
            "left_out": 0,
            "rejected": {},
            "rejected_records": 0,
            "files_not_read": list(batch.left_out),
        }
    for number, batch, rows in assembly.files:
        entry = found[batch.name]
        rejected: dict[str, int] = entry["rejected"]
        for source, file, reason, count in unreadable:
            if (source, file) == (batch.name, rows.file):
                rejected[reason] = rejected.get(reason, 0) + count
        outcome = (persons if rows.kind == "person" else events).get(number, {})
        good, same = outcome.get("", 0), outcome.get(SAME_CONTENT, 0)
        bad = {reason: count for reason, count in outcome.items() if reason not in ("", SAME_CONTENT)}
        for reason, count in bad.items():
            rejected[reason] = rejected.get(reason, 0) + count
        if rows.kind == "person":
            entry["rejected_records"] += rows.unreadable + sum(bad.values())
            entry["person_rows"] += rows.total
            entry["records"] += good
            entry["repeated"] += same
        else:
            entry["event_rows"] += rows.total
            entry["events"][rows.kind] = entry["events"].get(rows.kind, 0) + good
            entry["left_out"] += rows.total - rows.unreadable - good - sum(bad.values())
    return found


def check(sources: dict[str, dict[str, Any]], written: dict[str, int], carried: dict[str, int]) -> None:
    """Stop if rows went astray: that would be a fault of the program."""
    wanted = {"records": carried["records"], "events": carried["events"], "rejected": 0}
    for name, entry in sources.items():
        events, rejected = sum(entry["events"].values()), sum(entry["rejected"].values())
        rows = entry["person_rows"] + entry["event_rows"]
        out = entry["records"] + entry["repeated"] + events + entry["left_out"] + rejected
        if rows != out:
            raise InputError(f"{name}: {rows:,} rows came in and {out:,} are accounted for.", do=OWN_FAULT)
        wanted["records"] += entry["records"]
        wanted["events"] += events
        wanted["rejected"] += rejected
    for table, count in wanted.items():
        if written[table] != count:
            raise InputError(f"{table} has {written[table]:,} rows and should have {count:,}.", do=OWN_FAULT)


def too_many_rejected(sources: dict[str, dict[str, Any]], limit: float) -> None:
    """Stop if more records, or more events, are rejected than the settings allow."""
    records = sum(entry["person_rows"] for entry in sources.values())
    events = sum(entry["event_rows"] for entry in sources.values())
    lost_records = sum(entry["rejected_records"] for entry in sources.values())
    lost_events = sum(sum(entry["rejected"].values()) for entry in sources.values()) - lost_records
    for what, lost, rows in (("records", lost_records, records), ("events", lost_events, events)):
        if lost > limit * rows:
            raise InputError(
                f"{lost:,} of {rows:,} rows of {what} can't be used, and ingest.max_rejected = {limit:g} allows less "
                f"({'; '.join(_reasons(sources))}).",
                do="Correct the sources, or raise ingest.max_rejected.",
            )


def _reasons(sources: dict[str, dict[str, Any]]) -> list[str]:
    """The most frequent reasons, with their counts."""
    reasons: dict[str, int] = {}
    for entry in sources.values():
        for reason, count in entry["rejected"].items():
            reasons[reason] = reasons.get(reason, 0) + count
    return [f"{count:,} {reason}" for reason, count in sorted(reasons.items(), key=lambda one: (-one[1], one[0]))[:4]]


def filled(con: duckdb.DuckDBPyConnection, context: StageContext) -> dict[str, float]:
    """Share of records that have each field."""
    shares = ", ".join(f"count({name}) / greatest(count(*), 1)" for name in FIELDS)
    row = con.execute(f"SELECT {shares} FROM read_parquet(?)", [literal(context.outputs["records"])]).fetchall()[0]
    return {name: round(share, 4) for name, share in zip(FIELDS, row, strict=True)}


def _by_file(con: duckdb.DuckDBPyConnection, query: str) -> dict[int, dict[str, int]]:
    found: dict[int, dict[str, int]] = {}
    for number, reason, count in con.execute(query).fetchall():
        found.setdefault(number, {})[reason] = count
    return found
