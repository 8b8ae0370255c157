"""Gathers what the report shows from the files of a run. Knows nothing of HTML.

Patient text is read here, for the pairs that are shown side by side, and goes into the report only.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb

from resolver.database import quote
from resolver.runs import MANIFEST
from resolver.stage import StageContext
from resolver.tables import PERSON_FIELDS

DOUBTFUL = 10
PARTS = ("prior", "demographics", "clinical", "llm", "human")
STEP = 1.0  # log-odds per column of the score distribution
FAR = 25.0  # log-odds beyond this share one column


def gather(context: StageContext) -> dict[str, Any]:
    metrics = json.loads(context.inputs["metrics.json"].read_text(encoding="utf-8"))
    with context.connect() as con, context.progress.step("report", 5, "parts") as step:
        for name in ("records", "rejected", "decisions", "clusters", "cuts", "golden_fields"):
            con.execute(f"CREATE VIEW {name} AS FROM read_parquet({quote(context.inputs[name])})")
        scores = _scores(con)
        step.advance(1)
        attrition = _attrition(con)
        step.advance(1)
        doubtful = _doubtful(con)
        examples = metrics.get("errors", {}).get("examples", {})
        shown = {
            "doubtful": doubtful,
            "missed": examples.get("missed", [])[:5],
            "false": examples.get("false", [])[:5],
        }
        step.advance(1)
        pairs = {name: _side_by_side(con, chosen) for name, chosen in shown.items()}
        anomalies = [{**one, "value": _shared(con, one)} for one in metrics["anomalies"]]
        step.advance(1)
        content = {
            "title": context.settings.report.title,
            "metrics": metrics,
            "anomalies": anomalies,
            "scores": scores,
            "thresholds": _thresholds(con),
            "attrition": attrition,
            "pairs": pairs,
            "cuts": _rows(con, "SELECT reason, count(*) FROM cuts GROUP BY reason ORDER BY count(*) DESC, reason"),
            "confidence": _confidence(con),
            "stages": _stages(context.settings.run.dir),
        }
        step.advance(1)
    return content


def _rows(con: duckdb.DuckDBPyConnection, query: str) -> list[tuple[Any, ...]]:
    return con.execute(query).fetchall()


def _scores(con: duckdb.DuckDBPyConnection) -> list[tuple[float, int, str]]:
    """Pairs per step of log-odds and tier."""
    place = f"greatest(least(floor(logit / {STEP}) * {STEP} + {STEP / 2}, {FAR}), -{FAR})"
    # One column per step: a step that a threshold divides goes to the tier that most of its pairs are in.
    rows = _rows(
        con,
        f"""
        WITH placed AS (SELECT {place} AS place, tier, count(*) AS n FROM decisions GROUP BY ALL)
        SELECT place, sum(n)::BIGINT, arg_max(tier, (n, tier)) FROM placed GROUP BY place ORDER BY place""",
    )
    return [(float(at), int(count), str(tier)) for at, count, tier in rows]


def _thresholds(con: duckdb.DuckDBPyConnection) -> list[tuple[float, str]]:
    """Where tiers begin, in log-odds, as far as pairs lie on both sides."""
    ((match, open_),) = _rows(
        con,
        "SELECT min(logit) FILTER (tier = 'match'), min(logit) FILTER (tier = 'gray') "
        "FROM decisions WHERE human IS NULL",
    )
    return [(float(at), name) for at, name in ((match, "match"), (open_, "gray")) if at is not None]


def _attrition(con: duckdb.DuckDBPyConnection) -> dict[str, Any]:
    """What did not make it: rows put aside, records that no pair reaches, records that ended alone."""
    con.execute(
        """
        CREATE TEMP TABLE reached AS
        SELECT left_rid AS rid FROM decisions UNION SELECT right_rid FROM decisions"""
    )
    sources = _rows(
        con,
        """
        SELECT r.source, count(*), count(*) FILTER (e.rid IS NULL), count(*) FILTER (c.size = 1)
        FROM records r LEFT JOIN reached e USING (rid)
        JOIN (SELECT rid, count(*) OVER (PARTITION BY cluster) AS size FROM clusters) c USING (rid)
        GROUP BY r.source ORDER BY count(*) DESC, r.source LIMIT 50""",
    )
    filled = ", ".join(f"count({name})" for name, _, _ in PERSON_FIELDS)
    ((count, *counts),) = _rows(con, f"SELECT count(*), {filled} FROM records")
    return {
        "rejected": _rows(
            con,
            "SELECT reason, source, count(*) FROM rejected GROUP BY ALL ORDER BY 3 DESC, 1, 2 LIMIT 30",
        ),
        "sources": sources,
        "unreached": sum(row[2] for row in sources),
        "filled": [
            (name, found / count) for (name, _, _), found in zip(PERSON_FIELDS, counts, strict=True) if count and found
        ],
    }


def _shared(con: duckdb.DuckDBPyConnection, anomaly: dict[str, Any]) -> str | None:
    """The value that too many people of a source have; metrics.json does not name it."""
    if anomaly["kind"] != "shared value" or anomaly["field"] not in {name for name, _, _ in PERSON_FIELDS}:
        return None
    rows = con.execute(
        f"""
        SELECT CAST({anomaly["field"]} AS VARCHAR) FROM records
        WHERE source = ? AND {anomaly["field"]} IS NOT NULL GROUP BY 1 ORDER BY count(*) DESC, 1 LIMIT 1""",
        [anomaly["source"]],
    ).fetchall()
    return str(rows[0][0]) if rows else None


def _doubtful(con: duckdb.DuckDBPyConnection) -> list[list[int]]:
    """Pairs whose log-odds are nearest to nothing, of those that no person has judged."""
    rows = _rows(
        con,
        "SELECT left_rid, right_rid FROM decisions WHERE human IS NULL "
        f"ORDER BY abs(logit), left_rid, right_rid LIMIT {DOUBTFUL}",
    )
    return [[int(left), int(right)] for left, right in rows]


def _side_by_side(con: duckdb.DuckDBPyConnection, pairs: Sequence[Sequence[int]]) -> list[dict[str, Any]]:
    """Both records of each pair, field by field, and the parts of its log-odds where it was scored."""
    if not pairs:
        return []
    wanted = ", ".join(f"({number}, {int(left)}, {int(right)})" for number, (left, right) in enumerate(pairs))
    names = [name for name, _, _ in PERSON_FIELDS if name not in ("ssn_last4", "street_number")]
    sides = ", ".join(f"CAST({side}.{name} AS VARCHAR)" for name in names for side in ("a", "b"))
    parts = ", ".join(f"d.{name}" for name in PARTS)
    rows = _rows(
        con,
        f"""
        SELECT a.source, b.source, a.source_record_id, b.source_record_id, ca.cluster = cb.cluster,
            d.logit, d.probability, d.tier, {parts}, {sides}
        FROM (VALUES {wanted}) w(number, l, r)
        JOIN records a ON a.rid = w.l JOIN records b ON b.rid = w.r
        JOIN clusters ca ON ca.rid = w.l JOIN clusters cb ON cb.rid = w.r
        LEFT JOIN decisions d ON d.left_rid = w.l AND d.right_rid = w.r ORDER BY number""",
    )
    result = []
    for row in rows:
        head, scores, values = row[:5], row[5:13], row[13:]
        fields = []
        for number, name in enumerate(names):
            left, right = values[2 * number], values[2 * number + 1]
            if left is None and right is None:
                continue
            state = "missing" if left is None or right is None else "equal" if left == right else "differs"
            fields.append((name.replace("_", " "), left, right, state))
        result.append(
            {
                "sources": head[:2],
                "ids": head[2:4],
                "together": head[4],
                "logit": scores[0],
                "probability": scores[1],
                "tier": scores[2],
                "parts": [(name, value) for name, value in zip(PARTS, scores[3:], strict=True) if value is not None],
                "fields": fields,
            }
        )
    return result


def _confidence(con: duckdb.DuckDBPyConnection) -> list[tuple[Any, ...]]:
    """Per golden field: how many persons have it, how sure it is, and how often records contradict each other."""
    order = ", ".join(f"'{name}'" for name, _, _ in PERSON_FIELDS)
    return _rows(
        con,
        f"""
        SELECT field, count(*), avg(confidence), count(*) FILTER (confidence < 0.9), count(*) FILTER (rivals > 0)
        FROM golden_fields GROUP BY field ORDER BY list_position([{order}], field)""",
    )


def _stages(folder: Path) -> list[dict[str, Any]]:
    """Seconds and memory of the stages that were done, from the manifest."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        stages = manifest["stages"].items()
    except (OSError, ValueError, KeyError):
        return []
    return [
        {
            "name": name,
            "seconds": float(entry.get("seconds", math.nan)),
            "peak_mib": float(entry.get("peak_mib", math.nan)),
            "finished": str(entry.get("finished", "")),
            "rows": sum(one.get("rows") or 0 for one in entry.get("outputs", {}).values()),
        }
        for name, entry in stages
        if name != "report"
    ]
