"""Machines for the language model's answers (`resolver infer`)."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from resolver.settings.base import Section


class PodsSettings(Section):
    provider: Literal["local"] = "local"
    """Where machines come from. local: the worker is a process of its own on this machine."""

    model: Path | None = None
    """Folder of the model as the machine sees it. Default: llm.model."""

    bridge: Path | None = None
    """Folder through which files pass, encrypted. Default: one beside the index."""

    backend: Literal["transformers", "vllm"] = "vllm"
    """What scores there."""

    hours: float = Field(default=2.0, gt=0, le=72)
    """A machine's deadline, from the moment it is ordered."""

    boot_minutes: float = Field(default=20.0, gt=0)
    """How long a machine may take until its worker is heard."""

    stall_minutes: float = Field(default=10.0, gt=0)
    """How long a worker may be silent."""

    attempts: int = Field(default=3, ge=1)
    """How many machines may be tried for one job."""

    jobs: Path | None = None
    """Record of the jobs. Default: pods.sqlite beside the index."""
