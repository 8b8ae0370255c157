"""Events become tokens: one per record and thing that is known of it, with first and last time, values and how often.

A thing is what its words say, not its code. The words are cut into pieces, and pieces are numbered by a hash: a thing
that no training record had still has pieces that were seen, and a facility that writes words without codes means the
same. A hash of the code alone would make either a stranger.

Times are years and months. Read are kind, code (to leave out what must not be used), words, unit, times and values:
no identifiers, no birth dates, nothing else of a record. Words are data; a hash of them can say nothing to anybody.
Knows nothing of networks or pairs.
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
from resolver.ingest.forbidden import OBSERVATION_CODES

VERSION = "1"  # part of every fingerprint: raise it when the same events would make other tokens

KINDS = ("conditions", "medications", "observations", "procedures", "encounters", "immunizations")
OF_EVENTS = {
    "condition": "conditions",
    "allergy": "conditions",
    "medication": "medications",
    "measurement": "observations",
    "procedure": "procedures",
    "device": "procedures",
    "encounter": "encounters",
    "immunization": "immunizations",
}
PIECES = 12  # of a thing: one for the whole of it, the others for its words
LASTING = ("condition", "allergy", "medication", "device")  # without an end they are taken to last

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Tokens:
    """Records are numbered by place; record p's tokens of kind k are `start[p, k]` and the `count[p, k]` after it."""

    start: Ints  # records x kinds
    count: Ints
    thing: Ints  # per token, in time order within a record and kind; a row of `pieces`
    months: Floats  # tokens x (first, last), counted from the year 0; not a number where unknown
    values: Floats  # tokens x (first, last); not a number where nothing was measured
    days: Floats  # days on which it was seen
    lasts: Floats  # 1 where it has no end
    pieces: Ints  # things x PIECES: buckets, the whole first; 0 is no piece

    def __len__(self) -> int:
        return len(self.start)

    @property
    def known(self) -> NDArray[np.bool_]:
        """Which records have any evidence."""
        return np.asarray(self.count.sum(axis=1) > 0)


def read(con: duckdb.DuckDBPyConnection, events: Path, rids: Ints, *, buckets: int, most: int) -> Tokens:
    """The tokens of these records, numbered in the order of `rids`.

    `most`: tokens of one kind that a record keeps, those seen last.
    """
    con.register("asked_rids", pl.DataFrame({"rid": rids, "place": np.arange(len(rids))}))
    part = " ".join(f"WHEN {quote(event)} THEN {KINDS.index(name)}" for event, name in OF_EVENTS.items())
    con.execute(
        f"""
        CREATE OR REPLACE TEMP VIEW chosen AS
        SELECT place, kind, coalesce(description, code) AS said, start, stop, value,
            CASE kind WHEN 'measurement' THEN coalesce(unit, '') ELSE '' END AS unit
        FROM read_parquet({quote(events)}) JOIN asked_rids USING (rid)
        WHERE kind IN ({_listed(OF_EVENTS)}) AND coalesce(description, code) IS NOT NULL
            AND coalesce(code, '') NOT IN ({_listed(OBSERVATION_CODES)})"""
    )
    # Words are looked at once per way of saying a thing, not once per event.
    con.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE ways AS
        WITH told AS (
            SELECT kind, said, unit, CASE kind {part} END AS part, lower(unit) AS measured_in,
                trim(regexp_replace(upper(said), '[^\\pL\\pN]+', ' ', 'g')) AS words
            FROM (SELECT DISTINCT kind, said, unit FROM chosen))
        SELECT *, dense_rank() OVER (ORDER BY part, words, measured_in) - 1 AS thing FROM told WHERE words <> ''"""
    )
    con.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE things AS
        SELECT thing, list_resize(list_transform(
                list_concat([part || '|' || words || '|' || measured_in], string_split(words, ' ')),
                lambda piece: CAST(md5_number_lower(piece) % {buckets - 1} + 1 AS BIGINT)), {PIECES}, 0) AS pieces
        FROM (SELECT DISTINCT thing, part, words, measured_in FROM ways)"""
    )
    pieces = con.sql("SELECT pieces FROM things ORDER BY thing").pl()["pieces"].explode().to_numpy()
    rows = con.sql(
        f"""
        WITH seen AS (
            SELECT place, part, thing, year(start) * 12 + month(start) - 1 AS month, CAST(start AS DATE) AS day, start,
                kind IN ({_listed(LASTING)}) AND stop IS NULL AS lasts,
                CASE WHEN isfinite(value) THEN value END AS value
            FROM chosen JOIN ways USING (kind, said, unit)),
        grouped AS (
            SELECT place, part, thing, min(month) AS first, max(month) AS last, count(DISTINCT day) AS days,
                bool_or(lasts) AS lasts,
                arg_min(value, (start, value)) FILTER (value IS NOT NULL) AS value_first,
                arg_max(value, (start, value)) FILTER (value IS NOT NULL) AS value_last
            FROM seen GROUP BY ALL)
        SELECT * FROM grouped
        QUALIFY row_number() OVER (PARTITION BY place, part ORDER BY last DESC NULLS LAST, thing) <= {most}
        ORDER BY place, part, first NULLS FIRST, thing"""
    ).fetchnumpy()
    con.execute("DROP VIEW chosen; DROP TABLE ways; DROP TABLE things")
    con.unregister("asked_rids")
    cell = rows["place"].astype(np.int64) * len(KINDS) + rows["part"].astype(np.int64)
    count = np.bincount(cell, minlength=len(rids) * len(KINDS))
    return Tokens(
        (np.cumsum(count) - count).reshape(-1, len(KINDS)),
        count.reshape(-1, len(KINDS)),
        rows["thing"].astype(np.int64),
        np.stack([_filled(rows["first"]), _filled(rows["last"])], axis=1),
        np.stack([_filled(rows["value_first"]), _filled(rows["value_last"])], axis=1),
        _filled(rows["days"]),
        _filled(rows["lasts"]),
        pieces.astype(np.int64).reshape(-1, PIECES),
    )


def stack(parts: Sequence[Tokens]) -> Tokens:
    """The records of several populations, one below the other, with one list of things."""
    tokens = np.cumsum([0, *(len(one.thing) for one in parts)])
    things = np.cumsum([0, *(len(one.pieces) for one in parts)])
    pieces, where = np.unique(np.concatenate([one.pieces for one in parts]), axis=0, return_inverse=True)
    number = np.concatenate([one.thing + things[place] for place, one in enumerate(parts)])
    return Tokens(
        np.concatenate([one.start + tokens[place] for place, one in enumerate(parts)]),
        np.concatenate([one.count for one in parts]),
        where.reshape(-1)[number],
        np.concatenate([one.months for one in parts]),
        np.concatenate([one.values for one in parts]),
        np.concatenate([one.days for one in parts]),
        np.concatenate([one.lasts for one in parts]),
        pieces,
    )


def _filled(column: Any) -> Floats:
    """Numbers, with "not a number" where the database has none."""
    return np.ma.filled(np.ma.asarray(column).astype(np.float32), np.nan)


def _listed(names: Any) -> str:
    return ", ".join(quote(name) for name in sorted(names))
