"""Trains the link model without labels: u by random sampling, m by expectation maximisation over several blockings.

Where there is too little data to train on, the documented priors stand, and the result says so. A model that could not
be trained although there was enough data is an error: a silent default would look like knowledge. Knows nothing of
blocking for prediction, nor of files.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import duckdb

from resolver.errors import TrainingError
from resolver.link import splinking
from resolver.link.comparisons import COMPARISONS, PRIOR, Comparison, Level, Weights, splink_settings

ENOUGH_RECORDS = 200  # fewer hold too few pairs of one person to estimate a dozen levels from
ENOUGH_PAIRS = 30  # pairs that a blocking must bring to be trained on
ENOUGH_MATCHES = 20  # expected pairs of one person among them
SAMPLED_PAIRS = 1_000_000  # random pairs for u
TRAINING_PAIRS = 1_000_000  # most pairs of one blocking for m
SMALLEST = 1e-7
PSEUDO = 5  # pairs of one person that the documented m counts for beside what was trained

# What each training blocking holds equal. Comparisons on these columns learn from the other blockings.
BLOCKINGS: tuple[tuple[str, ...], ...] = (
    ("ssn",),
    ("birth_digits", "sex"),
    ("first_name", "last_name"),
    ("street", "sex"),
    ("phone",),
    ("member_id",),
    ("email",),
    ("last_name", "zip"),
    ("last_name", "city", "sex"),
    ("zip", "sex"),
    ("city", "sex"),
)
FIRST = 7  # these are used wherever they can be; the others only for comparisons that have learned from none

Weighted = dict[tuple[str, str], Weights]


@dataclass
class Trained:
    kind: str  # trained, or prior
    comparisons: list[str]
    weights: Weighted
    probability: float  # that two random records are one person's
    facts: dict[str, Any] = field(default_factory=dict)


def prior(comparisons: list[str], records: int, why: str) -> Trained:
    """The documented weights; every person is taken to have one record more than one."""
    pairs = max(records * (records - 1) / 2, 1)
    probability = min(max(records / 2, 1) / pairs, 0.5)
    weights = {key: found for key, found in PRIOR.items() if key[0] in comparisons}
    return Trained("prior", comparisons, weights, float(f"{probability:.6g}"), {"why": why})


def train(con: duckdb.DuckDBPyConnection, counts: Mapping[str, int], records: int, seed: int) -> Trained:
    """A model for table `uncrowded`; `counts` says in how many records each column is filled."""
    present = [c for c in COMPARISONS if any(counts.get(column, 0) > 1 for column in c.columns)]
    names = [c.name for c in present]
    if records < ENOUGH_RECORDS:
        return prior(names, records, f"{records:,} records are too few to train on; documented weights are used")
    usable, pairs = _blockings(con, counts)
    if not usable:
        return prior(names, records, "no two records agree on a field that training starts from")
    sampled = _sample_u(con, names, seed)
    probability = records / 2 / (records * (records - 1) / 2)
    weights: Weighted = {key: found for key, found in PRIOR.items() if key[0] in names}
    weights = _with_u(weights, present, sampled, {}, 0.0)
    rounds: list[float] = []
    learned: dict[tuple[str, str], list[float]] = {}
    for _ in range(2):  # the second time with u freed of the pairs that were one person's after all
        learned, estimates, sessions = _maximise(con, names, weights, probability, usable, pairs, counts, records)
        if not estimates:
            break
        probability = min(max(median(estimates), 0.5 / (records * records)), 0.5)
        weights = _with_m(weights, present, learned, probability * records * (records - 1) / 2)
        rounds.append(probability)
        weights = _with_u(weights, present, sampled, weights, probability)
    total = records * (records - 1) / 2
    if not rounds or probability * total < ENOUGH_MATCHES:
        return prior(names, records, "too few pairs look like one person's to train on; documented weights are used")
    _refuse_untrained(present, weights, learned, sampled)
    facts = {
        "blockings": {" and ".join(columns): pairs[columns] for columns in sessions},
        "expected_matches": round(probability * total),
        "levels_from_prior": _from_prior(present, learned, sampled),
    }
    return Trained("trained", names, _rounded(weights), float(f"{probability:.6g}"), facts)


def _blockings(
    con: duckdb.DuckDBPyConnection, counts: Mapping[str, int]
) -> tuple[list[tuple[str, ...]], dict[tuple[str, ...], int]]:
    """Blockings that bring enough pairs, and how many."""
    pairs = {}
    for columns in BLOCKINGS:
        if any(counts.get(column, 0) < 2 for column in columns):
            continue
        filled = " AND ".join(f"{column} IS NOT NULL" for column in columns)
        row = con.execute(f"""
            SELECT coalesce(sum(n * (n - 1) / 2), 0)
            FROM (SELECT count(*) AS n FROM uncrowded WHERE {filled} GROUP BY {", ".join(columns)})""").fetchone()
        if row and row[0] >= ENOUGH_PAIRS:
            pairs[columns] = int(row[0])
    return list(pairs), pairs


def _sample_u(con: duckdb.DuckDBPyConnection, names: list[str], seed: int) -> Weighted:
    """What Splink finds by random sampling; a level that was never seen has u = 0."""
    weights = {key: found for key, found in PRIOR.items() if key[0] in names}
    with splinking.guarded("sampling pairs to train the link model"):
        made = splinking.linker(con, splink_settings(names, weights, 0.0001), "uncrowded")
        made.training.estimate_u_using_random_sampling(max_pairs=SAMPLED_PAIRS * 1.0001, seed=seed)
    found: Weighted = {}
    for comparison in made._settings_obj.comparisons:
        for level in comparison._comparison_levels_excluding_null:
            seen = level._trained_u_median
            found[comparison.output_column_name, level.label_for_charts] = Weights(0.0, float(seen or 0.0))
    return found


def _maximise(
    con: duckdb.DuckDBPyConnection,
    names: list[str],
    weights: Weighted,
    probability: float,
    usable: list[tuple[str, ...]],
    pairs: Mapping[tuple[str, ...], int],
    counts: Mapping[str, int],
    records: int,
) -> tuple[dict[tuple[str, str], list[float]], list[float], list[tuple[str, ...]]]:
    """m of every level as each blocking saw it, and each blocking's estimate of how often two records match."""
    learned: dict[tuple[str, str], list[float]] = {}
    shares: dict[tuple[str, ...], float] = {}
    with splinking.guarded("training the link model"):
        made = splinking.linker(con, splink_settings(names, weights, probability), "uncrowded")
        for columns in usable:
            open_to = _learns(names, columns)
            if not open_to or (columns not in BLOCKINGS[:FIRST] and open_to <= {name for name, _ in learned}):
                continue
            rule = " AND ".join(f"l.{column} = r.{column}" for column in columns)
            session = made.training.estimate_parameters_using_expectation_maximisation(
                rule,
                estimate_without_term_frequencies=True,
                max_pairs=TRAINING_PAIRS if pairs[columns] > TRAINING_PAIRS else None,
            )
            share = float(session.core_model_settings.probability_two_random_records_match)
            if not math.isfinite(share) or share * pairs[columns] < ENOUGH_MATCHES:
                continue
            shares[columns] = share
            for comparison in session.core_model_settings.comparisons:
                for level in comparison._comparison_levels_excluding_null:
                    seen = level._m_probability
                    if isinstance(seen, float | int) and math.isfinite(seen):
                        key = comparison.output_column_name, level.label_for_charts
                        learned.setdefault(key, []).append(float(seen))
    # A blocking holds those matches whose records agree on its columns; m of the other blockings says how many do.
    estimates = []
    for columns, share in shares.items():
        agree = 1.0
        for comparison in COMPARISONS:
            held = [column for column in columns if column in comparison.columns]
            exact = comparison.evidence[0].label
            if held and comparison.name in names:
                seen = learned.get((comparison.name, exact))
                agree *= median(seen) if seen else PRIOR[comparison.name, exact].m
        for column in columns:
            agree *= (counts[column] / records) ** 2
        if agree > 0:
            estimates.append(share * pairs[columns] / agree / (records * (records - 1) / 2))
    return learned, estimates, list(shares)


