"""From events to pieces of evidence: one row per record, section and thing, with its words and when it was.

Years only, no days. What a thing is called is voted on by all records that carry its code, so that one record's own
words do not become everybody's. Knows nothing of tokens or of the prompt.
"""

from __future__ import annotations

import tempfile
from collections.abc import Collection
from pathlib import Path

import duckdb
import polars as pl

from llm_classifier.prompt import text
from resolver import database
from resolver.database import quote
from resolver.errors import InputError
from resolver.ingest.forbidden import OBSERVATION_CODES

# Section -> the kind of event that it tells of, in the order of the summary.
SECTIONS = {
    "conditions": "condition",
    "medications": "medication",
    "allergies": "allergy",
    "measurements": "measurement",
    "procedures": "procedure",
    "immunizations": "immunization",
    "devices": "device",
    "encounters": "encounter",
}

SYSTEMS = ("SNOMED", "RXNORM", "LOINC", "CVX")  # whose codes stand for a thing that has no words

LASTING_DAYS = 180  # what runs or comes back for longer than this says twice as much of a person as what passes
VOCABULARY = 10  # words that fewer records carry may be somebody's own: names are looked for in them
RANGES = 6  # spans of years that an immunization is told with, the latest

# Measurements (LOINC) that move slowly in one person, the most telling first.
SLOW = (
    *("8302-2", "882-1", "883-9", "10331-7"),  # height, blood group
    *("29463-7", "38483-4", "2160-0", "33914-3", "69405-9", "4548-4"),  # weight, kidneys, HbA1c
    *("2085-9", "18262-6", "2093-3", "2571-8", "39156-5"),  # lipids, body mass index
    *("787-2", "785-6", "786-4", "21000-5", "32623-1", "32207-3", "718-7", "4544-3", "789-8", "777-3", "6690-2"),
    *("19926-5", "2857-1", "10834-0", "1751-7", "2885-2", "17861-6", "1742-6", "1920-8", "6768-6", "1975-2"),
)
# Estimates that are made for one race, and say so in their name.
RACE = ("48642-3", "48643-1", "88293-6", "88294-4")
# What moves within a day tells nobody from anybody.
FAST = ("8480-6", "8462-4", "8867-4", "9279-1", "8310-5", "8331-1", "72514-3", "2708-6", "59408-5", "2710-2")


def pieces(
    records: Path,
    events: Path,
    *,
    rids: pl.Series | None,
    leave_out: Collection[str],
    without_years: Collection[int],
) -> pl.DataFrame:
    """rid, section (position in SECTIONS), words, span (" 2008-2012", may be empty), rank: 1 is told first.

    Sorted by rid, section and rank.
    """
    with (
        tempfile.TemporaryDirectory(prefix="resolver-") as spill,
        database.connect(memory_gib=database.memory_gib() / 2, threads=database.cores(), spill=Path(spill)) as con,
    ):
        try:
            _read(con, events)
            _terms(con)
            _tell(con, rids, leave_out, without_years)
            return _ranked(con, records)
        except duckdb.Error as error:
            # DuckDB quotes values in its messages.
            raise InputError(
                f"The histories in {events} can't be read ({type(error).__name__}).",
                do="Run again with --from ingest.",
            ) from None


def _read(con: duckdb.DuckDBPyConnection, events: Path) -> None:
    """`said`: what codes are called, each way of it with a number; `held`: who has which of them, and when."""
    con.register("sections", pl.DataFrame({"kind": list(SECTIONS.values()), "section": range(len(SECTIONS))}))
    barred = ", ".join(quote(one) for one in sorted({*FAST, *RACE, *OBSERVATION_CODES}))
    con.execute(
        f"""
        CREATE TEMP VIEW history AS
        SELECT rid, section, coalesce(system, '') AS system, coalesce(code, upper(description), '') AS code,
            coalesce(description, '') AS description, coalesce(unit, '') AS unit,
            CAST(start AS DATE) AS start, CAST(stop AS DATE) AS stop, value
        FROM read_parquet({quote(events)}) JOIN sections USING (kind)
        WHERE kind <> 'measurement' OR (coalesce(code, '') NOT IN ({barred}) AND coalesce(isfinite(value), false))"""
    )
    con.execute(
        """
        CREATE TEMP TABLE said AS
        SELECT *, row_number() OVER (ORDER BY section, system, code, description, unit) AS said
        FROM (SELECT DISTINCT section, system, code, description, unit FROM history)"""
    )
    con.execute(
        """
        CREATE TEMP TABLE held AS
        SELECT rid, said, start, stop, value
        FROM history JOIN said USING (section, system, code, description, unit)"""
    )


