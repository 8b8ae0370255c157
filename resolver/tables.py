"""Every table that passes between stages: its columns, their types and what they mean.

Declared once, here. A stage writes what this file says and nothing else; `check` holds a file against it.
This file knows nothing about who reads or writes a table; `resolver/pipeline.py` does.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import duckdb

from resolver.errors import DamagedError, SchemaError


@dataclass(frozen=True)
class Column:
    name: str
    type: str  # DuckDB's name for it
    meaning: str


@dataclass(frozen=True)
class Table:
    name: str
    meaning: str
    columns: tuple[Column, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    @property
    def ddl(self) -> str:
        """The columns as SQL, for CREATE TABLE."""
        return ", ".join(f'"{column.name}" {column.type}' for column in self.columns)

    def select(self, source: str) -> str:
        """SQL that reads these columns from `source`, in order and cast to their types."""
        columns = ", ".join(f'CAST("{column.name}" AS {column.type}) AS "{column.name}"' for column in self.columns)
        return f"SELECT {columns} FROM {source}"


def columns(*rows: tuple[str, str, str]) -> tuple[Column, ...]:
    return tuple(Column(*row) for row in rows)


# Fields of a person that matching may use, in their normalised form. `records` holds each of them once normalised
# and once as it came in (`raw_<field>`); `golden` holds one value of each per person.
PERSON_FIELDS: tuple[tuple[str, str, str], ...] = (
    ("first_name", "VARCHAR", "given name: upper case, A to Z, single spaces"),
    ("middle_name", "VARCHAR", "middle names or initials, in the same form"),
    ("last_name", "VARCHAR", "family name, in the same form; hyphens become spaces"),
    ("maiden_name", "VARCHAR", "family name at birth, in the same form"),
    ("suffix", "VARCHAR", "JR, SR, II, III, IV"),
    ("birth_date", "DATE", "date of birth; null where only a part is known"),
    ("sex", "VARCHAR", "F or M; null where unknown"),
    ("ssn", "VARCHAR", "nine digits; null for placeholders and impossible numbers"),
    ("ssn_last4", "VARCHAR", "last four digits, also where only those are known"),
    ("street", "VARCHAR", "street line without unit: upper case, USPS abbreviations (MAIN ST)"),
    ("street_number", "VARCHAR", "leading house number of the street line"),
    ("unit", "VARCHAR", "apartment, suite or box"),
    ("city", "VARCHAR", "town, in the same form as names"),
    ("state", "VARCHAR", "two-letter code where the state is known, else as given"),
    ("zip", "VARCHAR", "five digits, or letters and digits of another postal code; null for 00000"),
    ("phone", "VARCHAR", "ten digits of an American number; of any other the last nine at most"),
    ("email", "VARCHAR", "lower case"),
    ("member_id", "VARCHAR", "insurance member number: upper case, letters and digits only"),
)

# Fields of a source that hold several of these at once and are taken apart.
COMPOUND_FIELDS = ("full_name", "address")

RECORDS = Table(
    "records",
    "One row per source record: a patient as one facility has registered them.",
    columns(
        ("rid", "INTEGER", "number of the record in this run, 0 to n-1 in the order of record_id; other tables use it"),
        ("record_id", "VARCHAR", "<source>:<source_record_id>; the same from run to run"),
        ("source", "VARCHAR", "name of the facility or file that the record comes from"),
        ("source_record_id", "VARCHAR", "the record's id there, as it came in"),
        ("content_hash", "VARCHAR", "hash of all that was read for this record, events included; changes when they do"),
        *PERSON_FIELDS,
        *((f"raw_{name}", "VARCHAR", f"{name} as it came in") for name, _, _ in PERSON_FIELDS),
        ("updated_at", "TIMESTAMP", "when the source last touched the record, or its last event; null if unknown"),
    ),
)

SLICES = Table(
    "slices",
    "What results are broken down by and matching must not read. Only evaluate and report open it.",
    columns(
        ("rid", "INTEGER", "record"),
        ("race", "VARCHAR", "as it came in"),
        ("ethnicity", "VARCHAR", "as it came in"),
    ),
)

# Kinds of clinical event. Survey answers and social history are not read: see resolver/ingest/forbidden.py.
EVENT_KINDS = (
    "condition",
    "medication",
    "allergy",
    "procedure",
    "immunization",
    "device",
    "measurement",
    "encounter",
)

EVENTS = Table(
    "events",
    "One row per clinical event, sorted by rid.",
    columns(
        ("rid", "INTEGER", "record"),
        ("kind", "VARCHAR", "one of " + ", ".join(EVENT_KINDS)),
        ("system", "VARCHAR", "coding system (SNOMED, RXNORM, LOINC, CVX, or TEXT where there are only words)"),
        ("code", "VARCHAR", "code in that system; upper-case words where the system is TEXT"),
        ("description", "VARCHAR", "words for the code, as they came in"),
        ("start", "TIMESTAMP", "onset, order or time of measurement"),
        ("stop", "TIMESTAMP", "end, null while it lasts or where there is none"),
        ("value", "DOUBLE", "measured value"),
        ("unit", "VARCHAR", "unit of the value"),
    ),
)

REJECTED = Table(
    "rejected",
    "Rows that could not be used, each with the reason. Nothing is dropped without a row here.",
    columns(
        ("source", "VARCHAR", "name of the source"),
        ("file", "VARCHAR", "file within the source"),
        ("row", "BIGINT", "row number in the file, from 1, where the reader knows it"),
        ("source_record_id", "VARCHAR", "the record's id, if it could be read"),
        ("reason", "VARCHAR", "why: a short fixed phrase, so that reasons can be counted"),
        ("content", "VARCHAR", "the row as JSON"),
    ),
)

PAIRS = Table(
    "pairs",
    "Candidate pairs with Splink's score. left_rid < right_rid; each pair once; sorted.",
    columns(
        ("left_rid", "INTEGER", "record"),
        ("right_rid", "INTEGER", "record"),
        (
            "rule",
            "SMALLINT",
            "number of the first blocking rule that proposed the pair (link_model.json names it); 0: copies of one"
            " record; 1000: both are likely one person with a third record",
        ),
        ("logit", "DOUBLE", "Splink's log-odds (natural) that the two are one person, prior included"),
    ),
)

VERDICTS = Table(
    "verdicts",
    "What a judge says of a pair: one row per pair and judge. A judge without evidence says nothing: no row.",
    columns(
        ("left_rid", "INTEGER", "record"),
        ("right_rid", "INTEGER", "record"),
        ("judge", "VARCHAR", "name of the judge"),
        ("fingerprint", "VARCHAR", "what gave the verdict: model, version, prompt"),
        ("logit", "DOUBLE", "raw log-odds, uncalibrated; null unless status is ok"),
        ("status", "VARCHAR", "ok, pending, or failed"),
    ),
)

DECISIONS = Table(
    "decisions",
    "One row per candidate pair: the parts of its log-odds, their sum, and what follows. Sorted by pair.",
    columns(
        ("left_rid", "INTEGER", "record"),
        ("right_rid", "INTEGER", "record"),
        ("prior", "DOUBLE", "log-odds before any evidence"),
        ("demographics", "DOUBLE", "what names, dates, identifiers and addresses add"),
        ("clinical", "DOUBLE", "what the clinical histories add; null where there was no evidence"),
        ("llm", "DOUBLE", "what the language model adds; null where it was not asked"),
        ("human", "DOUBLE", "what a person said; null where nobody was asked"),
        ("logit", "DOUBLE", "the sum of the parts"),
        ("probability", "DOUBLE", "the sum as a calibrated probability"),
        ("tier", "VARCHAR", "match, gray or non-match"),
        ("reason", "VARCHAR", "which part put it into its tier, as a short fixed phrase"),
        ("fingerprint", "VARCHAR", "the models that gave the parts"),
    ),
)

CLUSTERS = Table(
    "clusters",
    "Which records are one person in this run. Each rid once.",
    columns(
        ("rid", "INTEGER", "record"),
        ("cluster", "INTEGER", "smallest rid of the cluster"),
    ),
)

CUTS = Table(
    "cuts",
    "Pairs that their own score would link and that clustering left apart, or cut again.",
    columns(
        ("left_rid", "INTEGER", "record"),
        ("right_rid", "INTEGER", "record"),
        ("logit", "DOUBLE", "the pair's own log-odds"),
        ("between", "DOUBLE", "log-odds of all pairs between the two clusters, which decided"),
        ("reason", "VARCHAR", "why, as a short fixed phrase"),
    ),
)

GOLDEN = Table(
    "golden",
    "One row per person: the best value of each field.",
    columns(
        ("cluster", "INTEGER", "cluster"),
        ("records", "INTEGER", "how many records the person has"),
        *PERSON_FIELDS,
    ),
)

GOLDEN_FIELDS = Table(
    "golden_fields",
    "Where each golden value comes from: one row per person and filled field.",
    columns(
        ("cluster", "INTEGER", "cluster"),
        ("field", "VARCHAR", "field of golden"),
        ("value", "VARCHAR", "its value"),
        ("confidence", "DOUBLE", "probability that the value is right, calibrated"),
        ("rids", "INTEGER[]", "records that carry the value or a form of it, strongest first"),
        ("rivals", "INTEGER", "how many other values the person's records hold"),
    ),
)

TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        RECORDS,
        SLICES,
        EVENTS,
        REJECTED,
        PAIRS,
        VERDICTS,
        DECISIONS,
        CLUSTERS,
        CUTS,
        GOLDEN,
        GOLDEN_FIELDS,
    )
}

# What stages leave beside the tables.
FILES: dict[str, str] = {
    "link_model.json": "the link model: blocking rules by number, levels of agreement with their weights, the prior",
    "link_tf.parquet": "how common values are, as the link model uses it",
    "learned.json": "the judges that the run uses: trees, calibration, fingerprints, and why these",
    "judges.json": "by which line a judge's raw log-odds become evidence",
    "clinical_population.parquet": "how common codes are and how measurements vary, as the judges use it",
    "value_counts.parquet": "how common values of person fields are, as the judges use it",
    "publish.json": "receipt of the index: where it is, which run this was, what it changed",
    "metrics.json": "quality with and without truth, slices, cost, anomalies",
    "report.html": "the report: one file that opens offline and holds text of patients",
}


def check(path: Path, table: Table) -> int:
    """Hold a Parquet file against its declaration; its number of rows if it fits."""
    with duckdb.connect() as con:
        try:
            found = {
                str(row[0]): str(row[1]) for row in con.execute("DESCRIBE FROM read_parquet(?)", [str(path)]).fetchall()
            }
            ((count,),) = con.execute("SELECT num_rows FROM parquet_file_metadata(?)", [str(path)]).fetchall()
        except duckdb.Error as error:
            raise DamagedError(
                f"{path} is not a readable Parquet file.", do="Run again with --from the stage that writes it."
            ) from error
    wanted = {column.name: column.type for column in table.columns}
    if found != wanted:
        wrong = [
            f"{name}: {found.get(name, 'missing')} instead of {wanted.get(name, 'nothing')}"
            for name in sorted(wanted.keys() | found.keys())
            if found.get(name) != wanted.get(name)
        ]
        raise SchemaError(f"{path} is not a {table.name} table: {'; '.join(wrong)}.")
    return int(count)
