"""Real vLLM on a CPU: it loads what export wrote, serves it on loopback, and answers as transformers does."""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from resolver.progress import Progress

pytestmark = [pytest.mark.llm, pytest.mark.vllm, pytest.mark.slow]

HISTORY = "conditions: asthma since 2004; diabetes since 2011; medications: metformin 2012 to now; height 171 cm "
CPU = {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "OMP_NUM_THREADS": "2",
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
}
SECONDS = 420.0  # for a server to start


def prompts() -> list[str]:
    """Of few left histories, longer than a block of the cache, and as many tokens as make a difference."""
    from llm_classifier import prompt

    return [
        prompt.pair(HISTORY * 6 + f"since {1950 + left}", HISTORY * (1 + right % 3) + f"{right} kg")
        for left in range(4)
        for right in range(8)
    ]


def exported(kind: str, folder: Path) -> Path:
    """A tiny model of the width that vLLM's CPU attention takes, trained by nobody, exported."""
    import torch
    import transformers

    from llm_classifier import artifact, golden, tiny
    from llm_classifier.export import export
    from llm_classifier.score.local import TransformersBackend

    base = tiny.make(folder / "base", [HISTORY, *prompts()[:4]], width=128, max_tokens=2048)
    tokenizer = transformers.AutoTokenizer.from_pretrained(base)
    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(5)
        if kind == "classifier":
            config = transformers.AutoConfig.from_pretrained(base, num_labels=2)
            model = transformers.Gemma3TextForSequenceClassification(config)
            model.score.weight.normal_(std=0.2)
        else:
            model = transformers.AutoModelForCausalLM.from_pretrained(base)
            model.get_input_embeddings().weight[tokenizer.convert_tokens_to_ids(["True", "False"])] *= 10
    model.save_pretrained(folder / "trained")
    tokenizer.save_pretrained(folder / "trained")
    told = artifact.Artifact(
        kind=kind,  # type: ignore[arg-type]
        weights="merged",
        dtype="float32",
        base="base",
        base_digest="",
        prompt_version="1",
        max_tokens=1500,
        tokens_per_side=700,
        dataset_pin="",
        prior_train=0.5,
    )
    artifact.write(folder / "trained", told)
    backend = TransformersBackend(folder / "trained", device="cpu")
    golden.write(folder / "trained", prompts()[::2], golden.ask(backend, prompts()[::2]))
    backend.close()
    return export(folder / "trained", folder / "tiny-model", progress=Progress()).folder


@contextlib.contextmanager
def serving(model: Path, python: Path, log: Path) -> Iterator[str]:
    """A server started as serving.json says."""
    told = json.loads((model / "serving.json").read_text())
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments = [str(model) if one == "MODEL" else one for one in told["arguments"]]
    with log.open("wb") as out:
        process = subprocess.Popen(
            [python, "-m", told["module"], *arguments, "--host", "127.0.0.1", "--port", str(port), "--enforce-eager"],
            stdout=out,
            stderr=subprocess.STDOUT,
            env=os.environ | CPU,
            start_new_session=True,
        )
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()


def by_transformers(model: Path) -> np.ndarray:
    from llm_classifier import golden
    from llm_classifier.score import open_backend

    backend = open_backend(model, device="cpu")
    try:
        return golden.ask(backend, prompts())
    finally:
        backend.close()


@pytest.mark.parametrize("kind", ["classifier", "causal"])
def test_vllm_serves_what_was_exported(kind: str, tmp_path: Path, vllm_python: Path) -> None:
    """It starts by the manifest's own arguments, verify agrees, all logits are within the stated tolerance, and the
    beginnings that prompts share come from its cache."""
    from llm_classifier import golden
    from llm_classifier.score import open_backend
    from llm_classifier.verify import verify

    model = exported(kind, tmp_path)
    wanted = by_transformers(model)
    with serving(model, vllm_python, tmp_path / "log") as url:
        found = verify(url, model, wait=SECONDS)
        backend = open_backend(model, backend="vllm-server", endpoint=url)
        served = golden.ask(backend, prompts())
        backend.close()
    log = (tmp_path / "log").read_text(errors="replace")
    assert "asthma" not in log and "metformin" not in log
    assert found.agrees, found.as_dict()
    assert wanted.std() > 2 * found.tolerance
    assert np.abs(served - wanted).max() <= found.tolerance
    assert backend.usage.refused == 0
    assert backend.usage.cached is not None and backend.usage.cached > 0.3 * backend.usage.tokens


def test_the_offline_engine(tmp_path: Path, vllm_python: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Driven through a pipe, in vLLM's own environment: the same logits, and NaN for a prompt that is too long."""
    from llm_classifier import golden
    from llm_classifier.score import open_backend

    for name, value in CPU.items():
        monkeypatch.setenv(name, value)
    model = exported("causal", tmp_path)
    wanted = by_transformers(model)
    backend = open_backend(model, backend="vllm", python=vllm_python)
    served = golden.ask(backend, [*prompts(), HISTORY * 400])
    usage = backend.usage
    backend.close()
    assert np.abs(served[:-1] - wanted).max() <= golden.tolerance(model)
    assert math.isnan(served[-1]) and usage.refused == 1
    assert usage.prompts == len(prompts()) and usage.cached is not None and usage.cached > 0
