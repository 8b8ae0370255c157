"""Settings of the language-model judge's own commands, one class per section of its YAML config (configs/llm.yaml).

What a run of `resolver run` needs to know of the judge is not here but in resolver/settings (sections llm, encoder).
"""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import model_validator

from llm_classifier.settings.dataset import DatasetSettings
from llm_classifier.settings.deploy import DeploySettings
from llm_classifier.settings.encoder import EncoderSettings
from llm_classifier.settings.predeploy import PredeploySettings
from llm_classifier.settings.registry import RegistrySettings
from llm_classifier.settings.train import TrainSettings, combinations
from llm_classifier.settings.workflow import WorkflowSettings
from resolver.settings import reading
from resolver.settings.base import Section
from resolver.settings.pods import PodsSettings


class LlmSettings(Section):
    dataset: DatasetSettings | None = None
    train: TrainSettings | None = None
    encoder: EncoderSettings | None = None
    registry: RegistrySettings | None = None
    predeploy: PredeploySettings = PredeploySettings()
    deploy: DeploySettings = DeploySettings()
    workflow: WorkflowSettings | None = None
    pods: PodsSettings = PodsSettings()

    @model_validator(mode="after")
    def _scores_nothing(self) -> Self:
        if "backend" in self.pods.model_fields_set:
            raise ValueError("pods.backend is for scoring, and nothing here reads it; take it out")
        return self


def load(path: Path, overrides: tuple[str, ...] = ()) -> LlmSettings:
    """Read a config; `overrides` are `section.key=value`. Paths are relative to the config's folder."""
    content = reading.content(path, do="Start from configs/llm.yaml.")
    for override in overrides:
        reading.put(content, override)
    if isinstance(content.get("train"), dict):  # of a sweep, its first run
        content["train"] = next(iter(combinations(content["train"])), content["train"])
    return reading.parse(LlmSettings, content, where=str(path), base=path.parent)
