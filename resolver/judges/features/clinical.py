"""What two clinical histories have in common, as numbers.

Reads `events`, and birth dates where ages.py needs them: no names, no sex. Days count, times of day do not, because a
simulator's clock would give persons away; weekdays are not looked at for the same reason.

Codes: what is shared counts by how rare it is; what one side has and the other lacks counts by how often it comes back
in one history; what happens once in a life and stands in both on different days speaks against.
Measurements: the nearest two values in time are compared with how far one person's values move in such a time, and with
how far two persons' values lie apart. How rare codes are and how values move is in population.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars as pl
from scipy import sparse

from resolver.judges.features import Feature, ages
from resolver.judges.features.population import CODED, Drift, Floats, Ints, Population, read, series

ONCE_SHARE = 0.05  # a code that fewer of its carriers than this have on two days happens once
ONCE_CARRIERS = 20  # and that is only known of codes with so many carriers
SHIFT, UNKNOWN_DAY = 100_000.0, 1.0  # days
CLIP = 5.0  # log-odds that one kind of measurement may give or take

FEATURES: tuple[Feature, ...] = (
    *(
        feature
        for kind in CODED
        for feature in (
            Feature(f"{kind}_shared", f"rarity of the {kind}s that both have", 1),
            Feature(f"{kind}_rarest", f"rarity of the rarest {kind} that both have", 1),
            Feature(f"{kind}_cover", f"share of the smaller list of {kind}s that the other side has too", 1),
            Feature(f"{kind}_known", f"rarity of all {kind}s on the side with fewer"),
        )
    ),
    Feature("codes_missing", "codes that come back in a history, and that only one side has", -1),
    Feature("codes_expected", "codes that come back in a history, on the side with fewer"),
    Feature("codes_near", "rarity of shared codes whose first days are within a month", 1),
    Feature("codes_between", "rarity of shared codes that one side starts while the other has them", 1),
    Feature("codes_twice", "things that happen once in a life, in both on different days", -1),
    Feature("window_overlap", "years in which both histories run"),
    Feature("window_gap", "years between the two histories"),
    Feature("window_shorter", "length of the shorter history in years"),
    Feature("visits_fewer", "visits on the side with fewer"),
    Feature("visits_same_day", "days on which both sides have a visit"),
    Feature("measured_total", "log-odds of all measurements together", 1),
    Feature("measured_worst", "log-odds of the measurement that fits worst", 1),
    Feature("measured_best", "log-odds of the measurement that fits best", 1),
    Feature("measured_kinds", "kinds of measurement that both have"),
    Feature("measured_steadiest", "log-odds of the steadiest measurement that both have", 1),
    Feature("measured_gap", "shortest time between two measurements of one kind, in years"),
    *ages.TOLD,
    *ages.CROSSED,
)
ALONE = len(FEATURES) - len(ages.CROSSED)  # so many of them, the first ones, read the two histories and nothing else


class ClinicalFeatures:
    """Computes the features of pairs. Histories are indexed once; pairs are then array work."""

    names = tuple(feature.name for feature in FEATURES)

    def __init__(
        self,
        con: duckdb.DuckDBPyConnection,
        events: Path,
        births: pl.DataFrame,
        population: Population | None = None,
        only: Sequence[int] | None = None,
    ) -> None:
        """`births`: a row per record, from DemographicFeatures. `population`: measured if not given.

        `only`: these records alone, numbered from 0 in this order.
        """
        self.records = len(births)
        read(con, events, births, only)
        self.population = population or Population.measure(con)
        self._codes(con)
        self._visits(con)
        self._measurements(con)
        self.ages = ages.AgeFeatures(con, self.records, self.population.codes)

    def of(self, pairs: pl.DataFrame) -> pl.DataFrame:
        """left_rid, right_rid and one Float32 column per feature, in the order of `pairs`."""
        left = pairs["left_rid"].to_numpy().astype(np.int64)
        right = pairs["right_rid"].to_numpy().astype(np.int64)
        columns: dict[str, Floats] = {}
        for kind in CODED:
            columns |= self._shared(kind, left, right)
        columns |= self._course(left, right)
        columns |= self._windows(left, right)
        columns |= self._measured(left, right)
        columns |= self.ages.of(left, right)
        return pairs.select("left_rid", "right_rid").with_columns(
            pl.Series(name, columns[name].astype(np.float32)) for name in self.names
        )

    def known(self, pairs: pl.DataFrame) -> pl.Series:
        """Whether both sides have a history at all."""
        seen = np.isfinite(self.window[0])
        return pl.Series(seen[pairs["left_rid"].to_numpy()] & seen[pairs["right_rid"].to_numpy()])

    # Codes

    def _codes(self, con: duckdb.DuckDBPyConnection) -> None:
        con.register("code_facts", self.population.codes)
        table = con.sql(
            """
            WITH numbered AS (SELECT *, row_number() OVER (ORDER BY kind, system, code) - 1 AS code_number
                FROM code_facts)
            SELECT rid, kind, code_number, first, last, carriers, comes_back, repeated
            FROM carried JOIN numbered USING (kind, system, code) ORDER BY rid, code_number"""
        ).fetchnumpy()
        con.unregister("code_facts")
        rid, column = table["rid"].astype(np.int64), table["code_number"].astype(np.int64)
        width = int(column.max()) + 1 if len(column) else 1
        histories = max(self.population.histories, 1)

        def matrix(values: Any, keep: Any = slice(None)) -> sparse.csr_array:
            shape = (self.records, width)
            return sparse.csr_array((np.asarray(values, dtype=float)[keep], (rid[keep], column[keep])), shape=shape)

        rarity = np.log((histories + 1) / table["carriers"])
        self.rarity = {kind: matrix(rarity, table["kind"] == kind) for kind in CODED}
        self.totals = {kind: one.sum(axis=1) for kind, one in self.rarity.items()}
        self.has = matrix(np.ones(len(rid)))
        self.weight = matrix(rarity)
        self.comes_back = matrix(table["comes_back"])
        self.back_totals = self.comes_back.sum(axis=1)
        once = (table["repeated"] < ONCE_SHARE) & (table["carriers"] >= ONCE_CARRIERS) & (table["kind"] == "procedure")
        self.once = matrix(rarity, once)
        # A shift keeps all days, and the days that are not known, apart from "not there" in a sparse matrix.
        self.first = matrix(np.ma.filled(table["first"].astype(float) + SHIFT, UNKNOWN_DAY))
        self.last = matrix(np.ma.filled(table["last"].astype(float) + SHIFT, UNKNOWN_DAY))

    def _shared(self, kind: str, left: Ints, right: Ints) -> dict[str, Floats]:
        rarity, total = self.rarity[kind], self.totals[kind]
        both = np.sqrt(rarity[left].multiply(rarity[right]))
        shared = both.sum(axis=1)
        known = np.minimum(total[left], total[right])
        missing = known == 0
        rarest = both.max(axis=1)
        rarest = rarest.toarray().ravel() if sparse.issparse(rarest) else np.asarray(rarest).ravel()
        with np.errstate(invalid="ignore", divide="ignore"):
            cover = shared / known
        return {
            f"{kind}_shared": np.where(missing, np.nan, shared),
            f"{kind}_rarest": np.where(missing, np.nan, rarest),
            f"{kind}_cover": np.where(missing, np.nan, cover),
            f"{kind}_known": known,
        }

    def _course(self, left: Ints, right: Ints) -> dict[str, Floats]:
        """How shared codes lie in time, and which are missing."""
        has_left, has_right = self.has[left], self.has[right]
        both = has_left.multiply(has_right)
        back = self.comes_back[left].multiply(has_right).sum(axis=1)
        expected = np.minimum(self.back_totals[left], self.back_totals[right])
        first_left, first_right = self.first[left].multiply(both), self.first[right].multiply(both)
        last_left, last_right = self.last[left].multiply(both), self.last[right].multiply(both)
        weight = self.weight[left].multiply(both)
        once = self.once[left].multiply(both)
        for one in (both, first_left, first_right, last_left, last_right, weight):
            one.sort_indices()
        row = np.repeat(np.arange(len(left)), np.diff(both.indptr))
        apart = np.abs(first_left.data - first_right.data)
        later = np.maximum(first_left.data, first_right.data)
        earlier_end = np.minimum(last_left.data, last_right.data)
        twice = both.copy()
        dated = (first_left.data > UNKNOWN_DAY) & (first_right.data > UNKNOWN_DAY)
        twice.data = (dated & (apart > 30)).astype(float)

        def add_up(values: Floats) -> Floats:
            result: Floats = np.bincount(row, values, minlength=len(left)).astype(float)
            return result

        nothing = (self.back_totals[left] == 0) | (self.back_totals[right] == 0)
        return {
            "codes_missing": np.where(nothing, np.nan, expected - back),
            "codes_expected": expected,
            "codes_near": add_up(weight.data * (dated & (apart <= 31))),
            "codes_between": add_up(weight.data * (dated & (later <= earlier_end))),
            "codes_twice": once.multiply(twice).sum(axis=1),
        }

    # Visits

    def _visits(self, con: duckdb.DuckDBPyConnection) -> None:
        table = con.sql(
            """
            SELECT rid, min(date_diff('day', DATE '1900-01-01', start)) AS first,
                max(date_diff('day', DATE '1900-01-01', start)) AS last,
                count(DISTINCT CAST(start AS DATE)) AS visits
            FROM history WHERE kind <> 'condition' AND start IS NOT NULL GROUP BY rid"""
        ).fetchnumpy()
        self.window = np.full((3, self.records), np.nan)
        self.window[:, table["rid"]] = np.stack([table["first"], table["last"], table["visits"]])
        days = con.sql(
            """
            SELECT DISTINCT rid, date_diff('day', DATE '1900-01-01', start) AS day FROM history
            WHERE kind = 'encounter' AND start >= DATE '1900-01-01'"""
        ).fetchnumpy()
        width = int(days["day"].max()) + 1 if len(days["day"]) else 1
        self.days = sparse.csr_array(
            (np.ones(len(days["rid"])), (days["rid"].astype(np.int64), days["day"].astype(np.int64))),
            shape=(self.records, width),
        )

    def _windows(self, left: Ints, right: Ints) -> dict[str, Floats]:
        (first_l, last_l, visits_l), (first_r, last_r, visits_r) = self.window[:, left], self.window[:, right]
        shared = np.minimum(last_l, last_r) - np.maximum(first_l, first_r)
        return {
            "window_overlap": np.maximum(shared, 0) / 365,
            "window_gap": np.maximum(-shared, 0) / 365,
            "window_shorter": np.minimum(last_l - first_l, last_r - first_r) / 365,
            "visits_fewer": np.fmin(visits_l, visits_r),
            "visits_same_day": np.asarray(self.days[left].multiply(self.days[right]).sum(axis=1)).ravel(),
        }

    # Measurements

    def _measurements(self, con: duckdb.DuckDBPyConnection) -> None:
        self.series = [_Series(drift, *series(con, drift.what)) for drift in self.population.drifts]

    def _measured(self, left: Ints, right: Ints) -> dict[str, Floats]:
        size = len(left)
        total, worst, best = np.zeros(size), np.full(size, np.inf), np.full(size, -np.inf)
        kinds, gap = np.zeros(size), np.full(size, np.nan)
        steadiest = np.full(size, np.nan)
        for kind in self.series:
            which, days, odds = kind.compare(left, right)
            total[which] += odds
            worst[which] = np.minimum(worst[which], odds)
            best[which] = np.maximum(best[which], odds)
            kinds[which] += 1
            gap[which] = np.fmin(gap[which], days / 365)
            steadiest[which] = np.where(np.isnan(steadiest[which]), odds, steadiest[which])
        none = kinds == 0
        return {
            "measured_total": np.where(none, np.nan, total),
            "measured_worst": np.where(none, np.nan, worst),
            "measured_best": np.where(none, np.nan, best),
            "measured_kinds": kinds,
            "measured_steadiest": steadiest,
            "measured_gap": gap,
        }


class _Series:
    """One kind of measurement: all records' values in time, and how values of one person and of two persons differ."""

    def __init__(self, drift: Drift, rid: Ints, day: Ints, value: Floats) -> None:
        self.drift, self.day, self.value = drift, day, value
        self.key = rid * 200_000 + day
        unique, first, count = np.unique(rid, return_index=True, return_counts=True)
        size = int(rid.max()) + 1 if len(rid) else 1
        self.first = np.zeros(size, dtype=np.int64)
        self.count = np.zeros(size, dtype=np.int64)
        self.first[unique], self.count[unique] = first, count

    def compare(self, left: Ints, right: Ints) -> tuple[Ints, Ints, Floats]:
        """Which pairs have it on both sides, days between the nearest two values, log-odds of these two."""
        size = len(self.count)
        count_l = np.where(left < size, self.count[np.minimum(left, size - 1)], 0)
        count_r = np.where(right < size, self.count[np.minimum(right, size - 1)], 0)
        which = np.flatnonzero((count_l > 0) & (count_r > 0))
        if not len(which):
            return which, which, np.zeros(0)
        one, other, n = left[which], right[which], count_l[which]
        starts = np.cumsum(n) - n
        mine = np.repeat(self.first[one] - starts, n) + np.arange(int(n.sum()))
        begin, end = np.repeat(self.first[other], n), np.repeat(self.first[other] + self.count[other], n)
        after = np.clip(np.searchsorted(self.key, np.repeat(other, n) * 200_000 + self.day[mine]), begin, end)
        before = np.maximum(after - 1, begin)
        after = np.minimum(after, end - 1)
        nearer = np.abs(self.day[before] - self.day[mine]) <= np.abs(self.day[after] - self.day[mine])
        theirs = np.where(nearer, before, after)
        gap = np.abs(self.day[theirs] - self.day[mine])
        # The nearest of each pair: sort by pair and gap, take the first; of equals the earliest, on whichever side.
        earlier = np.minimum(self.day[mine], self.day[theirs])
        order = np.lexsort((earlier, gap, np.repeat(np.arange(len(which)), n)))[starts]
        mine, theirs, gap = mine[order], theirs[order], gap[order]
        later, lower = self.day[mine] - self.day[theirs], self.value[theirs] < self.value[mine]
        swap = (later > 0) | ((later == 0) & lower)
        early, late = np.where(swap, theirs, mine), np.where(swap, mine, theirs)
        drift = self.drift
        cell = drift.cell(gap, self.value[early])
        change = self.value[late] - self.value[early]
        noise = drift.noise[cell]
        same = -0.5 * ((change - drift.drift[cell]) / noise) ** 2 - np.log(noise)
        two = -0.5 * ((self.value[late] - drift.mean) / drift.spread) ** 2 - np.log(drift.spread)
        return which, gap, np.clip(same - two, -CLIP, CLIP)
