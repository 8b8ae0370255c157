"""From events to pieces of evidence: one row per record, section and thing, with its words and when it was.

Years only, no days. What a thing is called is voted on by all records that carry its code, so that one record's own
words do not become everybody's. Knows nothing of tokens or of the prompt.
"""

from __future__ import annotations

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

LASTING_DAYS = 180  # what runs or comes back for longer than this says more of a person than what passes
LASTING_BITS = 4  # and counts as much as being this many times two rarer
VOCABULARY = 10  # words that fewer records carry may be somebody's own: names are looked for in them
RANGES = 6  # spans of years that an immunization is told with, the latest

# Measurements (LOINC) that move slowly in one person, the most telling first.
SLOW = (
    *("8302-2", "882-1", "883-9", "10331-7"),  # height, blood group
    *("29463-7", "39156-5", "38483-4", "2160-0", "33914-3", "69405-9", "4548-4"),  # weight, kidneys, HbA1c
    *("2085-9", "18262-6", "2093-3", "2571-8"),  # lipids
    *("787-2", "785-6", "786-4", "21000-5", "32623-1", "32207-3", "718-7", "4544-3", "789-8", "777-3", "6690-2"),
    *("19926-5", "2857-1", "10834-0", "1751-7", "2885-2", "17861-6", "1742-6", "1920-8", "6768-6", "1975-2"),
)
# And those that move within a day: they tell nobody from anybody.
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
    con = database.connect(memory_gib=database.memory_gib() / 2, threads=database.cores())
    with con:
        try:
            return _pieces(con, records, events, rids, leave_out, without_years)
        except duckdb.Error as error:
            # DuckDB quotes values in its messages.
            raise InputError(
                f"The histories in {events} can't be read ({type(error).__name__}).",
                do="Run again with --from ingest.",
            ) from None


def _pieces(
    con: duckdb.DuckDBPyConnection,
    records: Path,
    events: Path,
    rids: pl.Series | None,
    leave_out: Collection[str],
    without_years: Collection[int],
) -> pl.DataFrame:
    con.register("sections", pl.DataFrame({"kind": list(SECTIONS.values()), "section": range(len(SECTIONS))}))
    barred = ", ".join(quote(one) for one in sorted({*FAST, *OBSERVATION_CODES}))
    con.execute(
        f"""
        CREATE TEMP VIEW history AS
        SELECT rid, section, coalesce(system, '') AS system, coalesce(code, upper(description), '') AS code,
            description, start, stop, value, coalesce(unit, '') AS unit
        FROM read_parquet({quote(events)}) JOIN sections USING (kind)
        WHERE kind <> 'measurement' OR (coalesce(code, '') NOT IN ({barred}) AND coalesce(isfinite(value), false))"""
    )
    _terms(con)
    con.register("wanted", pl.DataFrame({"rid": rids.unique() if rids is not None else []}, schema={"rid": pl.Int32}))
    left_out = [number for number, section in enumerate(SECTIONS) if section in leave_out]
    con.execute(
        f"""
        CREATE TEMP VIEW told AS
        SELECT h.*, t.term, t.words, t.carriers, t.slow
        FROM history h JOIN terms t USING (section, system, code)
        WHERE {"rid IN (FROM wanted)" if rids is not None else "true"}
            AND coalesce(section NOT IN ({_list(left_out)}), true)
            AND coalesce(year(start) NOT IN ({_list(sorted(without_years))}), true)"""
    )
    ((everybody,),) = con.execute("SELECT count(DISTINCT rid) FROM history").fetchall()
    coded, measured = _coded(int(everybody)), _measured()
    con.execute(f"CREATE TEMP TABLE pieces AS FROM ({coded}) UNION ALL BY NAME FROM ({measured})")
    return con.sql(
        f"""
        WITH own AS (
            SELECT rid, list_distinct(list_filter(
                regexp_split_to_array(lower(concat_ws(' ', first_name, middle_name, last_name, maiden_name,
                    raw_first_name, raw_middle_name, raw_last_name, raw_maiden_name)), '[^\\p{{L}}]+'),
                lambda w: length(w) > 1)) AS names
            FROM read_parquet({quote(records)})),
        named AS (
            SELECT p.* EXCLUDE (words), CASE WHEN carriers < {VOCABULARY} AND names IS NOT NULL THEN
                trim(array_to_string(list_filter(string_split(words, ' '),
                    lambda w: NOT list_contains(names, regexp_replace(w, '[^\\p{{L}}]', '', 'g'))), ' '))
                ELSE words END AS words
            FROM pieces p LEFT JOIN own USING (rid))
        SELECT rid, section, words, span,
            row_number() OVER (PARTITION BY rid, section ORDER BY priority DESC, words, span) AS rank
        FROM named WHERE words <> '' ORDER BY rid, section, rank"""
    ).pl()


