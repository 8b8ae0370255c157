"""Makes errors on records held as columns, and writes down each change: row, step, field, kind, before, after.

What is written down is the difference that a kind made, found by comparing; a kind can neither hide a change nor claim
one. Knows nothing of files or of how the records came to be.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from augmentation.errors import FIELDS, NAMES
from augmentation.errors.choose import Rows, Target, counts, draw, plan, target
from augmentation.errors.record import Record, World
from augmentation.errors.spelling import like
from augmentation.settings import AugmentSettings
from augmentation.streams import Floats, Stream, Words, key, mix, uniform

Column = list[str | None]
Columns = dict[str, Column]

_STYLED = (*NAMES, "ADDRESS", "CITY")
_EXTRA_ATTEMPTS = 60  # for a record on which little can go wrong, before the rest of its errors is let go
_CONTACT = (
    ("PHONE", "phone_changed", "changed_phone"),
    ("EMAIL", "email_changed", "changed_email"),
    ("MEMBER_ID", "member_changed", "changed_member_id"),
)


@dataclasses.dataclass
class Changes:
    """All changes made, in the order in which they were made to each record."""

    row: list[int] = dataclasses.field(default_factory=list)
    step: list[int] = dataclasses.field(default_factory=list)
    field: list[str] = dataclasses.field(default_factory=list)
    kind: list[str] = dataclasses.field(default_factory=list)
    before: list[str | None] = dataclasses.field(default_factory=list)
    after: list[str | None] = dataclasses.field(default_factory=list)

    def __len__(self) -> int:
        return len(self.row)

    def add(self, rows: list[int], step: int, one: Target, before: list[str | None]) -> None:
        """Values that are gone."""
        self.row += rows
        self.step += [step] * len(rows)
        self.field += [one.field] * len(rows)
        self.kind += [one.kind.name] * len(rows)
        self.before += before
        self.after += [None] * len(rows)


def styled(columns: Columns, facility: npt.NDArray[np.int64], settings: AugmentSettings) -> Columns:
    """The columns that errors may touch, in the facilities' house styles; the lists are new."""
    own = {name: list(columns[name]) for name in FIELDS if name in columns}
    for number in np.unique(facility):
        case = settings.facility(int(number)).case
        if case == "as_is":
            continue
        write: Callable[[str], str] = str.upper if case == "upper" else (lambda value: like("Aa", value))
        rows = np.flatnonzero(facility == number).tolist()
        for name in _STYLED:
            values = own.get(name)
            if values is None:
                continue
            for row in rows:
                value = values[row]
                if value is not None:
                    values[row] = write(value)
    return own


def corrupt(
    columns: Columns,
    keys: Words,
    facility: npt.NDArray[np.int64],
    person_of: Sequence[int],
    world: World,
    settings: AugmentSettings,
) -> Changes:
    """Change `columns` (see `styled`) in place and return what changed.

    `keys` are the records' own (streams.keys_of), `person_of` their persons' positions in `world`.
    """
    errors = settings.errors
    worker = _Worker(columns, keys, person_of, world)
    of_errors, of_missing = _factors(facility, settings)
    for name, share in errors.missing.items():
        worker.blank(target("missing", name), share * of_missing, 0)
    for name, share in errors.defaults.items():
        worker.strike(target("default", name), share * of_missing, 1)
    for name, kind, setting in _CONTACT if settings.contact.enabled else ():
        worker.strike(target(kind, name), np.full(len(keys), getattr(settings.contact, setting)), 2)

    families = plan(errors, columns.keys())
    left = counts(errors.counts, keys, of_errors)
    if not families or not len(left):
        return worker.changes
    skip = errors.not_applicable == "skip"
    attempts = int(left.max()) + (0 if skip else _EXTRA_ATTEMPTS)
    active = np.flatnonzero(left > 0)
    for attempt in range(attempts):
        if not len(active):
            break
        if skip:
            left[active] -= 1
        for one, rows in draw(families, keys, active, attempt):
            made = worker.apply(one, rows if errors.repeats else worker.spared(one, rows), attempt + 3)
            if not skip:
                left[made] -= 1
        active = active[left[active] > 0]
    return worker.changes


def _factors(facility: npt.NDArray[np.int64], settings: AugmentSettings) -> tuple[Floats, Floats]:
    of_errors: Floats = np.ones(len(facility))
    of_missing: Floats = np.ones(len(facility))
    for number in np.unique(facility).tolist():
        of_errors[facility == number] = settings.facility(number).errors
        of_missing[facility == number] = settings.facility(number).missing
    return of_errors, of_missing


class _Worker:
    def __init__(self, columns: Columns, keys: Words, person_of: Sequence[int], world: World) -> None:
        self.columns, self.keys = columns, keys
        self.clean = {name: list(values) for name, values in columns.items()}
        self.record = Record(columns, person_of, world)
        self.changes = Changes()
        self.struck: dict[int, npt.NDArray[np.bool_]] = {}

    def strike(self, one: Target, share: Floats, step: int) -> None:
        """Make one error on the given share of all records."""
        if one.field in self.columns:
            self.apply(one, self._share(one, share), step)

    def blank(self, one: Target, share: Floats, step: int) -> None:
        """Take the field's value from the given share of all records: `strike` for the commonest of all errors."""
        column = self.columns.get(one.field)
        if column is None:
            return
        rows = [row for row in self._share(one, share).tolist() if column[row] is not None]
        self.changes.add(rows, step, one, [column[row] for row in rows])
        for row in rows:
            column[row] = None

    def _share(self, one: Target, share: Floats) -> Rows:
        return np.flatnonzero(uniform(self.keys, one.key, key("share")) < share)

    def spared(self, one: Target, rows: Rows) -> Rows:
        """The rows on which this error was not made before."""
        return rows[~self.struck[one.key][rows]] if one.key in self.struck else rows

    def apply(self, one: Target, rows: Rows, step: int) -> Rows:
        """Make an error on rows where it can be made; the rows on which it was."""
        made = np.zeros(len(rows), dtype=bool)
        states = mix(self.keys[rows], one.key, key("change"), step).tolist()
        record, change, field = self.record, one.kind.change, one.field
        for place, row in enumerate(rows.tolist()):
            record.row = row
            found = change(record, field, Stream(states[place]))
            if found is None:
                continue
            if isinstance(found, str):
                made[place] = self._put(row, step, one, ((field, found),))
            else:
                made[place] = self._put(row, step, one, tuple(found.items()))
        if one.key not in self.struck:
            self.struck[one.key] = np.zeros(len(self.keys), dtype=bool)
        self.struck[one.key][rows[made]] = True
        return rows[made]

    def _put(self, row: int, step: int, one: Target, found: tuple[tuple[str, str | None], ...]) -> bool:
        """Put new values in place and note them. An error that would undo an earlier one is not made."""
        changed = []
        for name, value in found:
            column = self.columns.get(name)
            if column is None:
                return False
            new = value or None
            if new != column[row]:
                if new == self.clean[name][row]:
                    return False
                changed.append((name, column, new))
        changes = self.changes
        for name, column, new in changed:
            changes.row.append(row)
            changes.step.append(step)
            changes.field.append(name)
            changes.kind.append(one.kind.name)
            changes.before.append(column[row])
            changes.after.append(new)
            column[row] = new
        return bool(changed)
