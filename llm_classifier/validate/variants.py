"""The same prompts with something taken out, put elsewhere or turned round: what do a model's answers hang on?

Works on the texts of a data set, whose summaries have a line per section and semicolons between pieces (prompt). So it
needs no run, and the variants are of the very prompts that were scored. Knows nothing of models.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

from llm_classifier import prompt

LEFT, RIGHT = "left_summary", "right_summary"
_YEAR = r"\b((?:19|20)\d{2})\b"


@dataclass(frozen=True)
class Variant:
    name: str
    says: str  # what was done, for people
    change: Callable[[pl.DataFrame], pl.DataFrame]  # of the pieces of all summaries


def _without(section: str) -> Variant:
    return Variant(
        f"without {section}",
        f"{section} left out on both sides",
        lambda pieces: pieces.filter(pl.col("name") != section),
    )


def _only(section: str) -> Variant:
    return Variant(
        f"only {section}",
        f"nothing but {section} on both sides",
        lambda pieces: pieces.filter(pl.col("name") == section),
    )


def _without_latest_year(pieces: pl.DataFrame) -> pl.DataFrame:
    year = pl.col("piece").str.extract_all(_YEAR).list.eval(pl.element().cast(pl.Int32)).list.max()
    return (
        pieces.with_columns(year=year)
        .filter(pl.col("year").is_null() | (pl.col("year") < pl.col("year").max().over("row")))
        .drop("year")
    )


def _shuffled(pieces: pl.DataFrame) -> pl.DataFrame:
    """Another order within each section, the same at each call."""
    order = pl.struct("row", "side", "piece").hash(7)
    return pieces.with_columns(place=order.rank("ordinal").over("row", "side", "name").cast(pl.Int64))


def _halved(pieces: pl.DataFrame) -> pl.DataFrame:
    """The first half of each section, rounded up: prompts of about half the length."""
    return pieces.filter(pl.col("place") * 2 < pl.col("place").max().over("row", "side", "name") + 1)


SECTIONS = tuple(_without(name) for name in prompt.SECTIONS)
ALONE = tuple(_only(name) for name in prompt.SECTIONS)
OTHERS = (
    Variant("without the latest year", "what happened in the latest year told left out", _without_latest_year),
    Variant("shuffled", "another order within sections", _shuffled),
    Variant("half as long", "the second half of each section left out", _halved),
)
SWAPPED = "sides swapped"


def of(pairs: pl.DataFrame, variant: Variant) -> pl.DataFrame:
    """The pairs with the variant's prompts; those whose prompt stayed as it was are left out. `row`: their position."""
    rows = pairs.select(LEFT, RIGHT).with_row_index("row")
    told = variant.change(_pieces(rows))
    for side in (LEFT, RIGHT):
        rows = rows.join(_rendered(told, side), on="row", how="left", maintain_order="left")
    texts = (pl.col(f"{side}_now").fill_null(prompt.NOTHING) for side in (LEFT, RIGHT))
    changed = rows.with_columns(prompt=prompt.pairs(*texts)).filter(
        pl.any_horizontal(pl.col(side) != pl.col(f"{side}_now").fill_null(prompt.NOTHING) for side in (LEFT, RIGHT))
    )
    return changed.select("row", "prompt")


def swapped(pairs: pl.DataFrame) -> pl.DataFrame:
    """The same pairs with left and right in each other's place."""
    rows = pairs.select(LEFT, RIGHT).with_row_index("row").filter(pl.col(LEFT) != pl.col(RIGHT))
    return rows.select("row", prompt=prompt.pairs(pl.col(RIGHT), pl.col(LEFT)))


def _pieces(rows: pl.DataFrame) -> pl.DataFrame:
    """row, side, line (of the section), name, place, piece."""
    found = (
        rows.unpivot([LEFT, RIGHT], index="row", variable_name="side", value_name="text")
        .filter(pl.col("text") != prompt.NOTHING)
        .with_columns(pl.col("text").str.split("\n"))
        .explode("text")
        .with_columns(line=pl.int_range(pl.len()).over("row", "side"), cut=pl.col("text").str.split_exact(": ", 1))
        .unnest("cut")
        .rename({"field_0": "name", "field_1": "pieces"})
        .with_columns(pl.col("text").str.strip_prefix(pl.col("name") + ": ").str.split("; ").alias("piece"))
        .explode("piece")
    )
    return found.select(
        "row", "side", "line", "name", "piece", place=pl.int_range(pl.len()).over("row", "side", "line")
    )


def _rendered(pieces: pl.DataFrame, side: str) -> pl.DataFrame:
    return (
        pieces.filter(pl.col("side") == side)
        .sort("row", "line", "place")
        .group_by("row", "line", "name", maintain_order=True)
        .agg(pl.col("piece").str.join("; "))
        .group_by("row", maintain_order=True)
        .agg((pl.col("name") + ": " + pl.col("piece")).str.join("\n").alias(f"{side}_now"))
    )
