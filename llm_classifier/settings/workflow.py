"""What a person may choose about the way from a config to a model in production."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from resolver.settings.base import Section


class WorkflowSettings(Section):
    dir: Path
    """Folder of the workflow's record, and of the models that it exports."""

    model: Path | None = None
    """Folder of a trained or exported model to take as it is. Default: train one, as the section train says."""

    trained_on: Path | None = None
    """Folder of the data set that `model` was trained on, if it is not the one that the workflow prepares."""

    max_behind: float = Field(default=0.1, ge=0, lt=1)
    """The bias step fails where a figure of a slice is worse than that of all pairs by more than this share of it, and
    their intervals do not touch. Figures and the smallest slice are those of registry.gate."""
