"""What a kind of error may look at: the record as it stands, and the people and places around the person.

A Record is a window on one row of columns, moved from row to row. Knows nothing of kinds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from augmentation.streams import Stream

PLACE = ("ADDRESS", "CITY", "ZIP")


@dataclass
class World:
    """The population around a record, for errors that borrow from it."""

    places: Sequence[tuple[str, str, str]] = ()
    """Real addresses: street line, town, ZIP."""

    towns_of: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Towns by the first three digits of their ZIP."""

    family_names: Sequence[str] = ()
    """Family names, as often as they occur."""

    middle_names: Sequence[str] = ()
    """Middle names, as often as they occur."""

    relatives: Sequence[int] = ()
    """For each person (by position), the position of one who lives in the same household; -1 where there is none."""

    persons: Mapping[str, Sequence[str | None]] = field(default_factory=dict)
    """The clean persons' columns, for what is borrowed from a relative."""

    truncate_at: int = 10
    """Characters that a name field of an old system holds."""


class Record:
    """One row. `record[field]` is its value now; None where it is missing or the table has no such column."""

    __slots__ = ("_columns", "_person_of", "row", "world")

    def __init__(self, columns: Mapping[str, Sequence[str | None]], person_of: Sequence[int], world: World) -> None:
        self._columns = columns
        self._person_of = person_of
        self.world = world
        self.row = 0

    def __getitem__(self, field: str) -> str | None:
        column = self._columns.get(field)
        return None if column is None else column[self.row]

    def relative(self, field: str) -> str | None:
        """What a person of the same household has in a field."""
        relatives = self.world.relatives
        person = self._person_of[self.row]
        if not relatives or relatives[person] < 0:
            return None
        return self.world.persons[field][relatives[person]]

    def other_place(self, stream: Stream) -> tuple[str, str, str] | None:
        """Another real address of the population."""
        for _ in range(4):
            if not self.world.places:
                return None
            place = stream.pick(self.world.places)
            if place[0].upper() != (self["ADDRESS"] or "").upper():
                return place
        return None
