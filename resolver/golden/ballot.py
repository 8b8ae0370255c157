"""Who says what: the distinct values of one field for every person, and how those of one person resemble each other.

Everything is an array over all persons at once. Knows nothing of which value is likely.

Of a person's distinct values only the `most` that most records carry are weighed against each other; what fewer records
carry is left out of the vote, so that a person with thousands of records stays cheap.
"""

from __future__ import annotations

from dataclasses import dataclass

import duckdb
import numpy as np
import polars as pl

from resolver.golden import likeness
from resolver.golden.fields import Field


@dataclass
class Maiden:
    """Per value of last names."""

    known: np.ndarray  # has the person a maiden name on record?
    same: np.ndarray  # is it this one?
    near: np.ndarray  # or nearly?


@dataclass
class Ballot:
    field: Field
    words: pl.Series  # distinct values of the field, sorted, as text
    record: np.ndarray  # per observation: row of the record
    value: np.ndarray  # per observation: row in the arrays below; -1 where the value is left out of the vote
    person: np.ndarray  # per value: person
    word: np.ndarray  # per value: place in `words`
    candidate: np.ndarray  # per value: may it be chosen?
    start: np.ndarray  # per person: first of its values; one more at the end
    right: np.ndarray  # per pair of a person's values: the one held to be right ...
    seen: np.ndarray  # ... and the one that was written
    level: np.ndarray  # how they differ
    distinct: np.ndarray  # per person: how many values there are, those left out of the vote included
    maiden: Maiden | None = None  # last names only

    @property
    def text(self) -> pl.Series:
        """Text of each value."""
        return self.words.gather(self.word)


def gather(
    con: duckdb.DuckDBPyConnection,
    field: Field,
    values: pl.Series,
    person_of: np.ndarray,
    weight: np.ndarray,
    persons: int,
    most: int,
) -> Ballot:
    """`values` by record row; `weight` is what a record counts among those of its person."""
    record = np.flatnonzero(values.is_not_null().to_numpy())
    held = values.gather(record)
    words = held.unique().sort()
    code = held.cast(pl.Enum(words)).to_physical().to_numpy().astype(np.int64) if len(held) else np.zeros(0, np.int64)
    key, value = np.unique(person_of[record] * max(len(words), 1) + code, return_inverse=True)
    person, word = key // max(len(words), 1), key % max(len(words), 1)

    first = np.searchsorted(person, np.arange(persons + 1))
    kept = np.ones(len(key), dtype=bool)
    many = np.flatnonzero(np.diff(first)[person] > most)
    if len(many):
        support = np.bincount(value, weights=weight[record], minlength=len(key))[many]
        order = many[np.lexsort((word[many], -np.round(support, 9), person[many]))]
        rank = np.arange(len(many)) - np.searchsorted(person[order], person[order])
        kept[order[rank >= most]] = False
    place = np.where(kept, np.cumsum(kept) - 1, -1)
    distinct = np.diff(first)
    person, word, value = person[kept], word[kept], place[value]

    start = np.searchsorted(person, np.arange(persons + 1))
    right, seen = _pairs(person, start)
    level = _levels(con, field, words, word[right], word[seen])
    # A part of another value (an initial beside the name) speaks for it and is not chosen in its place.
    candidate = np.ones(len(person), dtype=bool)
    candidate[seen[level == likeness.FORM_OF]] = False
    return Ballot(field, words, record, value, person, word, candidate, start, right, seen, level, distinct)


def _pairs(person: np.ndarray, start: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All ordered pairs of two different values of one person."""
    count = np.diff(start)[person]
    right = np.repeat(np.arange(len(person)), count)
    offset = np.arange(len(right)) - np.repeat(np.cumsum(count) - count, count)
    seen = start[person[right]] + offset
    differ = right != seen
    return right[differ], seen[differ]


def _levels(
    con: duckdb.DuckDBPyConnection, field: Field, words: pl.Series, right: np.ndarray, seen: np.ndarray
) -> np.ndarray:
    key, back = np.unique(right * max(len(words), 1) + seen, return_inverse=True)
    right, seen = key // max(len(words), 1), key % max(len(words), 1)
    return likeness.levels(con, field, words.gather(seen), words.gather(right))[back]


def mark_maiden(con: duckdb.DuckDBPyConnection, last: Ballot, maiden: Ballot) -> None:
    """Find last names that are, or nearly are, a maiden name of the same person, and say so in the levels."""
    names = [level.name for level in last.field.levels]
    exact, near = names.index("maiden name"), names.index("near maiden name")
    held = np.flatnonzero(np.diff(maiden.start)[last.person] > 0)
    count = np.diff(maiden.start)[last.person[held]]
    mine = np.repeat(held, count)
    offset = np.arange(len(mine)) - np.repeat(np.cumsum(count) - count, count)
    theirs = maiden.start[last.person[mine]] + offset
    seen, right = last.text.gather(mine), maiden.text.gather(theirs)
    same = (seen == right).to_numpy()
    close = likeness.levels(con, maiden.field, seen, right)
    is_same, is_near = np.zeros(len(last.person), dtype=bool), np.zeros(len(last.person), dtype=bool)
    is_same[mine[same]] = True
    is_near[mine[(close == 0) | (close == 1)]] = True
    is_near &= ~is_same
    far = last.level >= 2  # one or two edits from a rival is the better explanation
    maiden_like = is_same | is_near
    last.level[far & is_same[last.seen] & ~maiden_like[last.right]] = exact
    last.level[far & is_near[last.seen] & ~maiden_like[last.right]] = near
    known = np.diff(maiden.start)[last.person] > 0
    last.maiden = Maiden(known, is_same, is_near)
