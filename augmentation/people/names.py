"""Tables of names, towns and streets with the frequencies by which people have them.

What is realistic: the commonest family and given names of the United States, roughly in their order; a distribution
that falls off as family names do there (the first is borne by .8 % of people, the first thousand by 44 %, in 100,000
names); towns and ZIPs with the frequencies of synthetic populations of four states. What is not: names past the listed
ones are put together from syllables, so a rare name says nothing about its bearer's origin; given names do not change
with the decade of birth; streets are the same everywhere.

The lists were compiled by hand for this project from common knowledge, the towns counted in Synthea populations.
"""

from __future__ import annotations

import csv
import functools
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np
import numpy.typing as npt

from augmentation.errors.spelling import like
from augmentation.streams import Floats, Stream, key

Names = npt.NDArray[Any]  # of str

SURNAMES, GIVEN = 100_000, 4_000


@dataclass(frozen=True)
class Frequencies:
    """Values with the share of people who have each, to draw from by a number in (0, 1)."""

    values: Names
    upto: Floats  # running sum of the shares

    def at(self, draws: Floats) -> npt.NDArray[np.intp]:
        return np.minimum(np.searchsorted(self.upto, draws), len(self.values) - 1)

    def draw(self, draws: Floats) -> Names:
        found: Names = self.values[self.at(draws)]
        return found


def array(values: list[str]) -> Names:
    found: Names = np.empty(len(values), dtype=object)
    found[:] = values
    return found


def frequencies(values: list[str], weights: Floats) -> Frequencies:
    return Frequencies(array(values), np.cumsum(weights / weights.sum()))


def _zipf(count: int, shift: float, power: float) -> Floats:
    """Zipf's law with Mandelbrot's shift, which flattens the top."""
    return np.asarray((np.arange(1, count + 1) + shift) ** -power, dtype=np.float64)


def _text(file: str) -> str:
    return (files("augmentation.people") / file).read_text(encoding="utf-8")


def _listed(file: str) -> list[str]:
    return list(dict.fromkeys(_text(file).split()))


@functools.cache
def _words() -> dict[str, tuple[str, ...]]:
    """The building blocks of names and streets, by what they are."""
    found: dict[str, tuple[str, ...]] = {}
    for line in _text("words.txt").splitlines():
        what, *words = line.split()
        found[what] = (*found.get(what, ()), *words)
    return found


def _extended(names: list[str], count: int, what: str, end: str) -> list[str]:
    """The names and so many more, made up of syllables, each once."""
    words = _words()
    begins, vowels, middles, ends = words["begin"], words["vowel"], words["middle"], words[end]
    stream, found = Stream(key("names", what)), dict.fromkeys(names)
    while len(found) < count:
        parts = [stream.pick(begins), stream.pick(vowels), stream.pick(middles)]
        if stream.chance(0.25):
            parts += [stream.pick(vowels), stream.pick(middles)]
        found["".join([*parts, stream.pick(ends)])] = None
    return [like("Aa", name) for name in found]


@functools.cache
def surnames() -> Frequencies:
    return frequencies(_extended(_listed("surnames.txt"), SURNAMES, "family", "end"), _zipf(SURNAMES, 10.0, 0.95))


@functools.cache
def given(sex: str) -> Frequencies:
    sex = sex.lower()
    names = _extended(_listed(f"given_{sex}.txt"), GIVEN, f"given {sex}", f"end_{sex}")
    return frequencies(names, _zipf(GIVEN, 12.0, 1.25))


@functools.cache
def streets() -> Frequencies:
    """Street names without their number, named after trees, presidents and families."""
    common, families, ways = _words()["street"], _listed("surnames.txt"), _words()["way"]
    stream = Stream(key("streets"))
    names, weights = [], []
    for name, weight in [*((name, 6.0) for name in common), *((name, 0.3) for name in families)]:
        for way in dict.fromkeys(ways):
            names.append(like("Aa", f"{name} {way}"))
            weights.append(weight * ways.count(way) * (0.2 + stream.below(1000) / 1000))
    return frequencies(names, np.array(weights))


@functools.cache
def towns() -> tuple[Frequencies, Names, Names]:
    """Towns, and in the same order their states and ZIPs."""
    rows = list(csv.DictReader(_text("towns.csv").splitlines()))
    found = frequencies([row["town"] for row in rows], np.array([float(row["weight"]) for row in rows]))
    return found, array([row["state"] for row in rows]), array([row["zip"] for row in rows])
