"""What a run was like, in a few figures that are kept with it, so that the next one can be held against it.

Reads the views in_records, in_clusters and in_decisions of the connection. Holds counts and shares, never a value.
"""

from __future__ import annotations

from typing import Any

import duckdb

from resolver.mpi.schema import FIELDS

EDGES = (-9, -6, -3, 0, 3, 6, 9)  # of the log-odds at which scores are counted


def of(con: duckdb.DuckDBPyConnection) -> dict[str, Any]:
    missing = ", ".join(f"avg(({name} IS NULL)::INTEGER)" for name in FIELDS)
    ((records, *shares),) = con.execute(f"SELECT count(*), {missing} FROM in_records").fetchall()
    sources = con.execute("SELECT source, count(*) FROM in_records GROUP BY source ORDER BY source").fetchall()
    ((persons, linked),) = con.execute(
        "SELECT count(*), coalesce(sum(n) FILTER (n > 1), 0)"
        " FROM (SELECT count(*) AS n FROM in_clusters GROUP BY cluster)"
    ).fetchall()
    steps = " + ".join(f"(logit - coalesce(human, 0) >= {edge})::INTEGER" for edge in EDGES)
    scores = dict(con.execute(f"SELECT {steps} AS step, count(*) FROM in_decisions GROUP BY step").fetchall())
    pairs = sum(scores.values())
    return {
        "records": int(records),
        "sources": {str(source): int(count) for source, count in sources},
        "linked": round(float(linked) / records, 5) if records else 0.0,
        "per_person": round(records / persons, 4) if persons else 0.0,
        "missing": {name: round(float(share or 0.0), 5) for name, share in zip(FIELDS, shares, strict=True)},
        "scores": [round(scores.get(step, 0) / pairs, 6) if pairs else 0.0 for step in range(len(EDGES) + 1)],
    }
