"""The work of exporting a model on a rented machine: what goes in, how it is done there, what is taken home.

In goes the folder of the trained model, and its base where it is an adapter. Out comes the folder that
`resolver llm export` makes here. Knows nothing of pods.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from llm_classifier import artifact, golden
from llm_classifier.artifact import Artifact
from llm_classifier.pods.building import RESULT
from llm_classifier.pods.scoring import strange
from llm_classifier.pods.training import answered, checked
from resolver import files
from resolver.errors import DamagedError
from resolver.progress import Progress


@dataclass(frozen=True)
class Exporting:
    kind: ClassVar[str] = "export"
    model: Path
    source: Artifact
    base: Path | None  # None: the model has all of its weights
    out: Path

    def asked(self) -> dict[str, str]:
        return _digests(self.model, self.source, self.source.base_digest if self.base else "")

    def told(self) -> dict[str, Any]:
        return {"base": self.base.name if self.base else None, "out": self.out.name}

    def pack(self, folder: Path) -> list[Path]:
        found = []
        for path in sorted(self.model.iterdir()):
            if path.is_file() and RESULT.fullmatch(path.name) and path.name != artifact.SERVING:
                found.append(folder / path.name)
                found[-1].symlink_to(path.absolute())
        return found

    def weights(self) -> int:
        folders = (self.model, self.base) if self.base else (self.model,)
        return sum(path.stat().st_size for folder in folders for path in folder.glob("*.safetensors"))

    def there(self) -> bool:
        if not (self.out / artifact.FILE).is_file():
            return False
        found = artifact.check(self.out)
        return found == self._expected(found)

    def accept(self, folder: Path) -> str:
        made = checked(folder)
        expected = dataclasses.asdict(self._expected(made))
        found = dataclasses.asdict(made) | {"base": self.source.base}
        other = [name for name, one in expected.items() if found[name] != one]
        if other:
            return f"another model in its {', '.join(other)}"
        if answered(folder) != golden.read(self.model)[0]:
            return "held against other prompts than the trained model was"
        try:
            serving = json.loads((folder / artifact.SERVING).read_text(encoding="utf-8"))
            told = {"fingerprint": serving["fingerprint"], "name": self.out.name}
            if self.out.name not in serving["arguments"] or not serving["tolerance"] > 0 <= serving["rounding"]:
                raise ValueError
        except (OSError, ValueError, KeyError, TypeError):
            raise DamagedError(f"{artifact.SERVING} did not come back whole.") from None
        artifact.write(folder, self._expected(made))
        return strange({"fingerprint": made.fingerprint}, told)

    def _expected(self, made: Artifact) -> Artifact:
        return dataclasses.replace(
            self.source,
            weights="merged",
            dtype="nf4" if self.source.dtype == "nf4" else "bfloat16",
            made={**self.source.made, "exported_from": self.source.fingerprint},
            weights_digest=made.weights_digest,
        )


def made(told: Mapping[str, Any], given: Path, base: Path | None, out: Path) -> dict[str, str]:
    """What the worker has before it."""
    return _digests(given, artifact.check(given), artifact.digest(base) if base else "")


def work(told: Mapping[str, Any], given: Path, base: Path | None, out: Path, progress: Progress) -> None:
    from llm_classifier.export import export

    if base is not None:  # it says where the base lies at home
        files.write_json(
            given / artifact.FILE, dataclasses.asdict(dataclasses.replace(artifact.read(given), base=str(base)))
        )
    export(given, out, progress=progress)


def _digests(model: Path, told: Artifact, base: str) -> dict[str, str]:
    return {
        "model": files.digest_of(dataclasses.asdict(told)),
        "golden logits": files.digest(model / artifact.GOLDEN),
        "base": base,
    }
