"""The judge `human`: what people said of pairs, read from the index. It has nothing to say of any other pair."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from resolver import mpi

if TYPE_CHECKING:
    import polars as pl

    from resolver.judges import Evidence


class HumanJudge:
    name: str = "human"
    part: Literal["demographics", "clinical", "llm", "human"] = "human"
    role: Literal["revises", "adds"] = "adds"
    asks = (-math.inf, math.inf)

    def __init__(self, evidence: Evidence) -> None:
        import polars as pl

        index = evidence.settings.index_path
        self._fingerprint = mpi.verdicts_digest(index)
        said = mpi.human_verdicts(index)
        numbers = pl.scan_parquet(evidence.records).select("rid", "record_id")
        known = numbers.filter(
            pl.col("record_id").is_in(pl.concat([said["left_record"], said["right_record"]]).implode())
        ).collect()
        one = said.join(known.rename({"rid": "a"}), left_on="left_record", right_on="record_id")
        both = one.join(known.rename({"rid": "b"}), left_on="right_record", right_on="record_id")
        self._verdicts = both.select(
            left_rid=pl.min_horizontal("a", "b"), right_rid=pl.max_horizontal("a", "b"), logit="logit"
        )

    @property
    def fingerprint(self) -> str:
        return self._fingerprint

    def brings(self) -> pl.DataFrame:
        return self._verdicts.select("left_rid", "right_rid")

    def judge(self, pairs: pl.DataFrame) -> pl.DataFrame:
        import polars as pl

        found = pairs.select("left_rid", "right_rid").join(
            self._verdicts, on=["left_rid", "right_rid"], maintain_order="left"
        )
        return found.with_columns(status=pl.lit("ok"))
