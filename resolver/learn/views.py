"""The views of a pair teach each other without any label: its histories, and its registration data in two halves.

    Splink's log-odds, tempered    what is first believed of each pair
    histories                      trees on the histories alone, fitted to what is believed: evidence of their own
    dates and numbers              trees on what a person is born with or given once, likewise
    names and places               trees on what a household shares, likewise; and from histories on once more
    registration data              then trees on all of them, in the place of the two halves

Each view is fitted to what the others say as well, so a kind of pair on which Splink is sure and wrong is found out by
the views that don't fit: twins by their histories, a parent and child of one name by their birth dates and numbers. Had
they been one view, what was first believed of such a kind would have come back as what was learned of it. That needs
evidence which says the same of a match whatever the other views are. Histories of two people of one age and sex look
alike on their own, so their evidence is measured among pairs whose ages and sexes agree as far. And a view learns most
from pairs of which the others know something: where they know nothing, what is believed is an echo of what it said.

Pairs that nothing speaks for are many and alike: some of them stand for all. What people said of a pair is believed
of it at every step. Knows nothing of persons.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from resolver.cluster.graph import scramble
from resolver.fusion import probability
from resolver.judges.features import Feature, clinical, demographic
from resolver.judges.learned import pair_folds
from resolver.judges.trees import RATE, Floats
from resolver.learn.crossfit import cross_fit
from resolver.learn.said import OPEN, SAME, Said
from resolver.learn.sample import Sample

ROUNDS = 5
APART = 2  # of them, in which the registration data are two views
TREES = 100
LEAVES = 15
# Splink takes its fields to be independent. Where they are not it is sure and wrong, and no history could say so: what
# it says for a pair is shrunk and capped. Against a pair it is not too sure.
TEMPER = 0.35
SUREST = 3.0
SILENT = 0.1  # what a pair counts for of which the other views know nothing
CAP = 6.0  # log-odds that a view may add to another
HOPELESS = -8.0  # Splink's log-odds below which pairs are thinned
FEWEST_HOPELESS = 5_000
BORN_APART = (0.5, np.log(367), np.log(1 + 5 * 366))  # ln(1 + days): the same day, a year, five years, more
CERTAIN = 10.0  # pairs that nobody spoke of, which one that a person did counts for
ONE = 1.0  # imagined pair of the usual odds in each group of ages and sexes

Table = NDArray[np.float32]
AGE_GAP, SEX = Feature("born_apart", "how far apart the birth dates are"), Feature("sex_same", "same sex")
HISTORIES = (*clinical.FEATURES[: clinical.ALONE], AGE_GAP, SEX)
_OWN = np.array([name.startswith(("birth_date", "sex_same", "ssn", "member_id")) for name in demographic.names])
_SHARED = ~_OWN & (np.array(demographic.names) != demographic.SPLINK.name)
NUMBERS, NAMES = np.flatnonzero(_OWN), np.flatnonzero(_SHARED)


@dataclass(frozen=True)
class Bench:
    """The pairs that fits are made on, with what each of them counts for, and the folds they are crossed over."""

    rows: NDArray[np.int64]  # of the sample
    weights: Floats  # pairs of the sample that each stands for
    said: NDArray[np.int8]  # by people
    folds: NDArray[np.int64]
    count: int  # of folds
    seed: int
    threads: int

    @classmethod
    def of(cls, sample: Sample, folds: int, seed: int, threads: int, said: Said | None = None) -> Bench:
        known = (said or Said.nothing()).of(sample.records, sample.left, sample.right)
        hopeless = (sample.splink < HOPELESS) & (known == OPEN)
        wanted = max(int((~hopeless).sum()), FEWEST_HOPELESS)
        share = min(1.0, wanted / max(int(hopeless.sum()), 1))
        drawn = scramble(sample.left, sample.right, seed) < np.uint64(min(int(share * 2**64), 2**64 - 1))
        rows = np.flatnonzero(~hopeless | drawn)
        stand_for = hopeless.sum() / max(int((hopeless & drawn).sum()), 1)
        weights = np.where(hopeless[rows], stand_for, 1.0)
        every = pair_folds(sample.folds, sample.left, sample.right, folds)
        return cls(rows, weights, known[rows], every[rows], folds, seed, threads)

    def cross_fit(
        self,
        table: Table,
        features: Sequence[Feature],
        labels: Floats,
        *,
        trees: int,
        rate: float = RATE,
        only: NDArray[np.bool_] | None = None,
        counts: Floats | None = None,
    ) -> tuple[tuple[str, ...], Floats]:
        """Trees per fold, and the score of each pair by those that have not seen it. Arrays are over `rows`.

        What people said of a pair takes the place of its label. `counts`: what else a pair counts for, from 0 to 1.
        """
        chosen = np.ones(len(table), dtype=bool) if only is None else only
        held = [chosen & (self.folds == fold) for fold in range(self.count)]
        taught = [chosen & (self.folds != fold) for fold in range(self.count)]
        return cross_fit(
            table,
            features,
            self.settled(labels),
            taught,
            held,
            rounds=trees,
            leaves=LEAVES,
            rate=rate,
            seed=self.seed,
            threads=self.threads,
            weights=self.weights * np.where(self.said == OPEN, 1.0 if counts is None else counts, CERTAIN),
        )

    def settled(self, believed: Floats) -> Floats:
        """What is believed of each pair, as a probability, where people have had the last word."""
        result: Floats = np.where(self.said == OPEN, believed, (self.said == SAME).astype(float))
        return result


def prior(splink: Floats) -> Floats:
    """What is first believed, as log-odds."""
    result: Floats = np.where(splink < 0, splink, np.minimum(splink * TEMPER, SUREST))
    return result


def teach(sample: Sample, bench: Bench, with_histories: bool = True) -> Floats:
    """Log-odds of the pairs of the bench by all views together, none of which has seen the pair."""
    known = sample.known[bench.rows] & with_histories
    table = sample.without_splink[bench.rows]
    alike, group = _alike(sample.demographic[bench.rows])
    histories = np.hstack([sample.histories[bench.rows], alike])
    registered = prior(sample.splink[bench.rows])
    believed = bench.settled(probability(registered))
    evidence, names = np.zeros(len(believed)), np.zeros(len(believed))
    for number in range(ROUNDS if with_histories else APART + 1):
        if with_histories:
            told = _told(registered)
            _, score = bench.cross_fit(histories, HISTORIES, believed, trees=TREES, only=known, counts=told)
            usual = _usual(believed, group, np.where(known, bench.weights * told, 0.0))
            evidence[known] = np.clip(score[known] - usual[group[known]], -CAP, CAP)
            believed = bench.settled(probability(registered + evidence))
        if number < APART:
            told = _told(evidence + names)
            score = _half(bench, table, NUMBERS, believed, told)
            usual = _usual(believed, np.zeros(len(table), dtype=np.int64), bench.weights * told)
            numbers = np.clip(score - usual[0], -CAP, CAP)
            score = _half(bench, table, NAMES, believed, _told(evidence + numbers))
            names = score + _level(score, believed, bench.weights)
            registered = names + numbers
            registered = registered + _level(registered + evidence, believed, bench.weights)
        else:
            _, score = bench.cross_fit(table, demographic.FEATURES, believed, trees=TREES, counts=_told(evidence))
            registered = score + _level(score, believed, bench.weights)
        believed = bench.settled(probability(registered + evidence))
    result: Floats = registered + evidence
    return result


def _half(bench: Bench, table: Table, columns: NDArray[np.int64], believed: Floats, told: Floats) -> Floats:
    """Scores by a part of the registration data."""
    features = [demographic.FEATURES[column] for column in columns]
    return bench.cross_fit(np.ascontiguousarray(table[:, columns]), features, believed, trees=TREES, counts=told)[1]


def _told(log_odds: Floats) -> Floats:
    """What each pair counts for where one view learns from these log-odds of the others."""
    result: Floats = SILENT + (1 - SILENT) * np.tanh(np.abs(log_odds) / 2) ** 2
    return result


def _level(score: Floats, believed: Floats, weights: Floats) -> float:
    """What to add to scores so that they expect as many matches as are believed in.

    Histories tell more of two persons than of one, so pairs of two persons count for more where histories teach.
    """
    low, high = -CAP, CAP
    wanted = float((weights * believed).sum())
    for _ in range(40):
        middle = (low + high) / 2
        few = float((weights * probability(score + middle)).sum()) < wanted
        low, high = (middle, high) if few else (low, middle)
    return (low + high) / 2


def _alike(table: Table) -> tuple[Table, NDArray[np.int64]]:
    """How far ages and sexes of each pair agree: as columns, and as the number of a group of pairs."""
    days = table[:, demographic.names.index("birth_date_days")]
    sex = table[:, demographic.names.index("sex_same")]
    gap = np.where(np.isfinite(days), 1 + np.digitize(days, BORN_APART), 0)
    same = np.where(np.isfinite(sex), 1 + (sex > 0), 0)
    return np.stack([gap, same], axis=1).astype(np.float32), gap * 3 + same


def _usual(believed: Floats, group: NDArray[np.int64], weights: Floats) -> Floats:
    """Log-odds of a match in each group."""
    groups = int(group.max()) + 1
    overall = float((weights * believed).sum() / weights.sum())
    matches = np.bincount(group, weights * believed, minlength=groups) + ONE * overall
    odds: Floats = matches / (np.bincount(group, weights * (1 - believed), minlength=groups) + ONE * (1 - overall))
    return np.log(odds)
