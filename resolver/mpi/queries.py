"""Looks into the index: who is this person, who has these values, what happened to them, which runs were there.

Each question can be asked of the index as it is, or as it was right after a past run. Answers are plain dictionaries;
how they are shown is the command line's matter.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from datetime import date
from typing import Any

import duckdb

from resolver.errors import UsageError
from resolver.mpi import corrections, ids
from resolver.mpi.schema import FIELDS, LINK_COLUMNS

Row = dict[str, Any]
SAYS = {
    "published": "run {run} was published",
    "created": "{person} was created",
    "revived": "{person} was revived: a record came back",
    "joined": "{record} joined {person}",
    "merged": "{other} was merged into {person}",
    "split": "{person} was split off {other}",
    "moved": "{record} moved from {other} to {person}",
    "left": "{record} left {person}: the sources hold it no more",
    "retired": "{person} was retired: it has no records left",
    "linked": "{record} and {second} were said to be one person",
    "unlinked": "{record} and {second} were said to be two persons",
    "unsure": "whether {record} and {second} are one person could not be said",
    "undone": "{person} was put back: event {undoes} was undone",
}


def rows(con: duckdb.DuckDBPyConnection, query: str, values: object = None) -> list[Row]:
    found = con.execute(query, values) if values is not None else con.execute(query)
    names = [column[0] for column in found.description or ()]
    return [dict(zip(names, row, strict=True)) for row in found.fetchall()]


def as_of(con: duckdb.DuckDBPyConnection, run: str | None) -> int | None:
    """The last event of a run (R3, or 3), which is the moment that `--as-of` means. None: now."""
    if run is None:
        return None
    wanted = run.strip().upper()
    found = con.execute(
        "SELECT last_event FROM runs WHERE run_id = ?", [wanted if wanted.startswith("R") else f"R{wanted}"]
    ).fetchone()
    if found is None:
        raise UsageError(f"There is no run {run} in the index.", do="See: resolver mpi runs")
    return int(found[0])


def at(table: str, moment: int | None) -> str:
    """The rows of a table that count now, or counted at a moment."""
    return table if moment is None else f"{table}_at({moment})"


def person(con: duckdb.DuckDBPyConnection, text: str, moment: int | None = None) -> Row:
    """A person by enterprise id, or by one of its records."""
    asked = ids.read(text)
    if asked is None and ids.looks_like(text) and not _has_record(con, text, moment):
        raise UsageError("The check digit of that enterprise id does not fit, so a character is wrong.")
    if asked is None or not _state(con, asked, moment):
        asked = _person_of_record(con, text, moment)
    here, path = asked, [asked]
    while (state := _state(con, here, moment))["forward"] is not None:
        here = state["forward"]
        path.append(here)
    values = {name: state[name] for name in FIELDS if state[name] is not None}
    confidence = state["confidence"] or {}
    return {
        "person_id": here,
        "asked": asked,
        "forwarded_by": path[:-1],
        "status": state["status"],
        "provisional": state["provisional"],
        "created": _moment(con, state["created"]),
        "values": values,
        "confidence": {name: round(confidence[name], 4) for name in values if confidence.get(name) is not None},
        "records": _records(con, here, moment),
        "links": _links(con, here, moment),
        "verdicts": _verdicts(con, here, moment),
    }


def search(
    con: duckdb.DuckDBPyConnection, wanted: Mapping[str, Any], moment: int | None = None, limit: int = 20
) -> list[Row]:
    """Persons that have these values: as their golden values first, then those with a record that has them."""
    conditions = " AND ".join(f"{name} = ${name}" for name in wanted)
    return rows(
        con,
        f"""WITH hits AS (
                SELECT person_id, 'golden values' AS found_in, 0 AS place FROM {at("persons", moment)}
                WHERE status = 'live' AND {conditions}
                UNION ALL SELECT DISTINCT person_id, 'a record', 1 FROM {at("records", moment)}
                JOIN {at("crosswalk", moment)} USING (record_id) WHERE {conditions}),
            best AS (SELECT person_id, arg_min(found_in, place) AS found_in, min(place) AS place FROM hits GROUP BY ALL)
        SELECT person_id, found_in, records, {", ".join(FIELDS)}
        FROM best JOIN {at("persons", moment)} USING (person_id) ORDER BY place, person_id LIMIT {limit}""",
        dict(wanted),
    )


def fields(*, first: str | None, last: str | None, birth_date: str | None, ssn: str | None) -> dict[str, Any]:
    """What a person types, in the form in which values are kept."""
    wanted: dict[str, Any] = {}
    for field, text in (("first_name", first), ("last_name", last)):
        if text is not None:
            plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().upper().replace("'", "")
            wanted[field] = " ".join(re.sub("[^A-Z]", " ", plain).split())
    if birth_date is not None:
        try:
            wanted["birth_date"] = date.fromisoformat(birth_date)
        except ValueError:
            raise UsageError("--birth-date is not a date.", do="Write it as 1980-02-03.") from None
    if ssn is not None:
        digits = re.sub("[^0-9]", "", ssn)
        if len(digits) not in (4, 9):
            raise UsageError("--ssn has neither nine digits nor the last four.")
        wanted["ssn" if len(digits) == 9 else "ssn_last4"] = digits
    if not wanted:
        raise UsageError(
            "Say whom to look up.", do="Give an enterprise id, a record, or --first, --last, --birth-date, --ssn."
        )
    return wanted


def history(con: duckdb.DuckDBPyConnection, text: str, moment: int | None = None) -> list[Row]:
    """What happened to a person or a record, in order."""
    asked = ids.read(text)
    if asked is not None and con.execute("SELECT 1 FROM persons WHERE person_id = ?", [asked]).fetchone():
        which, values = "person_id = $it OR other_id = $it", {"it": asked}
    else:
        known = con.execute("SELECT 1 FROM all_crosswalk WHERE record_id = ? LIMIT 1", [text]).fetchone()
        values = {"it": text if known else corrections.find_record(con, text)}
        which = """record_id = $it OR other_record = $it
            OR event IN (SELECT since FROM all_crosswalk WHERE record_id = $it)
            OR event IN (SELECT until FROM all_crosswalk WHERE record_id = $it)
            OR event IN (SELECT event FROM all_verdicts WHERE left_record = $it OR right_record = $it)"""
    until = "" if moment is None else f" AND event <= {moment}"
    found = rows(con, f"SELECT * EXCLUDE (change) FROM events WHERE ({which}){until} ORDER BY event", values)
    return [{**event, "what": _sentence(event)} for event in found]


def changes(con: duckdb.DuckDBPyConnection, change: int) -> list[Row]:
    """The events of one change."""
    found = rows(con, "SELECT * EXCLUDE (change) FROM events WHERE change = ? ORDER BY event", [change])
    return [{**event, "what": _sentence(event)} for event in found]


def runs(con: duckdb.DuckDBPyConnection) -> list[Row]:
    return rows(
        con,
        """SELECT run_id, happened_at, input, records, persons, program, config, counts::VARCHAR AS counts, event,
            undone FROM runs ORDER BY number""",
    )


def _sentence(event: Row) -> str:
    kind = event["kind"]
    if kind == "unlinked" and event["record_id"] is None:
        return f"records of {event['person_id']} were said to be two persons"
    if kind == "undone" and event["person_id"] is None:
        return f"event {event['undoes']} was undone"
    return SAYS[kind].format(
        run=event["run_id"],
        person=event["person_id"],
        other=event["other_id"],
        record=event["record_id"],
        second=event["other_record"],
        undoes=event["undoes"],
    )


def _state(con: duckdb.DuckDBPyConnection, person_id: str, moment: int | None) -> Row:
    found = rows(con, f"SELECT * FROM {at('persons', moment)} WHERE person_id = ?", [person_id])
    return found[0] if found else {}


def _has_record(con: duckdb.DuckDBPyConnection, text: str, moment: int | None) -> bool:
    query = f"SELECT 1 FROM {at('records', moment)} WHERE $it IN (record_id, source_record_id) LIMIT 1"
    return bool(rows(con, query, {"it": text}))


def _person_of_record(con: duckdb.DuckDBPyConnection, text: str, moment: int | None) -> str:
    """The person of the record that is meant by `source:id`, or by an id that one source has."""
    found = rows(
        con,
        f"""SELECT record_id, person_id FROM {at("records", moment)} JOIN {at("crosswalk", moment)} USING (record_id)
            WHERE $it IN (record_id, source_record_id) ORDER BY record_id <> $it LIMIT 2""",
        {"it": text},
    )
    if not found:
        raise UsageError("Neither a person nor a record of the index has that id.", do="Write a record as source:id.")
    if len(found) > 1 and found[0]["record_id"] != text:
        raise UsageError("Records of several sources have that id.", do="Write it as source:id.")
    return str(found[0]["person_id"])


def _records(con: duckdb.DuckDBPyConnection, person_id: str, moment: int | None) -> list[Row]:
    found = rows(
        con,
        f"""SELECT r.record_id, r.source, r.source_record_id, r.updated_at, e.happened_at AS here_since,
                {", ".join(f"r.{name}" for name in FIELDS)}
            FROM {at("crosswalk", moment)} c JOIN {at("records", moment)} r USING (record_id)
            JOIN events e ON e.event = c.since WHERE c.person_id = ? ORDER BY r.record_id""",
        [person_id],
    )
    return [{name: value for name, value in row.items() if value is not None} for row in found]


def _links(con: duckdb.DuckDBPyConnection, person_id: str, moment: int | None) -> list[Row]:
    return rows(
        con,
        f"""SELECT k.left_record, k.right_record, {", ".join(f"k.{name}" for name in LINK_COLUMNS)}, k.since AS event
            FROM {at("links", moment)} k
            WHERE k.left_record IN (SELECT record_id FROM {at("crosswalk", moment)} WHERE person_id = $it)
            AND k.right_record IN (SELECT record_id FROM {at("crosswalk", moment)} WHERE person_id = $it)
            ORDER BY k.logit DESC, k.left_record, k.right_record""",
        {"it": person_id},
    )


def _verdicts(con: duckdb.DuckDBPyConnection, person_id: str, moment: int | None) -> list[Row]:
    return rows(
        con,
        f"""SELECT v.left_record, v.right_record, v.says, v.event, v.who, v.why FROM {at("verdicts", moment)} v
            WHERE v.left_record IN (SELECT record_id FROM {at("crosswalk", moment)} WHERE person_id = $it)
            OR v.right_record IN (SELECT record_id FROM {at("crosswalk", moment)} WHERE person_id = $it)
            ORDER BY v.event, v.left_record, v.right_record""",
        {"it": person_id},
    )


def _moment(con: duckdb.DuckDBPyConnection, event: int) -> Row:
    found = rows(con, "SELECT event, run_id, happened_at, who FROM events WHERE event = ?", [event])
    return found[0] if found else {}
