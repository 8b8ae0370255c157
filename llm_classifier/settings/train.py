"""What a person may choose about training."""

from __future__ import annotations

from pathlib import Path

from resolver.settings.base import Section


class TrainSettings(Section):
    base: Path
    """Folder of the text-only base, made by `resolver llm base`."""

    dataset: Path
    """Folder of the data set."""

    out: Path
    """Folder of the trained model."""
