"""Makes some persons look like others: twins, siblings, parent and child with one name, couples that move, namesakes.

Of a pair, one person lends and the other borrows: family name, address, birth date. Partners are chosen so that the
borrower's medical history stays believable: twins and namesakes are of one sex and born close together, siblings a few
years apart, parent and child a generation. A person is in at most one pair.

What hangs on what: pairs are drawn kind by kind, in the order of `KINDS`, from (seed, kind, person). A kind more at the
end changes no pair of the kinds before it, as long as those keep their numbers. Knows nothing of facilities.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Any, Literal

import duckdb

from augmentation import draws
from augmentation.population import PARQUET, Layout, Table, moment, tables, unquoted
from augmentation.settings import AugmentSettings, LookalikeSettings
from resolver.database import name, quote
from resolver.errors import UsageError
from resolver.files import whole
from resolver.progress import Progress

Facts = dict[str, Any]

HOME = ("ADDRESS", "CITY", "STATE", "COUNTY", "FIPS", "ZIP", "LAT", "LON")
YEAR = 365.25

# Persons of one household who moved together did so in the last so many years.
MOVED_WITHIN_YEARS = 8

# Of children who bear a parent's full name, this share is registered as a junior.
JUNIORS = 0.5


@dataclass(frozen=True)
class Kind:
    """How two persons come to look alike."""

    name: str
    apart: tuple[float, float]  # days by which the borrower is born after the lender: least, most
    sex: Literal["same", "other", "any"]
    borrows: tuple[str, ...]  # columns taken over as they are
    kin: bool  # whether the two have one family name from birth
    nearest: bool = False  # whether the lender is the last one born before, not one at a drawn distance


KINDS = (
    Kind("twin", (0, YEAR), "same", ("LAST", "BIRTHDATE", *HOME), kin=True, nearest=True),
    Kind("sibling", (0.8 * YEAR, 9 * YEAR), "any", ("LAST", *HOME), kin=True),
    Kind("parent_child", (17 * YEAR, 42 * YEAR), "same", ("FIRST", "LAST", *HOME), kin=True),
    Kind("household_move", (0, 12 * YEAR), "other", ("LAST", *HOME), kin=False),
    Kind("namesake", (0, YEAR), "same", ("FIRST", "LAST", "BIRTHDATE"), kin=False, nearest=True),
)


def make_lookalikes(
    con: duckdb.DuckDBPyConnection, settings: AugmentSettings, layout: Layout, progress: Progress
) -> Facts:
    """Write truth/persons.parquet, truth/lookalikes.parquet and truth/former_addresses.parquet.

    persons: the population's patients, digits off the names, some of them changed. lookalikes: person_id (who was
    changed), other_id (whom they look like), kind, fields (columns that changed). former_addresses: where the persons
    who moved lived before, and until when. Returns the number of pairs per kind.
    """
    if settings.population.dir is None:
        raise UsageError("The config names no population.", do="Set population.dir.")
    _check_kinds(settings.lookalikes)
    found = tables(con, settings.population.dir)
    patients = found["patients"]
    label, folder = "Look-alikes", settings.population.dir
    with unquoted(folder), progress.step(label, total=len(KINDS), unit="kinds") as step:
        con.execute(f"CREATE OR REPLACE TEMP TABLE people AS {_people(patients, settings.seed)}")
        (total,) = con.execute("SELECT count(*) FROM people").fetchall()[0]
        con.execute("CREATE OR REPLACE TEMP TABLE pairs (person_id VARCHAR, other_id VARCHAR, kind VARCHAR)")
        for kind, count in _counts(settings.lookalikes, int(total)).items():
            if count:
                _pair(con, kind, count, settings.seed)
            step.advance(1)
        _former_addresses(con, patients, found["encounters"], settings.seed, layout)
        _write(con, patients, settings.seed, layout)
    made = dict(con.execute("SELECT kind, count(*) FROM pairs GROUP BY 1 ORDER BY 1").fetchall())
    con.execute("DROP TABLE people; DROP TABLE pairs")
    return {"persons": int(total), "lookalikes": made}


def _check_kinds(settings: LookalikeSettings) -> None:
    names = [kind.name for kind in KINDS]
    for wanted in settings.kinds:
        if wanted not in names:
            near = difflib.get_close_matches(wanted, names, 1)
            raise UsageError(
                f"lookalikes.kinds: there is no kind {wanted}.",
                do=f"Did you mean {near[0]}?" if near else f"Choose from {', '.join(names)}.",
            )


def _counts(settings: LookalikeSettings, persons: int) -> dict[Kind, int]:
    """Pairs per kind. Rounded one by one, so that a kind's number hangs on its own share only."""
    weights = {kind: settings.kinds.get(kind.name, 0.0) for kind in KINDS}
    total = sum(weights.values())
    if not total:
        return dict.fromkeys(KINDS, 0)
    return {kind: round(persons * settings.share * weight / total) for kind, weight in weights.items()}


