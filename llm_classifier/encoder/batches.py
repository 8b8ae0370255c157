"""Which records and pairs make a training step.

A step takes some persons with all of their records, for each record one of the linker's open non-matches, and then
counts every labelled pair among them: each record is encoded once and serves in many pairs. Beside these come pairs of
any two persons of the step. Knows nothing of networks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from llm_classifier.encoder.corpus import Corpus

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Step:
    records: Ints  # places in the corpus
    left: Ints  # places in `records`
    right: Ints
    label: Ints  # 1, 0, or -1 where only the teacher spoke
    taught: Floats


class Steps:
    """Draws the steps of an epoch; the same seed and epoch give the same ones."""

    def __init__(
        self, corpus: Corpus, rows: Flags, open_rows: Flags, *, records: int, strangers: float, seed: int
    ) -> None:
        """`rows`: pairs to learn from. `open_rows`: those of them that the judge would be asked about."""
        self.corpus, self.size, self.strangers, self.seed = corpus, records, strangers, seed
        self.pairs = np.flatnonzero(rows)
        self.used = np.unique(np.concatenate([corpus.left[self.pairs], corpus.right[self.pairs]]))
        against = np.flatnonzero(rows & open_rows & (corpus.label == 0))
        one, other = corpus.left[against], corpus.right[against]
        mine, theirs = np.concatenate([one, other]), np.concatenate([other, one])
        order = np.argsort(mine, kind="stable")
        self.theirs = theirs[order]
        count = np.bincount(mine, minlength=len(corpus.person))
        self.first, self.count = np.cumsum(count) - count, count

    def __len__(self) -> int:
        return max(1, round(len(self.used) / (self.size / 2)))

    def epoch(self, number: int) -> Iterator[Step]:
        rng = np.random.default_rng([self.seed, number])
        # Records of one person stay together; records without a truth are persons of their own.
        person = self.corpus.person[self.used]
        person = np.where(person < 0, len(self.corpus.person) + np.arange(len(person)), person)
        _, whose = np.unique(person, return_inverse=True)
        order = np.argsort(rng.permutation(int(whose.max()) + 1)[whose], kind="stable")
        for part in np.array_split(self.used[order], len(self)):
            yield self._step(part, rng)

    def _step(self, part: Ints, rng: np.random.Generator) -> Step:
        corpus = self.corpus
        with_some = part[self.count[part] > 0]
        picked = self.first[with_some] + rng.integers(0, self.count[with_some])
        records = np.unique(np.concatenate([part, self.theirs[picked]]))
        place = np.full(len(corpus.person), -1)
        place[records] = np.arange(len(records))
        left, right = place[corpus.left[self.pairs]], place[corpus.right[self.pairs]]
        inside = np.flatnonzero((left >= 0) & (right >= 0))
        rows = self.pairs[inside]
        more = rng.integers(0, len(records), (2, round(self.strangers * len(records))))
        persons = corpus.person[records][more]
        more = more[:, (persons[0] != persons[1]) & (persons >= 0).all(axis=0)]
        return Step(
            records,
            np.concatenate([left[inside], more[0]]),
            np.concatenate([right[inside], more[1]]),
            np.concatenate([corpus.label[rows], np.zeros(more.shape[1], dtype=np.int64)]),
            np.concatenate([corpus.taught[rows], np.full(more.shape[1], np.nan)]),
        )
