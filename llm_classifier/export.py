"""Export: a trained model becomes one folder that vLLM loads as it is, and that says how it is served and verified.

An adapter is merged into a fresh base in bfloat16; one that was trained on a base in four bits is merged into that, and
stays in four bits. vLLM finds no class for the name that transformers gives the classifier of a text-only Gemma 3, so
config.json names it as vLLM does. Golden logits are made with the exported weights. Knows nothing of training.
"""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from llm_classifier import artifact, golden
from llm_classifier.artifact import Artifact
from llm_classifier.golden import Floats
from llm_classifier.needs import need, quiet
from llm_classifier.score import loading
from llm_classifier.score.local import TransformersBackend
from llm_classifier.score.server import answer_tokens, tokenizer
from llm_classifier.score.usage import parameters
from resolver import files
from resolver.errors import DamagedError, UsageError
from resolver.progress import Progress

ARCHITECTURES = {"classifier": "Gemma3ForSequenceClassification", "causal": "Gemma3ForCausalLM"}
VLLM = ">=0.32,<0.34"  # tried with
ROOM = 3.0  # a server may be off by so many times what bfloat16 was seen to do here
LEAST_TOLERANCE = 0.02
COPIED = (
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "chat_template.jinja",
)


@dataclass(frozen=True)
class Exported:
    folder: Path
    artifact: Artifact
    moved: float  # how far merging and rounding moved a golden logit, at most
    rounding: float  # how far arithmetic in bfloat16 moves one, at most
    tolerance: float
    bytes: int


def export(model: Path, out: Path, *, progress: Progress) -> Exported:
    told = artifact.check(model)
    if out.exists() and any(out.iterdir()):
        raise UsageError(f"{out} is not empty.", do="Give a folder that does not exist yet.")
    prompts, _ = golden.read(model)
    quiet()
    scratch = files.temporary(out)
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    try:
        with progress.step("merging the weights"):
            dtype = "nf4" if told.dtype == "nf4" else "bfloat16"
            _merge(model, told, scratch)
            _tokenizer(model, scratch, prompts)
            _config(scratch, told)
        exported = artifact.write(scratch, _artifact(told, dtype))
        with progress.step("asking the exported model", 2 * len(prompts), "prompts") as step:
            after = _logits(scratch, prompts, "float32")
            step.advance(len(prompts))
            rounding = float(np.abs(_logits(scratch, prompts, "bfloat16") - after).max())
            step.advance(len(prompts))
        if not np.isfinite(after).all():
            raise DamagedError("The merged model gives no number for some golden prompts.", do="Train it again.")
        tolerance = math.ceil(100 * max(LEAST_TOLERANCE, ROOM * rounding)) / 100
        golden.write(scratch, prompts, after)
        serving = manifest(scratch, exported, tolerance, out.name) | {"rounding": rounding}
        files.write_json(scratch / artifact.SERVING, serving)
        out.parent.mkdir(parents=True, exist_ok=True)
        if out.exists():
            out.rmdir()
        scratch.replace(out)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return read(model, out)


def read(model: Path, out: Path) -> Exported:
    """What was exported from a model, and how far its answers have moved."""
    told = files.read_json(
        out / artifact.SERVING,
        missing=UsageError(f"{out} holds no exported model ({artifact.SERVING} is missing).", do="Export it again."),
        do="Export the model again.",
    )
    moved = float(np.abs(golden.read(out)[1] - golden.read(model)[1]).max())
    size = sum(path.stat().st_size for path in out.iterdir())
    return Exported(out, artifact.check(out), moved, told["rounding"], told["tolerance"], size)


