"""How often each record is wrong in each field, without labels: from who agrees with whom, record by record and source
by source.

Some desks and some days are worse than others, so records fall into a few classes of care, found by expectation and
maximisation: a record whose name nobody else spells that way, and that left much empty, is less to be believed about
the date of birth too. A field never vouches for itself. Knows nothing of values.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from resolver.golden.fields import BY_NAME

CLASSES = np.array([0.25, 1.0, 2.5])  # error rates to start with, against the field's own
EMPTY = np.array([0.6, 1.0, 1.4])  # the same for values left out, against the source's own share
LEAST, MOST = 0.002, 0.85  # bounds of an error rate
STEPS = 100  # in which the probability that a value is right is told apart
# What every registration asks everybody for: elsewhere an empty field says nothing of care.
ASKED = ("first_name", "last_name", "birth_date", "sex", "ssn", "street", "city", "zip", "phone")


class Trust:
    def __init__(
        self,
        present: Mapping[str, np.ndarray],
        source: np.ndarray,
        age_years: np.ndarray,
        fixed: Mapping[int, float],
    ) -> None:
        """`present`: for each field, which records have it; `age_years`: how much older than the person's newest
        record; `fixed`: source -> share of its values that are right, where the config says so."""
        self.present, self.source, self.age = present, source, age_years
        self.fixed = fixed
        self.records = len(source)
        self.sources = int(source.max()) + 1 if len(source) else 1
        self.share = np.full(len(CLASSES), 1 / len(CLASSES))
        self.error = {name: np.clip(BY_NAME[name].error * CLASSES, LEAST, 0.6) for name in present}
        # What a source never asks for says nothing of the care of its records: shares of empty fields are the source's
        # own, and a class has more or fewer than that.
        size = np.bincount(source, minlength=self.sources)
        self.usual = {
            name: 1 - np.bincount(source, weights=present[name], minlength=self.sources) / np.maximum(size, 1)
            for name in ASKED
            if name in present and present[name].any()
        }
        self.empty = {name: EMPTY.copy() for name in self.usual}
        self.factor = {name: np.ones(self.sources) for name in present}
        self.hazard = {name: BY_NAME[name].outdated for name in present}
        # Per record: 0 where the field is empty, else 1 + how sure its value is right, in STEPS steps; before the first
        # round nobody knows, and every value says the same.
        self.code = {name: has.astype(np.uint8) for name, has in present.items()}
        self.sure = {name: np.zeros(2) for name in present}
        self.voted: set[str] = set()
        self._add_up()

    def of(self, name: str) -> np.ndarray:
        """Probability, per record, that its value of this field is wrong, judged by its other fields."""
        belief = _normalised(self._total - self._evidence(name))
        error = np.clip((belief @ self.error[name]) * self.factor[name][self.source], LEAST, MOST)
        for source, trust in self.fixed.items():
            error[self.source == source] = np.clip(1 - trust, LEAST, MOST)
        error = 1 - (1 - error) * np.exp(-self.hazard[name] * self.age)
        return np.clip(error, LEAST, MOST)

    def learn(self, right: Mapping[str, np.ndarray]) -> None:
        """`right`: for each field, the probability per record that its value is right; anything where it is empty."""
        for name, sure in right.items():
            step = 1 + np.round(sure * STEPS).astype(np.uint8)
            self.code[name] = np.where(self.present[name], step, 0).astype(np.uint8)
            self.sure[name] = np.concatenate([[0.0], np.arange(STEPS + 1) / STEPS])
            self.voted.add(name)
        self._add_up()
        belief = _normalised(self._total)
        whole = belief.sum(axis=0, dtype=np.float64)
        self.share = (whole + 1) / (self.records + len(CLASSES))
        for name, code in self.code.items():
            steps = len(self.sure[name])
            count = np.stack([np.bincount(code, weights=column, minlength=steps) for column in belief.T], axis=1)
            if name in self.empty:
                awaited = belief.T.astype(np.float64) @ self.usual[name][self.source]
                self.empty[name] = (count[0] + 10) / (awaited + 10)
            if name not in self.voted:
                continue
            held, wrong = count[1:].sum(axis=0), (1 - self.sure[name][1:]) @ count[1:]
            start = np.clip(BY_NAME[name].error * CLASSES, LEAST, 0.6)
            self.error[name] = np.clip((wrong + 10 * start) / (held + 10), LEAST, 0.8)
            has = self.present[name]
            expected = np.bincount(self.source, weights=(belief @ self.error[name]) * has, minlength=self.sources)
            lost = np.where(code > 0, 1 - self.sure[name][code], 0.0)
            found = np.bincount(self.source, weights=lost, minlength=self.sources)
            self.factor[name] = (found + 10) / (expected + 10)
        self._add_up()

    def _add_up(self) -> None:
        self._total = np.broadcast_to(np.log(self.share).astype(np.float32), (self.records, len(CLASSES))).copy()
        for name in self.present:
            self._total += self._evidence(name)

    def _evidence(self, name: str) -> np.ndarray:
        """What one field says of each record's class."""
        sure = self.sure[name][:, None]
        table = np.zeros((len(sure), len(CLASSES)))
        if name in self.voted:
            table[1:] = np.log(sure * (1 - self.error[name]) + (1 - sure) * self.error[name])[1:]
        evidence = table.astype(np.float32)[self.code[name]]
        if name in self.empty:
            usual = self.usual[name][:, None]
            # All or nothing from a source: its classes can't differ there.
            share = np.where((usual > 0) & (usual < 1), np.clip(usual * self.empty[name], 0.001, 0.98), usual)
            left = np.stack([np.log(np.where(share < 1, 1 - share, 1)), np.log(np.where(share > 0, share, 1))])
            evidence += left.astype(np.float32)[(~self.present[name]).astype(np.int8), self.source]
        return evidence


def _normalised(total: np.ndarray) -> np.ndarray:
    chance = np.exp(total - total.max(axis=1, keepdims=True))
    chance /= chance.sum(axis=1, keepdims=True)
    return chance
