"""The vote: which of a person's values is right, as a posterior over the values and "none of them".

    log P(value) = how likely the value is in the population
                 + every record that carries it: log(1 - error)
                 + every record that does not:   log(error) + log P(its value, written for this one)

Error rates, the shares of the kinds of error and the frequencies in the population are all fitted to the outcome of the
vote, and the vote is held again, ROUNDS times. No labels. Knows nothing of files or settings.

The posterior is the confidence as it is; there is no further map. The fixed figures were chosen on three synthetic
populations, two with heavy errors and one with light ones: there the mean gap between how sure values were and how many
were right, over eight bins and all fields but sex, is 0.008 to 0.017. On a fourth that had no part in it, it is 0.011.
Single fields are off by up to 0.07. Last names called 50 to 90 % sure are the worst (women whose only record has the
maiden name, rare names with one slip): they are few, and up to 0.3 fewer of them are right than said.
`benchmarks/golden.py` prints this for any data.
"""

from __future__ import annotations

from dataclasses import dataclass

import duckdb
import numpy as np

from resolver.golden import likeness
from resolver.golden.ballot import Ballot
from resolver.golden.population import Population, Prior
from resolver.golden.trust import Trust

ROUNDS = 4
BOTH_WRONG = 0.3  # two wrong values of one right one resemble each other less than each resembles the right one
MAIDEN_KEPT = 0.05  # share of persons with a maiden name on record whose last name it still is, to start with
BARRED = -6.0  # log-odds that being barred takes from a value
HOLD = 50.0  # errors to see before the fitted shares of the kinds outweigh those that were there before


@dataclass
class Outcome:
    posterior: np.ndarray  # per value
    none: np.ndarray  # per person: probability that no value is right


class Vote:
    def __init__(
        self,
        con: duckdb.DuckDBPyConnection,
        ballot: Ballot,
        weight: np.ndarray,
        source: np.ndarray,
        persons: int,
        hint: np.ndarray | None = None,
        barred: np.ndarray | None = None,
    ) -> None:
        """`hint`: log-odds per value from elsewhere, such as clinical events. `barred`: values that can't be right
        unless something else is wrong."""
        self.ballot, self.persons = ballot, persons
        self.hint = np.zeros(len(ballot.person)) if hint is None else hint
        self.barred = np.zeros(len(ballot.person)) if barred is None else np.where(barred, BARRED, 0.0)
        kept = ballot.value >= 0
        self.record, self.value = ballot.record[kept], ballot.value[kept]
        self.weight = weight[self.record]
        self.size = len(ballot.person)
        self.mass = np.bincount(self.value, weights=self.weight, minlength=self.size)
        self.confirmed = _several(self.value, source[self.record], self.size)
        self.levels = ballot.field.levels
        self.shares = np.array([level.share for level in self.levels])
        self.shares /= self.shares.sum()
        self.population = Population(con, ballot, persons)
        self.differ = ballot.level != likeness.FORM_OF
        self.maiden = MAIDEN_KEPT
        self.outcome = self._start()

    def _start(self) -> Outcome:
        """Before the first round: each value by its share of the records."""
        total = np.bincount(self.ballot.person, weights=self.mass, minlength=self.persons)
        return Outcome(self.mass / (total[self.ballot.person] + 0.3), np.zeros(self.persons))

    def right(self) -> np.ndarray:
        """Probability per value that it, or a longer form of it, is right."""
        ballot, posterior = self.ballot, self.outcome.posterior
        forms = ~self.differ
        more = np.bincount(ballot.seen[forms], weights=posterior[ballot.right[forms]], minlength=self.size)
        return np.minimum(posterior + more, 1.0)

    def right_by_record(self, records: int) -> np.ndarray:
        sure = np.full(records, 0.02)  # a value that was left out of the vote is seldom right
        sure[self.record] = self.right()[self.value]
        return sure

    def learn(self) -> None:
        """Fit the shares of the kinds of error to the outcome."""
        ballot = self.ballot
        right, seen, level = ballot.right[self.differ], ballot.seen[self.differ], ballot.level[self.differ]
        found = np.bincount(level, weights=self.outcome.posterior[right] * self.mass[seen], minlength=len(self.levels))
        start = np.array([one.share for one in self.levels])
        self.shares = (found + HOLD * start / start.sum()) / (found.sum() + HOLD)
        if ballot.maiden is not None:
            # One record alone can't say whether the name was kept or written by habit.
            mass = np.bincount(ballot.person, weights=self.mass, minlength=self.persons)
            asked = ballot.maiden.known & (mass[ballot.person] > 1.9)
            kept = self.outcome.posterior[asked & (ballot.maiden.same | ballot.maiden.near)].sum()
            self.maiden = float((kept + 10 * MAIDEN_KEPT) / (len(np.unique(ballot.person[asked])) + 10))

    def hold(self, error: np.ndarray) -> None:
        """One round, with these error rates per record."""
        ballot = self.ballot
        rate = error[self.record]
        agree = np.bincount(self.value, weights=self.weight * np.log1p(-rate), minlength=self.size)
        differ = np.bincount(self.value, weights=self.weight * np.log(rate), minlength=self.size)
        other = self.differ & (ballot.level == ballot.field.other)
        lost = np.bincount(ballot.seen[other], weights=self.outcome.posterior[ballot.right[other]], minlength=self.size)
        prior = self.population.prior(self.outcome.posterior, np.minimum(lost, 1.0), self.confirmed)

        kinds = np.log(self.shares)
        forms = np.log(np.array([level.forms for level in self.levels[:-1]]))
        chance = kinds[-1] + prior.stray[ballot.seen]
        near = self.differ & (ballot.level < ballot.field.other)
        way = ballot.level[near]
        chance[near] = np.logaddexp(chance[near], kinds[way] - forms[way])
        each = np.where(self.differ, differ[ballot.seen] + self.mass[ballot.seen] * chance, agree[ballot.seen])
        rest = np.bincount(ballot.right, weights=each, minlength=self.size) + self.hint
        if ballot.maiden is not None:
            self._weigh_maiden(prior, kinds, forms)

        score = prior.right + agree + rest + self.barred
        # None: the right value lies near this one and no record has it. Records that agree on a wrong value made the
        # same error, each for itself.
        close = np.bincount(ballot.right[near], weights=self.mass[ballot.seen[near]], minlength=self.size)
        unseen = prior.slip + differ + rest + np.maximum(self.mass - 1, 0) * _coincidence(self.shares, forms)
        if not ballot.field.language:  # there, `slip` says it
            unseen += np.log(BOTH_WRONG) * close
        score[~ballot.candidate] = -np.inf
        unseen[~ballot.candidate] = -np.inf
        self.outcome = _outcome(score, unseen, ballot)

    def _weigh_maiden(self, prior: Prior, kinds: np.ndarray, forms: np.ndarray) -> None:
        """A last name that is the maiden name was kept, or it was written by habit where another is right."""
        ballot = self.ballot
        assert ballot.maiden is not None
        names = [level.name for level in self.levels]
        same_or_near = ballot.maiden.same | ballot.maiden.near
        likely = np.bincount(
            ballot.person, weights=np.where(same_or_near, np.exp(prior.right), 0.0), minlength=self.persons
        )
        share = prior.right - np.log(np.maximum(likely[ballot.person], 1e-300))
        prior.right[ballot.maiden.known] += np.log1p(-self.maiden)
        prior.right[same_or_near] = np.log(self.maiden) + share[same_or_near]
        for which, name in ((ballot.maiden.same, "maiden name"), (ballot.maiden.near, "near maiden name")):
            way = names.index(name)
            prior.slip[which] = np.logaddexp(prior.slip[which], kinds[way] - forms[way])


