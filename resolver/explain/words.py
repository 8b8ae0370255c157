"""What features are about and how values are written, so that a person reads fields and not names of columns.

Knows nothing of pairs or runs.
"""

from __future__ import annotations

import math
from datetime import date
from typing import Any

from resolver.tables import PERSON_FIELDS

FIELDS = tuple(name for name, _, _ in PERSON_FIELDS)
MISSING = "—"

_NAMES = {
    "ssn": "SSN",
    "ssn_last4": "last four of the SSN",
    "zip": "ZIP",
    "street_number": "house number",
    "city": "town",
    "member_id": "insurance number",
    "email": "e-mail",
}
# Beginnings of feature names that are no field: what they are about, and the fields that they read.
_ABOUT: dict[str, tuple[str, tuple[str, ...]]] = {
    "family_name": ("last or maiden name", ("last_name", "maiden_name")),
    "swapped_name": ("first and last name swapped", ("first_name", "last_name")),
    "given_name": ("first or middle name", ("first_name", "middle_name")),
    "whole_name": ("whole name", ("first_name", "middle_name", "last_name")),
    "fields": ("how many fields agree", ()),
    "splink": ("Splink's score", ()),
    "told_birth": ("birth that the histories tell of", ()),
    "birth_told": ("birth that the histories tell of", ()),
    "before_birth": ("birth that the histories tell of", ()),
    "condition": ("conditions", ()),
    "medication": ("medications", ()),
    "allergy": ("allergies", ()),
    "procedure": ("procedures", ()),
    "immunization": ("immunizations", ()),
    "device": ("devices", ()),
    "codes": ("course of the illnesses", ()),
    "window": ("time of care", ()),
    "visits": ("time of care", ()),
    "measured": ("measurements", ()),
    # Splink's comparisons
    "address": ("street", ("street",)),
    "place": ("ZIP and town", ("zip", "city")),
}
_BEGINNINGS = sorted((*FIELDS, *_ABOUT), key=len, reverse=True)


def field_name(field: str) -> str:
    return _NAMES.get(field, field.replace("_", " "))


def about(feature: str) -> tuple[str, tuple[str, ...]] | None:
    """What a feature, or a comparison, is about, and which fields of a person it reads; None where it is unknown."""
    for beginning in _BEGINNINGS:
        if feature == beginning or feature.startswith(beginning + "_"):
            return _ABOUT.get(beginning) or (field_name(beginning), (beginning,))
    return None


def value(record: dict[str, Any], field: str) -> str:
    """A field of a record as it was compared, and as it came in where that could not be used."""
    found = record.get(field)
    if found is not None:
        return plain(found)
    raw = record.get(f"raw_{field}")
    return f"{MISSING} ({plain(raw)})" if raw not in (None, "") else MISSING


def values(record: dict[str, Any], fields: tuple[str, ...]) -> str:
    return ", ".join(value(record, field) for field in fields)


def plain(found: object) -> str:
    """A value on one line, without anything that a terminal would take for a command."""
    text = found.isoformat() if isinstance(found, date) else str(found)
    return "".join(character if character.isprintable() else " " for character in text)


def number(found: float) -> str:
    """A feature's value: whole where it is whole."""
    if math.isnan(found):
        return MISSING
    return f"{found:.0f}" if found == round(found) else f"{found:.2f}"


def signed(log_odds: float) -> str:
    return "0.00" if abs(log_odds) < 0.005 else f"{log_odds:+.2f}".replace("-", "−")


def percent(probability: float) -> str:
    """A probability that never claims certainty."""
    if probability > 0.9999:
        return "over 99.99 %"
    if probability < 0.0001:
        return "under 0.01 %"
    return f"{100 * probability:.2f} %"


def group_name(part: str) -> str:
    return {"clinical": "clinical history", "llm": "language model", "human": "a person"}.get(part, part)
