"""What two records tell of a patient's age, one by a birth date, the other by a history.

A child's vaccinations, a chronic disease's first mention: most codes are seen at some ages and not at others. From the
ages at which records with a birth date have each code first, the birth of any patient with a history can be told, more
or less exactly; no labels are needed. Told births of two histories are compared with each other, and with the birth
date of the other side, which helps most where a birth date is missing. A history can't begin before its patient's
birth.

Works on the tables that population.py makes; knows nothing of names.
"""

from __future__ import annotations

import duckdb
import numpy as np
import polars as pl
from numpy.typing import NDArray

from resolver.judges.features import Feature

CARRIERS = 20  # with a birth date, for a code's ages to be known
SHARPEST = 1.0  # years; no code tells a birth better, whatever a simulated schedule may say
YEAR = 365.25

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# Two histories alone: part of the clinical view.
TOLD: tuple[Feature, ...] = (
    Feature("told_birth_years", "years between the births that the two histories tell of", -1),
    Feature("told_birth_off", "the same, by how exactly they tell", -1),
)
# A history against the other side's birth date: part of neither view alone.
CROSSED: tuple[Feature, ...] = (
    Feature("birth_told_years", "years between a birth date and the birth that the other history tells of", -1),
    Feature("birth_told_off", "the same, by how exactly the history tells", -1),
    Feature("before_birth", "years of a history before the other side's birth date", -1),
)
FEATURES = (*TOLD, *CROSSED)


def measure(con: duckdb.DuckDBPyConnection) -> pl.DataFrame:
    """Age at which each code is first seen in a record, in years, and how far ages spread.

    Reads `carried` (codes per record, with the first day) and `born` (rid, day).
    """
    return con.sql(
        f"""
        SELECT kind, system, code, median(age) AS age,
            greatest(median(abs(age - middle)) * 1.4826, {SHARPEST}) AS age_spread
        FROM (
            SELECT kind, system, code, (first - day) / {YEAR} AS age,
                median((first - day) / {YEAR}) OVER (PARTITION BY kind, system, code) AS middle
            FROM carried JOIN born USING (rid) WHERE day IS NOT NULL AND first IS NOT NULL)
        GROUP BY ALL HAVING count(*) >= {CARRIERS} ORDER BY kind, system, code"""
    ).pl()


class AgeFeatures:
    """Computes the features of pairs from what each record tells."""

    def __init__(self, con: duckdb.DuckDBPyConnection, records: int, ages: pl.DataFrame) -> None:
        """`ages`: kind, system, code, age, age_spread."""
        self.birth, self.start, self.told, self.spread = (np.full(records, np.nan) for _ in range(4))
        born = con.sql("SELECT rid, day FROM born WHERE day IS NOT NULL").fetchnumpy()
        self.birth[born["rid"]] = born["day"] / YEAR
        start = con.sql(
            """
            SELECT rid, min(date_diff('day', DATE '1900-01-01', start)) AS day
            FROM history WHERE start IS NOT NULL GROUP BY rid"""
        ).fetchnumpy()
        self.start[start["rid"]] = start["day"] / YEAR
        con.register("code_ages", ages)
        # What is told at once (all the shots of a visit) is no more exact for being told often: the best code decides
        # how exact, and codes nearly as good have a say in what.
        told = con.sql(
            f"""
            WITH tells AS (
                SELECT rid, first / {YEAR} - age AS birth, age_spread, min(age_spread) OVER (PARTITION BY rid) AS best
                FROM carried JOIN code_ages USING (kind, system, code) WHERE first IS NOT NULL AND age IS NOT NULL)
            SELECT rid, median(birth) AS birth, min(best) AS spread FROM tells WHERE age_spread <= 1.5 * best
            GROUP BY rid"""
        ).fetchnumpy()
        con.unregister("code_ages")
        self.told[told["rid"]], self.spread[told["rid"]] = told["birth"], told["spread"]

    def of(self, left: Ints, right: Ints) -> dict[str, Floats]:
        apart = np.abs(self.told[left] - self.told[right])
        exact = np.hypot(self.spread[left], self.spread[right])
        years, off, before = (np.full(len(left), np.nan) for _ in range(3))
        for dated, other in ((left, right), (right, left)):
            gap = np.abs(self.birth[dated] - self.told[other])
            years, off = np.fmax(years, gap), np.fmax(off, gap / self.spread[other])
            before = np.fmax(before, np.maximum(self.birth[dated] - self.start[other], 0))
        return {
            "told_birth_years": apart,
            "told_birth_off": apart / exact,
            "birth_told_years": years,
            "birth_told_off": off,
            "before_birth": before,
        }
