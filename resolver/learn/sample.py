"""The pairs that the judges learn from, with their features: all of them, or a sample that keeps persons whole.

Knows nothing of labels or of how they come about.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import polars as pl
from numpy.typing import NDArray

from resolver.database import quote
from resolver.judges.features import clinical, demographic
from resolver.judges.learned import record_folds

LIKELY = -3.0  # Splink's log-odds from which on a sampled record brings its partner along


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


def draw(con: duckdb.DuckDBPyConnection, records: Path, events: Path, pairs: Path, *, most: int, folds: int) -> Sample:
    """At most about `most` pairs: those among a stable sample of records and their likely partners."""
    frame = _pairs(con, records, pairs, most)
    source = con.sql(
        f"SELECT dense_rank() OVER (ORDER BY source) - 1 AS source FROM read_parquet({quote(records)}) ORDER BY rid"
    ).fetchnumpy()["source"]
    persons = demographic.DemographicFeatures(con, records, pairs=pairs)
    histories = clinical.ClinicalFeatures(con, events, persons.births())
    return Sample(
        len(source),
        frame["left_rid"].to_numpy().astype(np.int64),
        frame["right_rid"].to_numpy().astype(np.int64),
        frame["logit"].to_numpy(),
        persons.of(frame).select(persons.names).to_numpy(order="c"),
        histories.of(frame).select(histories.names).to_numpy(order="c"),
        histories.known(frame).to_numpy(),
        np.asarray(source, dtype=np.int64),
        record_folds(con, records, folds),
    )


def _pairs(con: duckdb.DuckDBPyConnection, records: Path, pairs: Path, most: int) -> pl.DataFrame:
    # Rule 0 pairs copies of one registration: thousands of them would drown what the others teach.
    con.execute(f"CREATE OR REPLACE TEMP VIEW candidates AS FROM read_parquet({quote(pairs)}) WHERE rule > 0")
    ((count,),) = con.execute("SELECT count(*) FROM candidates").fetchall()
    order = "ORDER BY left_rid, right_rid"
    if count <= most:
        return con.sql(f"SELECT left_rid, right_rid, logit FROM candidates {order}").pl()
    # Pairs fall with the square of the share of records that is drawn.
    share = int(1_000_000 * (most / count) ** 0.5)
    con.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE drawn AS
        WITH first AS (
            SELECT rid FROM read_parquet({quote(records)}) WHERE md5_number_lower(record_id) % 1000000 < {share})
        SELECT rid FROM first
        UNION SELECT right_rid FROM candidates SEMI JOIN first ON left_rid = first.rid WHERE logit > {LIKELY}
        UNION SELECT left_rid FROM candidates SEMI JOIN first ON right_rid = first.rid WHERE logit > {LIKELY}"""
    )
    return con.sql(
        f"""
        SELECT left_rid, right_rid, logit FROM candidates
        SEMI JOIN drawn l ON l.rid = left_rid SEMI JOIN drawn r ON r.rid = right_rid {order}"""
    ).pl()
