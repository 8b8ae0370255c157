"""What the records of a run are like: how full and distinct each field is, what could not be used, which clinical
evidence there is. Reads the tables that ingest wrote. Gives counts, never values.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import duckdb

from resolver.database import quote
from resolver.ingest import normalise, vocabulary
from resolver.ingest.dates import date
from resolver.ingest.opening import literal

EXACT_RECORDS = 2_000_000  # up to here values are counted one by one, past it by estimate

# Fields that say little by themselves about who somebody is.
WEAK = ("sex", "state", "suffix", "unit", "street_number", "ssn_last4")
# Fields that come out of others; they have no raw value of their own unless a source gives them.
DERIVED = ("ssn_last4", "street_number", "unit", "suffix")


def of_records(con: duckdb.DuckDBPyConnection, records: Path, placeholders: tuple[str, ...]) -> list[dict[str, Any]]:
    """Per field, and per source and field: how many records give a value, how many of those are usable, and why the
    others are not. `source` is null where all are counted together."""
    table = f"read_parquet({quote(literal(records))})"
    ((total,),) = con.execute(f"SELECT count(*) FROM {table}").fetchall()
    distinct = "count(DISTINCT {0})" if total <= EXACT_RECORDS else "approx_count_distinct({0})"
    found = []
    for field in normalise.FIELDS:
        raw = f"raw_{field}"
        known = f"{field} IS NULL AND {raw} IS NOT NULL"
        if field == "ssn":
            known += " AND ssn_last4 IS NULL"
        no_value = placeholder(field, raw, placeholders)
        rows = con.execute(
            f"""SELECT source, count(*), count(*) FILTER ({raw} IS NOT NULL OR {field} IS NOT NULL), count({field}),
                {distinct.format(field)}, count(*) FILTER ({known} AND ({no_value})),
                count(*) FILTER ({known} AND ({no_value}) IS NOT TRUE)
            FROM {table} GROUP BY GROUPING SETS ((source), ()) ORDER BY source NULLS FIRST"""
        ).fetchall()
        for source, count, given, filled, values, unknown, impossible in rows:
            found.append(
                {
                    "source": source,
                    "field": field,
                    "records": count,
                    "given": given,
                    "filled": filled,
                    "share": round(filled / count, 4),
                    "distinct": values,
                    "placeholders": unknown,
                    "impossible": impossible if field not in DERIVED else 0,
                }
            )
    return found


def placeholder(field: str, raw: str, placeholders: tuple[str, ...] = ()) -> str:
    """SQL: whether a raw value says that the value is not known."""
    unknown = {*vocabulary.PLACEHOLDERS, *(value.strip().upper() for value in placeholders)}
    parts = [f"upper(trim({raw})) IN ({_list(unknown)})"]
    digits = f"regexp_replace({raw}, '[^0-9]', '', 'g')"
    same = f"({digits} <> '' AND replace({digits}, left({digits}, 1), '') = '')"
    if field.endswith("_name"):
        spelt = normalise.letters(raw)
        parts += [f"{spelt} IN ({_list(vocabulary.NO_NAMES)})", f"starts_with({spelt}, 'ZZZ')"]
        parts += [f"regexp_full_match({spelt}, {quote(vocabulary.NEWBORN)})"]
        parts += [f"(length({spelt}) > 2 AND replace({spelt}, left({spelt}, 1), '') = '')"]
    elif field in ("ssn", "phone", "zip", "member_id"):
        bad = {"ssn": vocabulary.BAD_SSNS, "phone": vocabulary.BAD_PHONES}.get(field, ())
        parts += [same, *([f"{digits} IN ({_list(bad)})"] if bad else [])]
    elif field == "birth_date":
        parts.append(f"{date(raw)} IN ({', '.join(f'DATE {quote(day)}' for day in vocabulary.BAD_DATES)})")
    elif field == "street":
        parts.append(f"upper(trim({raw})) IN ({_list(vocabulary.NO_STREETS)})")
    elif field == "email":
        parts.append(f"split_part(lower(trim({raw})), '@', 1) IN ({_list(vocabulary.BAD_EMAIL_NAMES)})")
    return " OR ".join(parts)


def of_persons(con: duckdb.DuckDBPyConnection, records: Path, events: Path) -> dict[str, int]:
    """Records that are odd as a whole."""
    strong = " + ".join(f"({name} IS NOT NULL)::INTEGER" for name in normalise.FIELDS if name not in WEAK)
    rows = con.execute(
        f"""SELECT count(*) FILTER ({strong} < 2), count(*) FILTER (birth_date > first + INTERVAL 1 DAY)
        FROM read_parquet({quote(literal(records))})
        LEFT JOIN (
            SELECT rid, min(start) AS first FROM read_parquet({quote(literal(events))}) GROUP BY rid
        ) USING (rid)"""
    ).fetchall()
    return {"fewer_than_two_telling_fields": int(rows[0][0]), "born_after_their_first_event": int(rows[0][1])}


def of_events(con: duckdb.DuckDBPyConnection, records: int, events: Path) -> dict[str, Any]:
    """Which clinical evidence exists for how many records."""
    table = f"read_parquet({quote(literal(events))})"
    kinds = con.execute(
        f"""SELECT kind, count(*), count(DISTINCT rid), count(*) FILTER (start IS NOT NULL)
        FROM {table} GROUP BY kind ORDER BY kind"""
    ).fetchall()
    ((having, median),) = con.execute(
        f"SELECT count(*), median(n) FROM (SELECT count(*) AS n FROM {table} GROUP BY rid)"
    ).fetchall()
    return {
        "records_with_any": int(having),
        "share_with_any": round(having / records, 4) if records else 0.0,
        "median_per_record": float(median or 0),
        "kinds": {
            kind: {"events": count, "records": rids, "share": round(rids / records, 4), "dated": dated}
            for kind, count, rids, dated in kinds
        },
    }


def lost(facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What of the sources did not become a record or event, and why, per source."""
    rows = []
    for source, entry in facts["sources"].items():
        whys = dict(entry["rejected"])
        whys["repeats a record, value for value"] = entry["repeated"]
        whys["event of a sort that is not read (surveys, words)"] = entry["left_out"]
        rows += [{"source": source, "why": why, "rows": count} for why, count in whys.items() if count]
    return rows


def files_not_read(facts: Mapping[str, Any]) -> dict[str, int]:
    """Names of files that lie beside those that are read, and in how many sources."""
    found: dict[str, int] = {}
    for entry in facts["sources"].values():
        for name in entry["files_not_read"]:
            found[name] = found.get(name, 0) + 1
    return dict(sorted(found.items()))


def _list(values: Iterable[str]) -> str:
    return ", ".join(map(quote, sorted(values)))
