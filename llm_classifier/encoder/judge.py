"""The judge `encoder`: what a trained fusion encoder says of two histories, together with what stood before it.

It revises: its score is no evidence apart from that of the judges before it (combining.py says why), so its log-odds
take the place of theirs. What it adds counts as clinical, since histories are all that it reads. Asked in the place of
the judge `clinical` or after it, whichever it was trained for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from llm_classifier.encoder import model
from resolver.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    import polars as pl
    from numpy.typing import NDArray
    from torch import Tensor

    from resolver.judges import Evidence

RECORDS_AT_ONCE = 20_000  # whose events are read together
DIGITS = 4  # of a logit: more differ with the records that happened to be encoded together


class EncoderJudge:
    name: str = "encoder"
    part: Literal["demographics", "clinical", "llm", "human"] = "clinical"
    role: Literal["revises", "adds"] = "revises"
    asks: tuple[float, float] | None = None  # the card of its model says

    def __init__(self, evidence: Evidence) -> None:
        folder = evidence.settings.encoder.model
        if folder is None:
            raise UsageError(
                "The judge encoder has no model.",
                do="Set encoder.model to a folder that resolver llm encoder train made.",
            )
        self.card, self.network = model.load(folder)
        judges = evidence.settings.adjudicate.judges
        before = tuple(name for name in judges[: judges.index(self.name)] if name != "human")
        if before != self.card.after:
            raise UsageError(
                f"The encoder in {folder} was trained to be asked after {_named(self.card.after)}, "
                f"and adjudicate.judges asks it after {_named(before)}.",
                do="Order them so, or train it with encoder.after set to what is asked.",
            )
        self.asks = self.card.asks
        self.evidence = evidence
        self._encoded = _Encoded(self)

    @property
    def fingerprint(self) -> str:
        return self.card.fingerprint

    def brings(self) -> pl.DataFrame | None:
        return None

    def judge(self, pairs: pl.DataFrame) -> pl.DataFrame:
        import numpy as np
        import polars as pl

        from llm_classifier.encoder import fitting

        left, right = (pairs[side].to_numpy().astype(np.int64) for side in ("left_rid", "right_rid"))
        with fitting.steady(self.evidence.settings.run.threads, 0):
            of_records, place = self._encoded.of(np.unique(np.concatenate([left, right])))
            left, right = place[left], place[right]
            known = np.flatnonzero((left >= 0) & (right >= 0))
            score = fitting.compare(self.network, of_records, left[known], right[known])
        logit = self.card.line.of(pairs["logit"].to_numpy()[known], score)
        return (
            pairs[known]
            .select("left_rid", "right_rid")
            .with_columns(logit=pl.Series(np.round(logit, DIGITS), dtype=pl.Float64), status=pl.lit("ok"))
        )


class _Encoded:
    """The vectors of the records that were asked about so far: each record is encoded once in a run."""

    def __init__(self, judge: EncoderJudge) -> None:
        import numpy as np
        import torch

        self.network, self.evidence = judge.network, judge.evidence
        self.vectors = torch.empty(0, 2 * self.network.shape.width)
        self.place = np.full(0, -2, dtype=np.int64)  # per rid: its row; -1: has no evidence; -2: not looked at yet

    def of(self, rids: NDArray[np.int64]) -> tuple[Tensor, NDArray[np.int64]]:
        """The vectors, and per rid the row of its own; -1 where the record has no evidence."""
        import numpy as np
        import torch

        from llm_classifier.encoder import fitting, tokens
        from resolver import database

        if len(rids) and rids[-1] >= len(self.place):
            self.place = np.append(self.place, np.full(int(rids[-1]) + 1 - len(self.place), -2))
        new = rids[self.place[rids] == -2]
        run, shape = self.evidence.settings.run, self.network.shape
        parts = [self.vectors]
        rows = len(self.vectors)
        with database.connect(memory_gib=run.memory_gib, threads=run.threads, spill=self.evidence.scratch) as con:
            for start in range(0, len(new), RECORDS_AT_ONCE):
                some = new[start : start + RECORDS_AT_ONCE]
                found = tokens.read(con, self.evidence.events, some, buckets=shape.buckets, most=shape.most)
                there = np.flatnonzero(found.known)
                self.place[some] = -1
                self.place[some[there]] = rows + np.arange(len(there))
                rows += len(there)
                parts.append(fitting.vectors(self.network, found, there))
        self.vectors = torch.cat(parts)
        return self.vectors, self.place


def _named(judges: tuple[str, ...]) -> str:
    return ", ".join(judges) or "none"
