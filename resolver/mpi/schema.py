"""The tables of the index, what their columns mean, and the views that show them as they are now or once were.

Every table that can change keeps all its states: a row counts from the event `since` until the event `until` (null
while it lasts). Rows are closed, never deleted or overwritten. Event numbers are therefore the clock of the index, and
the state after any event can be read back. For each `all_<table>` there is a view `<table>` with what counts now, and
a macro `<table>_at(event)` with what counted right after that event.
This file knows nothing of how rows come about.
"""

from __future__ import annotations

import duckdb

from resolver.tables import PERSON_FIELDS

FORMAT = 1  # raised when the tables change so that an older program would misread them

FIELDS: tuple[str, ...] = tuple(name for name, _, _ in PERSON_FIELDS)
_FIELDS_DDL = ", ".join(f"{name} {type_}" for name, type_, _ in PERSON_FIELDS)
_CONFIDENCE = "STRUCT(" + ", ".join(f"{name} FLOAT" for name in FIELDS) + ")"
_STATE = "since BIGINT NOT NULL, until BIGINT"

# Kinds of event, in the order in which those of one run are numbered.
RUN_KINDS = ("published", "created", "revived", "joined", "merged", "split", "moved", "left", "retired")
PERSON_KINDS = (*RUN_KINDS[1:], "undone")  # these change who belongs to whom; the others only put something on record

TABLES: dict[str, str] = {
    # One row per run that was published. `content` is the digest of what came in; `undone` the event that took it back.
    "runs": """run_id VARCHAR, number INTEGER, event BIGINT, last_event BIGINT, happened_at TIMESTAMP, program VARCHAR,
        config VARCHAR, input VARCHAR, content VARCHAR, records BIGINT, persons BIGINT, counts VARCHAR,
        undone BIGINT""",
    # What happened, in order; only ever added to. `change` is the first event of the same transaction, `undoes` the
    # change that this one takes back. Times are UTC.
    "events": """event BIGINT, change BIGINT, kind VARCHAR, person_id VARCHAR, other_id VARCHAR, record_id VARCHAR,
        other_record VARCHAR, run_id VARCHAR, happened_at TIMESTAMP, who VARCHAR, why VARCHAR, undoes BIGINT""",
    # One person. status: live, merged (forward says into whom) or retired. Golden values are null unless it is live;
    # `provisional` where they are a plain vote since a correction, until the next run chooses them anew. `created` is
    # the event that issued the id.
    "all_persons": f"""person_id VARCHAR, number BIGINT, status VARCHAR, forward VARCHAR, records INTEGER,
        provisional BOOLEAN, created BIGINT, {_FIELDS_DDL}, confidence {_CONFIDENCE}, {_STATE}""",
    # Which record belongs to which person.
    "all_crosswalk": f"record_id VARCHAR, person_id VARCHAR, {_STATE}",
    # What is known of a source record, normalised: what a person sees who looks into the index.
    "all_records": f"""record_id VARCHAR, source VARCHAR, source_record_id VARCHAR, content_hash VARCHAR,
        updated_at TIMESTAMP, {_FIELDS_DDL}, {_STATE}""",
    # The evidence within a person: one row per scored pair, with the parts of its log-odds.
    "all_links": f"""left_record VARCHAR, right_record VARCHAR, prior DOUBLE, demographics DOUBLE, clinical DOUBLE,
        llm DOUBLE, human DOUBLE, logit DOUBLE, probability DOUBLE, tier VARCHAR, reason VARCHAR, fingerprint VARCHAR,
        {_STATE}""",
    # What people said of pairs of records: link or unlink. `event` is the one that put it on record.
    "all_verdicts": f"""left_record VARCHAR, right_record VARCHAR, says VARCHAR, event BIGINT, who VARCHAR,
        why VARCHAR, {_STATE}""",
}

# Answers to `resolver label`, made with the first of them: `event` is the one that put the answer on record, and
# whether it still counts is seen from there. answer: same, different or unsure. The rest is what the run made of the
# pair: whether it was in one person, its standing log-odds, how many pairs the question stands for, and for how many
# questions of its kind it speaks (null where it was not drawn at random).
LABELS = """event BIGINT, run_id VARCHAR, left_record VARCHAR, right_record VARCHAR, answer VARCHAR, together BOOLEAN,
    logit DOUBLE, weight DOUBLE, stands_for DOUBLE"""

VERSIONED = tuple(name for name in TABLES if name.startswith("all_"))
LINK_COLUMNS = (
    "prior",
    "demographics",
    "clinical",
    "llm",
    "human",
    "logit",
    "probability",
    "tier",
    "reason",
    "fingerprint",
)


def create(con: duckdb.DuckDBPyConnection, program: str) -> None:
    """Make an empty index."""
    con.execute("CREATE TABLE about (key VARCHAR, value VARCHAR)")
    con.execute("INSERT INTO about VALUES ('format', ?), ('made_by', ?)", [str(FORMAT), program])
    for name, columns in TABLES.items():
        con.execute(f"CREATE TABLE {name} ({columns})")
    for name in VERSIONED:
        plain = name.removeprefix("all_")
        con.execute(f"CREATE VIEW {plain} AS SELECT * EXCLUDE (until) FROM {name} WHERE until IS NULL")
        con.execute(
            f"CREATE MACRO {plain}_at(moment) AS TABLE SELECT * EXCLUDE (until) FROM {name}"
            " WHERE since <= moment AND (until IS NULL OR until > moment)"
        )
