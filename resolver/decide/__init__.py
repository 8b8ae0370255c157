"""Adds up the log-odds of a pair and says what follows: match, non-match, or gray.

Every decision row holds its parts and what gave them. Probabilities are made here and nowhere else.
Knows nothing of how judges work, nor of persons: clustering may overrule a pair.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import duckdb

from resolver import fusion, judges, tables
from resolver.database import quote
from resolver.errors import RunError
from resolver.fusion import Line, Voice, parts_sql, voice
from resolver.settings import Settings
from resolver.stage import Facts, StageContext


def run(context: StageContext) -> Facts:
    decide = context.settings.decide
    prior = float(json.loads(context.inputs["link_model.json"].read_text())["prior_logit"])
    con = context.connect()
    for name in ("pairs", "verdicts"):
        con.execute(f"CREATE VIEW {name} AS FROM read_parquet({quote(context.inputs[name])})")
    # A person may have spoken of a pair that no blocking rule proposed: nothing else is known of it than the prior.
    con.execute(
        f"""
        CREATE VIEW judged AS
        SELECT left_rid, right_rid, logit FROM pairs
        UNION ALL SELECT DISTINCT left_rid, right_rid, {prior!r} FROM verdicts
            ANTI JOIN pairs USING (left_rid, right_rid)"""
    )
    parts = parts_sql(
        "judged",
        "verdicts",
        voices(context.settings, fusion.lines(context.inputs.get("judges.json"))),
        prior,
        decide.w_splink if decide.method == "formula" else 1.0,
    )
    con.execute(f"CREATE TABLE summed AS SELECT *, {_probability('logit')} AS probability FROM ({parts})")
    match, non_match = _thresholds(con, context.settings)
    tier = f"CASE WHEN {{0}} >= {match!r} THEN 'match' WHEN {{0}} < {non_match!r} THEN 'non-match' ELSE 'gray' END"
    without = "logit - coalesce({0}, 0)"
    rows = f"""
        SELECT left_rid, right_rid, prior, demographics, clinical, llm, human, logit, probability,
            {tier.format("probability")} AS tier,
            CASE
                WHEN human IS NOT NULL THEN 'a person said so'
                WHEN llm IS NOT NULL AND {tier.format(_probability(without.format("llm")))} <> tier
                    THEN 'the language model tipped it'
                WHEN clinical IS NOT NULL AND {tier.format(_probability(without.format("clinical")))} <> tier
                    THEN 'the clinical histories tipped it'
                WHEN tier = 'match' THEN 'demographics agree'
                WHEN tier = 'non-match' THEN 'demographics disagree'
                ELSE 'the evidence is balanced'
            END AS reason,
            fingerprint
        FROM summed"""
    context.write(con, f"{tables.DECISIONS.select(f'({rows})')} ORDER BY left_rid, right_rid", "decisions")
    tiers = con.execute(
        f"SELECT {tier.format('probability')} AS tier, count(*), sum(probability) FROM summed GROUP BY 1 ORDER BY 1"
    ).fetchall()
    return {
        "method": decide.method,
        "match_probability": match,
        "non_match_probability": non_match,
        "tiers": {str(name): int(count) for name, count, _ in tiers},
        "expected_matches": {str(name): round(float(expected), 1) for name, _, expected in tiers},
    }


def voices(settings: Settings, lines: Mapping[str, Line] | None = None) -> list[Voice]:
    """The judges of this run as fusion sees them; `lines`: what they said of their logits."""
    found = []
    for name in settings.adjudicate.judges:
        judge = judges.find(name)
        found.append(voice(name, judge.part, judge.role, (lines or {}).get(name), settings.decide))
    return found


def _probability(log_odds: str) -> str:
    # exp overflows far out; there the answer is 0 or 1 anyway.
    return f"1 / (1 + exp(-greatest(least({log_odds}, 700), -700)))"


def _thresholds(con: duckdb.DuckDBPyConnection, settings: Settings) -> tuple[float, float]:
    """Where a match begins and where a non-match ends: as set, or from the precision and recall that are asked for."""
    decide = settings.decide
    match, non_match = decide.match_probability, decide.non_match_probability
    if decide.target_precision is not None:
        # The mean probability of all pairs above a threshold is the precision there, if probabilities are calibrated.
        row = con.execute(
            """
            SELECT min(probability) FROM (
                SELECT probability, avg(probability) OVER (ORDER BY probability DESC) AS precision FROM summed)
            WHERE precision >= ?""",
            [decide.target_precision],
        ).fetchall()
        match = float(row[0][0]) if row[0][0] is not None else 1.0
    if decide.target_recall is not None:
        row = con.execute(
            """
            SELECT max(probability) FROM (
                SELECT probability, sum(probability) OVER (ORDER BY probability) / sum(probability) OVER () AS lost
                FROM summed)
            WHERE lost <= 1 - ?""",
            [decide.target_recall],
        ).fetchall()
        non_match = float(row[0][0]) if row[0][0] is not None else 0.0
    if non_match > match:
        raise RunError(
            f"A pair can't be a non-match up to {non_match:.4f} and a match from {match:.4f} on.",
            do="Set decide.target_precision and decide.target_recall lower, or the two probabilities.",
        )
    return match, non_match
