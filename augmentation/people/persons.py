"""Makes households of persons, block by block; a block depends on the seed and its number alone.

Who lives together shares an address, mostly a family name, and at times more: twins share a birthday, some sons have
their father's name. Knows nothing of facilities, records or errors.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from augmentation.people.names import Names, given, streets, surnames, towns
from augmentation.streams import Floats, Words, key, keys_of_numbers, mix, uniform

HOUSEHOLDS = 40_000
"""Households in a block."""

_SIZES = np.cumsum([0.28, 0.35, 0.15, 0.13, 0.06, 0.03])  # of 1, 2, ... 6 persons
_TODAY = np.datetime64("2026-01-01")
_YEAR = 365.2425
_MOST = 8  # persons in a household that numbers leave room for
# Numbers that begin with 9 were never given out as social security numbers.
_AREAS, _GROUPS, _SERIALS = 99, 99, 9999
_SPREAD = 61_803_399  # shares no factor with the count of numbers, so that no two persons get the same

Column = list[str | None]
Bools = npt.NDArray[np.bool_]
Whole = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Block:
    """Households of one block, spread out to persons."""

    keys: Words  # of the persons
    household: Words  # the keys of their households
    member: Whole  # 0 for the head, then 1, 2, ...
    size: Whole  # of the household
    number: Whole  # of the person, over all blocks

    def __len__(self) -> int:
        return len(self.keys)

    def draw(self, what: str) -> Floats:
        return uniform(self.keys, key("person", what))

    def common(self, what: str) -> Floats:
        """A draw that all of a household have in common."""
        return uniform(self.household, key("household", what))

    @property
    def head(self) -> Whole:
        """For each person the position of the household's head."""
        return np.arange(len(self)) - self.member

    @property
    def relatives(self) -> Whole:
        """For each person the position of another in the household, mostly the head; -1 for those who live alone."""
        other = np.where(self.member > 0, self.head, np.arange(len(self)) + 1)
        return np.where(self.size > 1, other, -1)


def block(number: int, seed: int) -> Block:
    households = np.arange(number * HOUSEHOLDS, (number + 1) * HOUSEHOLDS)
    keys = keys_of_numbers(households, seed)
    sizes = np.searchsorted(_SIZES, uniform(keys, key("household size"))).clip(0, len(_SIZES) - 1) + 1
    household = np.repeat(keys, sizes)
    member = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return Block(
        keys=mix(household, key("member"), member.astype(np.uint64)),
        household=household,
        member=member,
        size=np.repeat(sizes, sizes),
        number=np.repeat(households, sizes) * _MOST + member,
    )


def persons(people: Block, seed: int) -> dict[str, Column]:
    """The persons in the columns of Synthea's patients that say who somebody is."""
    adult = people.member < 2
    female = _female(people)
    lone = (people.member == 1) & (people.common("not a couple") < 0.15)  # a flatmate or relative of another name
    keeps = (people.member == 1) & (people.common("kept name") < 0.15)
    own, family = surnames().draw(people.draw("family name")), surnames().draw(people.common("family name"))
    married = (people.member == 1) & ~lone & ~keeps
    first, suffix = _first(people, female)
    middle = np.where(female, given("F").draw(people.draw("middle")), given("M").draw(people.draw("middle")))
    place = towns()[0].at(people.common("town"))
    return {
        "BIRTHDATE": _births(people, adult).astype(str).tolist(),
        "SSN": _numbers(people, seed),
        "FIRST": first.tolist(),
        "MIDDLE": _where(people.draw("has middle") < 0.8, middle).tolist(),
        "LAST": np.where(lone | keeps, own, family).tolist(),
        "SUFFIX": suffix.tolist(),
        "MAIDEN": _where(married & female, own).tolist(),
        "GENDER": np.where(female, "F", "M").tolist(),
        "ADDRESS": _addresses(people),
        "CITY": towns()[0].values[place].tolist(),
        "STATE": towns()[1][place].tolist(),
        "ZIP": towns()[2][place].tolist(),
    }


def _where(condition: Bools, values: Names) -> Names:
    """The values where the condition holds, else None."""
    found = np.full(len(values), None, dtype=object)
    found[condition] = values[condition]
    return found


def _female(people: Block) -> Bools:
    """Sex: as it falls, but of a couple one is mostly of the other sex."""
    drawn = people.draw("sex") < 0.51
    couple = (people.member == 1) & (people.draw("couple of one sex") > 0.03)
    return np.where(couple, ~drawn[people.head], drawn)


def _births(people: Block, adult: Bools) -> npt.NDArray[np.datetime64]:
    """Adults from 20 to 95, thinning out after 70; of a couple within some years; children 19 to 40 years younger."""
    spread = people.common("age")
    head = np.where(spread < 0.8, 20 + spread / 0.8 * 50, 70 + (1 - np.sqrt(np.maximum(0, (1 - spread) / 0.2))) * 25)
    partner = np.maximum(19.0, head + (people.draw("age apart") + people.draw("age apart again") - 1) * 10)
    child = np.abs(head - 19 - people.draw("parent age") * 21)
    child = np.minimum(child, head - 17)
    age = np.where(people.member == 0, head, np.where(adult, partner, child))
    born = _TODAY - np.maximum(1, np.round(age * _YEAR + people.draw("birthday") * 300)).astype(np.int64)
    twin = (people.member > 2) & (people.draw("twin") < 0.03)
    return np.where(twin, np.roll(born, 1), born)


def _first(people: Block, female: Bools) -> tuple[Names, Names]:
    names: Names = np.where(female, given("F").draw(people.draw("given")), given("M").draw(people.draw("given")))
    named = (people.member > 1) & ~female & ~female[people.head] & (people.draw("named after father") < 0.03)
    junior = named & (people.draw("junior") < 0.6)
    return np.where(named, names[people.head], names), _where(junior, np.full(len(people), "JR", dtype=object))


def _numbers(people: Block, seed: int) -> Column:
    """Social security numbers, each once."""
    total = _AREAS * _GROUPS * _SERIALS
    spread = (people.number * _SPREAD + key("ssn", seed) % total) % total
    area, rest = np.divmod(spread, _GROUPS * _SERIALS)
    group, serial = np.divmod(rest, _SERIALS)
    return [
        f"{one + 900}-{two + 1:02d}-{three + 1:04d}"
        for one, two, three in zip(area.tolist(), group.tolist(), serial.tolist(), strict=True)
    ]


def _addresses(people: Block) -> Column:
    numbers = (1 + np.exp(people.common("house") * np.log(2500))).astype(np.int64)
    units = np.where(people.common("has unit") < 0.27, 1 + (people.common("unit") * 60).astype(np.int64), 0)
    return [
        f"{number} {street} Apt {unit}" if unit else f"{number} {street}"
        for number, street, unit in zip(
            numbers.tolist(), streets().draw(people.common("street")).tolist(), units.tolist(), strict=True
        )
    ]
