"""One walk over the scored pairs, some at a time, that adds up all that is said of pairs.

Memory stays flat: what is kept is per record or per step of log-odds. Knows nothing of truth files or JSON.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

BATCH = 1_000_000
TIERS = ("match", "gray", "non-match")
SURE = 0.99  # Splink's usual threshold
STEP = 0.02  # of the log-odds at which a threshold can lie
LOWEST, HIGHEST = -30.0, 60.0
STEPS = int((HIGHEST - LOWEST) / STEP) + 1
CALIBRATION = np.array([-np.inf, *np.arange(-9.0, 9.5, 1.0), np.inf])


@dataclass
class Walk:
    """What was added up. Lists of two hold false pairs, then true ones; pairs of records without truth in neither."""

    pairs: int = 0
    tiers: dict[str, dict[str, float]] = field(default_factory=dict)
    before_right: Floats = field(default_factory=lambda: np.zeros(0))  # per record, halves
    before_predicted: Floats = field(default_factory=lambda: np.zeros(0))
    found: Floats = field(default_factory=lambda: np.zeros(0))  # true pairs among the candidates, per record, halves
    known: int = 0  # pairs of records that the truth knows
    at_half: list[int] = field(default_factory=lambda: [0, 0])
    splink: Floats = field(default_factory=lambda: np.zeros((2, STEPS)))  # by Splink's own log-odds
    splink_sure: list[int] = field(default_factory=lambda: [0, 0])
    calibration: Floats = field(default_factory=lambda: np.zeros((4, len(CALIBRATION) - 1)))
    deciles: Floats = field(default_factory=lambda: np.zeros((3, 20)))
    losses: Floats = field(default_factory=lambda: np.zeros(2))  # sums of squared error and of log loss


def batches(con: duckdb.DuckDBPyConnection, query: str) -> Iterator[dict[str, npt.NDArray[Any]]]:
    reader: Any = con.sql(query).to_arrow_reader(BATCH)
    for batch in reader:
        yield {
            name: batch.column(place).to_numpy(zero_copy_only=False) for place, name in enumerate(batch.schema.names)
        }


def walk(con: duckdb.DuckDBPyConnection, decisions: str, pairs: str, person: Ints | None, count: int) -> Walk:
    """Add up `decisions` of `count` records and, for the baselines, `pairs`."""
    total = Walk(
        before_right=np.zeros(count), before_predicted=np.zeros(count), found=np.zeros(count), tiers=_no_tiers()
    )
    tier = "CASE tier WHEN 'match' THEN 0 WHEN 'gray' THEN 1 ELSE 2 END::TINYINT AS tier"
    for block in batches(con, f"SELECT left_rid, right_rid, logit, probability, {tier} FROM {decisions}"):
        _decisions(total, block, person)
    if person is not None:
        for block in batches(con, f"SELECT left_rid, right_rid, logit FROM {pairs}"):
            _baseline(total, block, person)
    return total


def _no_tiers() -> dict[str, dict[str, float]]:
    return {name: {"pairs": 0, "expected_true": 0.0, "known": 0, "true": 0} for name in TIERS}


def _decisions(total: Walk, block: dict[str, npt.NDArray[Any]], person: Ints | None) -> None:
    left, right, probability, tier = (block[name] for name in ("left_rid", "right_rid", "probability", "tier"))
    total.pairs += len(left)
    for number, name in enumerate(TIERS):
        chosen = tier == number
        total.tiers[name]["pairs"] += int(chosen.sum())
        total.tiers[name]["expected_true"] += float(probability[chosen].sum())
    if person is None:
        return
    known = (person[left] >= 0) & (person[right] >= 0)
    left, right, probability, tier = left[known], right[known], probability[known], tier[known]
    logit = block["logit"][known]
    true = person[left] == person[right]
    total.known += len(left)
    count = len(person)
    for number, name in enumerate(TIERS):
        chosen = tier == number
        total.tiers[name]["known"] += int(chosen.sum())
        total.tiers[name]["true"] += int(true[chosen].sum())
    match = tier == 0
    for sums, chosen in (
        (total.before_predicted, match),
        (total.before_right, match & true),
        (total.found, true),
    ):
        sums += np.bincount(left[chosen], minlength=count) / 2
        sums += np.bincount(right[chosen], minlength=count) / 2
    half = logit > 0
    total.at_half[0] += int((half & ~true).sum())
    total.at_half[1] += int((half & true).sum())

    place = np.clip(np.digitize(logit, CALIBRATION) - 1, 0, len(CALIBRATION) - 2)
    bins = len(CALIBRATION) - 1
    for row, weights in enumerate((np.ones(len(place)), probability, true, logit)):
        total.calibration[row] += np.bincount(place, weights=weights, minlength=bins)
    place = np.minimum((probability * 20).astype(np.int64), 19)
    for row, weights in enumerate((np.ones(len(place)), probability, true)):
        total.deciles[row] += np.bincount(place, weights=weights, minlength=20)
    safe = np.clip(probability, 1e-12, 1 - 1e-12)
    total.losses[0] += float(((probability - true) ** 2).sum())
    total.losses[1] -= float(np.log(np.where(true, safe, 1 - safe)).sum())


def _baseline(total: Walk, block: dict[str, npt.NDArray[Any]], person: Ints) -> None:
    left, right, logit = block["left_rid"], block["right_rid"], block["logit"]
    known = (person[left] >= 0) & (person[right] >= 0)
    left, right, logit = left[known], right[known], logit[known]
    true = (person[left] == person[right]).astype(np.int64)
    place = np.clip(((logit - LOWEST) / STEP).astype(np.int64), 0, STEPS - 1)
    for row in (0, 1):
        total.splink[row] += np.bincount(place[true == row], minlength=STEPS)
        total.splink_sure[row] += int(((true == row) & (logit >= np.log(SURE / (1 - SURE)))).sum())
