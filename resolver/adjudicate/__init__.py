"""Asks the judges in order: each sees what the ones before it left undecided.

Writes one verdict per pair and judge. Knows nothing of how a judge works, nor of what the verdicts come to (decide).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import duckdb

from resolver import judges, tables
from resolver.database import quote
from resolver.fusion import logit, voice
from resolver.judges import Evidence, Judge
from resolver.settings import Settings
from resolver.stage import Facts, StageContext

# What the embedded judges leave, so that a pair can be explained without reading all records and histories again.
POPULATION = "clinical_population.parquet"
COUNTS = "value_counts.parquet"
CHUNK = 1_000_000  # pairs handed to a judge at once, so that its memory stays bounded


def watches(settings: Settings) -> Mapping[str, Any]:
    """Verdicts that people gave since the last run make the pairs be judged again, and so does another model."""
    from resolver import mpi
    from resolver.runs import stat_of

    encoder = settings.encoder.model if "encoder" in settings.adjudicate.judges else None
    llm = settings.llm.model if "llm" in settings.adjudicate.judges else None
    return {
        "human": mpi.verdicts_digest(settings.index_path),
        **({} if encoder is None else stat_of(list(encoder.glob("encoder.*")))),
        **({} if llm is None else stat_of([llm / "artifact.json"])),
    }


def run(context: StageContext) -> Facts:
    con = context.connect()
    pairs = quote(context.inputs["pairs"])
    con.execute(f"CREATE TABLE standing AS SELECT left_rid, right_rid, logit FROM read_parquet({pairs})")
    con.execute(f"CREATE TABLE verdicts ({tables.VERDICTS.ddl})")
    _carry_over(con, context)
    evidence = Evidence(
        context.settings,
        context.inputs["records"],
        context.inputs["events"],
        context.inputs["learned.json"],
        context.outputs[POPULATION],
        context.scratch,
        context.progress,
        counts=context.outputs[COUNTS],
        pairs=context.inputs["pairs"],
        standing=lambda: con.sql("FROM standing ORDER BY left_rid, right_rid").pl(),
    )
    facts: Facts = {}
    lines: dict[str, dict[str, float]] = {}
    for name in context.settings.adjudicate.judges:
        judge = judges.find(name)(evidence)
        facts[name] = _ask(con, judge, context)
        line = getattr(judge, "line", None)
        if line is not None:
            lines[name] = {"slope": line[0], "intercept": line[1]}
    context.outputs["judges.json"].write_text(json.dumps(lines, indent=2) + "\n", encoding="utf-8")
    if not context.outputs[POPULATION].exists():  # no judge read histories
        from resolver.judges.features.population import Population

        Population.empty().save(context.outputs[POPULATION])
    if not context.outputs[COUNTS].exists():  # no judge counted values
        con.execute(f"COPY (SELECT 0 AS rid WHERE false) TO {quote(context.outputs[COUNTS])} (FORMAT parquet)")
    context.write(
        con,
        f"{tables.VERDICTS.select('verdicts')} ORDER BY left_rid, right_rid, judge",
        "verdicts",
    )
    return {"judges": facts}


def _ask(con: duckdb.DuckDBPyConnection, judge: Judge, context: StageContext) -> Facts:
    decide = context.settings.decide
    _bring(con, judge)
    low, high = judge.asks or (logit(decide.non_match_probability), logit(decide.match_probability))
    con.execute("CREATE OR REPLACE TABLE wanted AS FROM standing WHERE logit > ? AND logit < ?", [low, high])
    con.execute(
        """
        CREATE OR REPLACE TABLE answers AS
        SELECT left_rid, right_rid, earlier.logit, status FROM earlier
            SEMI JOIN wanted USING (left_rid, right_rid) WHERE judge = ? AND fingerprint = ? AND status = 'ok'""",
        [judge.name, judge.fingerprint],
    )
    known = _count(con, "answers")
    con.execute(
        "CREATE OR REPLACE TABLE asked AS SELECT *, row_number() OVER () - 1 AS n FROM ("
        "FROM wanted ANTI JOIN answers USING (left_rid, right_rid) ORDER BY left_rid, right_rid)"
    )
    asked = _count(con, "asked")
    with context.progress.step(f"judge {judge.name}", asked, "pairs") as step:
        chunk = max(asked, 1) if getattr(judge, "at_once", False) else CHUNK
        for start in range(0, asked, chunk):
            pairs = con.sql(
                f"SELECT left_rid, right_rid, logit FROM asked WHERE n >= {start} AND n < {start + chunk} ORDER BY n"
            ).pl()
            con.register("answered", judge.judge(pairs))
            con.execute("INSERT INTO answers SELECT left_rid, right_rid, logit, status FROM answered")
            con.unregister("answered")
            step.advance(len(pairs))
    con.execute(
        "INSERT INTO verdicts SELECT left_rid, right_rid, ?, ?, logit, status FROM answers",
        [judge.name, judge.fingerprint],
    )
    spoken = voice(judge.name, judge.part, judge.role, getattr(judge, "line", None), decide)
    added = f"s.logit + {spoken.weight!r} * (a.logit - ({spoken.offset!r}))"
    combined = "a.logit" if judge.role == "revises" else added
    con.execute(
        f"UPDATE standing s SET logit = {combined} FROM answers a"
        " WHERE a.status = 'ok' AND s.left_rid = a.left_rid AND s.right_rid = a.right_rid"
    )
    counts = con.execute("SELECT status, count(*) FROM answers GROUP BY ALL ORDER BY ALL").fetchall()
    return {
        "asked": asked,
        "carried_over": known,
        "fingerprint": judge.fingerprint,
        **{str(status): int(count) for status, count in counts},
        **(judge.facts() if hasattr(judge, "facts") else {}),
    }


def _carry_over(con: duckdb.DuckDBPyConnection, context: StageContext) -> None:
    """`earlier`: verdicts of the published run on pairs whose two records are as they were then.

    A judge that reads how common a value is would give them slightly other log-odds today; they stand until a full run.
    """
    con.execute(f"CREATE TABLE earlier ({tables.VERDICTS.ddl})")
    if not {"records", "verdicts"} <= context.base.keys():
        return
    con.execute(
        f"""
        CREATE TEMP TABLE kept AS
        SELECT was.rid AS old, now.rid AS new
        FROM read_parquet({quote(context.base["records"])}) AS was
        JOIN read_parquet({quote(context.inputs["records"])}) AS now USING (record_id, content_hash)"""
    )
    con.execute(
        f"""
        INSERT INTO earlier
        SELECT least(l.new, r.new), greatest(l.new, r.new), judge, fingerprint, logit, status
        FROM read_parquet({quote(context.base["verdicts"])})
        JOIN kept l ON l.old = left_rid JOIN kept r ON r.old = right_rid"""
    )


def _bring(con: duckdb.DuckDBPyConnection, judge: Judge) -> None:
    """Add the pairs that a judge knows of and blocking does not, with even odds."""
    brought = judge.brings()
    if brought is not None and len(brought):
        con.register("brought", brought)
        con.execute(
            "INSERT INTO standing SELECT left_rid, right_rid, 0 FROM brought"
            " ANTI JOIN standing USING (left_rid, right_rid)"
        )
        con.unregister("brought")


def _count(con: duckdb.DuckDBPyConnection, table: str) -> int:
    ((count,),) = con.execute(f"SELECT count(*) FROM {table}").fetchall()
    return int(count)
