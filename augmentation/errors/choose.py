"""Which kind of error strikes which record: all records at once, each by its own draws.

A choice is a race: each candidate draws an exponential time at its own rate, and the first wins. So a candidate more
takes only the choices that it wins and leaves all others as they were. Knows nothing of what a kind does.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from augmentation.errors import FIELDS, Kind, kinds
from augmentation.settings import CountSettings, ErrorSettings
from augmentation.streams import Floats, Words, key, uniform
from resolver.errors import SettingsError, instead

Rows = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Target:
    """A kind on a field, with its weight in its family."""

    kind: Kind
    field: str
    weight: float
    key: int


@dataclass(frozen=True)
class Family:
    weight: float
    idle: float
    key: int
    targets: tuple[Target, ...]


def target(kind: str, field: str, weight: float = 1.0) -> Target:
    return Target(kinds()[kind], field, weight, key("kind", kind, field))


def plan(settings: ErrorSettings, columns: Collection[str]) -> tuple[Family, ...]:
    """The families with the targets that the table has columns for. Unknown kinds and fields are refused together."""
    known, faults, families = kinds(), [], []
    for name, family in settings.families.items():
        targets = []
        for kind, weight in family.kinds.items():
            place = f"errors.families.{name}.kinds.{kind}"
            if kind not in known:
                near = difflib.get_close_matches(kind, known, n=1)
                hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(sorted(known))}"
                faults.append(f"{place}: no such kind of error; {hint}")
                continue
            fields = weight if isinstance(weight, dict) else dict.fromkeys(known[kind].fields, weight)
            wrong = [field for field in fields if field not in known[kind].fields]
            faults += [f"{place}: it can't strike {field}; it can {', '.join(known[kind].fields)}" for field in wrong]
            targets += [
                target(kind, field, share)
                for field, share in fields.items()
                if field in columns and share > 0 and field not in wrong
            ]
        if targets and family.weight > 0:
            families.append(Family(family.weight, family.idle, key("family", name), tuple(targets)))
    if faults:
        raise SettingsError("The config", faults)
    return tuple(families)


def check(settings: ErrorSettings) -> None:
    """Refuse kinds and fields that there are none of, before any work."""
    plan(settings, FIELDS)
    unknown = sorted({*settings.missing, *settings.defaults} - set(FIELDS))
    if unknown:
        raise SettingsError(
            "The config", [f"errors: no errors are made on {name}; {instead(name, FIELDS)}" for name in unknown]
        )


def first(keys: Words, attempt: int, candidates: list[tuple[int, float]]) -> Rows:
    """For each key the position of the candidate (key, weight) that wins its race."""
    best: Rows = np.zeros(len(keys), dtype=np.intp)
    if len(candidates) == 1:
        return best
    soonest: Floats = np.full(len(keys), np.inf)
    for position, (name, weight) in enumerate(candidates):
        time = -np.log(uniform(keys, name, attempt)) / weight
        best = np.where(time < soonest, position, best)
        soonest = np.minimum(time, soonest)
    return best


def draw(families: tuple[Family, ...], keys: Words, rows: Rows, attempt: int) -> Iterator[tuple[Target, Rows]]:
    """The targets of one attempt with the rows that they strike, each row once at the most."""
    family_of = first(keys[rows], attempt, [(family.key, family.weight) for family in families])
    for position, family in enumerate(families):
        struck = rows[family_of == position]
        if family.idle:
            struck = struck[uniform(keys[struck], family.key, key("idle"), attempt) >= family.idle]
        if not len(struck):
            continue
        target_of = first(keys[struck], attempt, [(one.key, one.weight) for one in family.targets])
        for number, one in enumerate(family.targets):
            chosen = struck[target_of == number]
            if len(chosen):
                yield one, chosen


def counts(settings: tuple[CountSettings, ...], keys: Words, factor: Floats) -> npt.NDArray[np.int64]:
    """How many errors each record is to have, times its facility's factor."""
    which, within = uniform(keys, key("count group")), uniform(keys, key("count"))
    number: Floats = np.zeros(len(keys))
    low = 0.0
    for group in settings:
        here = (which >= low) & (which < low + group.share + 1e-12)
        number[here] = group.least + np.floor(within[here] * (group.most - group.least + 1))
        low += group.share
    scaled = number * factor
    whole = np.floor(scaled)
    return (whole + (uniform(keys, key("count part")) < scaled - whole)).astype(np.int64)
