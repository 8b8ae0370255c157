"""What a person may choose about training."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from resolver.settings.base import Section


class TrainSettings(Section):
    base: Path
    """Folder of the text-only base, made by `resolver llm base`."""

    dataset: Path
    """Folder of the data set, made by `resolver llm dataset`."""

    out: Path
    """Folder of the trained model; of a sweep, the folder of its models."""

    kind: Literal["classifier", "causal"] = "classifier"
    """classifier: a head with two outputs, which starts from the True and False rows of the language head. causal: the
    language model itself learns to say True or False."""

    method: Literal["lora", "qlora", "full"] = "lora"
    """lora: small matrices beside the weights. qlora: the same on a base in four bits (NF4). full: every weight, for
    tiny models."""

    precision: Literal["auto", "bfloat16", "float32"] = "auto"
    """Of the arithmetic. auto: bfloat16 on a GPU, float32 elsewhere. What is trained is always kept in float32."""

    targets: Literal["attention", "mlp", "both"] = "both"
    """Which projections get small matrices (lora, qlora)."""

    rank: int = Field(default=16, ge=1)
    """Rank of the small matrices."""

    alpha: float = Field(default=32.0, gt=0)
    """Their scale is alpha / rank."""

    dropout: float = Field(default=0.05, ge=0, lt=1)
    """Share of their input that is dropped in training."""

    epochs: float = Field(default=3.0, gt=0)
    """How often every pair is seen."""

    batch: int = Field(default=16, ge=1)
    """Pairs per step of the optimizer."""

    micro_batch: int | None = Field(default=None, ge=1)
    """Pairs in memory at once; must divide `batch`. null: the whole batch."""

    learning_rate: float = Field(default=2e-4, gt=0)
    """The highest; it rises in `warmup` and falls along a cosine to nothing."""

    warmup: float = Field(default=0.05, ge=0, lt=1)
    """Share of the steps in which the learning rate rises."""

    weight_decay: float = Field(default=0.01, ge=0)
    """Pull of the weights toward nothing (AdamW)."""

    clip: float = Field(default=1.0, gt=0)
    """Longest gradient."""

    loss: Literal["cross_entropy", "focal"] = "cross_entropy"
    """focal: pairs that are already answered well count less."""

    focal_gamma: float = Field(default=2.0, ge=0)
    """focal: how much less; 0 is cross entropy."""

    weights: Literal["none", "balanced", "gray"] = "none"
    """How much a pair counts in the loss. none: all the same. balanced: true and false pairs the same in total. gray:
    as in the gray zone, by the weights of the data set."""

    group_by_length: bool = True
    """Put prompts of like length into one batch, so that little is padding."""

    gradient_checkpointing: bool = True
    """Compute activations twice rather than keep them: less memory, a third more time."""

    evaluations: float = Field(default=4.0, gt=0)
    """How often per epoch the validation split is scored and a checkpoint is written."""

    patience: int | None = Field(default=4, ge=1)
    """Stop after so many evaluations without a better AUPRC at the gray zone's prior. null: never stop early."""

    max_train_pairs: int | None = Field(default=None, ge=1)
    """Train on so many pairs at most, drawn by the seed. null: all."""

    max_validation_pairs: int | None = Field(default=2000, ge=1)
    """Score so many pairs at most in an evaluation. null: all."""

    score_tokens: int = Field(default=16_384, ge=1)
    """Tokens in memory at once when pairs are scored."""

    calibration: Literal["temperature", "platt"] = "platt"
    """How raw logits are calibrated in the end, on the calibration split."""

    seed: int = 0
    """Of everything that draws at random."""

    threads: int | None = Field(default=None, ge=1)
    """CPU threads. null: all cores. Another number can change the last digits of a result."""

    tracking: str | None = None
    """Where MLflow keeps parameters and metrics: its tracking URI, without user name or password (MLflow takes those
    from MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD). null: a file mlflow.db beside `out`. none: nowhere."""

    experiment: str = "resolver-llm"
    """Name of the experiment in MLflow."""

    @field_validator("tracking")
    @classmethod
    def _no_secret(cls, value: str | None) -> str | None:
        if value is not None and "@" in value.partition("://")[2].partition("/")[0]:
            raise ValueError(
                "a tracking location must hold no user name or password; set MLFLOW_TRACKING_USERNAME and "
                "MLFLOW_TRACKING_PASSWORD"
            )
        return value

    @model_validator(mode="after")
    def _divides(self) -> Self:
        if self.micro_batch is not None and self.batch % self.micro_batch:
            raise ValueError(f"micro_batch must divide batch: {self.batch} is not a multiple of {self.micro_batch}")
        return self


def combinations(section: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The section once per combination of its lists, the last list fastest; itself where it has none."""
    axes = {key: value for key, value in section.items() if isinstance(value, list)}
    return [{**section, **dict(zip(axes, chosen, strict=True))} for chosen in itertools.product(*axes.values())]