def _coincidence(shares: np.ndarray, forms: np.ndarray) -> float:
    """Log-probability that two wrong values, each written for itself, are the same one."""
    return float(np.log(np.sum(shares[:-1] ** 2 / np.exp(forms)) + shares[-1] ** 2 * 0.02))


def _outcome(score: np.ndarray, unseen: np.ndarray, ballot: Ballot) -> Outcome:
    persons = len(ballot.start) - 1
    held = np.flatnonzero(np.diff(ballot.start) > 0)
    none = np.zeros(persons)
    if len(held) == 0:
        return Outcome(np.zeros(0), none)
    first = ballot.start[held]
    top = np.full(persons, -np.inf)
    top[held] = np.maximum(np.maximum.reduceat(score, first), np.maximum.reduceat(unseen, first))
    chance = np.exp(score - top[ballot.person])
    missing = np.exp(np.maximum.reduceat(unseen, first) - top[held])
    total = np.bincount(ballot.person, weights=chance, minlength=persons)
    total[held] += missing
    none[held] = missing / total[held]
    return Outcome(chance / total[ballot.person], none)


def _several(value: np.ndarray, source: np.ndarray, size: int) -> np.ndarray:
    """1 for values that more than one source has, else 0: there the sources' numbers differ from their mean."""
    number = source.astype(float)
    count = np.bincount(value, minlength=size)
    total = np.bincount(value, weights=number, minlength=size)
    squares = np.bincount(value, weights=number**2, minlength=size)
    return (count * squares > total**2).astype(float)


def fit(votes: dict[str, Vote], trust: Trust) -> None:
    """Hold all votes, learn from them, and hold them again."""
    for turn in range(ROUNDS):
        for name, vote in votes.items():
            vote.hold(trust.of(name))
        if turn < ROUNDS - 1:
            trust.learn({name: vote.right_by_record(trust.records) for name, vote in votes.items()})
            for vote in votes.values():
                vote.learn()