def _terms(con: duckdb.DuckDBPyConnection) -> None:
    """`terms`: what a prompt calls things, and how many records have them; `means`: the term of each way to say it."""
    con.execute("CREATE TEMP TABLE has AS SELECT DISTINCT rid, said FROM held")
    said = con.sql("FROM (SELECT said, count(*) AS votes FROM has GROUP BY said) JOIN said USING (said)").pl()
    clean = said.with_columns(
        words=text.plain(pl.col("description")),
        spelled=pl.when(pl.col("system").is_in(SYSTEMS)).then(
            pl.col("system").str.to_lowercase() + " " + text.code(pl.col("code"))
        ),
        shown=text.unit(pl.col("unit")),
    ).with_columns(
        shown=pl.when(pl.col("shown") != "").then(" " + pl.col("shown")).otherwise(pl.lit("")),
    )
    con.register("clean", clean)
    slow = ", ".join(quote(one) for one in SLOW)
    con.execute(
        f"""
        CREATE TEMP TABLE means AS
        WITH voted AS (
            SELECT section, system, code,
                coalesce(arg_max(words, (votes, words)) FILTER (words IS NOT NULL), min(spelled)) AS words
            FROM (SELECT section, system, code, words, min(spelled) AS spelled, sum(votes) AS votes
                FROM clean GROUP BY ALL)
            GROUP BY ALL)
        SELECT said, section, voted.words, shown, dense_rank() OVER (ORDER BY section, voted.words, shown) AS term,
            coalesce(list_position([{slow}], code), {len(SLOW) + 1}) AS slow
        FROM clean JOIN voted USING (section, system, code) WHERE voted.words IS NOT NULL"""
    )
    con.unregister("clean")
    con.execute(
        """
        CREATE TEMP TABLE terms AS
        SELECT term, any_value(section) AS section, any_value(words) AS words, any_value(shown) AS shown,
            min(slow) AS slow, count(DISTINCT rid) AS carriers
        FROM has JOIN means USING (said) GROUP BY term"""
    )


