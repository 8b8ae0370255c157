"""What a person may choose about the registry of models and its gate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from llm_classifier.registry.metrics import BETTER
from resolver.errors import instead
from resolver.settings.base import Section

Share = Annotated[float, Field(ge=0, lt=1)]


class GateSettings(Section):
    """When a model may take the place of the one in production, both measured on the same pinned test set."""

    headline: tuple[str, ...] = Field(default=("auprc", "auroc", "f1"), min_length=1)
    """Figures of the whole test set that are compared: auprc, auroc, f1, precision, recall, accuracy, log_loss, brier,
    calibration_error."""

    max_worse: Share = 0.02
    """How much worse a headline figure may be, as a share of what the model in production has."""

    slice_figures: tuple[str, ...] = ("auroc",)
    """Figures that are compared slice by slice. AUROC does not depend on the share of true pairs in a slice."""

    slice_max_worse: Share = 0.05
    """How much worse a figure of a slice may be."""

    slices: dict[str, Share] = Field(default_factory=dict)
    """Other bounds for some dimensions: {sex: 0.03}."""

    slice_min_pairs: int = Field(default=50, ge=1)
    """A slice with fewer true pairs, or fewer others, than this is told but not judged: its figures are noise."""

    max_seen: Share = 0.02
    """Share of the test pairs of which a history may stand word for word in the data that the model was trained on.
    Short histories of different persons do so in half a per cent."""

    at_least: dict[str, float] = Field(default_factory=lambda: {"auroc": 0.5})
    """What the bad end of a headline figure's interval must reach, whatever is in production; for log_loss, brier and
    calibration_error what it must not exceed. .5 of AUROC: better than chance."""

    test_set: str | None = None
    """Pin of the data set that counts. Default: the one that the model in production was promoted on. Naming another is
    how a test set is replaced; the model in production must have been measured on it too."""

    @model_validator(mode="after")
    def _known(self) -> Self:
        for name in (*self.headline, *self.slice_figures, *self.at_least):
            if name not in BETTER:
                raise ValueError(f"{name}: unknown figure; {instead(name, BETTER)}")
        return self


class RegistrySettings(Section):
    dir: Path
    """Folder of the registry."""

    gate: GateSettings = GateSettings()
