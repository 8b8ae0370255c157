"""What the tests of the language-model judge share: tiny models, and a skip where the extra is not installed."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest

HERE = Path(__file__).parent

# Tests run side by side: each keeps to one core, and none looks for a model on the network.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["OMP_NUM_THREADS"] = "1"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that are marked `llm` need the extra; the others in this folder do not."""
    if importlib.util.find_spec("transformers") is not None and importlib.util.find_spec("torch") is not None:
        return
    skip = pytest.mark.skip(reason="needs the extra llm: make llm")
    for item in items:
        if "llm" in item.keywords and HERE in item.path.parents:
            item.add_marker(skip)


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text-only Gemma 3 with random weights, 94,000 of them."""
    from llm_classifier import tiny

    return tiny.make(tmp_path_factory.mktemp("tiny") / "base", ["Same person? True False condition since"])


def _told(kind: str, base: Path, **more: object) -> object:
    from llm_classifier import artifact

    told: dict[str, object] = {
        "weights": "merged",
        "dtype": "float32",
        "base": str(base),
        "base_digest": artifact.digest(base),
        "prompt_version": "1",
        "max_tokens": 4096,
        "tokens_per_side": 1024,
        "dataset_pin": "",
        "prior_train": 0.5,
    }
    told |= more
    return artifact.Artifact(kind=kind, **told)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def tiny_causal(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that answers with one token. Untrained, but its logits differ well from prompt to prompt."""
    import torch
    import transformers

    from llm_classifier import artifact

    folder = tmp_path_factory.mktemp("tiny") / "causal"
    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny_base)
    model = transformers.AutoModelForCausalLM.from_pretrained(tiny_base)
    with torch.no_grad():
        rows = tokenizer.convert_tokens_to_ids(["True", "False"])
        model.get_input_embeddings().weight[rows] *= 10
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    artifact.write(folder, _told("causal", tiny_base))
    return folder


@pytest.fixture(scope="session")
def tiny_classifier(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier. Untrained, but its logits differ well from prompt to prompt."""
    import torch
    import transformers

    from llm_classifier import artifact

    folder = tmp_path_factory.mktemp("tiny") / "classifier"
    config = transformers.AutoConfig.from_pretrained(tiny_base, num_labels=2)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = transformers.Gemma3TextForSequenceClassification(config)
        with torch.no_grad():
            model.score.weight.normal_(std=0.2)
    model.save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(tiny_base).save_pretrained(folder)
    artifact.write(folder, _told("classifier", tiny_base))
    return folder
