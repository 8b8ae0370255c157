"""Dates and times as sources write them, as SQL. Knows nothing of fields: what is possible, normalise.py says."""

from __future__ import annotations

from resolver.database import quote

# Tried in this order where ISO 8601 did not fit. Month before day, unless the month would be past December.
LONG = (
    *("%Y%m%d", "%m/%d/%Y", "%m-%d-%Y", "%d.%m.%Y", "%d/%m/%Y", "%d-%m-%Y", "%m.%d.%Y", "%m%d%Y", "%Y.%m.%d"),
    *("%d %b %Y", "%d-%b-%Y", "%d%b%Y", "%b %d %Y", "%b %d, %Y", "%d %B %Y", "%B %d %Y", "%B %d, %Y", "%b-%d-%Y"),
)
SHORT = ("%m/%d/%y", "%m-%d-%y", "%d.%m.%y", "%d/%m/%y", "%d-%m-%y", "%d-%b-%y", "%d %b %y", "%d%b%y", "%b %d, %y")


def date(value: str, formats: tuple[str, ...] = ()) -> str:
    """SQL: a day; null where there is none, or only a year or month."""
    day = f"regexp_replace(trim({value}), '[T ]+[0-9]{{1,2}}:[0-9]{{2}}.*$', '')"
    long = _tried(day, (*(one for one in formats if "%y" not in one), *LONG))
    # Two-digit years: the last hundred years.
    parsed = _tried(day, (*(one for one in formats if "%y" in one), *SHORT))
    short = f"CASE WHEN {parsed} > current_date THEN {parsed} - INTERVAL 100 YEAR ELSE {parsed} END"
    own = f"{_tried(day, formats)}, " if _four(formats) else ""
    usual = f"coalesce({own}try_cast({day} AS DATE), {long})"
    return f"""CASE WHEN regexp_matches({day}, '[0-9]{{4}}') THEN CAST({usual} AS DATE)
        WHEN {day} IS NOT NULL THEN CAST({short} AS DATE) END"""


def stamp(value: str, formats: tuple[str, ...] = ()) -> str:
    """SQL: a time without zone, in UTC where the source gave a zone; a day alone is its midnight."""
    quick = f"try_cast({value} AS TIMESTAMP)"
    zoned = f"length({value}) > 19 AND regexp_matches({value}, '[0-9] ?[+-][0-9]{{2}}(:?[0-9]{{2}})?$')"
    other = f"CAST({date(value, formats)} AS TIMESTAMP)"
    first = f"{other}, {quick}" if _four(formats) else f"{quick}, {other}"
    # In the order of how often they come: most sources write 2020-01-31T09:30:00Z.
    return f"""CASE WHEN {value} IS NULL THEN NULL
        WHEN right({value}, 1) = 'Z' THEN {quick}
        WHEN {zoned} THEN try_cast({value} AS TIMESTAMPTZ) AT TIME ZONE 'UTC'
        WHEN left({value}, 1) BETWEEN '0' AND '9' THEN coalesce({first}) ELSE {other} END"""


def _four(formats: tuple[str, ...]) -> bool:
    return any("%y" not in one for one in formats)


def _tried(value: str, formats: tuple[str, ...]) -> str:
    return f"try_strptime({value}, [{', '.join(map(quote, formats))}])"
