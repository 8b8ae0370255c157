"""What a config says of its jobs: on which terms they run, where their record and files are kept, how they are called.

The same for all kinds of jobs and configs.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from llm_classifier.pods.jobs import Jobs, Terms
from llm_classifier.pods.providers import Provider, open_provider
from resolver.settings.pods import PodsSettings

if TYPE_CHECKING:
    from llm_classifier.settings import LlmSettings
    from resolver.settings import Settings

RECORD = "pods.sqlite"
SETTLE = {"local": 0.0, "ssh": 1.0, "runpod": 5.0}  # minutes; a process of this machine is listed at once


@dataclass(frozen=True)
class Desk:
    pods: PodsSettings
    record: Path
    command: str = "resolver infer CONFIG"  # that launches and collects

    @classmethod
    def of_run(cls, settings: Settings) -> Desk:
        return cls(settings.pods, settings.pods.jobs or settings.index_path.with_name(RECORD))

    @classmethod
    def of_models(
        cls, settings: LlmSettings, config: Path, command: str = "resolver llm train CONFIG --rented"
    ) -> Desk:
        """Of a config of `resolver llm`: the record lies beside what it trains, or beside the config."""
        beside = config if settings.train is None else settings.train.out
        return cls(settings.pods, settings.pods.jobs or beside.absolute().with_name(RECORD), command)

    @property
    def home(self) -> Path:
        """Where the files of all jobs are kept."""
        return self.record.parent / "pods"

    def jobs(self) -> Jobs:
        return Jobs(self.record)

    def provider(self) -> Provider:
        return open_provider(self.pods, self.home / "machines")

    def terms(self) -> Terms:
        pods = self.pods
        return Terms(
            hours=pods.hours,
            grace_minutes=pods.grace_minutes,
            boot_minutes=pods.boot_minutes,
            stall_minutes=pods.stall_minutes,
            settle_minutes=SETTLE[pods.provider] if pods.settle_minutes is None else pods.settle_minutes,
            attempts=pods.attempts,
            cap=pods.cap,
        )
