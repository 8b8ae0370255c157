"""Where a run lives and what it may use."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from resolver.database import cores, memory_gib
from resolver.settings.base import Section


class RunSettings(Section):
    dir: Path
    """Folder of the run: one Parquet file per table, manifest.json, metrics.json, report.html."""

    threads: int = Field(default_factory=cores, ge=1)
    """Threads to use. Default: all cores that the process may use."""

    memory_gib: float = Field(default_factory=lambda: round(memory_gib() * 0.6, 2), gt=0.1)
    """Memory that the database may use, in GiB; past it, work spills to disk. Default: 60 % of what there is."""

    seed: int = 0
    """Seed of everything that draws at random."""
