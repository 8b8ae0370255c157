"""Judges score pairs. This file holds what a judge is and how one is found by name.

A third party adds a judge with an entry point in the group `resolver.judges`.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Protocol

import polars as pl

from resolver.errors import UsageError
from resolver.progress import Progress
from resolver.settings import Settings

GROUP = "resolver.judges"


@dataclass(frozen=True)
class Evidence:
    """What a judge may read: Parquet files of the run, and a folder for its own intermediate files."""

    settings: Settings
    records: Path
    events: Path
    learned: Path  # folder or file that the learn stage wrote; see resolver/learn
    scratch: Path
    progress: Progress


class Judge(Protocol):
    """Scores pairs. Made anew for each run as `Judge(evidence)`."""

    name: str

    @property
    def fingerprint(self) -> str:
        """What gives the verdicts: model, version, prompt. The same fingerprint and the same pair give the same logit."""

    def judge(self, pairs: pl.DataFrame) -> pl.DataFrame:
        """left_rid, right_rid in; left_rid, right_rid, logit, status out. A pair without evidence gets no row."""


def load(name: str, evidence: Evidence) -> Judge:
    found = {entry.name: entry for entry in metadata.entry_points(group=GROUP)}
    if name not in found:
        raise UsageError(
            f"There is no judge {name}; there are {', '.join(sorted(found)) or 'none'}.",
            do="Correct adjudicate.judges in the config, or install the package that brings it.",
        )
    judge: Judge = found[name].load()(evidence)
    return judge
