"""The two judges that run on any CPU: `demographic` and `clinical`.

`demographic` reads what Splink's levels throw away and takes its place. `clinical` reads the two histories together
with the demographics and takes the place of both: what it adds to the demographic log-odds is what the histories say.
Both say nothing where nothing was learned, or where what is known already settles the pair; `clinical` also where a
side has no history. Both can take a verdict apart, feature by feature, and do so from a few records alone where the
evidence says which.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import duckdb
import numpy as np
import polars as pl
from numpy.typing import NDArray

from resolver import database
from resolver.errors import DamagedError
from resolver.judges import Evidence
from resolver.judges.features import Feature, clinical, demographic, glance
from resolver.judges.features.glance import GlanceFeatures
from resolver.judges.features.population import Population
from resolver.judges.learned import CLINICAL_BOUNDS, Folds, Learned, Model, pair_folds, record_folds
from resolver.judges.trees import Floats, Trees


@dataclass(frozen=True)
class TakenApart:
    """Verdicts feature by feature: a row per pair, a column per feature."""

    features: tuple[Feature, ...]
    values: NDArray[np.float32]
    log_odds: Floats  # what each feature adds; one more column, the last, for what was there before any
    settled: NDArray[np.bool_]  # by a gate: features that were not looked at have no number and add nothing


@dataclass(frozen=True)
class _Held:
    """What both judges read, held once."""

    learned: Learned
    con: duckdb.DuckDBPyConnection
    features: demographic.DemographicFeatures
    folds: Folds

    @classmethod
    def of(cls, evidence: Evidence) -> _Held:
        run = evidence.settings.run
        learned = Learned.load(evidence.learned)
        con = database.connect(memory_gib=run.memory_gib, threads=run.threads, spill=evidence.scratch)
        features = demographic.DemographicFeatures(
            con, evidence.records, evidence.only, evidence.pairs, evidence.counts
        )
        return cls(learned, con, features, record_folds(con, evidence.records, learned.folds, evidence.only))


class _Embedded:
    role: Literal["revises"] = "revises"

    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence
        self.threads = evidence.settings.run.threads
        held = evidence.shared.get(_Held.__name__) or _Held.of(evidence)
        evidence.shared[_Held.__name__] = held
        self.learned, self.con, self.features, self.folds = held.learned, held.con, held.features, held.folds

    @property
    def model(self) -> Model | None:
        return self.learned.demographic

    @property
    def read(self) -> tuple[Feature, ...]:
        """What the columns of the table say."""
        return demographic.FEATURES

    def table(self, pairs: pl.DataFrame) -> NDArray[np.float32]:
        return self.features.of(pairs).select(self.features.names).to_numpy(order="c")

    def known(self, pairs: pl.DataFrame) -> pl.Series:
        """Which pairs it has evidence of."""
        return pl.repeat(self.model is not None, len(pairs), dtype=pl.Boolean, eager=True)

    def judge(self, pairs: pl.DataFrame) -> pl.DataFrame:
        known = self.known(pairs)
        if self.model is None or not known.any():
            return _nothing(pairs)
        pairs = pairs.filter(known)
        logit = self.model.predict(self.table(pairs), self._folds(pairs), self.threads)
        return pairs.select("left_rid", "right_rid").with_columns(logit=pl.Series(logit), status=pl.lit("ok"))

    def take_apart(self, pairs: pl.DataFrame) -> TakenApart:
        """The verdicts on pairs that it has evidence of."""
        model = self.model
        assert model is not None
        if Trees(model.trees[0]).features != [feature.name for feature in self.read]:
            raise DamagedError(
                "The run's models read other features than this program.", do="Run again with --from learn."
            )
        table, folds = self.table(pairs), self._folds(pairs)
        log_odds = np.empty((len(table), len(self.read) + 1))
        for fold in np.unique(folds):
            rows = np.flatnonzero(folds == fold)
            log_odds[rows] = model.contributions(table[rows], int(fold), self.threads)
        return TakenApart(self.read, table, log_odds, np.zeros(len(table), dtype=bool))

    def brings(self) -> pl.DataFrame | None:
        return None

    def _folds(self, pairs: pl.DataFrame) -> Folds:
        left, right = (self._places(pairs[side]) for side in ("left_rid", "right_rid"))
        return pair_folds(self.folds, left, right, self.learned.folds)

    def _places(self, rids: pl.Series) -> NDArray[np.int64]:
        """Where records lie in arrays over the records that were read."""
        numbers = rids.to_numpy().astype(np.int64)
        only = self.evidence.only
        return numbers if only is None else np.searchsorted(np.asarray(only), numbers)


class DemographicJudge(_Embedded):
    """Where gates were learned, pairs that they settle get their verdict, and no other look.

    First what is seen at a glance; then all features, but few trees; then all trees.
    """

    name = "demographic"
    part: Literal["demographics"] = "demographics"
    asks = (-np.inf, np.inf)

    def __init__(self, evidence: Evidence) -> None:
        super().__init__(evidence)
        self.gates = self.learned.gates if self.model is not None else None
        self.glance = GlanceFeatures(self.con) if self.gates is not None else None
        self.settled = {"settled_at_a_glance": 0, "settled_by_few_trees": 0}

    @property
    def fingerprint(self) -> str:
        return self.learned.fingerprint("demographic")

    def judge(self, pairs: pl.DataFrame) -> pl.DataFrame:
        if self.gates is None:
            return super().judge(pairs)
        logit, looks, _ = self._looked(pairs)
        for look, name in enumerate(self.settled):
            self.settled[name] += int((looks == look).sum())
        return pairs.select("left_rid", "right_rid").with_columns(logit=pl.Series(logit), status=pl.lit("ok"))

    def take_apart(self, pairs: pl.DataFrame) -> TakenApart:
        if self.gates is None:
            return super().take_apart(pairs)
        _, looks, table = self._looked(pairs)
        at_glance, folds = self._glanced(pairs), self._folds(pairs)
        seen = len(glance.FEATURES)
        features = (*glance.FEATURES, *self.read)
        values = np.full((len(pairs), len(features)), np.nan, dtype=np.float32)
        log_odds = np.zeros((len(pairs), len(features) + 1))
        for row in np.flatnonzero(looks == 0):
            values[row, :seen] = at_glance[row]
            parts = self.gates.glance.model.contributions(at_glance[[row]], int(folds[row]), self.threads)[0]
            log_odds[row, :seen], log_odds[row, -1] = parts[:-1], parts[-1]
        further = np.flatnonzero(looks > 0)
        if len(further):
            rest = super().take_apart(pairs[further])
            values[further, seen:], log_odds[further, seen:] = rest.values, rest.log_odds
        for row in np.flatnonzero(looks == 1):
            few = table[[int(np.searchsorted(further, row))]]
            log_odds[row, seen:] = self.gates.quick.model.contributions(few, int(folds[row]), self.threads)[0]
        return TakenApart(features, values, log_odds, looks < len(self.settled))

    def facts(self) -> dict[str, int]:
        return {} if self.gates is None else self.settled

    def _looked(self, pairs: pl.DataFrame) -> tuple[Floats, NDArray[np.int64], NDArray[np.float32]]:
        """Log-odds, how many gates each pair passed, and the features of those that passed the first."""
        gates, model = self.gates, self.model
        assert gates is not None and model is not None
        folds = self._folds(pairs)
        logit = gates.glance.model.predict(self._glanced(pairs), folds, self.threads)
        looks = np.zeros(len(pairs), dtype=np.int64)
        rows = np.flatnonzero(logit >= gates.glance.bound)
        table = np.empty((0, len(self.read)), dtype=np.float32)
        if len(rows):
            table = self.table(pairs[rows])
            logit[rows] = gates.quick.model.predict(table, folds[rows], self.threads)
            looks[rows] = 1
            passed = logit[rows] >= gates.quick.bound
            rows = rows[passed]
            if len(rows):
                logit[rows] = model.predict(table[passed], folds[rows], self.threads)
                looks[rows] = 2
        return logit, looks, table

    def _glanced(self, pairs: pl.DataFrame) -> NDArray[np.float32]:
        assert self.glance is not None
        left, right = (self._places(pairs[side]) for side in ("left_rid", "right_rid"))
        return self.glance.of(left, right, self.features.scores_of(pairs))


class ClinicalJudge(_Embedded):
    name = "clinical"
    part: Literal["clinical"] = "clinical"
    asks = CLINICAL_BOUNDS

    def __init__(self, evidence: Evidence) -> None:
        super().__init__(evidence)
        self.asks = self.learned.histories_asked()
        only = evidence.only
        population = None if only is None else Population.load(evidence.population)
        self.histories = clinical.ClinicalFeatures(self.con, evidence.events, self.features.births(), population, only)
        if only is None:
            self.histories.population.save(evidence.population)

    @property
    def fingerprint(self) -> str:
        return self.learned.fingerprint("joint")

    @property
    def model(self) -> Model | None:
        return self.learned.joint

    @property
    def read(self) -> tuple[Feature, ...]:
        return (*demographic.FEATURES, *clinical.FEATURES)

    def table(self, pairs: pl.DataFrame) -> NDArray[np.float32]:
        own = self.histories.of(self._numbered(pairs)).select(self.histories.names).to_numpy(order="c")
        return np.hstack([super().table(pairs), own])

    def known(self, pairs: pl.DataFrame) -> pl.Series:
        return super().known(pairs) & self.histories.known(self._numbered(pairs))

    def _numbered(self, pairs: pl.DataFrame) -> pl.DataFrame:
        return pairs.with_columns(pl.Series(side, self._places(pairs[side])) for side in ("left_rid", "right_rid"))


def _nothing(pairs: pl.DataFrame) -> pl.DataFrame:
    return (
        pairs.select("left_rid", "right_rid")
        .clear()
        .with_columns(logit=pl.Series([], dtype=pl.Float64), status=pl.Series([], dtype=pl.String))
    )
