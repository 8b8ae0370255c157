"""What a person may choose about the check before a model is served or paid for."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from resolver.settings.base import Section


class ScanSettings(Section):
    """What a model is asked to find out what it remembers of its training data."""

    records: tuple[Path, ...] = ()
    """records.parquet of the runs that the data set was made from: their names and numbers are tried."""

    carriers: int = Field(default=4, ge=1)
    """Prompts in which each string is tried. A classifier only."""

    controls: int = Field(default=256, ge=16)
    """Canaries that were never planted, to hold the planted ones against."""

    strings: int = Field(default=100, ge=16)
    """Names and numbers that are tried, of either kind."""

    pairs: int = Field(default=300, ge=16)
    """Pairs of the training split and of the test split whose losses are compared."""

    alpha: float = Field(default=0.001, gt=0, lt=0.5)
    """No-go where chance alone would show as much less often than this."""

    max_membership: float = Field(default=0.6, ge=0.5, le=1)
    """No-go where the loss tells a pair that was trained on from one that was not more often than this; chance: .5."""


class PredeploySettings(Section):
    dataset: Path | None = None
    """Folder of the data set with the test split. Default: its pin is taken from the registry, and not checked."""

    pairs: int | None = Field(default=None, ge=1)
    """Pairs that are going to be scored."""

    tokens_per_second: float | None = Field(default=None, gt=0)
    """What the machine that is going to serve was measured to score."""

    price_per_hour: float | None = Field(default=None, ge=0)
    """Of that machine, in whatever currency max_cost is."""

    max_cost: float | None = Field(default=None, ge=0)
    """No-go where scoring the pairs costs more."""

    gpu_memory_gib: float | None = Field(default=None, gt=0)
    """Of that machine's GPU."""

    cache_share: float = Field(default=0.25, ge=0, lt=1)
    """Share of the GPU's memory to leave for the KV cache and activations."""

    disk: Path | None = None
    """A folder on the disk that the model is going to be copied to."""

    keys: tuple[str, ...] = ()
    """Names of environment variables that must be set. Their values are never looked at, only that there is one."""

    hosts: tuple[str, ...] = ()
    """host:port that must answer."""

    scan: ScanSettings = ScanSettings()
