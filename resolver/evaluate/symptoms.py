"""What anomalies are seen by: what carries the evidence, values that many share, sources, and how judges get along.

Counts and shares only: names of fields, kinds of events and sources, never a value of a record. Says nothing of what is
too much (anomalies.py).
"""

from __future__ import annotations

import math
from typing import Any

import duckdb

from resolver.ingest.vocabulary import SYSTEMS
from resolver.tables import PERSON_FIELDS

Rows = list[tuple[Any, ...]]

SAMPLE = 20_000  # pairs compared field by field, and persons whose codes are looked at
SURE = math.log(99)  # log-odds of .99
# Fields of which hardly two people have the same value by chance.
IDENTIFYING = ("birth_date", "ssn", "phone", "email", "member_id")
COMPARED = tuple(name for name, _, _ in PERSON_FIELDS if name not in ("ssn_last4", "street_number", "suffix", "unit"))
NAMED_SYSTEMS = frozenset({*SYSTEMS.values(), "TEXT"})
CODED = ("condition", "medication", "allergy", "procedure", "immunization", "device", "measurement")


def gather(
    con: duckdb.DuckDBPyConnection, records: str, events: str, decisions: str, pairs: str, clusters: str
) -> dict[str, Any]:
    """All of them; the arguments are SQL that reads the tables."""
    con.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE looked_at AS
        SELECT rid, cluster, source, {", ".join(COMPARED)} FROM {records} r JOIN {clusters} c USING (rid)"""
    )
    found = {
        "evidence": _evidence(con, decisions),
        "histories": _histories(con, decisions),
        "shared_values": _shared_values(con),
        "private_codes": _private_codes(con, events),
        "sources": _sources(con),
        "splink": _splink(con, decisions, pairs),
        "people": _people(con, decisions),
    }
    con.execute("DROP TABLE looked_at")
    return found


def _rows(con: duckdb.DuckDBPyConnection, query: str) -> Rows:
    return con.execute(query).fetchall()


def _evidence(con: duckdb.DuckDBPyConnection, decisions: str) -> dict[str, Any]:
    """Per field: how it compares in matches and in random pairs of two persons, and the log-odds it brings a match."""
    con.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE matches AS SELECT left_rid, right_rid FROM {decisions}
        WHERE tier = 'match' AND human IS NULL ORDER BY hash(left_rid, right_rid), left_rid, right_rid LIMIT {SAMPLE}"""
    )
    con.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE strangers AS
        WITH mixed AS (SELECT rid, cluster, row_number() OVER (ORDER BY hash(rid, 1), rid) AS n FROM looked_at)
        SELECT a.rid AS left_rid, b.rid AS right_rid FROM mixed a JOIN mixed b ON b.n = a.n + 1
        WHERE a.cluster <> b.cluster ORDER BY a.n LIMIT {SAMPLE}"""
    )
    counts = ", ".join(
        f"count(*) FILTER (a.{name} = b.{name}), count(*) FILTER (a.{name} <> b.{name})" for name in COMPARED
    )
    compared = {}
    for table in ("matches", "strangers"):
        compared[table] = _rows(
            con,
            f"SELECT count(*), {counts} FROM {table} JOIN looked_at a ON a.rid = left_rid"
            " JOIN looked_at b ON b.rid = right_rid",
        )[0]
    (pairs, *same), (others, *alike) = compared["matches"], compared["strangers"]
    fields = {}
    for place, name in enumerate(COMPARED):
        agree, differ = same[2 * place : 2 * place + 2]
        by_chance, apart = alike[2 * place : 2 * place + 2]
        if not pairs or not others or not agree + differ:
            continue
        brings = 0.0
        for one, other in ((agree, by_chance), (differ, apart), (pairs - agree - differ, others - by_chance - apart)):
            # One pair more on each side, so that what never happens is rare and not impossible.
            brings += one / pairs * math.log((one + 1) / (pairs + 3) / ((other + 1) / (others + 3)))
        fields[name] = {
            "compared": int(agree + differ),
            "agree": round(agree / (agree + differ), 5),
            "by_chance": round(by_chance / (by_chance + apart), 5) if by_chance + apart else None,
            "brings": round(brings, 3),
        }
    total = sum(max(one["brings"], 0.0) for one in fields.values())
    for one in fields.values():
        one["share"] = round(max(one["brings"], 0.0) / total, 4) if total else 0.0
    return {"matches": int(pairs), "fields": fields}


def _histories(con: duckdb.DuckDBPyConnection, decisions: str) -> dict[str, Any]:
    """Of the matches with histories on both sides, what part of their log-odds the histories bring."""
    ((pairs, demographics, clinical),) = _rows(
        con,
        f"SELECT count(*), avg(demographics), avg(clinical) FROM {decisions}"
        " WHERE tier = 'match' AND human IS NULL AND clinical IS NOT NULL",
    )
    return {"pairs": int(pairs), "demographics": _short(demographics), "clinical": _short(clinical)}


def _shared_values(con: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    """Per source and identifying field, the value that most people there have: how many, and how many elsewhere.

    People are told apart by person and by name, so that persons who were made one because of the value still count.
    """
    result = []
    for name in IDENTIFYING:
        rows = _rows(
            con,
            f"""
            WITH held AS (
                SELECT source, {name} AS value, count(*) AS records,
                    greatest(count(DISTINCT cluster), count(DISTINCT concat_ws(' ', first_name, last_name))) AS people
                FROM looked_at WHERE {name} IS NOT NULL GROUP BY source, {name}),
            filled AS (SELECT source, sum(records) AS records FROM held GROUP BY source),
            most AS (
                SELECT * FROM held QUALIFY row_number() OVER (PARTITION BY source ORDER BY people DESC, value) = 1)
            SELECT m.source, m.people, m.records, f.records,
                (SELECT coalesce(sum(h.records), 0) FROM held h WHERE h.value = m.value AND h.source <> m.source),
                (SELECT coalesce(sum(o.records), 0) FROM filled o WHERE o.source <> m.source)
            FROM most m JOIN filled f USING (source) ORDER BY m.source""",
        )
        result += [
            {
                "field": name,
                "source": source,
                "people": int(people),
                "share": round(records / filled, 5),
                "elsewhere": round(others / other_filled, 5) if other_filled else None,
            }
            for source, people, records, filled, others, other_filled in rows
            if people > 1
        ]
    return result


def _private_codes(con: duckdb.DuckDBPyConnection, events: str) -> list[dict[str, Any]]:
    """Per kind of event and coding system, and per measured code: of the pairs inside persons that both have it, the
    share that has a code (of measurements, a value) in common that nobody else in the run has."""
    kinds = ", ".join(f"'{kind}'" for kind in CODED)
    con.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE several AS
        SELECT rid, cluster FROM looked_at JOIN (
            SELECT cluster FROM looked_at GROUP BY cluster HAVING count(*) BETWEEN 2 AND 20
            ORDER BY hash(cluster), cluster LIMIT {SAMPLE // 4}) USING (cluster)"""
    )
    coded = f"""
        SELECT rid, kind, system, CASE WHEN kind = 'measurement' THEN code END AS measured,
            CASE WHEN kind = 'measurement' THEN CAST(value AS VARCHAR) ELSE code END AS value
        FROM {events} WHERE kind IN ({kinds}) AND code IS NOT NULL AND (kind <> 'measurement' OR value IS NOT NULL)"""
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE theirs AS SELECT DISTINCT * FROM ({coded}) SEMI JOIN several USING (rid)"
    )
    # Values that only one record of the sample has can't be shared, and are most of the measured ones.
    con.execute(
        """
        CREATE OR REPLACE TEMP TABLE in_common AS
        SELECT kind, system, measured, value, min(cluster) AS cluster FROM theirs JOIN several USING (rid)
        GROUP BY ALL HAVING count(*) > 1 AND count(DISTINCT cluster) = 1"""
    )
    con.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE elsewhere AS
        SELECT DISTINCT c.kind, c.system, c.measured, c.value FROM ({coded}) e JOIN in_common c
            ON c.kind = e.kind AND c.system IS NOT DISTINCT FROM e.system
            AND c.measured IS NOT DISTINCT FROM e.measured AND c.value = e.value
        JOIN looked_at l ON l.rid = e.rid WHERE l.cluster <> c.cluster"""
    )
    rows = _rows(
        con,
        """
        WITH private AS (
            SELECT t.rid, t.kind, t.system, t.measured, t.value FROM theirs t SEMI JOIN in_common c
                ON c.kind = t.kind AND c.system IS NOT DISTINCT FROM t.system
                AND c.measured IS NOT DISTINCT FROM t.measured AND c.value = t.value
            ANTI JOIN elsewhere e
                ON e.kind = t.kind AND e.system IS NOT DISTINCT FROM t.system
                AND e.measured IS NOT DISTINCT FROM t.measured AND e.value = t.value),
        having_it AS (SELECT DISTINCT rid, cluster, kind, system, measured FROM theirs JOIN several USING (rid)),
        having_both AS (
            SELECT a.rid AS l, b.rid AS r, a.kind, a.system, a.measured FROM having_it a JOIN having_it b
            ON a.cluster = b.cluster AND a.rid < b.rid AND a.kind = b.kind
            AND a.system IS NOT DISTINCT FROM b.system AND a.measured IS NOT DISTINCT FROM b.measured),
        sharing AS (
            SELECT DISTINCT a.rid AS l, b.rid AS r, a.kind, a.system, a.measured FROM private a JOIN private b
            ON a.kind = b.kind AND a.system IS NOT DISTINCT FROM b.system
            AND a.measured IS NOT DISTINCT FROM b.measured AND a.value = b.value AND a.rid < b.rid)
        SELECT b.kind, b.system, b.measured IS NOT NULL, count(*) AS pairs, count(s.l) AS shared
        FROM having_both b LEFT JOIN sharing s ON s.l = b.l AND s.r = b.r AND s.kind = b.kind
            AND s.system IS NOT DISTINCT FROM b.system AND s.measured IS NOT DISTINCT FROM b.measured
        GROUP BY b.kind, b.system, b.measured ORDER BY shared / pairs DESC, b.kind, b.system, b.measured""",
    )
    for table in ("several", "theirs", "in_common", "elsewhere"):
        con.execute(f"DROP TABLE {table}")
    return [
        {
            "kind": kind,
            # A column that is mapped wrongly can hold anything.
            "system": system if system in NAMED_SYSTEMS else "another system",
            "one_code": bool(one),
            "pairs": int(count),
            "share": round(shared / count, 4),
        }
        for kind, system, one, count, shared in rows
    ]


def _sources(con: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    """Per source: how many of its records share their person with a record of another source."""
    rows = _rows(
        con,
        """
        SELECT source, count(*), count(*) FILTER (sources > 1) FROM looked_at JOIN (
            SELECT cluster, count(DISTINCT source) AS sources FROM looked_at GROUP BY cluster) USING (cluster)
        GROUP BY source ORDER BY source""",
    )
    return [
        {"source": str(source), "records": int(count), "found_elsewhere": round(found / count, 5)}
        for source, count, found in rows
    ]


def _splink(con: duckdb.DuckDBPyConnection, decisions: str, pairs: str) -> dict[str, Any]:
    """Where Splink and the judges are both sure, and of the opposite."""
    own = "d.logit - coalesce(d.human, 0)"
    ((linked, refused, judged, unseen),) = _rows(
        con,
        f"""
        SELECT count(*) FILTER (p.logit >= {SURE}), count(*) FILTER (p.logit >= {SURE} AND {own} <= -{SURE}),
            count(*) FILTER ({own} >= {SURE}), count(*) FILTER ({own} >= {SURE} AND p.logit <= -{SURE})
        FROM {decisions} d JOIN {pairs} p USING (left_rid, right_rid)""",
    )
    return {"sure": int(linked), "refused": int(refused), "judged_sure": int(judged), "unseen": int(unseen)}


def _people(con: duckdb.DuckDBPyConnection, decisions: str) -> dict[str, Any]:
    """Pairs that people spoke of and judges were sure of: how many they got wrong, and how many they promised to."""
    own = "(logit - human)"
    ((pairs, wrong, promised),) = _rows(
        con,
        f"""
        SELECT count(*), count(*) FILTER (human * {own} < 0), sum(1 / (1 + exp(least(abs({own}), 50))))
        FROM {decisions} WHERE human IS NOT NULL AND abs({own}) >= {SURE}""",
    )
    return {"sure": int(pairs), "wrong": int(wrong), "promised": round(float(promised or 0.0), 4)}


def _short(value: float | None) -> float | None:
    return None if value is None else round(float(value), 4)
