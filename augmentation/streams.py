"""Random draws that belong to a record and a purpose, not to the order in which they are made.

A draw is a hash of what it is for: the seed, the record, the kind, the attempt. So neither threads, nor the size of a
chunk, nor a kind or a facility more or less changes what the others draw. Knows nothing of records or errors.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint64]
Floats = npt.NDArray[np.float64]
T = TypeVar("T")

_MASK = 0xFFFFFFFFFFFFFFFF
_STEP = 0x9E3779B97F4A7C15
_FIRST = 0xBF58476D1CE4E5B9
_SECOND = 0x94D049BB133111EB


def key(*parts: object) -> int:
    """A 64-bit number for fixed words and numbers, the same on every machine."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def mix(keys: Words, *parts: int | Words) -> Words:
    """New keys from keys and further parts, each part a number or one number per key (splitmix64's finisher)."""
    mixed = keys.astype(np.uint64, copy=True)
    for part in parts:
        if isinstance(part, int):
            mixed ^= np.uint64(part & _MASK)
        else:
            mixed ^= part
        mixed += np.uint64(_STEP)
        mixed ^= mixed >> np.uint64(30)
        mixed *= np.uint64(_FIRST)
        mixed ^= mixed >> np.uint64(27)
        mixed *= np.uint64(_SECOND)
        mixed ^= mixed >> np.uint64(31)
    return mixed


def uniform(keys: Words, *parts: int | Words) -> Floats:
    """Uniform draws in (0, 1), one per key."""
    return ((mix(keys, *parts) >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53


def keys_of(texts: Sequence[str], seed: int) -> Words:
    """A key per text: its bytes, eight at a time, mixed with the seed."""
    encoded = np.array([text.encode() for text in texts], dtype=np.bytes_)
    width = max(8, -(-encoded.dtype.itemsize // 8) * 8)
    words = encoded.astype(f"S{width}").view(np.uint64).reshape(len(encoded), width // 8)
    keys: Words = np.full(len(encoded), key("seed", seed), dtype=np.uint64)
    for column in words.T:
        # A text that has ended takes no part, or its key would hang on the longest text beside it.
        keys = np.where(column != 0, mix(keys, column), keys)
    return keys


def keys_of_numbers(numbers: npt.NDArray[Any], seed: int) -> Words:
    """A key per whole number."""
    start: Words = np.full(len(numbers), key("seed", seed), dtype=np.uint64)
    return mix(start, numbers.astype(np.uint64))


class Stream:
    """The draws of one record for one purpose, in order."""

    __slots__ = ("_state",)

    def __init__(self, state: int) -> None:
        self._state = state

    def bits(self) -> int:
        self._state = state = (self._state + _STEP) & _MASK
        state = ((state ^ (state >> 30)) * _FIRST) & _MASK
        state = ((state ^ (state >> 27)) * _SECOND) & _MASK
        return state ^ (state >> 31)

    def below(self, count: int) -> int:
        """A whole number from 0 to count - 1."""
        return (self.bits() * count) >> 64

    def between(self, least: int, most: int) -> int:
        """A whole number from least to most, both included."""
        return least + self.below(most - least + 1)

    def chance(self, share: float) -> bool:
        return self.bits() < share * 2.0**64

    def pick(self, choices: Sequence[T]) -> T:
        return choices[self.below(len(choices))]
