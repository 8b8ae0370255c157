"""The cluster stage: scored pairs in, persons out. solve.py holds the method; this file reads and writes.

Only pairs inside components of likely pairs are held in memory; all others can't change the result. Copies beyond the
tenth of one registration follow the copy that they are most like: link pairs them with the first ten alone, and that
no other pair of them was scored says nothing against them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from resolver.stage import Facts, StageContext

if TYPE_CHECKING:
    import duckdb
    import numpy as np
    import numpy.typing as npt

# From this size on, what a person said of a pair is not weighed against evidence: it holds.
BINDING = 10.0
BATCH = 1_000_000  # pairs read at a time


def run(context: StageContext) -> Facts:
    import numpy as np
    import pyarrow as pa

    from resolver.cluster.solve import cluster
    from resolver.database import quote

    settings = context.settings.cluster
    with context.connect() as con:
        records = quote(context.inputs["records"])
        ((count,),) = con.execute(f"SELECT count(*) FROM read_parquet({records})").fetchall()
        source = _sources(con, records)
        decisions = f"read_parquet({quote(context.inputs['decisions'])})"
        copies = _copies(con, decisions, f"read_parquet({quote(context.inputs['pairs'])})")
        if copies:
            con.execute(
                f"CREATE TEMP VIEW others AS FROM {decisions}"
                " ANTI JOIN copies l ON l.rid = left_rid ANTI JOIN copies r ON r.rid = right_rid"
            )
        pairs = "others" if copies else decisions
        with context.progress.step("cluster: read pairs", unit="pairs") as step:
            cost = _same_source(con, pairs, source, settings.same_source, step)
            kept = _pairs_inside(con, pairs, source, cost, count, step)
        with context.progress.step("cluster: join and repair", total=count, unit="records") as step:
            result = cluster(
                count,
                kept["left_rid"],
                kept["right_rid"],
                kept["logit"],
                source,
                unscored=settings.unscored_logit,
                same_source=cost,
                against=settings.against,
                together=kept["human"] >= BINDING,
                apart=kept["human"] <= -BINDING,
            )
            step.advance(count)
        labels = result.labels
        if copies:
            found = con.execute("SELECT rid, first, logit FROM copies ORDER BY rid").fetchnumpy()
            follows = found["logit"] + cost * (source[found["rid"]] == source[found["first"]]) > 0
            labels = labels.copy()
            labels[found["rid"][follows]] = labels[found["first"][follows]]
        con.register("labels", pa.table({"rid": np.arange(count, dtype=np.int32), "cluster": labels}))
        context.write(con, "SELECT rid, cluster FROM labels ORDER BY rid", "clusters")
        con.register(
            "cut",
            pa.table(
                {
                    "left_rid": result.cut_left.astype(np.int32),
                    "right_rid": result.cut_right.astype(np.int32),
                    "logit": result.cut_logit,
                    "between": result.cut_between,
                    "reason": pa.array(result.cut_reason, type=pa.string()),
                }
            ),
        )
        context.write(con, "SELECT * FROM cut ORDER BY left_rid, right_rid", "cuts")
        reasons = dict(
            con.execute("SELECT reason, count(*) FROM cut GROUP BY reason ORDER BY count(*) DESC, reason").fetchall()
        )
    if len(result.conflicts):
        context.progress.say(
            f"{len(result.conflicts)} answers of persons contradict others: the records are kept together. "
            "Look at them with: resolver mpi history"
        )
    sizes = np.unique(np.bincount(labels, minlength=1)[np.unique(labels)], return_counts=True)
    return {
        "records": count,
        "persons": len(np.unique(labels)),
        "copies": copies,
        "sizes": {str(size): int(number) for size, number in zip(*sizes, strict=True)},
        "same_source_logit": cost,
        "cuts": reasons,
        "human_conflicts": len(result.conflicts),
        "largest_component": result.largest_component,
        "total_logit": round(result.total, 3),
    }


def _copies(con: duckdb.DuckDBPyConnection, decisions: str, pairs: str) -> int:
    """`copies` (rid, first, logit): copies beyond the tenth, and of the ten the one each is most like; their number.

    Link proposes them by rule 0, the later record on the right. A copy that a person spoke of is like any other record.
    """
    con.execute(
        f"""
        CREATE TEMP TABLE copies AS
        SELECT d.right_rid AS rid, arg_max(d.left_rid, (d.logit, -d.left_rid)) AS first, max(d.logit) AS logit
        FROM {decisions} d SEMI JOIN (FROM {pairs} WHERE rule = 0) USING (left_rid, right_rid)
        ANTI JOIN (SELECT unnest([left_rid, right_rid]) AS rid FROM {decisions} WHERE human IS NOT NULL) AS spoken
            ON spoken.rid = d.right_rid
        GROUP BY d.right_rid"""
    )
    ((count,),) = con.execute("SELECT count(*) FROM copies").fetchall()
    return int(count)


def _sources(con: duckdb.DuckDBPyConnection, records: str) -> npt.NDArray[np.int64]:
    """Each record's source as a number."""
    import numpy as np

    found = con.execute(
        f"SELECT dense_rank() OVER (ORDER BY source) - 1 AS code FROM read_parquet({records}) ORDER BY rid"
    ).fetchnumpy()["code"]
    return np.asarray(found, dtype=np.int64)


