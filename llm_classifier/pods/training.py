"""The work of training a model on a rented machine: what goes in, how it is done there, what is taken home.

In go the settings and the data set, less what training does not read (dataset/lean.py). Out comes the folder that
`resolver llm train` makes here, with places of this machine in its records. Knows nothing of pods.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from llm_classifier import artifact, dataset, golden, prompt, train
from llm_classifier.artifact import Artifact
from llm_classifier.dataset import lean
from llm_classifier.pods.scoring import strange
from llm_classifier.settings.train import TrainSettings
from resolver import files
from resolver.errors import DamagedError, UsageError
from resolver.progress import Progress

STAYS = {"base", "dataset", "out", "tracking", "experiment"}  # settings that mean something here alone


@dataclass(frozen=True)
class Training:
    kind: ClassVar[str] = "train"
    settings: TrainSettings
    identity: Mapping[str, Any]  # train.identity(settings)

    @property
    def out(self) -> Path:
        return self.settings.out

    def asked(self) -> dict[str, str]:
        return _digests(self.identity)

    def told(self) -> dict[str, Any]:
        return {
            "settings": self.settings.model_dump(mode="json", exclude=STAYS),
            "base": self.settings.base.name,
            "out": "model",
        }

    def pack(self, folder: Path) -> list[Path]:
        return lean.write(dataset.read(self.settings.dataset), folder)

    def weights(self) -> int:
        return sum(path.stat().st_size for path in self.settings.base.glob("*.safetensors"))

    def there(self) -> bool:
        return train.done(self.out, self.identity)

    def accept(self, folder: Path) -> str:
        made = checked(folder)
        pairs = dataset.read(self.settings.dataset)
        full, four = self.settings.method == "full", self.settings.method == "qlora"
        asked = {
            "kind": self.settings.kind,
            "weights": "merged" if full else "adapter",
            "base_digest": self.identity["base_digest"],
            "dataset_pin": self.identity["dataset_pin"],
            "prompt_version": prompt.VERSION,
            "max_tokens": str(pairs.card.max_tokens),
            "tokens_per_side": str(pairs.card.tokens_per_side),
        }
        other = strange(asked, {name: str(getattr(made, name)) for name in asked})
        if other or (made.dtype == "nf4") != four:
            return other or f"of dtype {made.dtype}"
        settings = made.made.get("settings", {})
        if {key: one for key, one in settings.items() if key not in train.WITHOUT_EFFECT} != self.identity["settings"]:
            return "of other settings"
        if not set(answered(folder)) <= set(pairs.split("validation")["prompt"]):
            return "held against prompts that are none of this data set"
        fitted = made.calibration.get("temperature", math.nan), made.calibration.get("bias", math.nan)
        if not all(math.isfinite(one) for one in fitted):
            raise DamagedError("The model that came back is not calibrated.")
        self._complete(folder, made)
        return ""

    def _complete(self, folder: Path, made: Artifact) -> None:
        """Where base, data set and model lie is this machine's, not that of the worker."""
        try:
            record = json.loads((folder / train.RECORD).read_text(encoding="utf-8"))
            if record["model"]["weights_digest"] != made.weights_digest:
                raise DamagedError("The record that came back is of another model.")
            record["history"]
        except (OSError, ValueError, KeyError, TypeError):
            raise DamagedError(f"{train.RECORD} did not come back whole.") from None
        settings = self.settings.model_dump(mode="json")
        placed = dataclasses.replace(made, base=str(self.settings.base), made={**made.made, "settings": settings})
        artifact.write(folder, placed)
        told = {"settings": settings, "model": dataclasses.asdict(placed) | {"fingerprint": placed.fingerprint}}
        files.write_json(folder / train.SETTINGS, self.identity)
        files.write_json(folder / train.RECORD, record | told)


def made(told: Mapping[str, Any], given: Path, base: Path, out: Path) -> dict[str, str]:
    """What the worker has before it."""
    return _digests(train.identity(_settings(told, given, base, out)))


def work(told: Mapping[str, Any], given: Path, base: Path, out: Path, progress: Progress) -> None:
    train.train(_settings(told, given, base, out), progress)


def checked(folder: Path) -> Artifact:
    """The artifact of what came back, if that is whole."""
    try:
        return artifact.check(folder)
    except UsageError as error:
        raise DamagedError(error.what) from None


def answered(folder: Path) -> list[str]:
    """The golden prompts of what came back, each with a number for an answer."""
    try:
        prompts, logits = golden.read(folder)
    except UsageError as error:
        raise DamagedError(error.what) from None
    if not prompts or not np.isfinite(logits).all():
        raise DamagedError("Golden logits did not come back whole.")
    return prompts


def _settings(told: Mapping[str, Any], given: Path, base: Path, out: Path) -> TrainSettings:
    return TrainSettings(**told["settings"], base=base, dataset=given, out=out, tracking="none")


def _digests(identity: Mapping[str, Any]) -> dict[str, str]:
    return {
        "base": identity["base_digest"],
        "data set": identity["dataset_pin"],
        "settings": files.digest_of(identity["settings"]),
    }
