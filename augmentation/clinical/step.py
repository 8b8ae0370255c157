"""The step that puts clinical noise on the facilities' tables, in place. Knows nothing of what the kinds do."""

from __future__ import annotations

from collections import Counter
from typing import Any

import duckdb

from augmentation import draws
from augmentation.clinical.kinds import KINDS, Kind, Site
from augmentation.population import PARQUET, Layout, Table, moment, tables, unquoted
from augmentation.settings import AugmentSettings
from resolver.database import name, quote
from resolver.files import whole
from resolver.progress import Progress

Facts = dict[str, Any]


def add_noise(con: duckdb.DuckDBPyConnection, settings: AugmentSettings, layout: Layout, progress: Progress) -> Facts:
    """Rewrite the event tables of every facility that has noise; a table without noise is left as it is, to the byte.

    Returns, per kind of noise and table, how many rows it left out or changed.
    """
    counts: dict[str, Counter[str]] = {kind.name: Counter() for kind in KINDS}
    sites = [
        Site(con, number, settings.facility(number), settings.clinical, settings.seed) for number in layout.facilities
    ]
    work = [
        (site, table, kinds)
        for site in sites
        for table in tables(con, layout.facility(site.number)).values()
        if not table.is_reference and table.name != "patients"
        if (kinds := [kind for kind in KINDS if kind.applies(site, table)])
    ]
    # Encounters last: the other tables look up in them which encounters a record has.
    work.sort(key=lambda item: (item[0].number, item[1].name == "encounters"))
    planned: int | None = None
    with unquoted(layout.out), progress.step("Clinical noise", total=len(work), unit="tables") as step:
        for site, table, kinds in work:
            if settings.clinical.max_encounters is not None:
                if planned != site.number:
                    _keep_encounters(site, layout, settings.clinical.max_encounters)
                    planned = site.number
                _keep_adrift(site, table)
            for kind, count in _rewrite(site, table, kinds).items():
                if count:
                    counts[kind][table.name] += count
            step.advance(1)
    _forget(con)
    return {"clinical": {kind: dict(sorted(found.items())) for kind, found in counts.items()}}


def _rewrite(site: Site, table: Table, kinds: list[Kind]) -> dict[str, int]:
    """Apply the kinds to one table, one layer over the other; the number of rows that each left out or changed."""
    query = f"""
        SELECT * RENAME (file_row_number AS row_), {_keys(table)}, false AS gone_
        FROM read_parquet({quote(table.path)}, file_row_number = true) t"""
    for kind in kinds:
        layer = kind.layer(site, table)
        flag = f"hit_{kind.name}"
        if layer.gone is not None:
            gone = f"coalesce({layer.gone}, false)"
            query = f"""
                SELECT * EXCLUDE (left_) REPLACE (gone_ OR left_ AS gone_), NOT gone_ AND left_ AS {flag}
                FROM (SELECT t.*, {gone} AS left_ FROM ({query}) t {layer.joins})"""
        else:
            new = {
                f"new_{column}": f"CAST({value} AS {table.columns[column]})" for column, value in layer.changed.items()
            }
            joins = layer.joins
            helpers: list[str] = []
            for stage in (*layer.helpers, new):
                query = f"SELECT t.*, {_as(stage)} FROM ({query}) t {joins}"
                joins = ""
                helpers += stage
            replaced = ", ".join(f"new_{column} AS {name(column)}" for column in layer.changed)
            differs = " OR ".join(f"new_{column} IS DISTINCT FROM {name(column)}" for column in layer.changed)
            query = f"""
                SELECT * EXCLUDE ({", ".join(helpers)}) REPLACE ({replaced}), NOT gone_ AND ({differs}) AS {flag}
                FROM ({query})"""
    # Made once, to be counted and written; past the memory that the database may use, it spills.
    flags = ", ".join(f"hit_{kind.name}" for kind in kinds)
    columns = ", ".join(map(name, table.columns))
    site.con.execute(f"CREATE OR REPLACE TEMP TABLE noisy AS SELECT {columns}, row_, gone_, {flags} FROM ({query})")
    counts = ", ".join(f"count(*) FILTER (hit_{kind.name})" for kind in kinds)
    (hits,) = site.con.execute(f"SELECT {counts} FROM noisy").fetchall()
    if any(hits):
        with whole(table.path) as scratch:
            site.con.execute(
                f"COPY (SELECT {columns} FROM noisy WHERE NOT gone_ ORDER BY row_) TO {quote(scratch)} {PARQUET}"
            )
    site.con.execute("DROP TABLE noisy")
    return {kind.name: int(count) for kind, count in zip(kinds, hits, strict=True)}


def _as(columns: dict[str, str]) -> str:
    return ", ".join(f"{value} AS {alias}" for alias, value in columns.items())


def _keys(table: Table) -> str:
    what = next((column for column in ("Id", "ID", "CODE") if column in table.columns), None)
    day = [f"t.{name(column)}" for column in (table.patient, table.encounter, table.time) if column is not None]
    identity = "''" if what is None else f"t.{name(what)}"
    code = "t.CODE" if "CODE" in table.columns else identity
    keys = {"key_": (*day, identity), "day_": tuple(day), "code_": (day[0], code)}
    return _as({alias: draws.key(*parts) for alias, parts in keys.items()})


def _keep_encounters(site: Site, layout: Layout, most: int) -> None:
    """`had_encounters`: the encounters of a facility, and whether each is kept; `kept_encounters`: those that are."""
    path = layout.facility(site.number) / "encounters.parquet"
    site.con.execute(f"""
        CREATE OR REPLACE TEMP TABLE had_encounters AS
        SELECT Id AS id, PATIENT AS patient, {moment("START")} AS came,
            row_number() OVER (PARTITION BY PATIENT ORDER BY
                {draws.bits(draws.key("Id"), site.seed, "few_encounters")}, Id) <= {most} AS kept
        FROM read_parquet({quote(path)})""")
    site.con.execute("CREATE OR REPLACE TEMP TABLE kept_encounters AS SELECT id FROM had_encounters WHERE kept")


def _keep_adrift(site: Site, table: Table) -> None:
    """`kept_adrift`: rows that name no encounter, and whose patient's last encounter before them is kept."""
    condition = "true" if table.encounter is None else f"nullif(t.{name(table.encounter)}, '') IS NULL"
    came = moment(f"t.{name(table.time)}") if table.time else "CAST(NULL AS TIMESTAMP)"
    site.con.execute(f"""
        CREATE OR REPLACE TEMP TABLE kept_adrift AS
        SELECT t.row_ FROM (
            SELECT file_row_number AS row_, {name(str(table.patient))} AS patient,
                coalesce({came}, TIMESTAMP '0001-01-02') AS came
            FROM read_parquet({quote(table.path)}, file_row_number = true) t WHERE {condition}) t
        ASOF JOIN (
            SELECT patient, kept, CASE WHEN row_number() OVER (PARTITION BY patient ORDER BY came, id) = 1
                THEN TIMESTAMP '0001-01-01' ELSE came END AS came
            FROM had_encounters) e ON e.patient = t.patient AND t.came >= e.came
        WHERE e.kept""")


def _forget(con: duckdb.DuckDBPyConnection) -> None:
    for table in ("had_encounters", "kept_encounters", "kept_adrift", "instruments", "variants"):
        con.execute(f"DROP TABLE IF EXISTS {table}")
    for column in ("code", "reasoncode"):
        con.execute(f"DROP TABLE IF EXISTS spoken_{column}")
