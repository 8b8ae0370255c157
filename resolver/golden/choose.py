"""Turns votes into golden values: which value by which rule, how sure, from which records.

Knows the rules of the config; knows nothing of how likelihoods come about.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from resolver.golden import likeness
from resolver.golden.vote import Vote
from resolver.settings.stages import GoldenRule

DIGITS = 9  # decimals that count when likelihoods are compared: the last ones hang on the order of addition
SURE = 0.9999  # no value is surer than this, nor less sure than 1 - SURE


@dataclass
class Context:
    """Per record, what the rules ask for."""

    updated: np.ndarray  # seconds since 1970, -inf where unknown
    rank: np.ndarray  # place of its source among the trusted ones; those not named come last together


@dataclass
class Choice:
    vote: Vote
    chosen: np.ndarray  # per person: value, or -1
    confidence: np.ndarray  # per person

    def text(self) -> pl.Series:
        """Per person, null where nothing was chosen."""
        held = self.chosen >= 0
        words = self.vote.ballot.text.gather(np.maximum(self.chosen, 0)) if held.any() else None
        if words is None:
            return pl.Series([None] * len(self.chosen), dtype=pl.String)
        return pl.select(pl.when(pl.Series(held)).then(words)).to_series()


def choose(vote: Vote, rule: GoldenRule, context: Context, allowed: np.ndarray | None = None) -> Choice:
    """`allowed`: per value, may it be chosen? Ties fall to the likelier, the more frequent, the newer, A before Z."""
    ballot = vote.ballot
    size, persons = len(ballot.person), len(ballot.start) - 1
    chosen, confidence = np.full(persons, -1), np.zeros(persons)
    if size == 0:
        return Choice(vote, chosen, confidence)
    likely = np.round(vote.outcome.posterior, DIGITS)
    count = np.bincount(vote.value, minlength=size)
    newest = np.full(size, -np.inf)
    np.maximum.at(newest, vote.value, context.updated[vote.record])
    first: np.ndarray
    if rule.method == "posterior":
        first = likely
    elif rule.method == "most_frequent":
        first = count.astype(float)
    elif rule.method == "most_recent":
        first = newest
    elif rule.method == "longest":
        first = ballot.text.str.len_chars().to_numpy().astype(float)
    else:
        best = np.full(size, np.iinfo(np.int64).max)
        np.minimum.at(best, vote.value, context.rank[vote.record])
        first = -best.astype(float)
    candidate = ballot.candidate if allowed is None else ballot.candidate & allowed
    held = np.flatnonzero(np.diff(ballot.start) > 0)
    top = ballot.start[held]
    open_ = np.diff(ballot.start)[ballot.person] > 1
    keys = (ballot.word, -newest, -count, -likely, -first, ~candidate, ballot.person)
    order = np.flatnonzero(open_)[np.lexsort([key[open_] for key in keys])]
    rivals = np.diff(ballot.start)[held] > 1
    top[rivals] = order[np.searchsorted(ballot.person[order], held[rivals])]
    held, top = held[candidate[top]], top[candidate[top]]
    chosen[held] = top
    confidence[held] = np.clip(np.round(vote.outcome.posterior[top], 6), 1 - SURE, SURE)
    return Choice(vote, chosen, confidence)


def sources(choice: Choice, error: np.ndarray, rids: np.ndarray) -> pl.DataFrame:
    """Per person with a value: the rids of the records that carry it or a form of it, strongest first."""
    vote, ballot = choice.vote, choice.vote.ballot
    alike = np.array([level.alike for level in ballot.field.levels])
    near = (ballot.level == likeness.FORM_OF) | alike[np.maximum(ballot.level, 0)]
    near &= choice.chosen[ballot.person[ballot.right]] == ballot.right
    form = np.full(len(ballot.person), 2)
    form[ballot.seen[near]] = 1
    form[choice.chosen[choice.chosen >= 0]] = 0
    kept = form[vote.value] < 2
    frame = pl.DataFrame(
        {
            "person": ballot.person[vote.value[kept]],
            "form": form[vote.value[kept]],
            "error": np.round(error[vote.record[kept]], DIGITS),
            "rid": rids[vote.record[kept]].astype(np.int32),
        }
    )
    return (
        frame.sort("person", "form", "error", "rid")
        .group_by("person", maintain_order=True)
        .agg(pl.col("rid").alias("rids"))
    )
