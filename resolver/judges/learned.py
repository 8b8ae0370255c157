"""What the learn stage hands to the embedded judges: fitted trees, how their scores become log-odds, and gates.

Kept as one JSON file. Where the trees learned from this very data, there are several, each fitted without a part of the
pairs, and a pair is judged by the one that has not seen it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray

from resolver import files
from resolver.database import quote
from resolver.errors import DamagedError
from resolver.judges.trees import Floats, Trees

Folds = NDArray[np.int64]

# Outside of these log-odds of the demographics no history has been seen to change the answer.
CLINICAL_BOUNDS = (-9.0, 14.0)


@dataclass(frozen=True)
class Model:
    """Trees and a line through their scores: log-odds = intercept + slope * score. The slope is never below 0."""

    trees: tuple[str, ...]  # one per fold, or one for all
    slope: float = 1.0
    intercept: float = 0.0

    def predict(self, table: NDArray[np.float32], folds: Folds, threads: int) -> Floats:
        """Calibrated log-odds; row i by the trees that were fitted without fold i."""
        if len(self.trees) == 1:
            scores = Trees(self.trees[0]).predict(table, threads)
        else:
            scores = np.empty(len(table))
            for number, text in enumerate(self.trees):
                rows = np.flatnonzero(folds == number)
                if len(rows):
                    scores[rows] = Trees(text).predict(table[rows], threads)
        return self.intercept + self.slope * scores

    def contributions(self, table: NDArray[np.float32], fold: int, threads: int) -> Floats:
        """Per row, what each feature adds to the log-odds; the last column is what was there before any."""
        trees = Trees(self.trees[fold if len(self.trees) > 1 else 0])
        parts = trees.contributions(table, threads) * self.slope
        parts[:, -1] += self.intercept
        return parts


@dataclass(frozen=True)
class Gate:
    """A quick look: a pair whose log-odds by it lie below the bound is settled, and no other trees are asked."""

    model: Model
    bound: float
    lost: float  # share of the matches that it settles though the other trees would not, where it was learned
    settled: float  # share of the pairs that it settles there, of those that come to it


@dataclass(frozen=True)
class Gates:
    """What a pair passes before the demographic trees see it."""

    glance: Gate  # what is seen at a glance
    quick: Gate  # the demographic features, but few trees


@dataclass(frozen=True)
class Learned:
    """The embedded judges' models. Without any, the judges say nothing and Splink's score stands."""

    way: str  # shipped, labels, unlabelled or none
    why: str  # in words, for the person who reads the report
    demographic: Model | None = None
    joint: Model | None = None  # demographic and clinical features together
    card: dict[str, Any] = field(default_factory=dict)  # what it was fitted on, and how well it did elsewhere
    gates: Gates | None = None  # before the demographic trees; without any, these see every pair

    @property
    def folds(self) -> int:
        return max(len(model.trees) for model in (self.demographic, self.joint) if model) if self.demographic else 1

    def fingerprint(self, part: str) -> str:
        model = getattr(self, part)
        if model is None:
            return "none"
        parts = (model, self.gates) if self.gates is not None and part == "demographic" else (model,)
        said = "".join(json.dumps(asdict(one), sort_keys=True) for one in parts)
        return hashlib.sha256(said.encode()).hexdigest()[:12]

    def histories_asked(self) -> tuple[float, float]:
        """Log-odds of the demographics between which histories are asked: what the gates settle is not open."""
        low, high = CLINICAL_BOUNDS
        bounds = () if self.gates is None else (self.gates.glance.bound, self.gates.quick.bound)
        return max(low, *bounds) if bounds else low, high

    def save(self, path: Path) -> None:
        files.write_json(path, asdict(self))

    @classmethod
    def load(cls, path: Path) -> Learned:
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            models = {name: _model(content[name]) for name in ("demographic", "joint") if content[name]}
            gates = content.get("gates")
            return cls(
                content["way"],
                content["why"],
                card=content["card"],
                gates=Gates(_gate(gates["glance"]), _gate(gates["quick"])) if gates else None,
                **models,
            )
        except (ValueError, KeyError, TypeError) as error:
            raise DamagedError(
                f"{path} does not hold the judges' models.", do="Run again with --from learn."
            ) from error


def _model(content: dict[str, Any]) -> Model:
    return Model(tuple(content["trees"]), content["slope"], content["intercept"])


def _gate(content: dict[str, Any]) -> Gate:
    return Gate(_model(content["model"]), content["bound"], content["lost"], content["settled"])


def record_folds(con: duckdb.DuckDBPyConnection, records: Path, folds: int, only: Sequence[int] | None = None) -> Folds:
    """A fold per record that stays the same from run to run, since it hangs on the record's id alone.

    In the order of rid; `only`: of these records alone.
    """
    which = "" if only is None else f"WHERE rid IN ({', '.join(map(str, only)) or 'NULL'})"
    rows = con.sql(
        f"SELECT CAST(md5_number_lower(record_id) % {folds} AS INTEGER) AS fold FROM read_parquet({quote(records)})"
        f" {which} ORDER BY rid"
    ).fetchnumpy()
    return np.asarray(rows["fold"], dtype=np.int64)


def pair_folds(of_records: Folds, left: NDArray[np.int64], right: NDArray[np.int64], folds: int) -> Folds:
    """A fold per pair, the same whichever record comes first."""
    result: Folds = (of_records[left] + of_records[right]) % folds
    return result
