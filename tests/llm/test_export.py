"""Export and verify: merged weights answer as the adapter did, and a copy that does not is found out."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner

from resolver.errors import DamagedError, QualityGateError, UsageError
from resolver.progress import Progress

pytestmark = pytest.mark.llm

PROMPTS = [f"condition since {1900 + year} Same person?" * (1 + year % 3) for year in range(12)]


def adapter(folder: Path, base: Path, kind: str, dtype: str = "float32") -> Path:
    """An adapter of random matrices on the base, with golden logits of its own."""
    import peft
    import torch
    import transformers

    from llm_classifier import artifact, golden
    from llm_classifier.score import loading
    from llm_classifier.score.local import TransformersBackend

    more: dict[str, Any] = {"dtype": torch.float32}
    if dtype == "nf4":
        more = {"quantization_config": loading.nf4(torch.float32), "device_map": "cpu"}
    with torch.random.fork_rng():
        torch.manual_seed(3)
        if kind == "classifier":
            model = transformers.AutoModelForSequenceClassification.from_pretrained(base, num_labels=2, **more)
            with torch.no_grad():
                model.score.weight.normal_(std=0.2)
        else:
            model = transformers.AutoModelForCausalLM.from_pretrained(base, **more)
        config = peft.LoraConfig(
            task_type="SEQ_CLS" if kind == "classifier" else "CAUSAL_LM",
            r=4,
            target_modules=["q_proj", "down_proj"],
            modules_to_save=["score"] if kind == "classifier" else None,
            init_lora_weights=False,
        )
        model = peft.get_peft_model(model, config)
    model.save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(base).save_pretrained(folder)
    told = artifact.Artifact(
        kind=kind,  # type: ignore[arg-type]
        weights="adapter",
        dtype=dtype,
        base=str(base),
        base_digest=artifact.digest(base),
        prompt_version="1",
        max_tokens=2048,
        tokens_per_side=512,
        dataset_pin="pin",
        prior_train=0.5,
    )
    artifact.write(folder, told)
    backend = TransformersBackend(folder, device="cpu")
    golden.write(folder, PROMPTS, golden.ask(backend, PROMPTS))
    backend.close()
    return folder


@pytest.fixture(scope="session")
def exported(tiny_base: Path, tiny_causal: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """One of each kind."""
    from llm_classifier.export import export

    found = {}
    for kind in ("classifier", "causal"):
        root = tmp_path_factory.mktemp(kind)
        base = tiny_base if kind == "classifier" else tiny_causal
        found[kind] = export(adapter(root / "trained", base, kind), root / "merged", progress=Progress())
    return found


@pytest.mark.parametrize(
    ("kind", "architecture"), [("classifier", "Gemma3ForSequenceClassification"), ("causal", "Gemma3ForCausalLM")]
)
def test_merged_weights_answer_as_the_adapter_did(kind: str, architecture: str, exported: dict[str, Any]) -> None:
    """All weights are bfloat16 and named as vLLM names them; logits move by rounding alone."""
    from safetensors import safe_open

    made = exported[kind]
    config = json.loads((made.folder / "config.json").read_text())
    assert config["architectures"] == [architecture] and config["model_type"] == "gemma3_text"
    with safe_open(made.folder / "model.safetensors", framework="pt") as weights:
        names = list(weights.keys())
        assert {str(weights.get_tensor(name).dtype) for name in names} == {"torch.bfloat16"}
    assert not any("lora" in name or "base_model" in name for name in names)
    golden = pl.read_parquet(made.folder / "golden.parquet")
    assert golden["logit"].std() > 0.05
    assert made.moved < 0.1 * golden["logit"].std() + 0.01
    assert made.artifact.weights == "merged" and made.artifact.dtype == "bfloat16"
    assert made.artifact.made["exported_from"] != made.artifact.fingerprint


def test_the_serving_manifest_says_how_to_ask(exported: dict[str, Any]) -> None:
    """No activation, room for an answer's token, parameters that work; and it is no part of the digest."""
    from llm_classifier import artifact
    from llm_classifier.score.loading import load

    for kind, made in exported.items():
        told = json.loads((made.folder / "serving.json").read_text())
        arguments = told["arguments"]
        assert arguments[arguments.index("--max-model-len") + 1] == ("2048" if kind == "classifier" else "2049")
        assert ('{"use_activation": false}' in arguments) == (kind == "classifier")
        assert told["parameters"] == load(made.folder).parameters
        assert told["tolerance"] >= 0.02
        (made.folder / "serving.json").write_text(json.dumps(told | {"note": "edited"}))
        artifact.check(made.folder)


