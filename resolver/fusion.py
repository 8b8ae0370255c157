"""Puts the verdicts on a pair together: who replaces whom, what is added, and where a pair stands.

Shared by adjudicate, which needs to know which pairs are still open, and decide, which writes the result down.
Works on SQL relations of DuckDB; knows nothing of files or of how a judge comes to its logit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from resolver.database import quote

PARTS = ("demographics", "clinical", "llm", "human")


@dataclass(frozen=True)
class Voice:
    """One judge as fusion sees it."""

    name: str
    part: str
    role: str  # revises | adds
    weight: float = 1.0  # of a judge that adds
    offset: float = 0.0  # taken off its logit: the log-odds of the prior it was trained with


def logit(probability: float) -> float:
    return math.log(probability / (1 - probability))


def parts_sql(pairs: str, verdicts: str, voices: Sequence[Voice], prior: float, base_weight: float = 1.0) -> str:
    """SQL: left_rid, right_rid, prior, one column per part (null where nobody spoke), logit, fingerprint.

    `pairs` and `verdicts` are names of relations. A judge that revises is measured against where the pair stood before
    it, so that the parts always add up to the sum.
    """
    standing = f"{base_weight!r} * logit"
    nobody = ", ".join(f"NULL::DOUBLE AS {part}" for part in PARTS if part != "demographics")
    query = (
        f"SELECT left_rid, right_rid, {standing} AS standing, {standing} - ({prior!r}) AS demographics, {nobody},"
        f" 'splink' AS fingerprint FROM {pairs}"
    )
    for voice in voices:
        added = (
            "v.logit - p.standing" if voice.role == "revises" else f"{voice.weight!r} * (v.logit - ({voice.offset!r}))"
        )
        # One level per judge: each needs what the ones before it came to, and SQL that repeats itself would double.
        query = f"""
            SELECT * EXCLUDE (added, gave) REPLACE (
                standing + coalesce(added, 0) AS standing,
                CASE WHEN added IS NULL THEN {voice.part} ELSE coalesce({voice.part}, 0) + added END AS {voice.part},
                concat_ws(' ', fingerprint, {quote(voice.name + ":")} || gave) AS fingerprint)
            FROM (
                SELECT p.*, {added} AS added, v.fingerprint AS gave FROM ({query}) p LEFT JOIN (
                    SELECT left_rid, right_rid, logit, fingerprint FROM {verdicts}
                    WHERE judge = {quote(voice.name)} AND status = 'ok') v USING (left_rid, right_rid))"""
    return (
        f"SELECT left_rid, right_rid, {prior!r}::DOUBLE AS prior, {', '.join(PARTS)}, standing AS logit, fingerprint"
        f" FROM ({query})"
    )
