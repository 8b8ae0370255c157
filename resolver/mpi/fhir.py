"""The index as FHIR R4, in newline-delimited JSON as a bulk export has it: Patient.ndjson and Linkage.ndjson.

- One Patient per person, with its golden values, the ids of its records as identifiers, and a link `seealso` to the
  Patient of each record.
- One Patient per source record, with the values that the index holds of it, and a link `refer` to its person, which
  is the main source of information about the patient.
- One inactive Patient per id that was merged, `replaced-by` the person that took its place, which in turn `replaces`
  it; an inactive Patient without a link for an id that is retired.
- One Linkage per person: the person is the source, its records are alternates, ids merged into it are historical.

JSON is put together in SQL, so that a million persons take seconds; what is null is left out, as FHIR asks.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import duckdb

from resolver import files
from resolver.database import quote
from resolver.mpi.queries import at

CHUNK = 50_000  # persons at a time, so that memory stays flat
PERSON_SYSTEM = "urn:resolver:person"
SOURCE_SYSTEM = "urn:resolver:source:"
SSN_SYSTEM = "http://hl7.org/fhir/sid/us-ssn"
TYPE_SYSTEM = "http://terminology.hl7.org/CodeSystem/v2-0203"


def export(con: duckdb.DuckDBPyConnection, out: Path, moment: int | None = None) -> dict[str, Any]:
    """Write both files; resources per file."""
    _ends(con, moment)
    highest = con.execute(f"SELECT coalesce(max(number), 0) FROM {at('persons', moment)}").fetchone()
    assert highest is not None
    patients = f"""
        SELECT 0 AS kind, person_id AS id, {_golden()} AS line FROM people WHERE status = 'live'
        UNION ALL SELECT 0, person_id, {_ended()} FROM people WHERE status <> 'live'
        UNION ALL SELECT 1, id, {_source()} FROM members"""
    linkages = f"SELECT 0 AS kind, person_id AS id, {_linkage()} AS line FROM people WHERE status = 'live'"
    counts = {"Patient.ndjson": 0, "Linkage.ndjson": 0}
    with files.whole(out / "Patient.ndjson") as some, files.whole(out / "Linkage.ndjson") as others:
        some.touch()
        others.touch()
        for low in range(0, int(highest[0]) + 1, CHUNK):
            _chunk(con, moment, low)
            counts["Patient.ndjson"] += _append(con, patients, some)
            counts["Linkage.ndjson"] += _append(con, linkages, others)
    return counts


def _ends(con: duckdb.DuckDBPyConnection, moment: int | None) -> None:
    """`ends` (start, here): where each id that is no more leads to in the end."""
    con.execute(
        f"""CREATE OR REPLACE TEMP TABLE ends AS
            WITH RECURSIVE chain(start, here) AS (
                SELECT person_id, forward FROM {at("persons", moment)} WHERE forward IS NOT NULL
                UNION ALL
                SELECT c.start, p.forward FROM chain c JOIN {at("persons", moment)} p ON p.person_id = c.here
                WHERE p.forward IS NOT NULL)
            SELECT c.start, c.here FROM chain c JOIN {at("persons", moment)} p ON p.person_id = c.here
            WHERE p.forward IS NULL"""
    )


def _chunk(con: duckdb.DuckDBPyConnection, moment: int | None, low: int) -> None:
    """`people`: ids of a range, with lists of what hangs on them; `members`: their records."""
    con.execute(
        f"""CREATE OR REPLACE TEMP TABLE some_people AS
            FROM {at("persons", moment)} WHERE number >= {low} AND number < {low + CHUNK}"""
    )
    # The id of a resource allows few characters and 64 at most, so that of a record is a digest.
    con.execute(
        f"""CREATE OR REPLACE TEMP TABLE members AS
            SELECT 'S-' || substr(sha256(r.record_id), 1, 40) AS id, c.person_id, r.* EXCLUDE (since)
            FROM {at("records", moment)} r
            JOIN (FROM {at("crosswalk", moment)} SEMI JOIN some_people USING (person_id)) c USING (record_id)"""
    )
    con.execute(
        f"""CREATE OR REPLACE TEMP TABLE people AS
            SELECT p.*, e.here AS successor, m.links, m.records_as_items, m.identifiers, o.replaced, o.replaced_as_items
            FROM some_people p LEFT JOIN ends e ON e.start = p.person_id
            LEFT JOIN (
                SELECT person_id,
                    string_agg({_link("'Patient/' || id", "seealso")}, ',' ORDER BY record_id) AS links,
                    string_agg({_item("'Patient/' || id", "alternate")}, ',' ORDER BY record_id) AS records_as_items,
                    string_agg({_source_identifier()}, ',' ORDER BY record_id) AS identifiers
                FROM members GROUP BY person_id) m USING (person_id)
            LEFT JOIN (
                SELECT here,
                    string_agg({_link("'Patient/' || start", "replaces")}, ',' ORDER BY start) AS replaced,
                    string_agg({_item("'Patient/' || start", "historical")}, ',' ORDER BY start) AS replaced_as_items
                FROM ends GROUP BY here) o ON o.here = p.person_id"""
    )


def _golden() -> str:
    return _object(
        resourceType="'\"Patient\"'",
        id=_text("person_id"),
        identifier=_array(_person_identifier("official"), *_own_identifiers(), "identifiers"),
        active="'true'",
        **_demographics(),
        link=_array("links", "replaced"),
    )


def _source() -> str:
    return _object(
        resourceType="'\"Patient\"'",
        id=_text("id"),
        identifier=_array(_source_identifier(), *_own_identifiers()),
        active="'true'",
        **_demographics(),
        link=_array(_link("'Patient/' || person_id", "refer")),
    )


def _ended() -> str:
    link = _link("'Patient/' || successor", "replaced-by")
    replaced_by = f"CASE WHEN successor IS NOT NULL THEN {link} END"
    return _object(
        resourceType="'\"Patient\"'",
        id=_text("person_id"),
        identifier=_array(_person_identifier("old")),
        active="'false'",
        link=_array(replaced_by),
    )


def _linkage() -> str:
    return _object(
        resourceType="'\"Linkage\"'",
        id=_text("'L-' || person_id"),
        active="'true'",
        item=_array(_item("'Patient/' || person_id", "source"), "records_as_items", "replaced_as_items"),
    )


def _demographics() -> dict[str, str]:
    usual = _object(
        use="'\"official\"'",
        family=_text("last_name"),
        given=_array(_text("first_name"), _text("middle_name")),
        suffix=_array(_text("suffix")),
    )
    maiden = _object(use="'\"maiden\"'", family=_text("maiden_name"))
    address = _object(
        line=_array(_text("street"), _text("unit")),
        city=_text("city"),
        state=_text("state"),
        postalCode=_text("zip"),
    )
    return {
        "name": _array(
            f"CASE WHEN coalesce(first_name, middle_name, last_name, suffix) IS NOT NULL THEN {usual} END",
            f"CASE WHEN maiden_name IS NOT NULL THEN {maiden} END",
        ),
        "telecom": _array(_contact("phone"), _contact("email")),
        "gender": "CASE sex WHEN 'F' THEN '\"female\"' WHEN 'M' THEN '\"male\"' END",
        "birthDate": _text("strftime(birth_date, '%Y-%m-%d')"),
        "address": _array(
            f"CASE WHEN coalesce(street, unit, city, state, zip) IS NOT NULL THEN {address} END",
        ),
    }


def _contact(system: str) -> str:
    return f"CASE WHEN {system} IS NOT NULL THEN {_object(system=_text(quote(system)), value=_text(system))} END"


def _person_identifier(use: str) -> str:
    return _object(use=_text(quote(use)), system=_text(quote(PERSON_SYSTEM)), value=_text("person_id"))


def _source_identifier() -> str:
    return _object(
        use="'\"secondary\"'",
        system=_text(f"{quote(SOURCE_SYSTEM)} || url_encode(source)"),
        value=_text("source_record_id"),
        assigner=_object(display=_text("source")),
    )


def _own_identifiers() -> tuple[str, str]:
    """Social security and insurance member number."""

    def kind(code: str) -> str:
        return _object(coding=_array(_object(system=_text(quote(TYPE_SYSTEM)), code=_text(quote(code)))))

    ssn = _object(type=kind("SS"), system=_text(quote(SSN_SYSTEM)), value=_text("ssn"))
    member = _object(type=kind("MB"), value=_text("member_id"))
    return (
        f"CASE WHEN ssn IS NOT NULL THEN {ssn} END",
        f"CASE WHEN member_id IS NOT NULL THEN {member} END",
    )


def _link(reference: str, kind: str) -> str:
    return _object(other=_object(reference=_text(reference)), type=_text(quote(kind)))


def _item(reference: str, kind: str) -> str:
    return _object(type=_text(quote(kind)), resource=_object(reference=_text(reference)))


def _text(value: str) -> str:
    """SQL text -> SQL for a JSON string; null stays null."""
    return f"to_json({value})::VARCHAR"


def _object(**members: str) -> str:
    """SQL for a JSON object of SQL for JSON values, without those that are null."""
    parts = ", ".join(f"'\"{name}\":' || {value}" for name, value in members.items())
    return f"('{{' || concat_ws(',', {parts}) || '}}')"


def _array(*items: str) -> str:
    """SQL for a JSON array without what is null; null where nothing is left."""
    return f"('[' || nullif(concat_ws(',', {', '.join(items)}), '') || ']')"


def _append(con: duckdb.DuckDBPyConnection, resources: str, path: Path) -> int:
    """Add the lines of a query to a file, in its order."""
    # JSON escapes control characters, so this delimiter, and quotes of CSV, never come up.
    options = "FORMAT csv, HEADER false, QUOTE '', ESCAPE '', DELIMITER '\x01'"
    part = path.with_name(path.name + ".part.tmp")
    try:
        row = con.execute(
            f"COPY (SELECT line FROM ({resources}) ORDER BY kind, id) TO {quote(part)} ({options})"
        ).fetchone()
        with part.open("rb") as lines, path.open("ab") as file:
            shutil.copyfileobj(lines, file, 2**20)
    finally:
        part.unlink(missing_ok=True)
    return int(row[0]) if row else 0
