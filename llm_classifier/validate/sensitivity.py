"""How a model's answers move when its prompts are changed: per variant over many pairs, per section for one pair.

Knows nothing of what a movement means (findings.py).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from llm_classifier import artifact, calibrate, measures, prompt
from llm_classifier.measures import Floats
from llm_classifier.train import data, scoring
from llm_classifier.validate import variants
from resolver.errors import UsageError
from resolver.progress import Progress

MOST = 400  # pairs that are asked anew in every variant


@dataclass(frozen=True)
class Moved:
    variant: str
    says: str
    changed: float  # share of the pairs whose prompt is another
    shift: float  # mean of the absolute change of the raw logit, over these
    turned: float  # share of all pairs that are called otherwise
    auroc: float
    auprc: float


@dataclass(frozen=True)
class Sensitivity:
    pairs: int
    auroc: float
    auprc: float
    length: float  # rank correlation of logit and length of the prompt, within true and within false pairs
    nothing: float | None  # logit of a prompt whose two sides say nothing
    moved: tuple[Moved, ...]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def of(self, variant: str) -> Moved:
        return next(one for one in self.moved if one.variant == variant)


def measure(model: Path, dataset: Path, progress: Progress, *, most: int = MOST, seed: int = 0) -> Sensitivity:
    """Some pairs of the test split, in one order, as they are and in every variant."""
    told = artifact.check(model)
    test = data.once(data.of(dataset, prompt.VERSION).split("test")).filter(pl.col("weight") > 0)
    test = data.drawn(test, most, seed)
    kinds = (*variants.SECTIONS, *variants.ALONE, *variants.OTHERS)
    asked = {"as they are": test.select("prompt")}
    asked |= {one.name: variants.of(test, one) for one in kinds}
    asked[variants.SWAPPED] = variants.swapped(test)
    asked["nothing"] = pl.DataFrame({"prompt": [prompt.pair(prompt.NOTHING, prompt.NOTHING)]})
    logits = scoring.by_folder(model, {name: frame for name, frame in asked.items() if len(frame)}, progress=progress)
    base = logits["as they are"]
    says = {one.name: one.says for one in kinds} | {variants.SWAPPED: "left and right in each other's place"}
    labels, weights = data.labels(test), data.weights(test)
    moved = []
    for name, words in says.items():
        now = base.copy()
        rows = asked[name].get_column("row").to_numpy()
        now[rows] = logits.get(name, np.empty(0))
        was, then = (calibrate.apply(one, told.calibration) > 0 for one in (base, now))
        moved.append(
            Moved(
                name,
                words,
                len(rows) / len(test),
                float(np.abs(now[rows] - base[rows]).mean()) if len(rows) else 0.0,
                float((was != then).mean()),
                measures.auroc(now, labels, weights),
                measures.auprc(now, labels, weights),
            )
        )
    return Sensitivity(
        len(test),
        measures.auroc(base, labels, weights),
        measures.auprc(base, labels, weights),
        _length(base, test),
        float(logits["nothing"][0]),
        tuple(moved),
    )


@dataclass(frozen=True)
class Section:
    name: str
    adds: float  # how much lower the log-odds are without it
    left: str
    right: str


@dataclass(frozen=True)
class Explained:
    label: int
    logit: float  # raw
    believed: float  # calibrated log-odds
    swapped: float  # raw, with the sides in each other's place
    sections: tuple[Section, ...]  # those that are there, the weightiest first


def explain(model: Path, dataset: Path, pair: int, progress: Progress) -> Explained:
    """One pair of any split: what each section adds, by leaving it out. Sections need not add up to the whole."""
    told = artifact.check(model)
    found = data.of(dataset, prompt.VERSION)
    every = (data.once(found.split(name).filter(pl.col("pair_id") == pair)) for name in found.card.splits)
    one = next((rows.head(1) for rows in every if len(rows)), None)
    if one is None:
        raise UsageError(f"{dataset} holds no pair {pair}.", do="Pairs are numbered in the column pair_id.")
    asked = {"as it is": one.select("prompt"), variants.SWAPPED: variants.swapped(one)}
    asked |= {variant.name: variants.of(one, variant) for variant in variants.SECTIONS}
    logits = scoring.by_folder(model, {name: frame for name, frame in asked.items() if len(frame)}, progress=progress)
    logit = float(logits["as it is"][0])
    (row,) = one.iter_rows(named=True)
    sections = [
        Section(
            name,
            logit - float(logits[variant.name][0]),
            _line(row[variants.LEFT], name),
            _line(row[variants.RIGHT], name),
        )
        for name, variant in zip(prompt.SECTIONS, variants.SECTIONS, strict=True)
        if variant.name in logits
    ]
    return Explained(
        int(row["label"]),
        logit,
        float(calibrate.apply(np.array([logit]), told.calibration)[0]),
        float(logits.get(variants.SWAPPED, np.array([logit]))[0]),
        tuple(sorted(sections, key=lambda section: -abs(section.adds))),
    )


def _line(summary: str, section: str) -> str:
    begin = f"{section}: "
    return next((line.removeprefix(begin) for line in summary.split("\n") if line.startswith(begin)), "")


def _length(logits: Floats, pairs: pl.DataFrame) -> float:
    """Within each label, so that true pairs being longer is no finding; the mean of the two, by number of pairs."""
    table = pairs.select("label", length=pl.col("prompt").str.len_chars()).with_columns(logit=pl.Series(logits))
    found = table.group_by("label").agg(
        pl.corr("length", "logit", method="spearman").fill_nan(0.0).fill_null(0.0).alias("rank"), pl.len()
    )
    return float(np.average(found["rank"].to_numpy(), weights=found["len"].to_numpy()))