def _people(patients: Table, seed: int) -> str:
    # `place` orders persons by birth without ties, so that "the last one born before" is one person.
    return f"""
        SELECT id, GENDER, k, days, days * 1000000000 + row_number() OVER (ORDER BY days, id) AS place
        FROM (
            SELECT Id AS id, GENDER, {draws.key("Id")} AS k,
                date_diff('day', DATE '1800-01-01', CAST(BIRTHDATE AS DATE)) AS days
            FROM {patients.source} WHERE Id IS NOT NULL)"""


def _pair(con: duckdb.DuckDBPyConnection, kind: Kind, count: int, seed: int) -> None:
    """Add `count` pairs of a kind, or as many as there are partners for.

    Each free person looks for the lender born nearest to a drawn distance before them. Pairs are ranked by a draw, and
    a round keeps those that rank before all others with one of their persons, so nobody is taken twice.
    """
    least, most = kind.apart
    span = draws.uniform("k", seed, f"{kind.name}: years apart")
    before = "place - 1" if kind.nearest else f"(days - {least!r} - {most - least!r} * {span}) * 1000000000"
    side = {
        "same": ("GENDER", "GENDER"),
        "other": ("GENDER", "CASE GENDER WHEN 'F' THEN 'M' WHEN 'M' THEN 'F' END"),
        "any": ("''", "''"),
    }[kind.sex]
    left = count
    while left > 0:
        con.execute("""
            CREATE OR REPLACE TEMP TABLE free AS
            SELECT * FROM people WHERE id NOT IN (SELECT person_id FROM pairs UNION ALL SELECT other_id FROM pairs)""")
        # Not everyone need look: the first in rank do, with enough of them to lose some to each other.
        con.execute(f"""
            CREATE OR REPLACE TEMP TABLE wishes AS
            SELECT b.id AS person_id, a.id AS other_id, b.rank
            FROM (
                SELECT id, {side[0]} AS side, CAST({before} AS BIGINT) AS before, days,
                    {draws.bits("k", seed, kind.name)} AS rank
                FROM free ORDER BY rank, id LIMIT {4 * left + 64}) b
            ASOF JOIN (SELECT id, {side[1]} AS side, place, days FROM free) a
                ON a.side = b.side AND a.place <= b.before
            WHERE b.days - a.days BETWEEN {least!r} AND {most!r}""")
        (taken,) = con.execute(f"""
            INSERT INTO pairs
            WITH best AS (
                SELECT id, min(rank) AS rank
                FROM (SELECT person_id AS id, rank FROM wishes UNION ALL SELECT other_id, rank FROM wishes)
                GROUP BY id)
            SELECT person_id, other_id, '{kind.name}' FROM wishes w
            JOIN best b ON b.id = w.person_id AND b.rank = w.rank
            JOIN best o ON o.id = w.other_id AND o.rank = w.rank
            ORDER BY w.rank LIMIT {left}""").fetchall()[0]
        if not taken:
            break
        left -= int(taken)
    con.execute("DROP TABLE IF EXISTS free; DROP TABLE IF EXISTS wishes")


