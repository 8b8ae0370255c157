"""What one clinical history is held against: how rare codes are among all, at what age they are seen, and
how measurements move.

Measured once over all events and kept as one small Parquet file, so that a single pair can be looked at later without
reading everybody's history. Reads events, and of records the birth dates; knows nothing of pairs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars as pl
from numpy.typing import NDArray

from resolver.database import quote
from resolver.judges.features import ages

CODED = ("condition", "medication", "allergy", "procedure", "immunization", "device")
LASTING_DAYS = 180  # a code seen again after this long comes back
MEASUREMENTS = 24  # kinds of measurement that are compared, the steadiest first
GAPS = np.array([30, 90, 365, 3 * 365, 10 * 365])  # days; values drift apart with time
LEVELS = 8  # a child's height drifts otherwise than an adult's

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

CODES = {
    "kind": pl.String,
    "system": pl.String,
    "code": pl.String,
    "carriers": pl.Int64,
    "comes_back": pl.Float64,
    "repeated": pl.Float64,
    "age": pl.Float64,
    "age_spread": pl.Float64,
}
_ARRAYS = ("cuts", "drift", "noise")
_LAYOUT: dict[str, Any] = (
    CODES | {"mean": pl.Float64, "spread": pl.Float64} | dict.fromkeys(_ARRAYS, pl.List(pl.Float64))
)
_HISTORIES, _MEASUREMENT = "histories", "measurement"  # kinds of row in the file, beside those of codes


def read(con: duckdb.DuckDBPyConnection, events: Path, births: pl.DataFrame, only: Sequence[int] | None = None) -> None:
    """Make `history`, `carried` (codes per record), `yearly` (one value per kind of measurement and year) and `born`.

    `only`: read these records alone, and number them 0, 1, ... in this order.
    """
    if only is None:
        con.execute(f"CREATE OR REPLACE TEMP VIEW history AS FROM read_parquet({quote(events)})")
    else:
        wanted = ", ".join(map(str, only)) or "NULL"
        con.execute(
            f"""
            CREATE OR REPLACE TEMP TABLE history_of_few AS
            SELECT CAST(list_position([{wanted}], rid) - 1 AS INTEGER) AS rid, * EXCLUDE (rid)
            FROM read_parquet({quote(events)}) WHERE rid IN ({wanted})"""
        )
        con.execute("CREATE OR REPLACE TEMP VIEW history AS FROM history_of_few")
    con.register("births", births)
    con.execute("CREATE OR REPLACE TEMP TABLE born AS FROM births")
    con.unregister("births")
    kinds = ", ".join(quote(kind) for kind in CODED)
    con.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE carried AS
        WITH seen AS (
            SELECT rid, kind, system, code, date_diff('day', DATE '1900-01-01', start) AS day
            FROM history WHERE kind IN ({kinds}) AND code IS NOT NULL)
        SELECT rid, kind, system, code, min(day) AS first, max(day) AS last, count(DISTINCT day) AS days
        FROM seen GROUP BY ALL"""
    )
    con.execute(
        """
        CREATE OR REPLACE TEMP TABLE yearly AS
        SELECT code || ' ' || coalesce(unit, '') AS what, rid,
            arg_max(date_diff('day', DATE '1900-01-01', start), start) AS day,
            arg_max(value, (start, value)) AS value
        FROM history WHERE kind = 'measurement' AND isfinite(value) AND start IS NOT NULL
        GROUP BY code, unit, rid, year(start)"""
    )


@dataclass(frozen=True)
class Drift:
    """How one kind of measurement moves in one person, by time and level, and how it is spread over persons."""

    what: str  # code and unit
    cuts: Floats  # between levels
    mean: float
    spread: float
    drift: Floats  # per cell of time and level
    noise: Floats

    def cell(self, gap: Ints, level: Floats) -> Ints:
        return np.searchsorted(GAPS, np.abs(gap)) * LEVELS + np.searchsorted(self.cuts, level)