def _same_source(
    con: duckdb.DuckDBPyConnection, pairs: str, source: npt.NDArray[np.int64], wanted: float | str, step: Any
) -> float:
    """What two records of one source add: as set, or estimated from the scored pairs."""
    import numpy as np

    from resolver.cluster.same_source import Tally, fit

    if wanted != "fit":
        return float(wanted)
    tally = Tally()
    for batch in _batches(con, f"SELECT left_rid, right_rid, logit - coalesce(human, 0) AS logit FROM {pairs}"):
        left, right, logit = (np.asarray(batch.column(number)) for number in range(3))
        tally.add(logit, source[left] == source[right])
        step.advance(len(left))
    return fit(tally, np.bincount(source))


def _pairs_inside(
    con: duckdb.DuckDBPyConnection,
    pairs: str,
    source: npt.NDArray[np.int64],
    cost: float,
    count: int,
    step: Any,
) -> dict[str, npt.NDArray[Any]]:
    """The pairs that can change the result: those inside a component of pairs that speak for a join."""
    import numpy as np

    from resolver.cluster.graph import components

    columns = "left_rid, right_rid, logit, coalesce(human, 0.0) AS human"
    found = con.execute(f"SELECT {columns} FROM {pairs} WHERE logit > 0 OR human >= {BINDING}").fetchnumpy()
    left, right = found["left_rid"], found["right_rid"]
    worth = found["logit"] + cost * (source[left] == source[right])
    # A pair that only its source keeps apart is listed among the cuts, so it is kept here.
    linked = (worth > 0) | (found["human"] >= BINDING)
    part = components(count, left[linked], right[linked])
    wanted: list[dict[str, npt.NDArray[Any]]] = []
    names = ("left_rid", "right_rid", "logit", "human")
    for batch in _batches(con, f"SELECT {columns} FROM {pairs} ORDER BY left_rid, right_rid"):
        block = {name: np.asarray(batch.column(place)) for place, name in enumerate(names)}
        one, other = block["left_rid"], block["right_rid"]
        keep = (part[one] == part[other]) | (block["logit"] > 0)
        wanted.append({name: values[keep] for name, values in block.items()})
        step.advance(len(one))
    if not wanted:
        return {name: found[name] for name in names}
    return {name: np.concatenate([block[name] for block in wanted]) for name in names}


def _batches(con: duckdb.DuckDBPyConnection, query: str) -> Iterator[Any]:
    """The rows of a query, some at a time."""
    reader: Any = con.sql(query).to_arrow_reader(BATCH)
    yield from reader
