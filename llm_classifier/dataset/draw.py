"""How many pairs of which kind, and which ones: by quotas per split, populations in turn, order by a stable hash.

Weights bring the gray zone's own mix back: a pair between two knots of persons stands for those that fell between two
splits, and true and false pairs add up to the zone's own shares. Pairs from outside the gray zone weigh nothing.
Knows nothing of prompts.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from llm_classifier.settings.dataset import DatasetSettings

OFFSETS = 8  # strangers that each record meets, at most


def order(columns: tuple[pl.Series, ...], seed: int) -> NDArray[np.uint64]:
    """A number per row that scrambles their order: splitmix64 over whole numbers, the same everywhere."""
    mixed = np.full(len(columns[0]), seed, dtype=np.uint64)
    with np.errstate(over="ignore"):
        for column in columns:
            mixed = _mix(mixed + column.to_numpy().astype(np.uint64))
    return mixed


def _mix(value: NDArray[np.uint64]) -> NDArray[np.uint64]:
    value = value + np.uint64(0x9E3779B97F4A7C15)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


def strangers(people: pl.DataFrame, pairs: pl.DataFrame, seed: int) -> pl.DataFrame:
    """Pairs of records of one split that nothing brings together. `people`: population, rid, person, split, knot."""
    scrambled = (
        people.with_columns(pl.Series("order", order((people["population"], people["rid"]), seed)))
        .sort("population", "split", "order")
        .select("population", "split", "rid", "person", "knot")
    )
    near = ("population", "split")
    met = pl.concat(
        scrambled.with_columns(
            pl.col("rid").shift(-step).over(near).alias("other"),
            pl.col("person").shift(-step).over(near).alias("other_person"),
        )
        for step in range(1, OFFSETS + 1)
    ).filter(pl.col("other").is_not_null() & (pl.col("person") != pl.col("other_person")))
    return (
        met.select(
            "population",
            "split",
            left_rid=pl.min_horizontal("rid", "other"),
            right_rid=pl.max_horizontal("rid", "other"),
        )
        .unique(maintain_order=True)
        .join(pairs, on=["population", "left_rid", "right_rid"], how="anti", maintain_order="left")
        .with_columns(
            pl.lit(0, pl.Int8).alias("label"),
            pl.lit("random").alias("origin"),
            pl.lit(None, pl.Float64).alias("logit"),
        )
    )


def quotas(counts: dict[tuple[int, str], int], most: int, settings: DatasetSettings) -> dict[tuple[int, str], int]:
    """How many of each (label, origin) to draw in one split where there are `counts` of them."""

    def there(label: int, *origins: str) -> int:
        return sum(counts.get((label, origin), 0) for origin in origins)

    def share(total: int, origins: tuple[str, str], first: float) -> dict[tuple[int, str], int]:
        """Negatives of two origins, the first with its share; what one lacks the other gives."""
        one = min(round(total * first), there(0, origins[0]))
        two = min(total - one, there(0, origins[1]))
        one = min(total - two, there(0, origins[0]))
        return {(0, origins[0]): one, (0, origins[1]): two}

    gray, hard = there(1, "gray"), there(0, "gray", "lookalike")
    # What is easy never outweighs what is hard by more than the settings say, even where that means fewer pairs.
    easy = min(there(1, "easy"), int(gray * settings.easy_positives / (1 - settings.easy_positives)))
    soft = min(there(0, "random", "easy"), int(hard * (1 - settings.hard_negatives) / settings.hard_negatives))
    total = min(most, int((gray + easy) / settings.positives), int((hard + soft) / (1 - settings.positives)))
    true = round(total * settings.positives)
    false = total - true
    easy = min(easy, true - min(gray, round(true * (1 - settings.easy_positives))))
    soft = min(soft, false - min(hard, round(false * settings.hard_negatives)))
    return {
        (1, "easy"): easy,
        (1, "gray"): true - easy,
        **share(false - soft, ("lookalike", "gray"), settings.lookalikes),
        **share(soft, ("random", "easy"), 0.5),
    }


def draw(pairs: pl.DataFrame, wanted: dict[tuple[int, int, str], int], seed: int) -> pl.DataFrame:
    """The drawn pairs, each population in turn. `wanted`: how many by split, label and origin."""
    stratum = ["split", "label", "origin"]
    quota = pl.DataFrame(
        [(*key, number) for key, number in sorted(wanted.items())],
        schema={"split": pl.Int64, "label": pl.Int8, "origin": pl.String, "quota": pl.Int64},
        orient="row",
    )
    return (
        pairs.with_columns(
            pl.Series("order", order((pairs["population"], pairs["left_rid"], pairs["right_rid"]), seed))
        )
        .sort("order")
        .with_columns(turn=pl.int_range(pl.len()).over(*stratum, "population"))
        .sort("turn", "population")
        .with_columns(place=pl.int_range(pl.len()).over(stratum))
        .join(quota, on=stratum)
        .filter(pl.col("place") < pl.col("quota"))
        .sort("population", "left_rid", "right_rid")
        .select(pairs.columns)
    )


def weigh(drawn: pl.DataFrame, shares: Sequence[float], prior: float) -> pl.Series:
    """Per pair its weight: those of gray pairs add up to their number in each split, true ones to the prior's share."""
    gray = pl.col("origin") == "gray"
    between = pl.col("left_knot") != pl.col("right_knot")
    reach = pl.col("split").replace_strict(dict(enumerate(shares)), return_dtype=pl.Float64)
    raw = pl.when(~gray).then(0.0).when(between).then(1 / reach).otherwise(1.0)
    wanted = gray.sum().over("split") * pl.when(pl.col("label") == 1).then(prior).otherwise(1 - prior)
    weight = pl.when(gray).then(wanted * pl.col("raw") / pl.col("raw").sum().over("split", "label")).otherwise(0.0)
    return drawn.with_columns(raw=raw).select(weight.alias("weight"))["weight"]