@dataclass(frozen=True)
class Population:
    histories: int  # records with any code
    codes: pl.DataFrame
    drifts: tuple[Drift, ...]  # the steadiest kind first

    @classmethod
    def measure(cls, con: duckdb.DuckDBPyConnection) -> Population:
        """From the tables that `read` made."""
        ((histories,),) = con.execute("SELECT count(DISTINCT rid) FROM carried").fetchall()
        con.register("code_ages", ages.measure(con))
        codes = con.sql(
            f"""
            WITH counted AS (
                SELECT kind, system, code, count(*) AS carriers,
                    avg(CAST(last - first >= {LASTING_DAYS} AS INTEGER)) AS comes_back,
                    avg(CAST(days > 1 AS INTEGER)) AS repeated
                FROM carried GROUP BY ALL)
            FROM counted LEFT JOIN code_ages USING (kind, system, code) ORDER BY kind, system, code"""
        ).pl()
        con.unregister("code_ages")
        # Steady kinds tell persons apart: how much of the spread of values lies between persons.
        steady = con.sql(
            f"""
            WITH spread AS (SELECT what, rid, var_pop(value) AS within, avg(value) AS mean, count(*) AS n
                FROM yearly GROUP BY ALL)
            SELECT what,
                1 - avg(within) FILTER (n > 1) / nullif(var_pop(mean) + avg(within) FILTER (n > 1), 0) AS steady
            FROM spread GROUP BY what HAVING count(*) FILTER (n > 1) >= 30 AND steady > 0.3
            ORDER BY steady * sqrt(count(*)) DESC, what LIMIT {MEASUREMENTS}"""
        ).fetchall()
        return cls(int(histories), codes.cast(CODES), tuple(_drift(what, *series(con, what)) for what, _ in steady))

    def save(self, path: Path) -> None:
        rows: list[dict[str, Any]] = [{"kind": _HISTORIES, "carriers": self.histories}]
        for one in self.drifts:
            arrays = {name: getattr(one, name).tolist() for name in _ARRAYS}
            rows.append({"kind": _MEASUREMENT, "code": one.what, "mean": one.mean, "spread": one.spread, **arrays})
        found = pl.DataFrame(rows, schema=_LAYOUT)
        pl.concat([found, self.codes.select(list(CODES))], how="diagonal").write_parquet(path)

    @classmethod
    def load(cls, path: Path) -> Population:
        found = pl.read_parquet(path)
        measurements = found.filter(pl.col("kind") == _MEASUREMENT)
        return cls(
            int(found.filter(pl.col("kind") == _HISTORIES)["carriers"].sum()),
            found.filter(pl.col("kind").is_in(CODED)).select(list(CODES)),
            tuple(
                Drift(
                    row["code"],
                    mean=row["mean"],
                    spread=row["spread"],
                    **{name: np.array(row[name], dtype=float) for name in _ARRAYS},
                )
                for row in measurements.iter_rows(named=True)
            ),
        )

    @classmethod
    def empty(cls) -> Population:
        return cls(0, pl.DataFrame(schema=CODES), ())


def series(con: duckdb.DuckDBPyConnection, what: str) -> tuple[Ints, Ints, Floats]:
    """All values of one kind of measurement in `yearly`: record, day, value."""
    table = con.execute("SELECT rid, day, value FROM yearly WHERE what = ? ORDER BY rid, day", [what]).fetchnumpy()
    return table["rid"].astype(np.int64), table["day"].astype(np.int64), table["value"]


def _drift(what: str, rid: Ints, day: Ints, value: Floats) -> Drift:
    cuts = np.unique(np.quantile(value, np.linspace(0, 1, LEVELS + 1)[1:-1]))
    plain = Drift(what, cuts, float(value.mean()), float(value.std()) + 1e-9, np.zeros(0), np.zeros(0))
    # Every two values of one person up to four steps apart, by time between them and by level.
    moves = [
        (day[step:][same] - day[:-step][same], value[:-step][same], (value[step:] - value[:-step])[same])
        for step in (1, 2, 3, 4)
        for same in [rid[step:] == rid[:-step]]
    ]
    gaps, levels, changes = (np.concatenate(parts) for parts in zip(*moves, strict=True))
    cell = plain.cell(gaps, levels)
    cells = (len(GAPS) + 1) * LEVELS
    n = np.bincount(cell, minlength=cells)
    # Ten imagined changes of a typical size keep thin cells from being too sure.
    typical = float(np.mean(changes**2)) + 1e-9
    drift = np.bincount(cell, changes, minlength=cells) / (n + 10)
    variance = (np.bincount(cell, changes**2, minlength=cells) + 10 * typical) / (n + 10) - drift**2
    # Instruments differ between places more than within one: never surer than a fiftieth of the spread.
    noise = np.sqrt(np.maximum(variance, 0) + (plain.spread / 50) ** 2)
    return Drift(what, cuts, plain.mean, plain.spread, drift, noise)