def _learns(names: list[str], columns: tuple[str, ...]) -> set[str]:
    """Comparisons that a blocking on these columns can train."""
    return {
        comparison.name
        for comparison in COMPARISONS
        if comparison.name in names
        and not any(column in level.sql for column in columns for level in comparison.levels)
    }


def _with_m(
    weights: Weighted, present: list[Comparison], learned: dict[tuple[str, str], list[float]], matches: float
) -> Weighted:
    """Medians over the blockings, made to add up to one; a level that was not seen keeps a small share."""
    result = dict(weights)
    for comparison in present:
        keys = [(comparison.name, level.label) for level in comparison.evidence]
        if not any(key in learned for key in keys):
            continue
        raw = {key: (median(learned[key]) if key in learned else 0.0) * matches + PRIOR[key].m * PSEUDO for key in keys}
        total = sum(raw.values())
        for key in keys:
            result[key] = Weights(raw[key] / total, result[key].u)
    return result


def _with_u(
    weights: Weighted, present: list[Comparison], sampled: Weighted, trained: Weighted, probability: float
) -> Weighted:
    """u as sampled, less the share of pairs of one person that a random sample holds too.

    In a few thousand records those are most of the random pairs with an equal birth date.
    """
    result = dict(weights)
    for comparison in present:
        raw = {}
        for level in comparison.evidence:
            key = comparison.name, level.label
            chance = PRIOR[key].u
            if level.known_u or sampled[key].u <= 0:
                raw[key] = min(chance, 1 / SAMPLED_PAIRS) if not level.known_u else chance
                continue
            own = trained[key].m * probability if trained else 0.0
            # Never below a tenth of what is usual: the difference of two small estimates is mostly noise.
            raw[key] = max((sampled[key].u - own) / (1 - probability), min(sampled[key].u, chance / 10))
        total = sum(raw.values())
        for key, value in raw.items():
            result[key] = Weights(result[key].m, max(value / total, SMALLEST))
    return result


