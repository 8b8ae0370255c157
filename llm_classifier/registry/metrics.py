"""What a model scored on a pinned test set: written by `resolver llm validate`, compared by the gate.

One JSON file, in a folder of its own beside the weights, since whatever lies right beside them is part of their digest.
Knows nothing of how the figures are computed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from resolver import files
from resolver.errors import DamagedError, UsageError
from resolver.settings.base import Section

FILE = Path("validation") / "metrics.json"  # in the folder of the model

# Every figure that a record may hold. Log loss, Brier score and calibration error are of calibrated probabilities.
BETTER: dict[str, Literal["higher", "lower"]] = {
    "auprc": "higher",  # at the gray zone's own prior
    "auroc": "higher",
    "f1": "higher",
    "precision": "higher",
    "recall": "higher",
    "accuracy": "higher",
    "log_loss": "lower",
    "brier": "lower",
    "calibration_error": "lower",
}


class Figure(Section):
    """A value with its 95 % interval. Without one, low and high are the value."""

    value: float = Field(allow_inf_nan=False)
    low: float = Field(allow_inf_nan=False)
    high: float = Field(allow_inf_nan=False)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low > self.high:  # the value itself may lie outside: an interval by drawing anew can be biased
            raise ValueError("an interval begins before it ends")
        return self


class Slice(Section):
    """The pairs of one value of one dimension, such as sex F."""

    dimension: str
    value: str
    pairs: int = Field(ge=0)
    positives: int = Field(ge=0)
    """How many of them are true pairs."""

    figures: dict[str, Figure]
    """Those that can be computed here; of pairs of one label alone there is no AUROC."""

    @property
    def name(self) -> str:
        return f"{self.dimension} {self.value}"


class Metrics(Section):
    model: str
    """Fingerprint of the model that was measured (Artifact.fingerprint)."""

    calibration: dict[str, float]
    """The calibration that it was measured with (Artifact.calibration)."""

    test_set: str
    """Pin of the data set (Dataset.pin). Figures are comparable only where it is the same."""

    split: str = "test"
    """The split of the data set that was scored."""

    trained_on: str = ""
    """Pin of the data set that the model was trained on; empty for none."""

    seen: int | None = Field(default=None, ge=0)
    """Test pairs of which a history stands in the training data too. None: not known, since those lie elsewhere."""

    pairs: int = Field(ge=1)
    positives: int = Field(ge=0)
    headline: dict[str, Figure] = Field(min_length=1)
    slices: tuple[Slice, ...] = ()
    made: dict[str, Any] = Field(default_factory=dict)
    """How they were made: versions, seed, rounds of the bootstrap, where the data set lay."""

    @model_validator(mode="after")
    def _known(self) -> Self:
        for figures in (self.headline, *(one.figures for one in self.slices)):
            unknown = sorted(set(figures) - set(BETTER))
            if unknown:
                raise ValueError(f"{', '.join(unknown)}: unknown figure; known are {', '.join(BETTER)}")
        names = [(one.dimension, one.value) for one in self.slices]
        if len(names) != len(set(names)):
            raise ValueError("a slice stands there twice")
        return self

    @property
    def test_name(self) -> str:
        """Short, for people and file names."""
        return short(self.test_set)


def short(pin: str) -> str:
    return pin[:12]


def write(path: Path, metrics: Metrics) -> None:
    files.write_json(path, metrics.model_dump(mode="json"))


def read(path: Path) -> Metrics:
    missing = UsageError(f"There are no metrics in {path}.", do="Measure the model first with: resolver llm validate")
    content = files.read_json(path, missing=missing, do="Measure the model again.")
    try:
        return Metrics.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the whole"
        raise DamagedError(
            f"{path} is not a record of metrics ({place}: {first['type'].replace('_', ' ')}).",
            do="Measure the model again with this version of the program.",
        ) from None
