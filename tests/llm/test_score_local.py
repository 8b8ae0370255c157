"""The backend `transformers`: the same logits whatever the batches, and no model that is not whole."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from resolver.errors import DamagedError, UsageError

pytestmark = pytest.mark.llm

PROMPTS = [f"condition since {year} " * times for year in (1999, 2004) for times in (7, 1, 3, 20)]


def scored(folder: Path, **options: object) -> list[float]:
    from llm_classifier.score import open_backend

    backend = open_backend(folder, device="cpu", **options)  # type: ignore[arg-type]
    try:
        found = dict(backend.logits(PROMPTS))
    finally:
        backend.close()
    assert len(found) == len(PROMPTS)
    return [found[place] for place in range(len(PROMPTS))]


def plainly(folder: Path, kind: str) -> list[float]:
    """One prompt at a time, by the library's own forward pass."""
    import torch
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    auto = (
        transformers.AutoModelForSequenceClassification if kind == "classifier" else transformers.AutoModelForCausalLM
    )
    model = auto.from_pretrained(folder).eval()
    no, yes = (0, 1) if kind == "classifier" else tokenizer.convert_tokens_to_ids(["False", "True"])
    found = []
    with torch.inference_mode():
        for prompt in PROMPTS:
            logits = model(**tokenizer(prompt, return_tensors="pt")).logits
            row = logits[0] if kind == "classifier" else logits[0, -1]
            found.append(float(row[yes] - row[no]))
    return found


@pytest.mark.parametrize("kind", ["classifier", "causal"])
def test_batches_do_not_change_an_answer(kind: str, request: pytest.FixtureRequest) -> None:
    """Sorted, padded and batched, each prompt gets the logit that it gets alone."""
    folder = request.getfixturevalue(f"tiny_{kind}")
    alone = plainly(folder, kind)
    assert max(alone) - min(alone) > 0.5
    for batch_tokens in (1, 100, 16_384):
        assert scored(folder, batch_tokens=batch_tokens) == pytest.approx(alone, abs=1e-5)


def test_a_prompt_too_long_is_said_not_cut(tiny_classifier: Path, tmp_path: Path) -> None:
    """What the model can't read whole gets NaN, and the others their logit."""
    import dataclasses
    import shutil

    from llm_classifier import artifact

    folder = tmp_path / "model"
    shutil.copytree(tiny_classifier, folder)
    artifact.write(folder, dataclasses.replace(artifact.read(folder), max_tokens=30))
    answers = scored(folder)
    assert [math.isnan(one) for one in answers] == [True, False, False, True] * 2


def test_a_model_without_its_head_is_refused(tiny_base: Path, tmp_path: Path) -> None:
    """A head at its random start would give answers that mean nothing."""
    import shutil

    from llm_classifier import artifact
    from llm_classifier.score import open_backend

    folder = tmp_path / "headless"
    shutil.copytree(tiny_base, folder)
    artifact.write(folder, artifact.Artifact("classifier", "merged", "float32", "", "", "1", 4096, 1024, "", 0.5))
    with pytest.raises(DamagedError, match=r"lacks 1 weights.*score\.weight"):
        open_backend(folder, device="cpu")


def test_what_scoring_took(tiny_classifier: Path) -> None:
    """Two operations per parameter and token that was computed, and their share of what this machine can do."""
    from llm_classifier.score.local import TransformersBackend
    from llm_classifier.score.usage import Usage

    backend = TransformersBackend(tiny_classifier, device="cpu")
    list(backend.logits(PROMPTS))
    told, limit = backend.usage, backend.limit()
    assert told.prompts == len(PROMPTS) and told.seconds > 0 and told.tokens > 3 * len(PROMPTS)
    assert 0 < told.facts(limit)["share_of_limit"] < 1
    backend.close()
    usage = Usage(parameters=1000, prompts=10, tokens=500, cached=200, seconds=2.0)
    assert usage.facts(1e6) == {
        "prompts": 10,
        "prompt_tokens": 500,
        "cache_hit_rate": 0.4,
        "seconds": 2.0,
        "pairs_per_second": 5.0,
        "tokens_per_second": 250.0,
        "operations": 600_000.0,
        "retries": 0,
        "refused": 0,
        "limit_tflops": 1e-6,
        "share_of_limit": 0.3,
    }
    assert (
        str(usage) == "10 prompts of 500 tokens, 40% of them from the cache, in 2.0 s: 5.0 pairs/s, 6e-07 T operations"
    )


def test_no_such_backend(tiny_classifier: Path) -> None:
    """The error lists those there are."""
    from llm_classifier.score import open_backend

    with pytest.raises(UsageError, match="transformers, vllm, vllm-server"):
        open_backend(tiny_classifier, backend="onnx")
