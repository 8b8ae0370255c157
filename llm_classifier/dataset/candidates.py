"""The pairs of one finished run that could be in a data set: their label, where they come from, what is known of them.

    gray        what Splink alone leaves open, or what the embedded judges do
    lookalike   two persons of one household, one name, or one family name and birth year
    easy        candidates that are clear
    random      strangers (drawn in draw.py, once it is known who is in which split)

Knows nothing of prompts and splits.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import polars as pl

from resolver import database, files, runs, settings
from resolver.database import quote
from resolver.errors import RunError, UsageError
from resolver.evaluate import counts, slices_of
from resolver.evaluate import truth as truths
from resolver.fusion import logit
from resolver.settings import Settings

NEEDED = ("records", "events", "slices", "pairs", "decisions")
SLICES = ("sex", "age_band", "race", "ethnicity")
BLOCK = 40  # a name or address that more records than this share is no likeness


@dataclass(frozen=True)
class Run:
    """A finished run with a truth, named by its config's file name."""

    name: str
    digest: str  # of all that its pairs and summaries hang on
    records: Path
    events: Path
    people: pl.DataFrame  # rid, person (the truth's own id; null where it does not know the record), and the slices
    pairs: pl.DataFrame  # left_rid, right_rid, label (null where unknown), gray (for Splink), open, logit, origin


def load(config: Path) -> Run:
    loaded = settings.load(config)
    if loaded.evaluate.truth is None:
        raise UsageError(
            f"{config} names no truth, so its pairs have no labels.",
            do="Set evaluate.truth to a file with record_id and person_id.",
        )
    folder = runs.RunFolder(loaded.run.dir)
    tables = {name: folder.file(name) for name in NEEDED}
    missing = [path.name for path in tables.values() if not path.exists()]
    if missing:
        raise RunError(
            f"The run of {config} is not finished: {', '.join(missing)} not there.", do=f"resolver run {config}"
        )
    run = loaded.run
    with database.connect(memory_gib=run.memory_gib, threads=run.threads) as con:
        try:
            people = _people(con, loaded, tables)
            con.register("people", people)
            pairs = _pairs(con, loaded, tables)
        except duckdb.Error as error:
            raise RunError(
                f"The run of {config} can't be read ({type(error).__name__}).", do=f"resolver run {config}"
            ) from None
    digest = files.digest_of([files.digest(path) for path in (*tables.values(), loaded.evaluate.truth)])[:16]
    return Run(config.stem, digest, tables["records"], tables["events"], people, pairs)


def _people(con: duckdb.DuckDBPyConnection, loaded: Settings, tables: dict[str, Path]) -> pl.DataFrame:
    records, slices = (f"read_parquet({quote(tables[name])})" for name in ("records", "slices"))
    assert loaded.evaluate.truth is not None
    truth = truths.read(con, loaded.evaluate.truth, records)
    laid = counts.lay(truth.person, np.arange(len(truth.person)))
    found = slices_of(con, records, slices, laid, len(truth.person))
    ids = pl.DataFrame({"number": range(len(truth.ids)), "person": truth.ids}, schema_overrides={"person": pl.String})
    return (
        pl.DataFrame({"rid": np.arange(len(truth.person), dtype=np.int32), "number": truth.person})
        .join(ids, on="number", how="left", maintain_order="left")
        .select(
            "rid", "person", *(pl.Series(name, found[name][1]).gather(found[name][0]).alias(name) for name in SLICES)
        )
    )


def _pairs(con: duckdb.DuckDBPyConnection, loaded: Settings, tables: dict[str, Path]) -> pl.DataFrame:
    pairs, decisions, records = (f"read_parquet({quote(tables[name])})" for name in ("pairs", "decisions", "records"))
    link, decide = loaded.link, loaded.decide
    return con.sql(
        f"""
        WITH keys AS (
            SELECT rid, 'street ' || street || ' ' || zip AS key FROM {records}
            UNION ALL SELECT rid, 'name ' || first_name || ' ' || last_name FROM {records}
            UNION ALL SELECT rid, 'born ' || last_name || ' ' || year(birth_date) FROM {records}),
        small AS (SELECT key FROM keys WHERE key IS NOT NULL GROUP BY key HAVING count(*) BETWEEN 2 AND {BLOCK}),
        alike AS (
            SELECT DISTINCT a.rid AS left_rid, b.rid AS right_rid
            FROM small JOIN keys a USING (key) JOIN keys b USING (key) WHERE a.rid < b.rid),
        scored AS (
            SELECT left_rid, right_rid, p.logit, coalesce(d.logit - coalesce(d.llm, 0) - coalesce(d.human, 0)
                BETWEEN {logit(decide.non_match_probability)} AND {logit(decide.match_probability)}, false) AS open,
                p.logit BETWEEN {logit(link.non_match_probability)} AND {logit(link.match_probability)} AS gray
            FROM {pairs} p LEFT JOIN {decisions} d USING (left_rid, right_rid)),
        every AS (
            SELECT left_rid, right_rid, s.logit, coalesce(s.open, false) AS open, coalesce(s.gray, false) AS gray,
                s.left_rid IS NOT NULL AS candidate, a.left_rid IS NOT NULL AS alike,
                CASE WHEN l.person IS NOT NULL AND r.person IS NOT NULL THEN CAST(l.person = r.person AS TINYINT) END
                    AS label
            FROM scored s FULL JOIN alike a USING (left_rid, right_rid)
                JOIN people l ON l.rid = left_rid JOIN people r ON r.rid = right_rid)
        SELECT left_rid, right_rid, label, gray, open, logit,
            CASE WHEN gray OR open THEN 'gray' WHEN alike AND label = 0 THEN 'lookalike' ELSE 'easy' END AS origin
        FROM every WHERE candidate OR label = 0 ORDER BY left_rid, right_rid"""
    ).pl()
