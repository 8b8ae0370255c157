"""The tables of the index, what their columns mean, and the views that show them as they are now or once were.

Every table that can change keeps all its states: a row counts from the event `since` until the event `until` (null
while it lasts). Rows are closed, never deleted or overwritten. Event numbers are therefore the clock of the index, and
the state after any event can be read back. For each `all_<table>` there is a view `<table>` with what counts now, and
a macro `<table>_at(event)` with what counted right after that event.
This file knows nothing of how rows come about.
"""

from __future__ import annotations

import duckdb

from resolver.tables import PERSON_FIELDS, Table, columns

FORMAT = 1  # raised when the tables change so that an older program would misread them

FIELDS: tuple[str, ...] = tuple(name for name, _, _ in PERSON_FIELDS)
_CONFIDENCE = "STRUCT(" + ", ".join(f"{name} FLOAT" for name in FIELDS) + ")"
_STATE = (
    ("since", "BIGINT NOT NULL", "event from which on this holds"),
    (
        "until",
        "BIGINT",
        "event that ended it; null while it holds (the plain view shows these rows, without the column)",
    ),
)

# Kinds of event, in the order in which those of one run are numbered.
RUN_KINDS = ("published", "created", "revived", "joined", "merged", "split", "moved", "left", "retired")
PERSON_KINDS = (*RUN_KINDS[1:], "undone")  # these change who belongs to whom; the others only put something on record

RUNS = Table(
    "runs",
    "One row per run that was published.",
    columns(
        ("run_id", "VARCHAR", "R1, R2, ..."),
        ("number", "INTEGER", "the same as a number"),
        ("event", "BIGINT", "its first event"),
        ("last_event", "BIGINT", "its last event: <table>_at(last_event) is the state right after it"),
        ("happened_at", "TIMESTAMP", "when, UTC"),
        ("program", "VARCHAR", "version of the program"),
        ("config", "VARCHAR", "digest of the settings"),
        ("input", "VARCHAR", "all or changes: what the sources listed (ingest.input)"),
        ("content", "VARCHAR", "digest of what came in"),
        ("records", "BIGINT", "records in the index after it"),
        ("persons", "BIGINT", "persons after it"),
        (
            "counts",
            "VARCHAR",
            "what it changed, and a profile of the input that the next run is compared with, as JSON",
        ),
        ("undone", "BIGINT", "event that took it back; null while it counts"),
    ),
)

EVENTS = Table(
    "events",
    "What happened, in order; only ever added to.",
    columns(
        ("event", "BIGINT", "its number, which is the clock of the index"),
        ("change", "BIGINT", "first event of the same transaction"),
        (
            "kind",
            "VARCHAR",
            f"of a run: {', '.join(RUN_KINDS)}; of people: linked, unlinked, merged, split, unsure, undone",
        ),
        ("person_id", "VARCHAR", "the person whom it is about"),
        ("other_id", "VARCHAR", "the other person of a merge, split or move"),
        ("record_id", "VARCHAR", "the record that joined, moved or left, or one of those that were judged"),
        ("other_record", "VARCHAR", "the other one that was judged"),
        ("run_id", "VARCHAR", "the run that it belongs to"),
        ("happened_at", "TIMESTAMP", "when, UTC"),
        ("who", "VARCHAR", "name of the account"),
        ("why", "VARCHAR", "the reason that was given"),
        ("undoes", "BIGINT", "the change that this one takes back"),
    ),
)

PERSONS = Table(
    "all_persons",
    "One person, as it was from one event to another.",
    columns(
        ("person_id", "VARCHAR", "enterprise id, for good: P, seven digits of a counter, a check digit"),
        ("number", "BIGINT", "the counter in it"),
        ("status", "VARCHAR", "live, merged or retired"),
        ("forward", "VARCHAR", "merged: the person that took its place"),
        ("records", "INTEGER", "how many records the person has"),
        (
            "provisional",
            "BOOLEAN",
            "golden values are a plain vote since a correction, until the next run chooses anew",
        ),
        ("created", "BIGINT", "event that issued the id"),
        *((name, type_, f"golden value, null unless live: {says}") for name, type_, says in PERSON_FIELDS),
        ("confidence", _CONFIDENCE, "per field, the probability that its value is right"),
        *_STATE,
    ),
)

