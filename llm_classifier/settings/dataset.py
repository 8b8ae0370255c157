"""What a person may choose about a data set of pairs."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from resolver.settings.base import Section


class DatasetSettings(Section):
    out: Path
    """Folder of the data set."""

    runs: tuple[Path, ...] = Field(min_length=1)
    """Configs of finished runs with a truth: labelled populations, mixed."""
