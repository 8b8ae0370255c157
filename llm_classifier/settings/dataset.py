"""What a person may choose about a data set of pairs."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from resolver.settings.base import Section


class Shares(Section):
    """Share of the persons in each split. Nobody is in two."""

    train: float = Field(default=0.6, gt=0, lt=1)
    calibration: float = Field(default=0.1, gt=0, lt=1)
    validation: float = Field(default=0.1, gt=0, lt=1)
    test: float = Field(default=0.2, gt=0, lt=1)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if abs(self.train + self.calibration + self.validation + self.test - 1) > 1e-6:
            raise ValueError("the four shares must add up to 1")
        return self


class DatasetSettings(Section):
    out: Path
    """Folder of the data set."""

    runs: tuple[Path, ...] = Field(min_length=1)
    """Configs of finished runs with a truth: labelled populations, mixed."""

    tokenizer: Path | None = None
    """Folder of the model whose tokens are counted (made by `resolver llm base`). Default: an estimate that is rather
    too high, so that prompts are shorter than they could be."""

    tokens_per_side: int = Field(default=512, ge=32)
    """Budget of each summary, in tokens."""

    max_tokens: int | None = Field(default=None, ge=128)
    """Longest prompt, in tokens; longer ones are left out. Default: two full sides and what stands around them."""

    min_pieces: int = Field(default=2, ge=1)
    """A pair is left out where a side has fewer pieces of evidence than this."""

    max_pairs: int = Field(default=20_000, ge=10)
    """Distinct pairs in all splits together; each comes twice, once in each order."""

    min_pairs: int = Field(default=100, ge=10)
    """Fewer true or fewer false pairs than this are no data set."""

    positives: float = Field(default=0.5, gt=0, lt=1)
    """Share of true pairs, in each split."""

    easy_positives: float = Field(default=0.3, ge=0, lt=1)
    """Share of the true pairs that may come from outside the gray zone."""

    hard_negatives: float = Field(default=0.75, ge=0.5, le=1)
    """Share of the false pairs that are gray or look-alikes; the others are clear non-matches and strangers."""

    lookalikes: float = Field(default=0.3, ge=0, le=1)
    """Share of look-alikes (one household, one name, or family name and birth year) among these hard ones."""

    shares: Shares = Shares()

    canaries: int = Field(default=0, ge=0)
    """Made-up numbers to plant in the training split, so that `resolver llm predeploy` can see whether a model learned
    them by heart. 16 or more tell something."""

    canary_pairs: int = Field(default=4, ge=1)
    """Training rows that hold each of them."""

    seed: int = 0
    """Seed of the splits and of what is drawn."""

    hub: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*$")
    """Private data set repository on a Hugging Face hub, owner/name, that `--push` uploads to. The token comes from
    HF_TOKEN, another hub's address from HF_ENDPOINT."""
