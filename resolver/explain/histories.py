"""Two clinical histories side by side, in words: how much each holds, and what both have.

Reads the events of these two records, and how common codes are. Knows nothing of log-odds.
"""

from __future__ import annotations

from datetime import date, timedelta

from resolver.database import quote
from resolver.explain import words
from resolver.explain.opened import Opened, Row
from resolver.judges.features.population import CODED, Population

NAMED = 3  # shared codes that are spelled out, the rarest first
LONGEST = 44  # letters of a description
_FIRST_DAY = date(1900, 1, 1)
_CARE, _MEASURED = "time of care", "measurements"
LABELS = frozenset({*((words.about(kind) or (kind,))[0] for kind in CODED), _CARE, _MEASURED})


def side_by_side(run: Opened, left: int, right: int) -> dict[str, tuple[str, str, str]]:
    """What a line is about -> what each side has, and what both have."""
    run.con.execute(f"CREATE OR REPLACE TEMP TABLE theirs AS FROM events WHERE rid IN ({int(left)}, {int(right)})")
    population = Population.load(run.file("clinical_population.parquet"))
    return {
        **_codes(run, left, right, population),
        _CARE: _care(run, left, right),
        _MEASURED: _measured(run, left, right, population),
    }


def _codes(run: Opened, left: int, right: int, population: Population) -> dict[str, tuple[str, str, str]]:
    kinds = ", ".join(quote(kind) for kind in CODED)
    run.con.register("code_facts", population.codes)
    found = run.rows(
        f"""
        WITH own AS (
            SELECT kind, system, code, min(description) AS description,
                bool_or(rid = {int(left)}) AS in_left, bool_or(rid = {int(right)}) AS in_right
            FROM theirs WHERE kind IN ({kinds}) AND code IS NOT NULL GROUP BY kind, system, code)
        SELECT own.*, carriers FROM own LEFT JOIN code_facts USING (kind, system, code)
        ORDER BY carriers, description, code"""
    )
    run.con.unregister("code_facts")
    result = {}
    for kind in CODED:
        own = [row for row in found if row["kind"] == kind]
        both = [row for row in own if row["in_left"] and row["in_right"]]
        label, _ = words.about(kind) or (kind, ())
        result[label] = (
            _count(sum(row["in_left"] for row in own)),
            _count(sum(row["in_right"] for row in own)),
            f"{len(both)} in both: {_named(both)}" if both else "none in both" if own else "",
        )
    return result


def _count(number: int) -> str:
    return str(number) if number else words.MISSING


def _named(rows: list[Row]) -> str:
    more = len(rows) - NAMED
    return ", ".join(_short(row["description"] or row["code"]) for row in rows[:NAMED]) + (
        f" and {more} more" if more > 0 else ""
    )


def _short(text: str) -> str:
    plain = words.plain(text)
    return plain if len(plain) <= LONGEST else plain[: LONGEST - 1] + "…"


def _care(run: Opened, left: int, right: int) -> tuple[str, str, str]:
    found = {
        int(row["rid"]): f"{row['first']} to {row['last']}, {row['days']:,} days of care"
        for row in run.rows(
            """
            SELECT rid, min(CAST(start AS DATE)) AS first, max(CAST(start AS DATE)) AS last,
                count(DISTINCT CAST(start AS DATE)) AS days
            FROM theirs WHERE kind <> 'condition' AND start IS NOT NULL GROUP BY rid"""
        )
    }
    same = run.rows(
        """
        SELECT count(*) AS days FROM (
            SELECT CAST(start AS DATE) AS day FROM theirs WHERE kind = 'encounter' AND start IS NOT NULL
            GROUP BY day HAVING count(DISTINCT rid) = 2)"""
    )
    note = f"{same[0]['days']} days with a visit in both" if len(found) == 2 else ""
    return found.get(left, words.MISSING), found.get(right, words.MISSING), note


def _measured(run: Opened, left: int, right: int, population: Population) -> tuple[str, str, str]:
    """The steadiest kind that both have: its two values nearest in time."""
    found = {
        str(row["what"]): row
        for row in run.rows(
            f"""
            WITH own AS (
                SELECT rid, code || ' ' || coalesce(unit, '') AS what, min(description) AS description,
                    min(unit) AS unit, arg_max(date_diff('day', DATE '1900-01-01', start), start) AS day,
                    arg_max(value, (start, value)) AS value
                FROM theirs WHERE kind = 'measurement' AND isfinite(value) AND start IS NOT NULL
                GROUP BY rid, code, unit, year(start))
            SELECT l.what, min(l.description) AS description, min(l.unit) AS unit,
                arg_min({{'left': l.value, 'left_day': l.day, 'right': r.value, 'right_day': r.day}},
                    (abs(l.day - r.day), l.day, r.day)) AS nearest
            FROM own l JOIN own r USING (what) WHERE l.rid = {int(left)} AND r.rid = {int(right)} GROUP BY l.what"""
        )
    }
    steady = [drift.what for drift in population.drifts if drift.what in found]
    if not steady:
        return "", "", "none in both"
    best, nearest = found[steady[0]], found[steady[0]]["nearest"]

    def side(name: str) -> str:
        day = _FIRST_DAY + timedelta(days=int(nearest[f"{name}_day"]))
        return words.plain(f"{nearest[name]:g} {best['unit'] or ''} on {day}")

    return side("left"), side("right"), f"{_short(best['description'])}; {len(steady)} kinds in both"
