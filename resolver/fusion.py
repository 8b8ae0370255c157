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
    joins, parts = [], dict.fromkeys(PARTS, "NULL::DOUBLE")
    standing = f"({base_weight!r} * p.logit)"
    parts["demographics"] = f"({standing} - ({prior!r}))"
    marks = ["'splink'"]
    for number, voice in enumerate(voices):
        v = f"v{number}"
        joins.append(
            f"LEFT JOIN (SELECT left_rid, right_rid, logit, fingerprint FROM {verdicts}"
            f" WHERE judge = {quote(voice.name)} AND status = 'ok') {v} USING (left_rid, right_rid)"
        )
        added = (
            f"({v}.logit - ({standing}))"
            if voice.role == "revises"
            else f"({voice.weight!r} * ({v}.logit - ({voice.offset!r})))"
        )
        before = parts[voice.part]
        parts[voice.part] = added if before.startswith("NULL") else f"({before} + coalesce({added}, 0))"
        standing = f"({standing} + coalesce({added}, 0))"
        marks.append(f"{quote(voice.name)} || ':' || {v}.fingerprint")
    columns = ", ".join(f"{parts[part]} AS {part}" for part in PARTS)
    return (
        f"SELECT p.left_rid, p.right_rid, {prior!r}::DOUBLE AS prior, {columns}, {standing} AS logit,"
        f" concat_ws(' ', {', '.join(marks)}) AS fingerprint FROM {pairs} p {' '.join(joins)}"
    )