def _terms(con: duckdb.DuckDBPyConnection) -> None:
    """`terms`: the words for each code, and how many records carry the words."""
    con.execute(
        """
        CREATE TEMP TABLE said AS
        SELECT section, system, code, description, count(DISTINCT rid) AS votes FROM history GROUP BY ALL"""
    )
    said = con.sql("FROM said").pl()
    clean = said.with_columns(
        text.plain(pl.col("description")).alias("said_as"),
        pl.when(pl.col("system") != "TEXT").then(pl.col("system") + " " + text.code(pl.col("code"))).alias("code_as"),
    ).with_columns(text.plain(pl.col("code_as")))
    con.register("clean", clean)
    units = con.sql("SELECT DISTINCT unit FROM history").pl().with_columns(text.unit(pl.col("unit")).alias("shown"))
    con.register(
        "units",
        units.with_columns(
            pl.when(pl.col("shown") != "").then(" " + pl.col("shown")).otherwise(pl.lit("")).alias("shown")
        ),
    )
    slow = ", ".join(quote(one) for one in SLOW)
    con.execute(
        f"""
        CREATE TEMP TABLE terms AS
        WITH voted AS (
            SELECT section, system, code,
                coalesce(arg_max(said_as, (by_words, said_as)) FILTER (said_as IS NOT NULL), min(code_as)) AS words
            FROM (SELECT *, sum(votes) OVER (PARTITION BY section, system, code, said_as) AS by_words FROM clean)
            GROUP BY ALL),
        carried AS (
            SELECT section, words, count(DISTINCT rid) AS carriers
            FROM (SELECT DISTINCT rid, section, system, code FROM history) JOIN voted USING (section, system, code)
            WHERE words IS NOT NULL GROUP BY ALL)
        SELECT *, dense_rank() OVER (ORDER BY section, words) AS term,
            coalesce(list_position([{slow}], code), {len(SLOW) + 1}) AS slow
        FROM voted JOIN carried USING (section, words)"""
    )
    con.unregister("clean")


def _coded(everybody: int) -> str:
    """SQL: one row per record and thing. Rarity counts in steps of two, so that a few records more change little."""
    measured, immunized = (list(SECTIONS).index(name) for name in ("measurements", "immunizations"))
    lasting = [list(SECTIONS).index(name) for name in ("conditions", "medications", "devices")]
    counted = [list(SECTIONS).index(name) for name in ("conditions", "procedures", "encounters")]
    return f"""
        WITH seen AS (
            SELECT rid, section, term, any_value(words) AS words, any_value(carriers) AS carriers,
                min(year(start)) AS first, max(year(coalesce(stop, start))) AS last,
                count(DISTINCT CAST(start AS DATE)) AS times,
                section IN ({", ".join(map(str, lasting))})
                    AND coalesce(arg_max(stop IS NULL, start), false) AS ongoing,
                coalesce(date_diff('day', min(start), max(coalesce(stop, start))) >= {LASTING_DAYS}, false) AS long
            FROM told WHERE section <> {measured} GROUP BY rid, section, term),
        doses AS (
            SELECT rid, section, term, string_agg(
                ' ' || first || CASE WHEN first < last THEN '-' || last ELSE '' END, '' ORDER BY first) AS doses
            FROM (
                SELECT rid, section, term, min(year) AS first, max(year) AS last,
                    row_number() OVER (PARTITION BY rid, term ORDER BY min(year) DESC) AS latest
                FROM (
                    SELECT *, year - row_number() OVER (PARTITION BY rid, term ORDER BY year) AS run
                    FROM (SELECT DISTINCT rid, section, term, year(start) AS year FROM told
                        WHERE section = {immunized} AND start IS NOT NULL))
                GROUP BY rid, section, term, run)
            WHERE latest <= {RANGES} GROUP BY rid, section, term)
        SELECT rid, section, words, carriers,
            CASE WHEN first IS NULL THEN ''
                WHEN doses IS NOT NULL THEN doses
                WHEN ongoing THEN ' since ' || first
                ELSE CASE WHEN times > 1 AND section IN ({", ".join(map(str, counted))}) THEN ' x' || times ELSE '' END
                    || ' ' || first || CASE WHEN last > first THEN '-' || last ELSE '' END
            END AS span,
            floor(log2({everybody} / carriers)) + CASE WHEN ongoing OR long THEN {LASTING_BITS} ELSE 0 END AS priority
        FROM seen LEFT JOIN doses USING (rid, section, term)"""


def _measured() -> str:
    """SQL: one row per record and kind of measurement, with its first and its latest value."""
    measured = list(SECTIONS).index("measurements")
    return f"""
        SELECT rid, section, words, carriers, -slow AS priority,
            CASE WHEN first_year < last_year THEN format(' {{:.4g}}{{}} {{}},', first, unit, first_year) ELSE '' END
                || format(' {{:.4g}}{{}}', last, unit)
                || CASE WHEN last_year IS NULL THEN '' ELSE ' ' || last_year END AS span
        FROM (
            SELECT rid, section, any_value(words) AS words, any_value(carriers) AS carriers, min(slow) AS slow,
                shown AS unit,
                min(year(start)) AS first_year, max(year(start)) AS last_year,
                coalesce(arg_min(value, (start, value)), min(value)) AS first,
                coalesce(arg_max(value, (start, value)), max(value)) AS last
            FROM told JOIN units USING (unit) WHERE section = {measured} GROUP BY rid, section, term, shown)"""


def _list(numbers: Collection[int]) -> str:
    return ", ".join(str(int(one)) for one in numbers) or "NULL"
