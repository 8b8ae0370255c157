"""Canaries: strings that mean nothing, planted in training data to see later whether a model remembers them.

A canary is a number that nobody has, in a line of its own, as a leaked identifier would stand there. Which ones were
planted follows from the seed alone, so a data set needs to keep only the seed and how many. Controls are drawn the same
way and never planted. Knows nothing of models.
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from llm_classifier import prompt
from llm_classifier.dataset import draw
from llm_classifier.dataset.card import Dataset
from resolver import files
from resolver.errors import TrainingError

LINE = "\nnotes: reference "  # no section of a summary is called so
ROOM = 48  # tokens that a canary may take; pairs with less room are left alone


@dataclass(frozen=True)
class Planted:
    """What the card of a data set says about its canaries."""

    seed: int
    count: int  # distinct canaries; those with an even number stand in true pairs only, the others in false ones
    times: int  # pairs that hold each of them

    def texts(self) -> list[str]:
        return [_text("planted", self.seed, number) for number in range(self.count)]

    def labels(self) -> list[int]:
        return [(number + 1) % 2 for number in range(self.count)]

    def controls(self, count: int) -> list[str]:
        return [_text("control", self.seed, number) for number in range(count)]


def of(pairs: Dataset) -> Planted | None:
    """The canaries of a data set; None where it has none."""
    found = pairs.card.made.get("canaries")
    return Planted(**found) if found else None


def put(text: str, canary: str) -> str:
    """A prompt whose left history ends with the canary."""
    left, between, rest = text.partition(prompt.BETWEEN)
    return f"{left}{LINE}{canary}{between}{rest}"


def plant(pairs: pl.DataFrame, planted: Planted, *, max_tokens: int) -> pl.DataFrame:
    """The pairs of a training split with the canaries in them; needs pair_id, swapped, label, left_summary,
    right_summary, prompt and tokens. Which pairs are taken is a matter of their ids.
    """
    fits = pl.col("tokens") <= max_tokens - ROOM
    order = pl.Series("order", draw.order((pairs["pair_id"], pairs["swapped"].cast(pl.Int64)), planted.seed))
    texts = pl.DataFrame(
        {"canary": planted.texts(), "label": planted.labels()}, schema={"canary": pl.String, "label": pl.Int64}
    )
    places = (
        texts.with_columns(nth=pl.int_range(pl.len()).over("label"))
        .join(pl.DataFrame({"time": range(planted.times)}, schema={"time": pl.Int64}), how="cross")
        .with_columns(place=pl.col("time") * pl.len().over("label", "time") + pl.col("nth"))
        .select("label", "place", "canary")
    )
    taken = (
        pairs.lazy()
        .with_columns(order)
        .filter(fits)
        .select("pair_id", "swapped", "order", pl.col("label").cast(pl.Int64))
        .sort("order", "pair_id", "swapped")
        .with_columns(place=pl.int_range(pl.len()).over("label"))
        .join(places.lazy(), on=["label", "place"])
        .select("pair_id", "swapped", "canary")
        .collect()
    )
    if len(taken) < len(places):
        raise TrainingError(
            f"There is room for {len(taken)} of {len(places)} canaries in the training split.",
            do="Make a larger data set, or lower dataset.canaries.",
        )
    line = pl.when(pl.col("canary").is_null()).then(pl.lit("")).otherwise(pl.lit(LINE) + pl.col("canary"))
    told = pairs.join(taken, on=["pair_id", "swapped"], how="left", maintain_order="left")
    longer = prompt.count(pl.Series([LINE + planted.texts()[0]]), None)[0]
    told = told.with_columns(
        left_summary=pl.col("left_summary") + line,
        tokens=pl.col("tokens") + pl.when(pl.col("canary").is_null()).then(0).otherwise(int(longer)).cast(pl.Int32),
    )
    return told.with_columns(
        prompt=prompt.pairs(pl.col("left_summary"), pl.col("right_summary")),
    ).drop("canary")


def _text(kind: str, seed: int, number: int) -> str:
    """Twelve digits in groups of four: about forty bits that no history holds by chance."""
    digits = f"{int(files.digest_of([kind, seed, number])[:16], 16) % 10**12:012d}"
    return f"{digits[:4]} {digits[4:8]} {digits[8:]}"