def _tell(
    con: duckdb.DuckDBPyConnection, rids: pl.Series | None, leave_out: Collection[str], without_years: Collection[int]
) -> None:
    """`pieces`: record, term, the years in words, and how much it tells. Rarity counts in steps of two, so that a few
    records more change little."""
    con.register("wanted", pl.DataFrame({"rid": rids.unique() if rids is not None else []}, schema={"rid": pl.Int32}))
    con.execute(
        f"""
        CREATE TEMP TABLE told AS
        SELECT rid, term, section, start, max(stop) AS stop, bool_or(stop IS NULL) AS open,
            min(value) AS low, max(value) AS high
        FROM held JOIN means USING (said)
        WHERE {"rid IN (FROM wanted)" if rids is not None else "true"}
            AND coalesce(section NOT IN ({_sections(leave_out)}), true)
            AND coalesce(year(start) NOT IN ({", ".join(str(int(one)) for one in without_years) or "NULL"}), true)
        GROUP BY rid, term, section, start"""
    )
    ((everybody,),) = con.execute("SELECT count(DISTINCT rid) FROM has").fetchall()
    con.execute(
        f"""
        CREATE TEMP TABLE pieces AS
        WITH seen AS (
            SELECT rid, term, section, min(start) AS start, greatest(max(stop), max(start)) AS stop,
                count(*) AS times,
                section IN ({_sections(("conditions", "medications", "devices"))})
                    AND bool_or(open AND start IS NOT NULL) AS ongoing
            FROM told WHERE section NOT IN ({_sections(("measurements",))}) GROUP BY rid, term, section),
        doses AS (
            SELECT rid, term, string_agg(
                ' ' || first || CASE WHEN first < last THEN '-' || last ELSE '' END, '' ORDER BY first) AS doses
            FROM (
                SELECT rid, term, min(year) AS first, max(year) AS last,
                    row_number() OVER (PARTITION BY rid, term ORDER BY min(year) DESC) AS latest
                FROM (
                    SELECT *, year - row_number() OVER (PARTITION BY rid, term ORDER BY year) AS run
                    FROM (
                        SELECT DISTINCT rid, term, year(start) AS year FROM told
                        WHERE section IN ({_sections(("immunizations",))}) AND start IS NOT NULL))
                GROUP BY rid, term, run)
            WHERE latest <= {RANGES} GROUP BY rid, term)
        SELECT rid, term, CASE
                WHEN start IS NULL THEN ''
                WHEN doses IS NOT NULL THEN doses
                WHEN ongoing THEN ' since ' || year(start)
                ELSE CASE WHEN times > 1 AND section IN ({_sections(("conditions", "procedures", "encounters"))})
                        THEN ' x' || times ELSE '' END
                    || ' ' || year(start) || CASE WHEN year(stop) > year(start) THEN '-' || year(stop) ELSE '' END
            END AS span,
            CASE WHEN ongoing OR stop - start >= {LASTING_DAYS} THEN 1 + 2 * bits ELSE bits END AS priority
        FROM seen LEFT JOIN doses USING (rid, term)
            JOIN (SELECT term, floor(log2({everybody} / carriers)) AS bits FROM terms) USING (term)
        UNION ALL
        SELECT rid, term,
            CASE WHEN year(start) < year(stop) THEN format(' {{:.4g}}{{}} {{}},', first, shown, year(start)) ELSE '' END
                || format(' {{:.4g}}{{}}', last, shown)
                || CASE WHEN stop IS NULL THEN '' ELSE ' ' || year(stop) END AS span,
            -slow AS priority
        FROM (
            SELECT rid, term, min(start) AS start, max(start) AS stop,
                coalesce(arg_min(low, start), min(low)) AS first, coalesce(arg_max(high, start), max(high)) AS last
            FROM told WHERE section IN ({_sections(("measurements",))}) GROUP BY rid, term)
        JOIN terms USING (term)"""
    )


def _ranked(con: duckdb.DuckDBPyConnection, records: Path) -> pl.DataFrame:
    """The pieces in words and in order. Words that few carry lose what is part of the record's own name."""
    names = ", ".join(f"{raw}{name}_name" for raw in ("", "raw_") for name in ("first", "middle", "last", "maiden"))
    con.execute(
        f"""
        CREATE TEMP TABLE own AS
        WITH called AS (
            SELECT rid, list_filter(regexp_split_to_array(lower(concat_ws(' ', {names})), '[^\\p{{L}}]+'),
                lambda word: length(word) > 1) AS names
            FROM read_parquet({quote(records)}) WHERE rid IN (SELECT rid FROM pieces))
        SELECT rid, term, trim(array_to_string(list_filter(string_split(words, ' '),
            lambda word: NOT list_contains(names, regexp_replace(word, '[^\\p{{L}}]', '', 'g'))), ' ')) AS words
        FROM pieces JOIN terms USING (term) JOIN called USING (rid) WHERE carriers < {VOCABULARY}"""
    )
    ranked = con.sql(
        """
        SELECT rid, section, term, span, own.words,
            row_number() OVER (PARTITION BY rid, section ORDER BY priority DESC, term) AS rank
        FROM pieces JOIN terms USING (term) LEFT JOIN own USING (rid, term)
        WHERE coalesce(own.words, terms.words) <> '' ORDER BY rid, section, rank"""
    ).pl()
    everybodys = con.sql("SELECT term, words AS usual FROM terms").pl()
    return ranked.join(everybodys, on="term", maintain_order="left").select(
        "rid", "section", pl.coalesce("words", "usual").alias("words"), "span", "rank"
    )


def _sections(names: Collection[str]) -> str:
    return ", ".join(str(number) for number, name in enumerate(SECTIONS) if name in names) or "NULL"
