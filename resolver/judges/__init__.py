"""Judges score pairs. This file holds what a judge is and how one is found by name.

Other packages add judges with entry points in the group `resolver.judges` (docs/extending.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from resolver import plugins
from resolver.errors import UsageError, instead
from resolver.progress import Progress
from resolver.settings import Settings

if TYPE_CHECKING:
    import polars as pl

GROUP = "resolver.judges"


@dataclass(frozen=True)
class Evidence:
    """What a judge may read: Parquet files of the run, and a folder for its own intermediate files."""

    settings: Settings
    records: Path
    events: Path
    learned: Path  # what the learn stage wrote
    population: Path  # where the clinical judge leaves how common codes are and how measurements move
    scratch: Path
    progress: Progress
    counts: Path | None = None  # where the embedded judges leave how common the values of each record are
    only: tuple[int, ...] | None = None  # to explain a few pairs: these records alone; population, counts are only read
    pairs: Path | None = None  # Splink's scores
    standing: Callable[[], pl.DataFrame] | None = None  # left_rid, right_rid, logit of all pairs, as the judges before
    # left them: for a judge that chooses which of the pairs it is asked about are worth an answer
    shared: dict[str, Any] = field(default_factory=dict)  # what judges of one run make once and hand to each other


class Judge(Protocol):
    """Scores pairs. Made once per run, as `Judge(evidence)`.

    It may also have:
    line: (slope, intercept) that make evidence of its raw logits: log-odds that add to what is known. Default: 1, 0.
    at_once: True if it must see all its pairs together, to choose among them.
    facts(): counts for the manifest.
    """

    def __init__(self, evidence: Evidence) -> None: ...

    name: str

    part: Literal["demographics", "clinical", "llm", "human"]
    """The column of `decisions` that its verdict counts under."""

    role: Literal["revises", "adds"]
    """revises: its logit is the log-odds given all that the judges before it read, and takes their place.
    adds: its logit is evidence of its own, and is added to theirs."""

    asks: tuple[float, float] | None
    """It is asked about pairs whose log-odds, as the judges before it left them, lie between the two.
    None: about those that are gray by decide's thresholds."""

    @property
    def fingerprint(self) -> str:
        """What gives the verdicts: model, version, prompt. The same fingerprint and pair give the same logit."""

    def brings(self) -> pl.DataFrame | None:
        """Pairs that it wants to be asked about though no blocking rule proposed them: left_rid, right_rid."""

    def judge(self, pairs: pl.DataFrame) -> pl.DataFrame:
        """left_rid, right_rid, logit (as it stands) in; left_rid, right_rid, logit, status out.

        A pair without evidence gets no row.
        """


def find(name: str) -> type[Judge]:
    """The judge class of that name; an error that lists those there are."""
    known((name,))
    judge: type[Judge] = plugins.load(plugins.named(GROUP)[name])
    return judge


def known(names: Iterable[str]) -> None:
    """Stop with one line where no package brings a judge of these names. Loads none of them."""
    there = plugins.named(GROUP)
    for name in names:
        if name not in there:
            raise UsageError(
                f"There is no judge {name}; {instead(name, sorted(there))}",
                do="Correct adjudicate.judges in the config, or install the package that brings it.",
            )