def test_a_base_in_four_bits_stays_so(tiny_base: Path, tmp_path: Path, exported: dict[str, Any]) -> None:
    """It is merged into the four-bit weights that it was trained on, and says how far rounding moved its answers."""
    from llm_classifier.export import export
    from llm_classifier.score.usage import parameters

    made = export(
        adapter(tmp_path / "trained", tiny_base, "classifier", "nf4"), tmp_path / "merged", progress=Progress()
    )
    config = json.loads((made.folder / "config.json").read_text())
    assert config["quantization_config"]["bnb_4bit_quant_type"] == "nf4"
    assert made.artifact.dtype == "nf4"
    assert parameters(made.folder) == parameters(exported["classifier"].folder)  # packed, two to a byte
    plain = sum(path.stat().st_size for path in tiny_base.glob("*.safetensors"))
    assert sum(path.stat().st_size for path in made.folder.glob("*.safetensors")) < 0.6 * plain
    golden = pl.read_parquet(made.folder / "golden.parquet")["logit"].to_numpy()
    before = pl.read_parquet(tmp_path / "trained" / "golden.parquet")["logit"].to_numpy()
    assert made.moved == pytest.approx(np.abs(golden - before).max())
    assert np.corrcoef(golden, before)[0, 1] > 0.8


def test_verify_says_which_and_by_how_much(exported: dict[str, Any], tmp_path: Path) -> None:
    """A copy agrees; one whose weights were changed does not, with exit code 3 and no prompt in what is said."""
    from llm_classifier import artifact
    from llm_classifier.cli import llm as main

    source = exported["classifier"].folder
    copy = tmp_path / "copy"
    shutil.copytree(source, copy)
    arguments = ["verify", str(copy), "--model", str(source), "--json"]
    good = CliRunner().invoke(main, arguments, standalone_mode=False)
    told = json.loads(good.output)
    assert told["agrees"] and told["largest_difference"] < 1e-5 and told["prompts"] == len(PROMPTS)

    from safetensors.torch import load_file, save_file

    weights = load_file(copy / "model.safetensors")
    weights["score.weight"] = -weights["score.weight"]
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    artifact.write(copy, artifact.read(copy))
    bad = CliRunner().invoke(main, arguments, standalone_mode=False)
    assert isinstance(bad.exception, QualityGateError) and bad.exception.exit_code == 3
    beyond = json.loads(bad.output)["beyond"]
    golden = pl.read_parquet(source / "golden.parquet")["logit"]
    for one in beyond:
        assert one["golden"] == pytest.approx(golden[one["prompt"]], abs=1e-5)
        assert one["served"] == pytest.approx(-golden[one["prompt"]], abs=1e-4)
    assert "condition" not in bad.output + str(bad.exception)


def test_verify_asks_a_server(exported: dict[str, Any], fake: ModuleType) -> None:
    """Over HTTP: one that answers with probabilities instead of logits is found out."""
    from llm_classifier.score.server import tokenizer
    from llm_classifier.verify import verify

    folder = exported["classifier"].folder
    golden = pl.read_parquet(folder / "golden.parquet")
    known = {
        tuple(one.ids): logit
        for one, logit in zip(tokenizer(folder).encode_batch(golden["prompt"].to_list()), golden["logit"], strict=True)
    }
    with fake.serve(known.__getitem__) as server:
        assert verify(server.url, folder).agrees
        server.logit = lambda tokens: np.tanh(known[tokens] / 2)
        found = verify(server.url, folder)
    assert not found.agrees
    with pytest.raises(UsageError, match="--model"):
        verify("http://127.0.0.1:1", None)


def test_the_wrong_base_is_refused(tiny_base: Path, tiny_causal: Path, tmp_path: Path) -> None:
    """An adapter means nothing on another base; and what is there already is not overwritten."""
    from llm_classifier import artifact
    from llm_classifier.export import export

    trained = adapter(tmp_path / "trained", tiny_base, "causal")
    told = artifact.read(trained)
    artifact.write(trained, dataclasses.replace(told, base=str(tiny_causal)))
    with pytest.raises(DamagedError, match="not the one that the adapter was trained on"):
        export(trained, tmp_path / "merged", progress=Progress())
    assert not (tmp_path / "merged").exists()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(UsageError, match="not empty"):
        export(trained, tmp_path / "full", progress=Progress())
