"""What a model is on disk: the files that transformers writes, `artifact.json` beside them, and golden logits.

A command that makes a model writes an artifact, a command that uses one reads it, and nothing else passes between them.
Knows nothing of how a model is trained or served.
"""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from resolver import files
from resolver.errors import DamagedError, UsageError

FILE = "artifact.json"
SERVING = "serving.json"  # of an exported model: how a server is started with it and asked
GOLDEN = "golden.parquet"  # prompt, logit: what this model answers to some prompts, to hold every copy of it against

Kind = Literal["classifier", "causal"]


@dataclass(frozen=True)
class Artifact:
    """`logit` everywhere: log-odds that the two records are one person, raw, before calibration.

    classifier: two outputs, False and True; the logit is the second less the first.
    causal: the next token; the logit is that of the word True less that of the word False.
    """

    kind: Kind
    weights: Literal["adapter", "merged"]
    dtype: str  # of the weights as they are meant to be served: bfloat16, float32, nf4
    base: str  # name or folder of the text-only base
    base_digest: str
    prompt_version: str
    max_tokens: int  # of a whole prompt
    tokens_per_side: int
    dataset_pin: str  # which data set it was trained on; "" for none
    prior_train: float  # share of true pairs in it
    calibration: dict[str, float] = field(default_factory=dict)  # temperature and bias; empty: never calibrated
    metrics: dict[str, Any] = field(default_factory=dict)
    made: dict[str, Any] = field(default_factory=dict)  # settings, versions, seeds: the record of how it was made
    weights_digest: str = ""

    @property
    def fingerprint(self) -> str:
        """Changes when a logit could. Calibration is not part of it: raw logits are what is stored."""
        told = [self.kind, self.weights, self.dtype, self.base_digest, self.prompt_version, self.tokens_per_side]
        return files.digest_of([*told, self.max_tokens, self.weights_digest])[:16]


def write(folder: Path, artifact: Artifact) -> Artifact:
    """Put artifact.json beside the weights, with their digest."""
    artifact = dataclasses.replace(artifact, weights_digest=digest(folder))
    files.write_json(folder / FILE, dataclasses.asdict(artifact))
    return artifact


def read(folder: Path) -> Artifact:
    missing = UsageError(
        f"{folder} holds no model of this program ({FILE} is missing).",
        do="Make one with: resolver llm train CONFIG, then resolver llm export.",
    )
    content = files.read_json(folder / FILE, missing=missing, do="Take the model from where it was made again.")
    known = {one.name for one in dataclasses.fields(Artifact)}
    if set(content) != known:
        raise DamagedError(
            f"{folder / FILE} was written by another version of this program.", do="Export the model with this one."
        )
    return Artifact(**content)


def check(folder: Path) -> Artifact:
    """The artifact, if the weights beside it are those that it was written for."""
    artifact = read(folder)
    if digest(folder) != artifact.weights_digest:
        raise DamagedError(
            f"The weights in {folder} are not those that {FILE} was written for.",
            do="Copy the whole folder again from where the model was made.",
        )
    return artifact


def digest(folder: Path) -> str:
    """Of all files that change what the model answers: weights, configs and tokenizer, by name and content."""
    total = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.suffix in (".safetensors", ".json", ".model", ".jinja") and path.name not in (FILE, SERVING):
            total.update(path.name.encode())
            total.update(files.digest(path).encode())
    return total.hexdigest()
