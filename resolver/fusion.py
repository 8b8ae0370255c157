"""Puts the verdicts on a pair together: who replaces whom, what is added, and where a pair stands.

Shared by adjudicate, which needs to know which pairs are still open, and decide, which writes the result down.
Works on SQL relations of DuckDB; knows nothing of files or of how a judge comes to its logit.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from resolver.database import quote
from resolver.settings.stages import DecideSettings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Line = tuple[float, float]  # slope and intercept that make evidence of a judge's raw logits

PARTS = ("demographics", "clinical", "llm", "human")


@dataclass(frozen=True)
class Voice:
    """One judge as fusion sees it."""

    name: str
    part: str
    role: str  # revises | adds
    weight: float = 1.0  # of a judge that adds
    offset: float = 0.0  # taken off its logit: the log-odds of the prior it was trained with


def voice(name: str, part: str, role: str, line: Line | None, decide: DecideSettings) -> Voice:
    """A judge with the weight that the settings give it and the line that it gives itself."""
    if part != "llm":
        slope, intercept = line or (1.0, 0.0)
        return Voice(name, part, role, slope, -intercept / slope)
    if decide.method == "formula":
        # A model trained on a balanced set says "even" where the gray zone says "one in forty".
        return Voice(name, part, role, decide.w_llm, logit(decide.prior_train) - logit(decide.prior_gray))
    # Less the prior that it was trained or calibrated with, its logit is evidence and adds to what is known already.
    slope, intercept = line or (1.0, -logit(decide.prior_train))
    return Voice(name, part, role, decide.w_llm * slope, -intercept / slope)


def lines(path: Path | None) -> Mapping[str, Line]:
    """What the judges of a run said of their logits (judges.json)."""
    told = json.loads(path.read_text(encoding="utf-8")) if path is not None and path.exists() else {}
    return {name: (float(one["slope"]), float(one["intercept"])) for name, one in told.items()}


def logit(probability: float) -> float:
    return math.log(probability / (1 - probability))


def probability(logit: NDArray[np.float64]) -> NDArray[np.float64]:
    import numpy as np

    found: NDArray[np.float64] = 1 / (1 + np.exp(-np.clip(logit, -30, 30)))
    return found


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