def _refuse_untrained(
    present: list[Comparison],
    weights: Weighted,
    learned: dict[tuple[str, str], list[float]],
    sampled: Weighted,
) -> None:
    do = "Add a field that training can block on, or name a trained model under link.model."
    for comparison in present:
        first = comparison.evidence[0]
        key = comparison.name, first.label
        if not any((comparison.name, level.label) in learned for level in comparison.evidence):
            raise TrainingError(
                f"The link model could not be trained: comparison {comparison.name}, level {first.label}, "
                "was open in no training blocking.",
                do=do,
            )
        if weights[key].m <= weights[key].u:
            raise TrainingError(
                f"The link model could not be trained: comparison {comparison.name}, level {first.label}, came out as "
                "evidence against a match.",
                do=f"Look at the field with resolver check, or leave it out; or {do[0].lower()}{do[1:]}",
            )


def _from_prior(
    present: list[Comparison], learned: dict[tuple[str, str], list[float]], sampled: Weighted
) -> list[dict[str, str]]:
    """Levels whose m or u is the documented one, and why."""
    found = []
    for comparison in present:
        for level in comparison.evidence:
            key = comparison.name, level.label
            if key not in learned:
                found.append(_note(comparison, level, "m", "not seen in any training pair"))
            if level.known_u:
                found.append(_note(comparison, level, "u", "chance agreement is too rare to sample"))
            elif sampled[key].u <= 0:
                found.append(_note(comparison, level, "u", "not seen in any random pair"))
    return found


def _note(comparison: Comparison, level: Level, what: str, why: str) -> dict[str, str]:
    return {"comparison": comparison.name, "level": level.label, "parameter": what, "why": why}


def _rounded(weights: Weighted) -> Weighted:
    # Sums over threads differ in their last digits from run to run; the model must not.
    return {key: Weights(float(f"{found.m:.5g}"), float(f"{found.u:.5g}")) for key, found in weights.items()}
