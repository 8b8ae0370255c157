"""Golden logits: what a model answers to some prompts, to hold every copy and every server of it against.

Made with the weights they lie beside, in float32, so that they are what the weights mean; a server computes in fewer
bits, and how far it may be off is measured when a model is exported (serving.json). A difference is told by the number
of its prompt, never by its text.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from llm_classifier import artifact
from llm_classifier.score import Backend
from resolver import files
from resolver.errors import DamagedError, QualityGateError, UsageError

Floats = NDArray[np.float64]

TOLERANCE = 0.25  # of a served logit, where the model does not say: bfloat16 at a few billion parameters


@dataclass(frozen=True)
class Compared:
    golden: Floats
    served: Floats
    tolerance: float

    @property
    def off(self) -> Floats:
        """How far each logit is off; infinite where there was none."""
        found: Floats = np.where(np.isfinite(self.served), np.abs(self.served - self.golden), np.inf)
        return found

    @property
    def agrees(self) -> bool:
        return bool((self.off <= self.tolerance).all())

    def as_dict(self) -> dict[str, Any]:
        bad = np.flatnonzero(self.off > self.tolerance)
        return {
            "agrees": self.agrees,
            "prompts": len(self.golden),
            "tolerance": self.tolerance,
            "largest_difference": _number(self.off.max()),
            "mean_difference": _number(self.off.mean()),
            "beyond": [
                {"prompt": int(place), "golden": _number(self.golden[place]), "served": _number(self.served[place])}
                for place in bad
            ],
        }

    def check(self, where: str) -> None:
        """Stop with the prompts that differ, by number."""
        if self.agrees:
            return
        bad = np.flatnonzero(self.off > self.tolerance)
        told = [
            f"{place} by {self.off[place]:.4g} ({self.golden[place]:.4g} became {self.served[place]:.4g})"
            for place in bad[:5]
        ]
        more = f" and {len(bad) - 5} more" if len(bad) > 5 else ""
        raise QualityGateError(
            f"{where} does not answer as the model does: {len(bad)} of {len(self.golden)} golden prompts are off by "
            f"more than {self.tolerance:g}: prompt {', '.join(told)}{more}.",
            do="Serve the exported folder with the arguments in its serving.json, or export it again.",
        )


def read(folder: Path) -> tuple[list[str], Floats]:
    path = folder / artifact.GOLDEN
    if not path.exists():
        raise UsageError(f"{folder} has no golden logits ({artifact.GOLDEN}).", do="Export the model again.")
    try:
        held = pl.read_parquet(path, columns=["prompt", "logit"])
    except (OSError, pl.exceptions.PolarsError):
        raise DamagedError(f"{path} can't be read.", do="Export the model again.") from None
    return held["prompt"].to_list(), held["logit"].to_numpy().astype(np.float64)


def write(folder: Path, prompts: list[str], logits: Floats) -> None:
    with files.whole(folder / artifact.GOLDEN) as scratch:
        pl.DataFrame({"prompt": prompts, "logit": logits}).write_parquet(scratch)


def ask(backend: Backend, prompts: list[str]) -> Floats:
    """The logits in the order of the prompts; NaN where there was none."""
    found = np.full(len(prompts), np.nan)
    for place, logit in backend.logits(prompts):
        found[place] = logit
    return found


def tolerance(folder: Path) -> float:
    """How far a served logit of this model may be off: as measured when it was exported."""
    try:
        return float(json.loads((folder / artifact.SERVING).read_text(encoding="utf-8"))["tolerance"])
    except FileNotFoundError:
        return TOLERANCE
    except (OSError, ValueError, KeyError, TypeError):
        raise DamagedError(f"{folder / artifact.SERVING} can't be read.", do="Export the model again.") from None


def compare(backend: Backend, folder: Path, allowed: float | None = None) -> Compared:
    """A backend held against the golden logits of a folder."""
    prompts, golden = read(folder)
    return Compared(golden, ask(backend, prompts), tolerance(folder) if allowed is None else allowed)


def _number(value: float) -> float | None:
    return round(float(value), 6) if np.isfinite(value) else None
