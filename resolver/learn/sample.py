"""The pairs that the judges learn from, with their features: all of them, or a sample of a size that is set.

A sample is made of groups of records that are likely one person or alike, each with all pairs in which its records come
first. So every pair is drawn as often as any other, and groups stay whole as far as the size allows.
Knows nothing of labels or of how they come about.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
from numpy.typing import NDArray

from resolver.cluster.graph import components
from resolver.database import quote
from resolver.judges.features import clinical, demographic
from resolver.judges.features.glance import GlanceFeatures
from resolver.judges.learned import record_folds

# Splink's log-odds from which on two records are of one group: the lowest at which the group is small enough.
STEPS = (-3.0, 0.0, 3.0, 6.0, 10.0, 15.0, 25.0)
LARGEST = 60  # records in a group
SIDES = ("left_rid", "right_rid")


@dataclass(frozen=True)
class Sample:
    """Arrays over the same pairs, in one order."""

    records: int
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    splink: NDArray[np.float64]
    demographic: NDArray[np.float32]
    clinical: NDArray[np.float32]
    known: NDArray[np.bool_]  # both sides have a history
    source: NDArray[np.int64]  # per record
    folds: NDArray[np.int64]  # per record
    glance: NDArray[np.float32] | None = None  # what the gate reads; without it none is learned

    @property
    def histories(self) -> NDArray[np.float32]:
        """The clinical view: what reads the two histories and nothing else."""
        return self.clinical[:, : clinical.ALONE]

    @property
    def joint(self) -> NDArray[np.float32]:
        return np.hstack([self.demographic, self.clinical])

    @property
    def without_splink(self) -> NDArray[np.float32]:
        """The demographic features that do not come from Splink: where Splink teaches, it must not be copied."""
        table = self.demographic.copy()
        table[:, demographic.names.index(demographic.SPLINK.name)] = np.nan
        return table

    def __len__(self) -> int:
        return len(self.left)

    def take(self, rows: NDArray[np.int64]) -> Sample:
        """These pairs alone, of the same records."""
        of_pairs = ("left", "right", "splink", "demographic", "clinical", "known", "glance")
        tables = {name: getattr(self, name) for name in of_pairs}
        return replace(self, **{name: table[rows] for name, table in tables.items() if table is not None})


def draw(
    con: duckdb.DuckDBPyConnection,
    records: Path,
    events: Path,
    pairs: Path,
    *,
    most: int,
    folds: int,
    scratch: Path | None = None,
    wanted: NDArray[np.int64] | None = None,
) -> Sample:
    """At most `most` pairs. `scratch`: a folder for the histories of a sample, so that all others cost nothing.

    `wanted`: records whose groups are drawn before any other.
    """
    # Rule 0 pairs copies of one registration: thousands of them would drown what the others teach.
    con.execute(f"CREATE OR REPLACE TEMP VIEW candidates AS FROM read_parquet({quote(pairs)}) WHERE rule > 0")
    source = con.sql(
        f"SELECT dense_rank() OVER (ORDER BY source) - 1 AS source FROM read_parquet({quote(records)}) ORDER BY rid"
    ).fetchnumpy()["source"]
    ((count,),) = con.execute("SELECT count(*) FROM candidates").fetchall()
    which = ""
    if count > most:
        con.register("drawn", pl.DataFrame({"rid": _drawn(con, records, len(source), most, wanted)}))
        which = "SEMI JOIN drawn ON drawn.rid = left_rid"
    frame = con.sql(f"SELECT left_rid, right_rid, logit FROM candidates {which} ORDER BY left_rid, right_rid").pl()
    persons = demographic.DemographicFeatures(con, records, pairs=pairs)
    table = persons.of(frame).select(persons.names).to_numpy(order="c")
    births, numbered = persons.births(), frame
    if count > most and scratch is not None:
        few = pl.DataFrame({"rid": pl.concat([frame["left_rid"], frame["right_rid"]]).unique().sort()})
        events = _histories_of(con, events, few, scratch)
        births = few.join(births.with_columns(pl.col("rid").cast(few["rid"].dtype)), on="rid", maintain_order="left")
        births = births.with_columns(rid=pl.int_range(pl.len()))
        numbered = frame.with_columns(few["rid"].search_sorted(frame[side]).alias(side) for side in SIDES)
    histories = clinical.ClinicalFeatures(con, events, births)
    left, right = (frame[side].to_numpy().astype(np.int64) for side in SIDES)
    splink = frame["logit"].to_numpy()
    return Sample(
        len(source),
        left,
        right,
        splink,
        table,
        histories.of(numbered).select(histories.names).to_numpy(order="c"),
        histories.known(numbered).to_numpy(),
        np.asarray(source, dtype=np.int64),
        record_folds(con, records, folds),
        GlanceFeatures(con).of(left, right, splink),
    )


def _histories_of(con: duckdb.DuckDBPyConnection, events: Path, few: pl.DataFrame, scratch: Path) -> Path:
    """The histories of these records, numbered in their order, in a file of their own."""
    path = scratch / "histories_of_few.parquet"
    con.register("few", few.with_row_index("number"))
    con.execute(
        f"COPY (SELECT CAST(number AS INTEGER) AS rid, e.* EXCLUDE (rid) FROM read_parquet({quote(events)}) e"
        f" JOIN few USING (rid)) TO {quote(path)} (FORMAT parquet)"
    )
    con.unregister("few")
    return path


def _drawn(
    con: duckdb.DuckDBPyConnection, records: Path, count: int, most: int, wanted: NDArray[np.int64] | None
) -> NDArray[np.int64]:
    """Records of groups, whole groups in an order that hangs on record ids alone, as many as have `most` pairs."""
    group = _groups(con, count)
    owned = con.sql("SELECT left_rid AS rid, count(*) AS pairs FROM candidates GROUP BY left_rid").fetchnumpy()
    hashed = con.sql(f"SELECT md5_number_lower(record_id) AS mixed FROM read_parquet({quote(records)}) ORDER BY rid")
    # The hash of a group is that of its first record.
    groups, first = np.unique(group, return_index=True)
    pairs = np.bincount(group[owned["rid"]], owned["pairs"], minlength=int(groups[-1]) + 1)[groups]
    later = np.ones(len(groups), dtype=bool) if wanted is None else ~np.isin(groups, group[wanted])
    order = np.lexsort((hashed.fetchnumpy()["mixed"][first], later))
    taken = np.zeros(int(groups[-1]) + 1, dtype=bool)
    taken[groups[order[np.cumsum(pairs[order]) <= most]]] = True
    return np.flatnonzero(taken[group])


def _groups(con: duckdb.DuckDBPyConnection, count: int) -> NDArray[np.int64]:
    """A group per record: those that likely pairs hold together, cut at stronger pairs where they grow too large."""
    group = np.zeros(count, dtype=np.int64)
    large = np.ones(count, dtype=bool)
    for step in STEPS:
        likely = con.execute("SELECT left_rid, right_rid FROM candidates WHERE logit > ?", [step]).fetchnumpy()
        left, right = likely["left_rid"], likely["right_rid"]
        inside = large[left] & large[right] & (group[left] == group[right])
        part = np.asarray(components(count, left[inside], right[inside]), dtype=np.int64)
        group = np.where(large, part, group + count)
        group = np.unique(group, return_inverse=True)[1].astype(np.int64)
        large = np.bincount(group)[group] > LARGEST
        if not large.any():
            return group
    return np.where(large, np.arange(count) + group.max() + 1, group)