def manifest(folder: Path, told: Artifact, tolerance: float, name: str) -> dict[str, Any]:
    """How a vLLM server is started with the model, how it is asked, and what its answer means."""
    classifier = told.kind == "classifier"
    arguments = ["--served-model-name", name, "--max-model-len", str(_longest(folder, told)), "--dtype", "bfloat16"]
    arguments += ["--enable-prefix-caching", "--no-enable-log-requests", "--disable-uvicorn-access-log"]
    if classifier:
        arguments += ["--runner", "pooling", "--pooler-config", json.dumps({"use_activation": False})]
    requests = {
        "classifier": {"path": "/classify", "body": {"input": "PROMPTS", "use_activation": False}},
        "causal": {
            "path": "/v1/completions",
            "body": {"prompt": "PROMPTS", "max_tokens": 1, "temperature": 0.0, "logprobs": 1}
            | {"logprob_token_ids": list(answer_tokens(tokenizer(folder))), "return_tokens_as_token_ids": True},
        },
    }
    return {
        "vllm": VLLM,
        "architecture": ARCHITECTURES[told.kind],
        "module": "vllm.entrypoints.openai.api_server",
        "arguments": ["--model", "MODEL", *arguments],
        "request": requests[told.kind],
        "logit": "probs[1] - probs[0]" if classifier else "log-probability of True less that of False",
        "max_tokens": told.max_tokens,
        "prompt_version": told.prompt_version,
        "fingerprint": told.fingerprint,
        "parameters": parameters(folder),
        "bytes_of_weights": sum(path.stat().st_size for path in folder.glob("*.safetensors")),
        "golden": artifact.GOLDEN,
        "tolerance": tolerance,
    }


def _merge(model: Path, told: Artifact, out: Path) -> None:
    torch = need("torch")
    if told.weights == "adapter" and artifact.digest(loading.base_of(model, told)) != told.base_digest:
        raise DamagedError(
            f"The base in {told.base} is not the one that the adapter was trained on.", do="Make it again as it was."
        )
    whole = loading.whole(model, told, torch.bfloat16, "cuda" if told.dtype == "nf4" and _gpu() else "cpu")
    if told.weights == "adapter":
        with warnings.catch_warnings():
            # Rounding to four bits moves answers; by how much is measured and told.
            warnings.filterwarnings("ignore", message="Merge lora module to 4-bit linear")
            whole = whole.merge_and_unload(safe_merge=told.dtype != "nf4")
    whole.config.use_cache = True
    whole.save_pretrained(out)


def _artifact(told: Artifact, dtype: str) -> Artifact:
    made = {**told.made, "exported_from": told.fingerprint}
    return dataclasses.replace(told, weights="merged", dtype=dtype, made=made)


def _tokenizer(model: Path, out: Path, prompts: list[str]) -> None:
    """The tokenizer as it lies there, and a proof that a server, which reads the file, sees what training saw."""
    for name in COPIED:
        if (model / name).exists():
            shutil.copyfile(model / name, out / name)
    ours = need("transformers").AutoTokenizer.from_pretrained(model)(prompts)["input_ids"]
    if ours != [one.ids for one in tokenizer(out).encode_batch(prompts)]:
        raise DamagedError(
            f"{model / 'tokenizer.json'} cuts prompts into other tokens than the model was trained with.",
            do="Take the tokenizer of the base, and train the model again.",
        )


def _config(folder: Path, told: Artifact) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    if config.get("model_type") != "gemma3_text":
        raise UsageError(
            f"The model is a {config.get('model_type')}, and only text-only Gemma 3 is exported.",
            do="Make its base with: resolver llm base",
        )
    config["architectures"] = [ARCHITECTURES[told.kind]]
    if told.kind == "classifier":
        config["id2label"], config["label2id"] = {"0": "False", "1": "True"}, {"False": 0, "True": 1}
    path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def _logits(folder: Path, prompts: list[str], dtype: loading.Dtype) -> Floats:
    backend = TransformersBackend(folder, dtype=dtype)
    try:
        return golden.ask(backend, prompts)
    finally:
        backend.close()


def _longest(folder: Path, told: Artifact) -> int:
    """Tokens that the server must read: a prompt, and one more where the answer is a token."""
    most = json.loads((folder / "config.json").read_text(encoding="utf-8"))["max_position_embeddings"]
    return min(told.max_tokens + (told.kind == "causal"), int(most))


def _gpu() -> bool:
    return bool(need("torch").cuda.is_available())
