"""Settings for benchmarks that call a stage with files of their own: no source of them is ever read."""

from __future__ import annotations

from pathlib import Path

from resolver.settings import Settings, parse


def settings(folder: Path, *, threads: int, memory: float, **link: float) -> Settings:
    """`link`: settings of the link stage that are not the usual ones."""
    content = {
        "run": {"dir": str(folder), "threads": threads, "memory_gib": memory},
        "sources": [{"kind": "synthea", "path": "."}],
        "link": link,
    }
    return parse(content, base=folder, where="benchmark")
