"""What people said of pairs of records, for learning: the pairs that it settles, by way of other pairs too.

Links hold records together, so every pair inside such a bundle is one person; an unlink keeps two bundles apart. Where
answers contradict each other, links win, as they do in clustering. Knows nothing of who said what, or why.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
from numpy.typing import NDArray

from resolver import mpi
from resolver.cluster.graph import components
from resolver.database import quote

Ints = NDArray[np.int64]
SAME, DIFFERENT, OPEN = 1, -1, 0


@dataclass(frozen=True)
class Said:
    """A row per answer: two records by number, and whether they were linked."""

    left: Ints
    right: Ints
    linked: NDArray[np.bool_]

    @classmethod
    def nothing(cls) -> Said:
        return cls(np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), np.empty(0, dtype=bool))

    @classmethod
    def read(cls, con: duckdb.DuckDBPyConnection, records: Path, index: Path) -> Said:
        """What the index holds by now of records of this run."""
        said = mpi.human_verdicts(index)
        if not len(said):
            return cls.nothing()
        con.register("said", said)
        found = con.execute(
            f"""
            WITH numbered AS (SELECT rid, record_id FROM read_parquet({quote(records)}))
            SELECT a.rid AS one, b.rid AS other, says = 'link' AS linked FROM said
            JOIN numbered a ON a.record_id = left_record JOIN numbered b ON b.record_id = right_record
            ORDER BY ALL"""
        ).fetchnumpy()
        con.unregister("said")
        one, other = (np.asarray(found[name], dtype=np.int64) for name in ("one", "other"))
        return cls(one, other, np.asarray(found["linked"], dtype=bool))

    @property
    def records(self) -> Ints:
        """The records that anything was said of."""
        return np.unique(np.concatenate([self.left, self.right]))

    def of(self, records: int, left: Ints, right: Ints) -> NDArray[np.int8]:
        """Of each pair of records SAME, DIFFERENT or OPEN; `records` is how many there are."""
        if not len(self.left):
            return np.full(len(left), OPEN, dtype=np.int8)
        bundle = np.asarray(components(records, self.left[self.linked], self.right[self.linked]), dtype=np.int64)

        def couple(one: Ints, other: Ints) -> Ints:
            low, high = np.minimum(bundle[one], bundle[other]), np.maximum(bundle[one], bundle[other])
            return low * records + high

        apart = np.isin(couple(left, right), couple(self.left[~self.linked], self.right[~self.linked]))
        together = bundle[left] == bundle[right]
        return np.where(together, SAME, np.where(apart, DIFFERENT, OPEN)).astype(np.int8)

    def __len__(self) -> int:
        return len(self.left)
