"""How likely a value is before anybody has said it: from how often other persons carry it, and letter by letter.

A value that many others carry is likelier than a misspelling of it. What is often carried and often outvoted (a
default date, the clinic's own address) is likelier as an error. Both are counted from the vote itself, and a person's
own values never count for that person. Knows nothing of how the vote is held.
"""

from __future__ import annotations

from dataclasses import dataclass

import duckdb
import numpy as np
import polars as pl

from resolver.golden.ballot import Ballot
from resolver.golden.sql import ask

LETTERS = 28  # edge of the word, A to Z, anything else
LONGEST = 40  # letters read of a word
BLOCK = 100_000  # words taken at once
NEW_TO_START = 0.3  # share of right values that nobody else carries, until it is counted
DOUBT = 20.0  # outvoted values to see before their own frequencies outweigh those of the values that won


@dataclass
class Prior:
    """Natural logarithms of densities, per value of a ballot."""

    right: np.ndarray  # of being somebody's right value
    stray: np.ndarray  # of being written where something quite different is right
    slip: np.ndarray  # of being written for some value that nobody of the person's records shows


class Population:
    """Counts of one field; `prior` turns the outcome of a vote into what the next one starts from."""

    def __init__(self, con: duckdb.DuckDBPyConnection, ballot: Ballot, persons: int) -> None:
        self.ballot, self.persons = ballot, max(persons, 1)
        words = pl.DataFrame({"n": np.arange(len(ballot.words)), "value": ballot.words})
        query = f"SELECT coalesce({ballot.field.token}, '') AS token FROM words ORDER BY n"
        tokens = ask(con, query, words=words)["token"]
        kinds = tokens.unique().sort()
        code = tokens.cast(pl.Enum(kinds)).to_physical().to_numpy().astype(np.int64)
        self.kinds = max(len(kinds), 1)
        self.token = code[ballot.word] if len(ballot.word) else np.zeros(0, np.int64)
        # Two values of one person that share a token are not "others" to each other.
        same = self.token[ballot.right] == self.token[ballot.seen]
        self.kin = ballot.right[same], ballot.seen[same]
        self.letters = _letters(ballot.words) if ballot.field.language else None

    def prior(self, won: np.ndarray, lost: np.ndarray, confirmed: np.ndarray) -> Prior:
        """`won`: probability of each value; `lost`: that something quite different is right instead; `confirmed`:
        values that two sources agree on, which errors seldom do."""
        others, total = self._others(won)
        losses, lost_total = self._others(lost)
        field = self.ballot.field
        if self.letters is None:
            right = (others + 0.5) / (total + 0.5 * self.kinds)
            stray = (losses + DOUBT * right) / (lost_total + DOUBT)
            if field.holders:
                # Several persons with one number: at most one of them is its holder.
                right = right / (1 + self._holders(won))
            log_right, log_stray = np.log(right / field.distinct), np.log(stray / field.distinct)
            return Prior(log_right, log_stray, log_right)
        new = self._new(others, won, confirmed)
        spelt, misspelt = self._spelling(won, confirmed)
        known = others / np.maximum(total, 1.0)
        right = (1 - new) * known + new * spelt
        stray = 0.5 * (losses + DOUBT * right) / (lost_total + DOUBT) + 0.5 * misspelt
        return Prior(np.log(right), np.log(stray), np.log(0.8 * misspelt + 0.2 * stray))

    def _others(self, amount: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """For each value: how much of its token the other persons have, and how much they have in all."""
        right, seen = self.kin
        mine = amount + np.bincount(right, weights=amount[seen], minlength=len(amount))
        token = np.bincount(self.token, weights=amount, minlength=self.kinds)
        person = np.bincount(self.ballot.person, weights=amount, minlength=self.persons)
        others = token[self.token] - mine
        return np.maximum(others, 0.0), np.maximum(amount.sum() - person[self.ballot.person], 0.0)

    def _holders(self, won: np.ndarray) -> np.ndarray:
        word = np.bincount(self.ballot.word, weights=won, minlength=len(self.ballot.words))
        return np.maximum(word[self.ballot.word] - won, 0.0)

    def _new(self, others: np.ndarray, won: np.ndarray, confirmed: np.ndarray) -> float:
        """Share of right values that no other person carries."""
        sure = won * confirmed
        unseen = sure[others < 0.5].sum()
        return float(np.clip((unseen + 20 * NEW_TO_START) / (sure.sum() + 20), 0.01, 0.95))

    def _spelling(self, won: np.ndarray, confirmed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Probability of each value as a word of this field, and as such a word with errors in it."""
        assert self.letters is not None
        word = self.ballot.word
        # Each word teaches once, however many persons have it, and only where more than one record vouches for it.
        vouched = np.bincount(word, weights=won * confirmed, minlength=len(self.ballot.words))
        shared = np.bincount(word, weights=won, minlength=len(self.ballot.words))
        teaches = np.minimum(vouched, 1.0) + (shared >= 1.8)
        spelt, misspelt = _letter_model(self.letters, np.minimum(teaches, 1.0))
        return spelt[word], misspelt[word]


def _letters(words: pl.Series) -> np.ndarray:
    """One row per word: its letters as numbers, an edge before (twice) and after it."""
    rows = np.zeros((len(words), LONGEST + 3), dtype=np.uint8)
    if len(words):
        plain = words.str.slice(0, LONGEST).str.replace_all("[^A-Z]", "[")
        flat = plain.to_numpy().astype(f"S{LONGEST}").view(np.uint8).reshape(len(words), LONGEST)
        rows[:, 2:-1] = np.where(flat > 0, flat - 64, 0)
    return rows


def _letter_model(rows: np.ndarray, teaches: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Probability of each row under the letters that follow each other in the rows that teach; the same with half of
    the letters drawn blindly."""
    three = np.zeros(LETTERS**3)
    for block in _blocks(len(rows)):
        triple, inside = _triples(rows[block])
        used = inside & (teaches[block][:, None] > 0)
        weight = np.broadcast_to(teaches[block][:, None], inside.shape)[used]
        three += np.bincount(triple[used], weights=weight, minlength=LETTERS**3)
    cube = three.reshape(LETTERS, LETTERS, LETTERS)
    two, one = cube.sum(axis=0), cube.sum(axis=(0, 1)) + 1.0
    alone = one / one.sum()
    given_one = (two + 10 * alone) / (two.sum(axis=1, keepdims=True) + 10)
    given_two = ((cube + 5 * given_one) / (cube.sum(axis=2, keepdims=True) + 5)).reshape(-1)
    clean, blurred = np.log(given_two), np.log(0.5 * given_two + 0.5 / LETTERS)
    spelt, misspelt = np.zeros(len(rows)), np.zeros(len(rows))
    for block in _blocks(len(rows)):
        triple, inside = _triples(rows[block])
        spelt[block] = np.where(inside, clean[triple], 0.0).sum(axis=1)
        misspelt[block] = np.where(inside, blurred[triple], 0.0).sum(axis=1)
    return np.exp(spelt), np.exp(misspelt)


def _blocks(rows: int) -> list[slice]:
    return [slice(first, first + BLOCK) for first in range(0, rows, BLOCK)]


def _triples(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Number of each run of three letters, and which of them lie inside the word (its end included)."""
    before, middle, after = (rows[:, shift : shift + LONGEST + 1].astype(np.int32) for shift in range(3))
    inside = middle > 0
    inside[:, 0] = True
    return (before * LETTERS + middle) * LETTERS + after, inside
