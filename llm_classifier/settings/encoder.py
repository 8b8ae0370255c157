"""What a person may choose about the fusion encoder's training."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from resolver.database import cores
from resolver.settings.base import Section


class ShapeSettings(Section):
    buckets: int = Field(default=8192, ge=16)
    """Numbers that pieces of words are hashed to."""

    most: int = Field(default=48, ge=1)
    """Tokens of one kind that a record keeps, those seen last."""

    width: int = Field(default=64, ge=8)
    """Numbers per token; a record's vector has twice as many."""

    heads: int = Field(default=4, ge=1)
    """Attention heads; they share the width."""

    layers: int = Field(default=1, ge=1)
    """Layers of each kind's transformer."""

    fusion_layers: int = Field(default=1, ge=1)
    """Layers of the transformer over the kinds."""

    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Share of numbers left out at random in training."""

    @model_validator(mode="after")
    def _divides(self) -> Self:
        if self.width % self.heads:
            raise ValueError("width must be a multiple of heads")
        return self


class EncoderSettings(Section):
    out: Path
    """Folder of the trained encoder."""

    runs: tuple[Path, ...] = Field(min_length=1)
    """Configs of finished runs with a truth, to learn from, mixed."""

    calibrate: tuple[Path, ...] = ()
    """Configs of finished runs with a truth, to turn scores into log-odds. Default: persons of `runs` kept out."""

    report: tuple[Path, ...] = ()
    """Configs of finished runs with a truth, to measure the result on, and nothing else."""

    after: tuple[str, ...] = ("demographic",)
    """Judges that are asked before this one, in order. Their verdicts are what the encoder's score is combined with:
    those in the runs of `calibrate`, or of `runs` where there are none. Empty: Splink's score."""

    asks: tuple[float, float] = (-9.0, 14.0)
    """The encoder is asked about pairs whose log-odds, as the judges before it left them, lie between the two."""

    shape: ShapeSettings = ShapeSettings()

    held_out: float = Field(default=0.3, gt=0, lt=1)
    """Share of the persons kept out of training: half of them stop it, half turn scores into log-odds."""

    folds: Literal["none", "person", "facility"] = "none"
    """Train once more per fold, to see how well it does without that fold. person: fifths of the persons.
    facility: each facility left out in turn."""

    loss: Literal["bce", "focal"] = "bce"
    """bce: cross-entropy. focal: the same, with less weight on pairs that are told well already."""

    focal: float = Field(default=2.0, ge=0)
    """focal: how much less weight."""

    teacher: Literal["none", "clinical", "llm"] = "none"
    """Learn also from what these judges added in the runs, as soft labels (distillation)."""

    teach: float = Field(default=0.5, gt=0, le=1)
    """Share of the teacher's labels in the loss, on pairs that it spoke of."""

    epochs: int = Field(default=8, ge=1)
    """Passes over the persons."""

    records: int = Field(default=256, ge=8)
    """Records of a step, about; all labelled pairs among them count."""

    strangers: float = Field(default=1.0, ge=0)
    """Pairs of any two persons of a step, per record, that count as non-matches beside the linker's pairs."""

    hide: float = Field(default=0.1, ge=0, lt=1)
    """Share of a record's kinds of evidence hidden at random in training, so that a missing kind is nothing new."""

    learning_rate: float = Field(default=0.003, gt=0)
    """Highest step of AdamW, reached after the warm-up; it falls to nothing along a cosine."""

    warm_up: float = Field(default=0.1, ge=0, lt=1)
    """Share of the steps over which the learning rate rises."""

    weight_decay: float = Field(default=0.05, ge=0)
    """How strongly AdamW pulls weights to zero."""

    clip: float = Field(default=1.0, gt=0)
    """Longest gradient of a step."""

    patience: int = Field(default=3, ge=1)
    """Epochs without a better AUROC on the persons kept out, after which training ends."""

    seed: int = 0
    """Seed of everything that draws at random."""

    threads: int = Field(default_factory=cores, ge=1)
    """Threads to use. The same number gives the same weights again."""

    bootstrap: int = Field(default=200, ge=0)
    """Bootstrap rounds for intervals, over persons. 0: no intervals."""
