"""What Splink compares: one comparison per kind of evidence, each with levels from "the same" to "something else".

Every level brings a documented prior for m (how often pairs of one person fall into it) and u (how often two strangers
do). They start the training, and stand in where there is too little data to train on. Knows nothing of training,
blocking or files. The columns named here are those of resolver/link/fields.py.
"""

from __future__ import annotations

import string
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import duckdb


@dataclass(frozen=True)
class Level:
    label: str
    sql: str
    m: float = 0.0
    u: float = 0.0
    frequency: str | None = None  # column whose value's frequency replaces u
    null: bool = False  # no evidence either way
    known_u: bool = False  # chance agreement is too rare to be sampled: the prior of u stays


@dataclass(frozen=True)
class Comparison:
    name: str
    columns: tuple[str, ...]  # it takes part if any of these is filled
    levels: tuple[Level, ...]

    @property
    def evidence(self) -> tuple[Level, ...]:
        return tuple(level for level in self.levels if not level.null)


@dataclass(frozen=True)
class Weights:
    m: float
    u: float


def _both(column: str) -> str:
    return f"{column}_l IS NULL OR {column}_r IS NULL"


def _same(column: str) -> str:
    return f"{column}_l = {column}_r"


def _edits(column: str, most: int) -> str:
    return f"edits_{most}({column}_l, {column}_r, {column}_signs_l, {column}_signs_r)"


EDITED = (
    *("first_name", "middle_name", "last_name", "birth_digits"),
    *("ssn", "city", "zip", "phone", "email", "member_id"),
)


def signs(column: str) -> str:
    """SQL for the characters that a value is made of, as bits: which letters, and each digit up to three times.

    An edit changes two of these bits at most, so two values whose bits differ more are not worth an edit distance.
    """
    patterns = [f"%{letter}%" for letter in string.ascii_uppercase]
    patterns += [f"%{f'{digit}%' * times}" for digit in string.digits for times in (1, 2, 3)]
    bits = " + ".join(f"(value LIKE '{pattern}')::BIGINT * {1 << at}" for at, pattern in enumerate(patterns))
    return f"{bits.replace('value', f'upper({column})')}"


def create_macros(con: duckdb.DuckDBPyConnection) -> None:
    """Functions that the levels use: at most one, two, three edits, a swap of neighbours being one.

    Edit distances are nearly all that a score costs, so they are asked only of values with much the same characters.
    Damerau-Levenshtein costs ten times what Levenshtein does, and is never more than it: it is asked only where a swap
    could make the difference, and not at three edits, where it hardly ever does.
    """
    for most in (1, 2, 3):
        swaps = f"OR (levenshtein(a, b) = {most + 1} AND damerau_levenshtein(a, b) = {most})" if most < 3 else ""
        con.execute(f"""
            CREATE OR REPLACE MACRO edits_{most}(a, b, signs_a, signs_b) AS
            bit_count(xor(signs_a, signs_b)) <= {2 * most} AND (levenshtein(a, b) <= {most} {swaps})""")


def _starts(column: str) -> str:
    return f"substr({column}_l, 1, 1) = substr({column}_r, 1, 1)"


_SWAPPED = "first_name_l = last_name_r AND last_name_l = first_name_r AND first_name_l <> last_name_l"

