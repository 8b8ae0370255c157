"""Settings of a run: YAML in, one typed class per section out.

Paths in a config are relative to the config's own folder. Secrets are never settings: they come from the environment.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field

from resolver.settings import reading
from resolver.settings.base import Section
from resolver.settings.pods import PodsSettings
from resolver.settings.run import RunSettings
from resolver.settings.sources import FhirSource, Source, SyntheaSource, TableSource
from resolver.settings.stages import (
    AdjudicateSettings,
    ClusterSettings,
    DecideSettings,
    EncoderSettings,
    EvaluateSettings,
    GoldenSettings,
    IndexSettings,
    IngestSettings,
    LearnSettings,
    LinkSettings,
    LlmJudgeSettings,
    ReportSettings,
)

__all__ = ["FhirSource", "Settings", "Source", "SyntheaSource", "TableSource", "load", "parse"]


class Settings(Section):
    run: RunSettings
    sources: tuple[Source, ...] = Field(min_length=1)
    ingest: IngestSettings = IngestSettings()
    link: LinkSettings = LinkSettings()
    learn: LearnSettings = LearnSettings()
    adjudicate: AdjudicateSettings = AdjudicateSettings()
    llm: LlmJudgeSettings = LlmJudgeSettings()
    encoder: EncoderSettings = EncoderSettings()
    pods: PodsSettings = PodsSettings()
    decide: DecideSettings = DecideSettings()
    cluster: ClusterSettings = ClusterSettings()
    golden: GoldenSettings = GoldenSettings()
    index: IndexSettings = IndexSettings()
    evaluate: EvaluateSettings = EvaluateSettings()
    report: ReportSettings = ReportSettings()

    @property
    def index_path(self) -> Path:
        return self.index.path or self.run.dir / "mpi.duckdb"


def load(path: Path, overrides: tuple[str, ...] = ()) -> Settings:
    """Read a config; `overrides` are `section.key=value`, the value in YAML."""
    content = reading.content(path, do="Make one with: resolver init DATA --out CONFIG")
    for override in overrides:
        reading.put(content, override)
    return parse(content, base=path.parent, where=str(path))


def parse(content: dict[str, Any], *, base: Path, where: str) -> Settings:
    """Settings from a mapping; relative paths are taken from `base`."""
    return reading.parse(Settings, content, where=where, base=base)
