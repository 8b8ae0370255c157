"""What the tests of the language-model judge share: tiny models, and a skip where the extra is not installed."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

HERE = Path(__file__).parent

# Tests run side by side: each keeps to one core, and none looks for a model on the network.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["OMP_NUM_THREADS"] = "1"


# vLLM's own environment: where `make vllm` puts it, unless another place is named.
VLLM_PYTHON = Path(os.environ.get("RESOLVER_VLLM_PYTHON", HERE.parents[1] / ".venv-vllm" / "bin" / "python"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that are marked `llm` need the extra, those marked `vllm` its own environment; the others here neither."""
    if not VLLM_PYTHON.exists():
        for item in items:
            if "vllm" in item.keywords and HERE in item.path.parents:
                item.add_marker(pytest.mark.skip(reason="needs an environment with vLLM: make vllm"))
    if importlib.util.find_spec("transformers") is not None and importlib.util.find_spec("torch") is not None:
        return
    skip = pytest.mark.skip(reason="needs the extra llm: make llm")
    for item in items:
        if "llm" in item.keywords and HERE in item.path.parents:
            item.add_marker(skip)


@pytest.fixture(scope="session")
def vllm_python() -> Path:
    """The interpreter of the environment with vLLM."""
    return VLLM_PYTHON


@pytest.fixture(scope="session")
def fake() -> ModuleType:
    """fake_vllm.py: a server that answers as vLLM does."""
    import fake_vllm

    return fake_vllm


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


@pytest.fixture(scope="session")
def labelled_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The config of a labelled run on the bundled sample: real Synthea histories, read as a run reads them.

    Its candidate pairs are drawn: all true ones and as many others as make a gray zone, with a score that knows little.
    """
    import numpy as np
    import polars as pl

    from resolver import database, pipeline, runs, sample, settings, tables
    from resolver.evaluate import truth
    from resolver.progress import Progress

    folder = tmp_path_factory.mktemp("labelled")
    config = folder / "sample.yaml"
    config.write_text(sample.config(folder / "run"), encoding="utf-8")
    loaded = settings.load(config, ("run.threads=1",))
    runs.execute([stage for stage in pipeline.STAGES if stage.name == "ingest"], loaded, Progress())
    run = runs.RunFolder(loaded.run.dir)
    assert loaded.evaluate.truth is not None
    with database.connect(memory_gib=1, threads=1) as con:
        person = truth.read(con, loaded.evaluate.truth, f"read_parquet({database.quote(run.file('records'))})").person
        rng = np.random.default_rng(0)
        left, right = np.triu_indices(len(person), 1)
        true = person[left] == person[right]
        chosen = true | (rng.random(len(left)) < 0.04)
        logit = np.where(true, 1.0, -1.0) + rng.normal(0, 2, len(left))
        con.register(
            "drawn", pl.DataFrame({"left_rid": left, "right_rid": right, "rule": 1, "logit": logit}).filter(chosen)
        )
        con.execute(f"COPY ({tables.PAIRS.select('drawn')}) TO {database.quote(run.file('pairs'))} (FORMAT parquet)")
    return config


@pytest.fixture
def paper_model(tmp_path: Path) -> Callable[..., Path]:
    """Writes the folder of an exported model; its weights are bytes that no library ever reads."""
    import json

    import polars as pl

    from llm_classifier import artifact, prompt

    def made(name: str, **more: object) -> Path:
        folder = tmp_path / "made" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}" + name.encode())
        (folder / "tokenizer.json").write_text("{}", encoding="utf-8")
        (folder / "training_args.bin").write_bytes(b"a pickle")
        config = {"architectures": ["Gemma3ForSequenceClassification"], "max_position_embeddings": 4096}
        (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
        prompts = [prompt.pair(f"conditions: asthma {number}", "conditions: asthma") for number in range(4)]
        pl.DataFrame({"prompt": prompts, "logit": [0.5, -0.5, 1.0, -1.0]}).write_parquet(folder / artifact.GOLDEN)
        told: dict[str, object] = {
            "kind": "classifier",
            "weights": "merged",
            "dtype": "bfloat16",
            "base": "base",
            "base_digest": "0" * 64,
            "prompt_version": prompt.VERSION,
            "max_tokens": 2048,
            "tokens_per_side": 256,
            "dataset_pin": "b" * 16,
            "prior_train": 0.5,
            "calibration": {"temperature": 1.5, "bias": 0.0},
        }
        written = artifact.write(folder, artifact.Artifact(**told | more))  # type: ignore[arg-type]
        serving = {
            "module": "vllm.entrypoints.openai.api_server",
            "arguments": ["--model", "MODEL", "--served-model-name", name, "--max-model-len", "2048"],
            "request": {"path": "/classify"},
            "fingerprint": written.fingerprint,
            "tolerance": 0.1,
        }
        (folder / artifact.SERVING).write_text(json.dumps(serving), encoding="utf-8")
        return folder

    return made


@pytest.fixture(scope="session")
def toy_pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set that a tiny model learns in seconds: true pairs share asthma. False ones weigh three times as much."""
    import numpy as np
    import polars as pl

    from llm_classifier import prompt
    from llm_classifier.dataset import SPLITS, card

    rng = np.random.default_rng(0)
    data, counts = {}, {}
    for number, (split, pairs) in enumerate(zip(SPLITS, (48, 16, 16, 16), strict=True)):
        rows = []
        for place in range(pairs):
            label = place % 2
            told = ["asthma"] * label + ["gout"] * (1 - label)
            sides = [
                "conditions: "
                + "; ".join(rng.permutation([*told, *rng.choice(["flu", "sprain", "otitis"], 2)]).tolist())
                for _ in range(2)
            ]
            for swapped in (False, True):
                left, right = sides[::-1] if swapped else sides
                rows.append(
                    {
                        "pair_id": 1000 * number + place,
                        "population": "toy",
                        "left_id": f"l{place}",
                        "right_id": f"r{place}",
                        "group": 100 * number + place // 4,
                        "swapped": swapped,
                        "left_summary": left,
                        "right_summary": right,
                        "prompt": prompt.pair(left, right),
                        "label": label,
                        "origin": "gray",
                        "logit": 0.0,
                        "weight": 0.5 if label else 1.5,
                        "tokens": 128,
                        "sex": "F",
                        "age_band": "40-59",
                        "race": "white",
                        "ethnicity": "nonhispanic",
                    }
                )
        data[split] = pl.DataFrame(rows)
        origins = {"gray": pairs, "lookalike": 0, "random": 0, "easy": 0}
        counts[split] = {"rows": 2 * pairs, "pairs": pairs, "true": pairs // 2, "persons": pairs, "origins": origins}
    folder = tmp_path_factory.mktemp("toy") / "dataset"
    facts = {
        "prompt_version": prompt.VERSION,
        "tokens_per_side": 64,
        "max_tokens": 512,
        "tokenizer": "",
        "splits": counts,
        "gray_prior": 0.25,
        "priors": {},
        "populations": [{"name": "toy"}],
        "seed": 0,
        "attrition": [],
    }
    card.write(folder, data, facts)
    return folder


@pytest.fixture(scope="session")
def toy_base(tmp_path_factory: pytest.TempPathFactory, toy_pairs: Path) -> Path:
    """A tiny text-only base whose tokens are the toy data set's words."""
    from llm_classifier import base

    folder = tmp_path_factory.mktemp("toy_base") / "base"
    base.tiny_base(folder, toy_pairs, width=64, layers=2, vocabulary=1024, seed=0)
    return folder