COMPARISONS: tuple[Comparison, ...] = (
    Comparison(
        "first_name",
        ("first_name",),
        (
            Level("missing", _both("first_name"), null=True),
            Level("same", _same("first_name"), 0.72, 0.004, frequency="first_name"),
            Level("first and last name swapped", _SWAPPED, 0.005, 0.00001, known_u=True),
            Level("one edit", _edits("first_name", 1), 0.10, 0.004),
            Level("two edits", _edits("first_name", 2), 0.05, 0.012),
            Level("three edits", _edits("first_name", 3), 0.03, 0.05),
            Level("same initial", _starts("first_name"), 0.045, 0.05),
            Level("other", "ELSE", 0.05, 0.88),
        ),
    ),
    Comparison(
        "middle_name",
        ("middle_name",),
        (
            Level("missing", _both("middle_name"), null=True),
            Level("same", _same("middle_name"), 0.6, 0.01, frequency="middle_name"),
            Level("one edit", _edits("middle_name", 1), 0.06, 0.01),
            Level("same initial", _starts("middle_name"), 0.24, 0.07),
            Level("other", "ELSE", 0.1, 0.91),
        ),
    ),
    Comparison(
        "last_name",
        ("last_name",),
        (
            # A swap is counted once, with the first name.
            Level("missing or swapped", f"{_both('last_name')} OR ({_SWAPPED})", null=True),
            Level("same", _same("last_name"), 0.73, 0.003, frequency="last_name"),
            Level(
                "family name is maiden name",
                "last_name_l = maiden_name_r OR maiden_name_l = last_name_r OR maiden_name_l = maiden_name_r",
                0.04,
                0.001,
            ),
            Level("one edit", _edits("last_name", 1), 0.09, 0.002),
            Level("two edits", _edits("last_name", 2), 0.04, 0.005),
            Level("three edits", _edits("last_name", 3), 0.02, 0.02),
            Level("same initial", _starts("last_name"), 0.03, 0.06),
            Level("other", "ELSE", 0.05, 0.909),
        ),
    ),
    Comparison(
        "birth_date",
        ("birth_digits",),
        (
            Level("missing", _both("birth_digits"), null=True),
            Level("same", _same("birth_digits"), 0.8, 0.00005, frequency="birth_digits"),
            Level("day and month swapped", "birth_digits_l = birth_swapped_r", 0.02, 0.00005),
            Level("one edit", _edits("birth_digits", 1), 0.07, 0.002),
            Level("within 62 days", "abs(birth_date_l - birth_date_r) <= 62", 0.04, 0.004),
            Level("same month and day", "substr(birth_digits_l, 5) = substr(birth_digits_r, 5)", 0.03, 0.0025),
            Level("within two years", "abs(birth_date_l - birth_date_r) <= 731", 0.02, 0.045),
            Level("other", "ELSE", 0.02, 0.9464),
        ),
    ),
    Comparison(
        "sex",
        ("sex",),
        (
            Level("missing", _both("sex"), null=True),
            Level("same", _same("sex"), 0.985, 0.5),
            Level("other", "ELSE", 0.015, 0.5),
        ),
    ),
    Comparison(
        "ssn",
        ("ssn", "ssn_last4"),
        (
            Level("missing", _both("ssn_last4"), null=True),
            Level("same", _same("ssn"), 0.8, 0.000001, frequency="ssn", known_u=True),
            Level("one edit", _edits("ssn", 1), 0.06, 0.00001, known_u=True),
            Level("same last four", _same("ssn_last4"), 0.03, 0.0001),
            Level("two edits", _edits("ssn", 2), 0.03, 0.0001),
            Level("three edits", _edits("ssn", 3), 0.02, 0.001),
            Level("other", "ELSE", 0.06, 0.998789),
        ),
    ),
    Comparison(
        "address",
        ("street",),
        (
            Level("missing", _both("street"), null=True),
            Level("same", _same("street"), 0.6, 0.0001, frequency="street"),
            Level("near", "jaro_winkler_similarity(street_l, street_r) >= 0.93", 0.12, 0.0003),
            Level("same number", _same("street_number"), 0.05, 0.003),
            Level("similar", "jaro_winkler_similarity(street_l, street_r) >= 0.8", 0.03, 0.02),
            Level("other", "ELSE", 0.2, 0.9766),
        ),
    ),
    Comparison(
        "place",
        ("city", "zip"),
        (
            Level("missing", f"({_both('zip')}) AND ({_both('city')})", null=True),
            Level("same ZIP and town", f"{_same('zip')} AND {_same('city')}", 0.5, 0.004, frequency="zip"),
            Level("same ZIP", _same("zip"), 0.2, 0.004, frequency="zip"),
            Level("same town", _same("city"), 0.08, 0.012, frequency="city"),
            Level("ZIP or town one edit off", f"{_edits('zip', 1)} OR {_edits('city', 1)}", 0.05, 0.02),
            Level("same ZIP area", "substr(zip_l, 1, 3) = substr(zip_r, 1, 3)", 0.05, 0.06),
            Level("other", "ELSE", 0.12, 0.9),
        ),
    ),
    Comparison(
        "phone",
        ("phone",),
        (
            Level("missing", _both("phone"), null=True),
            Level("same", _same("phone"), 0.6, 0.00001, frequency="phone", known_u=True),
            Level("one edit", _edits("phone", 1), 0.05, 0.00001, known_u=True),
            Level("two edits", _edits("phone", 2), 0.02, 0.0001),
            Level("other", "ELSE", 0.33, 0.99988),
        ),
    ),
    Comparison(
        "email",
        ("email",),
        (
            Level("missing", _both("email"), null=True),
            Level("same", _same("email"), 0.6, 0.000002, frequency="email", known_u=True),
            Level("one edit", _edits("email", 1), 0.05, 0.00001, known_u=True),
            Level("same before the @", "split_part(email_l, '@', 1) = split_part(email_r, '@', 1)", 0.05, 0.0001),
            Level("other", "ELSE", 0.3, 0.999888),
        ),
    ),
    Comparison(
        "member_id",
        ("member_id",),
        (
            Level("missing", _both("member_id"), null=True),
            Level("same", _same("member_id"), 0.6, 0.000002, frequency="member_id", known_u=True),
            Level("one edit", _edits("member_id", 1), 0.05, 0.00001, known_u=True),
            Level("other", "ELSE", 0.35, 0.999988),
        ),
    ),
)

PRIOR: Mapping[tuple[str, str], Weights] = {
    (comparison.name, level.label): Weights(level.m, level.u)
    for comparison in COMPARISONS
    for level in comparison.evidence
}


def splink_settings(
    names: Iterable[str], weights: Mapping[tuple[str, str], Weights], probability: float
) -> dict[str, Any]:
    """Settings as Splink reads them, for these comparisons with these m and u."""
    wanted = set(names)
    return {
        "link_type": "dedupe_only",
        "sql_dialect": "duckdb",
        "unique_id_column_name": "rid",
        "probability_two_random_records_match": probability,
        "retain_matching_columns": False,
        "retain_intermediate_calculation_columns": False,
        "blocking_rules_to_generate_predictions": [],
        "em_convergence": 0.0005,
        "max_iterations": 40,
        "comparisons": [
            {
                "output_column_name": comparison.name,
                "comparison_levels": [_level(comparison.name, level, weights) for level in comparison.levels],
            }
            for comparison in COMPARISONS
            if comparison.name in wanted
        ],
    }


def _level(comparison: str, level: Level, weights: Mapping[tuple[str, str], Weights]) -> dict[str, Any]:
    content: dict[str, Any] = {"sql_condition": level.sql, "label_for_charts": level.label}
    if level.null:
        return content | {"is_null_level": True}
    found = weights[comparison, level.label]
    content |= {"m_probability": found.m, "u_probability": found.u, "fix_u_probability": level.known_u}
    if level.frequency:
        content |= {
            "tf_adjustment_column": level.frequency,
            "tf_adjustment_weight": 1.0,
            # The frequency stands for the u of this level itself, which for "same ZIP and town" is not that of the ZIP.
            "disable_tf_exact_match_detection": True,
        }
    return content