def _former_addresses(
    con: duckdb.DuckDBPyConnection, patients: Table, encounters: Table, seed: int, layout: Layout
) -> None:
    """Where the two of a household that moved lived before: a street of the population, under another number."""
    home = [column for column in HOME if column in patients.columns]
    number = f"CAST(1 + floor(998 * {draws.uniform('p.k', seed, 'former house number')}) AS INTEGER)"
    address = f"regexp_replace(d.ADDRESS, '^[0-9]+', CAST({number} AS VARCHAR)) AS ADDRESS"
    columns = ", ".join(address if column == "ADDRESS" else f"d.{name(column)}" for column in home)
    since = draws.uniform("p.k", seed, "time since the move")
    days = f"CAST(1 + floor({MOVED_WITHIN_YEARS * YEAR} * {since}) AS INTEGER)"
    # Whose street it was: the person whose draw comes next after the pair's, the first one after the last.
    donor = draws.bits(draws.key("Id"), seed, "former street of")
    query = f"""
        WITH donors AS (SELECT {", ".join(map(name, home))}, {donor} AS spot FROM {patients.source}),
        lived AS (
            FROM donors UNION ALL
            (SELECT * REPLACE ({draws.MASK} AS spot) FROM donors ORDER BY spot LIMIT 1)),
        movers AS (
            SELECT *, {draws.bits("k", seed, "former street")} AS spot
            FROM (SELECT *, {draws.key("person_id")} AS k FROM pairs WHERE kind = 'household_move')),
        seen AS (SELECT max({moment("START")}) AS latest FROM {encounters.source}),
        places AS (
            SELECT p.person_id, p.other_id, {columns},
                date_trunc('day', seen.latest - to_days({days})) AS moved_on
            FROM movers p CROSS JOIN seen ASOF JOIN lived d ON p.spot <= d.spot)
        SELECT person_id, * EXCLUDE (person_id, other_id) FROM places
        UNION ALL SELECT other_id, * EXCLUDE (person_id, other_id) FROM places
        ORDER BY person_id"""
    _copy(con, query, layout, "former_addresses")


def _write(con: duckdb.DuckDBPyConnection, patients: Table, seed: int, layout: Layout) -> None:
    changed = {}
    for column in ("FIRST", "LAST", "BIRTHDATE", *HOME):
        kinds = ", ".join(quote(kind.name) for kind in KINDS if column in kind.borrows)
        if column in patients.columns:
            changed[column] = f"CASE WHEN x.kind IN ({kinds}) THEN a.{name(column)} ELSE t.{name(column)} END"
    if "MAIDEN" in patients.columns:
        kin = ", ".join(quote(kind.name) for kind in KINDS if kind.kin)
        changed["MAIDEN"] = f"""CASE WHEN x.kind IN ({kin}) THEN NULL
            WHEN x.kind = 'household_move' AND t.GENDER = 'F' AND coalesce(t.MAIDEN, '') = '' THEN t.LAST
            ELSE t.MAIDEN END"""
    if "SUFFIX" in patients.columns:
        junior = f"x.kind = 'parent_child' AND {draws.uniform(draws.key('t.Id'), seed, 'junior')} < {JUNIORS}"
        changed["SUFFIX"] = f"CASE WHEN {junior} THEN 'Jr.' ELSE t.SUFFIX END"
    joined = f"""{patients.source} t
        LEFT JOIN pairs x ON x.person_id = t.Id
        LEFT JOIN {patients.source} a ON a.Id = x.other_id"""
    _copy(con, f"SELECT {patients.select(**changed)} FROM {joined} ORDER BY t.Id", layout, "persons")
    differs = ", ".join(
        f"CASE WHEN CAST({value} AS {patients.columns[column]}) IS DISTINCT FROM t.{name(column)} THEN '{column}' END"
        for column, value in changed.items()
    )
    _copy(
        con,
        f"""SELECT x.person_id, x.other_id, x.kind, concat_ws(',', {differs}) AS fields
            FROM {joined} WHERE x.person_id IS NOT NULL ORDER BY x.person_id""",
        layout,
        "lookalikes",
    )


def _copy(con: duckdb.DuckDBPyConnection, query: str, layout: Layout, table: str) -> None:
    with whole(layout.truth_table(table)) as scratch:
        con.execute(f"COPY ({query}) TO {quote(scratch)} {PARQUET}")