CROSSWALK = Table(
    "all_crosswalk",
    "Which record belongs to which person.",
    columns(("record_id", "VARCHAR", "<source>:<source_record_id>"), ("person_id", "VARCHAR", "its person"), *_STATE),
)

RECORDS = Table(
    "all_records",
    "What is known of a source record, normalised: what a person sees who looks into the index.",
    columns(
        ("record_id", "VARCHAR", "<source>:<source_record_id>"),
        ("source", "VARCHAR", "name of the facility or file"),
        ("source_record_id", "VARCHAR", "the record's id there"),
        ("content_hash", "VARCHAR", "hash of all that was read for it; changes when that does"),
        ("updated_at", "TIMESTAMP", "when the source last touched it"),
        *PERSON_FIELDS,
        *_STATE,
    ),
)

# The parts of a pair's log-odds, and what became of them.
_PARTS = (
    ("prior", "DOUBLE", "log-odds before any evidence"),
    ("demographics", "DOUBLE", "what names, dates, identifiers and addresses add"),
    ("clinical", "DOUBLE", "what the clinical histories add"),
    ("llm", "DOUBLE", "what the language model adds"),
    ("human", "DOUBLE", "what a person said"),
    ("logit", "DOUBLE", "the sum"),
    ("probability", "DOUBLE", "the sum as a probability"),
    ("tier", "VARCHAR", "match, gray or non-match"),
    ("reason", "VARCHAR", "which part put it into its tier"),
    ("fingerprint", "VARCHAR", "the models that gave the parts"),
)
LINK_COLUMNS = tuple(name for name, _, _ in _PARTS)

LINKS = Table(
    "all_links",
    "The evidence within a person: one row per scored pair, with the parts of its log-odds.",
    columns(("left_record", "VARCHAR", "record"), ("right_record", "VARCHAR", "record"), *_PARTS, *_STATE),
)

VERDICTS = Table(
    "all_verdicts",
    "What people said of pairs of records.",
    columns(
        ("left_record", "VARCHAR", "record"),
        ("right_record", "VARCHAR", "record"),
        ("says", "VARCHAR", "link or unlink"),
        ("event", "BIGINT", "event that put it on record"),
        ("who", "VARCHAR", "name of the account"),
        ("why", "VARCHAR", "the reason that was given"),
        *_STATE,
    ),
)

# Made with the first answer. Whether one still counts is seen from its event.
LABELS = Table(
    "labels",
    "Answers to `resolver label`, and what the run made of the pair when it was asked.",
    columns(
        ("event", "BIGINT", "event that put the answer on record"),
        ("run_id", "VARCHAR", "the run that was asked about"),
        ("left_record", "VARCHAR", "record"),
        ("right_record", "VARCHAR", "record"),
        ("answer", "VARCHAR", "same, different or unsure"),
        ("together", "BOOLEAN", "whether the two were in one person"),
        ("logit", "DOUBLE", "the pair's standing log-odds"),
        ("weight", "DOUBLE", "how many pairs the question stands for"),
        ("stands_for", "DOUBLE", "for how many questions of its kind it speaks; null where not drawn at random"),
    ),
)

TABLES: dict[str, Table] = {table.name: table for table in (RUNS, EVENTS, PERSONS, CROSSWALK, RECORDS, LINKS, VERDICTS)}
VERSIONED = tuple(name for name in TABLES if name.startswith("all_"))


def create(con: duckdb.DuckDBPyConnection, program: str) -> None:
    """Make an empty index."""
    con.execute("CREATE TABLE about (key VARCHAR, value VARCHAR)")
    con.execute("INSERT INTO about VALUES ('format', ?), ('made_by', ?)", [str(FORMAT), program])
    for name, table in TABLES.items():
        con.execute(f"CREATE TABLE {name} ({table.ddl})")
    for name in VERSIONED:
        plain = name.removeprefix("all_")
        con.execute(f"CREATE VIEW {plain} AS SELECT * EXCLUDE (until) FROM {name} WHERE until IS NULL")
        con.execute(
            f"CREATE MACRO {plain}_at(moment) AS TABLE SELECT * EXCLUDE (until) FROM {name}"
            " WHERE since <= moment AND (until IS NULL OR until > moment)"
        )
