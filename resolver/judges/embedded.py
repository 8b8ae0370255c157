"""The two judges that run on any CPU: `demographic` and `clinical`.

`demographic` reads what Splink's levels throw away and takes its place. `clinical` reads the two histories together
with the demographics and takes the place of both: what it adds to the demographic log-odds is what the histories say.
Both say nothing where nothing was learned, `clinical` also where a side has no history.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from resolver import database
from resolver.judges import Evidence
from resolver.judges.features import clinical, demographic
from resolver.judges.learned import Learned, Model, pair_folds, record_folds

# Outside of these log-odds of the demographics no history has been seen to change the answer.
CLINICAL_BOUNDS = (-9.0, 14.0)


class _Embedded:
    role: Literal["revises"] = "revises"

    def __init__(self, evidence: Evidence) -> None:
        self.evidence = evidence
        self.learned = Learned.load(evidence.learned)
        run = evidence.settings.run
        self.threads = run.threads
        self.con = database.connect(memory_gib=run.memory_gib, threads=run.threads, spill=evidence.scratch)
        self.features = demographic.DemographicFeatures(self.con, evidence.records)
        self.folds = record_folds(self.con, evidence.records, self.learned.folds)

    def table(self, pairs: pl.DataFrame) -> NDArray[np.float32]:
        return self.features.of(pairs).select(self.features.names).to_numpy(order="c")

    def verdicts(self, model: Model, pairs: pl.DataFrame) -> pl.DataFrame:
        left, right = (pairs[side].to_numpy().astype(np.int64) for side in ("left_rid", "right_rid"))
        folds = pair_folds(self.folds, left, right, self.learned.folds)
        logit = model.predict(self.table(pairs), folds, self.threads)
        return pairs.select("left_rid", "right_rid").with_columns(logit=pl.Series(logit), status=pl.lit("ok"))

    def brings(self) -> pl.DataFrame | None:
        return None


class DemographicJudge(_Embedded):
    name = "demographic"
    part: Literal["demographics"] = "demographics"
    asks = (-np.inf, np.inf)

    @property
    def fingerprint(self) -> str:
        return self.learned.fingerprint("demographic")

    def judge(self, pairs: pl.DataFrame) -> pl.DataFrame:
        if self.learned.demographic is None:
            return _nothing(pairs)
        return self.verdicts(self.learned.demographic, pairs)


class ClinicalJudge(_Embedded):
    name = "clinical"
    part: Literal["clinical"] = "clinical"
    asks = CLINICAL_BOUNDS

    def __init__(self, evidence: Evidence) -> None:
        super().__init__(evidence)
        self.histories = clinical.ClinicalFeatures(self.con, evidence.events, len(self.folds))

    @property
    def fingerprint(self) -> str:
        return self.learned.fingerprint("joint")

    def table(self, pairs: pl.DataFrame) -> NDArray[np.float32]:
        own = self.histories.of(pairs).select(self.histories.names).to_numpy(order="c")
        return np.hstack([super().table(pairs), own])

    def judge(self, pairs: pl.DataFrame) -> pl.DataFrame:
        if self.learned.joint is None:
            return _nothing(pairs)
        known = self.histories.known(pairs)
        return self.verdicts(self.learned.joint, pairs.filter(known)) if known.any() else _nothing(pairs)


def _nothing(pairs: pl.DataFrame) -> pl.DataFrame:
    return (
        pairs.select("left_rid", "right_rid")
        .clear()
        .with_columns(logit=pl.Series([], dtype=pl.Float64), status=pl.Series([], dtype=pl.String))
    )
