"""The kinds of error that a registration desk makes, each a small unit registered by name.

A kind says what would stand in a record instead of what does. It neither decides whether it is its turn (choose.py) nor
writes anything down (corrupt.py compares before and after, so that what is reported is what changed).

Further kinds come from other packages: an entry point in the group `augmentation.kinds` names a Kind.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from augmentation.streams import Stream
from resolver import plugins
from resolver.errors import UsageError

if TYPE_CHECKING:
    from augmentation.errors.record import Record

NAMES = ("FIRST", "MIDDLE", "LAST", "MAIDEN")
# Columns of patients that kinds may change; the rest (expenses, coordinates, race) pass as they are.
FIELDS = (*NAMES, "SUFFIX", "BIRTHDATE", "GENDER", "SSN", "ADDRESS", "CITY", "ZIP", "PHONE", "EMAIL", "MEMBER_ID")

# What would stand there: one value for the field asked about, values of several fields, or None where the error can't
# be made on this record.
Change = str | Mapping[str, str | None] | None


@dataclass(frozen=True)
class Kind:
    name: str
    fields: tuple[str, ...]
    """Columns that it can be drawn for."""
    change: Callable[[Record, str, Stream], Change]
    """What would stand in the record; must draw from the stream alone."""


_kinds: dict[str, Kind] = {}


def register(name: str, *fields: str) -> Callable[[Callable[[Record, str, Stream], Change]], Kind]:
    """Make a Kind of a function of a record."""

    def make(change: Callable[[Record, str, Stream], Change]) -> Kind:
        if name in _kinds:
            raise ValueError(f"two kinds of error are called {name}")
        _kinds[name] = Kind(name, fields, change)
        return _kinds[name]

    return make


def register_value(name: str, *fields: str) -> Callable[[Callable[[str, Stream], str | None]], Kind]:
    """Make a Kind of a function of the one value that it changes; it is not asked where there is no value."""

    def make(change: Callable[[str, Stream], str | None]) -> Kind:
        def of_record(record: Record, field: str, stream: Stream) -> Change:
            value = record[field]
            return change(value, stream) if value else None

        return register(name, *fields)(of_record)

    return make


@functools.cache
def kinds() -> Mapping[str, Kind]:
    """All kinds by name: this package's and those of other packages."""
    from augmentation.errors import (  # noqa: F401  (importing them registers their kinds)
        addresses,
        contacts,
        dates,
        formats,
        identifiers,
        missing,
        names,
        spelling,
    )

    found = dict(_kinds)
    for entry in plugins.named("augmentation.kinds").values():
        kind = plugins.load(entry)
        if not isinstance(kind, Kind):
            raise UsageError(f"{entry.value} (entry point {entry.name}) is not an augmentation.errors.Kind.")
        if found.get(kind.name, kind) is not kind:
            raise UsageError(f"{entry.value} registers the kind {kind.name}, which there is already.")
        found[kind.name] = kind
    return found
