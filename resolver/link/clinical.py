"""Blocking keys from clinical events: an adult's height within a tolerance, and codes that few records carry.

Reads nothing else from `events`, and nothing from names or addresses.
"""

from __future__ import annotations

from pathlib import Path

import duckdb

from resolver.database import quote

HEIGHT_CODES = ("8302-2", "3137-7", "3138-5", "8306-3", "8308-9")  # LOINC: body height, measured, stated, lying
TOLERANCE_CM = 0.5
ADULT_CM = (140, 215)
ADULT_YEARS = 20
RARE = 200  # records that may share a code for it to be called rare

_CM = {"cm": 1.0, "m": 100.0, "mm": 0.1, "in": 2.54, "[in_i]": 2.54, "[in_us]": 2.54, "inch": 2.54, "inches": 2.54}


def prepare(con: duckdb.DuckDBPyConnection, events: Path, rids: str | None = None) -> bool:
    """Make `measured` (rid, height) and `coded` (rid, code); whether there is anything in either."""
    source = f"read_parquet({quote(events)})"
    where = f"AND rid IN ({rids})" if rids is not None else ""
    units = " ".join(f"WHEN '{unit}' THEN {factor}" for unit, factor in _CM.items())
    # A band and its neighbour: two heights at most one tolerance apart share one of the two keys.
    con.execute(f"""
        CREATE OR REPLACE TABLE measured AS
        WITH heights AS (
            SELECT rid, start, value * CASE lower(trim(unit)) {units} END AS cm
            FROM {source}
            WHERE kind = 'measurement' AND value IS NOT NULL
                AND code IN ({", ".join(map(quote, HEIGHT_CODES))}) {where}),
        adult AS (
            SELECT rid, arg_max(cm, (start, cm)) AS cm
            FROM heights JOIN fields USING (rid)
            WHERE cm BETWEEN {ADULT_CM[0]} AND {ADULT_CM[1]} AND start IS NOT NULL
                AND (birth_date IS NULL OR start >= birth_date + INTERVAL {ADULT_YEARS} YEAR)
            GROUP BY rid)
        SELECT rid, 2 * floor(cm / {2 * TOLERANCE_CM})::INTEGER AS height FROM adult
        UNION ALL
        SELECT rid, 2 * floor((cm + {TOLERANCE_CM}) / {2 * TOLERANCE_CM})::INTEGER + 1 FROM adult""")
    con.execute(f"""
        CREATE OR REPLACE TABLE coded AS
        WITH carried AS (
            SELECT DISTINCT rid, hash(kind, system, code) AS code
            FROM {source}
            WHERE kind NOT IN ('measurement', 'encounter') AND code IS NOT NULL {where})
        SELECT rid, code FROM carried SEMI JOIN (
            SELECT code FROM carried GROUP BY code HAVING count(*) BETWEEN 2 AND {RARE}) AS rare USING (code)""")
    row = con.execute("SELECT (SELECT count(*) FROM measured) + (SELECT count(*) FROM coded)").fetchone()
    return bool(row and row[0])
