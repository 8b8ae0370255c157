"""A data set as it travels to where a model is trained: what training reads, and nothing else.

Records' ids, summaries, and what only evaluation reads (sex, age band, race, ethnicity, origin) stay at home. Pairs and
groups of persons get numbers of their own, in the order of the old ones, so that all that is drawn is drawn alike. The
card keeps the pin: what is trained on it was trained on this data set.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import polars as pl

from llm_classifier.dataset import card
from resolver import files

READ = ("pair_id", "group", "swapped", "prompt", "label", "weight")
NUMBERED = ("pair_id", "group")


def write(dataset: card.Dataset, folder: Path) -> list[Path]:
    """Put it into a folder; its files."""
    splits, paths = {}, [folder / card.FILE]
    for name in card.SPLITS:
        path = card.file_of(folder, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = dataset.split(name).select(READ)
        kept.with_columns(pl.col(NUMBERED).rank("dense").cast(pl.Int64)).write_parquet(path, compression="zstd")
        splits[name] = {"sha256": files.digest(path), "rows": len(kept)}
        paths.append(path)
    told = dataclasses.replace(
        dataset.card, splits=splits, gray_prior=0.0, priors={}, populations=[], attrition=[], made={}
    )
    files.write_json(folder / card.FILE, dataclasses.asdict(told))
    return paths
