"""Serving manifests name what is in production, and a server is healthy only once it answers as the model does."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from llm_classifier import artifact
from llm_classifier.cli.deploy import deploy
from llm_classifier.registry.metrics import Figure, Metrics
from llm_classifier.registry.store import Registry
from llm_classifier.settings.registry import GateSettings
from resolver.errors import DamagedError, PendingError, QualityGateError, UsageError

IMAGE = "vllm/vllm-openai@sha256:" + "1" * 64


@pytest.fixture
def production(tmp_path: Path, paper_model: Callable[..., Path]) -> Registry:
    """A registry with one model in production."""
    registry = Registry(tmp_path / "registry")
    promote(registry, paper_model("first"))
    return registry


def promote(registry: Registry, folder: Path) -> None:
    told = artifact.read(folder)
    figures = {name: Figure(value=0.9, low=0.8, high=0.95) for name in ("auprc", "auroc", "f1")}
    found = Metrics(
        model=told.fingerprint,
        calibration=told.calibration,
        test_set="a" * 16,
        seen=0,
        pairs=100,
        positives=50,
        headline=figures,
    )
    version = registry.measure(registry.register(folder), found)
    assert registry.promote(version, found.test_set, GateSettings()).passed


def call(registry: Registry, *arguments: object, **settings: object) -> dict[str, Any]:
    told = [f"--set=deploy.{name}={json.dumps(value)}" for name, value in settings.items()]
    result = CliRunner().invoke(
        deploy, ["--registry", str(registry.dir), *map(str, arguments), *told, "--json"], catch_exceptions=False
    )
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_compose_serves_what_is_in_production(production: Registry, tmp_path: Path) -> None:
    """Image by digest, model read-only, arguments as exported, reachable from this machine alone, key by name only."""
    told = call(production, "--to", "compose", "--out", tmp_path / "c.yaml", image=IMAGE, port=9000, key="LLM_KEY")
    content = yaml.safe_load((tmp_path / "c.yaml").read_text())
    service = content["services"]["llm"]

    assert told["version"] == 1 and service["image"] == IMAGE
    assert service["volumes"][0] == {
        "type": "bind",
        "source": str(production.version(1).model),
        "target": "/model",
        "read_only": True,
    }
    assert service["command"][:2] == ["--model", "/model"]
    assert service["command"][service["command"].index("--max-model-len") + 1] == "2048"
    assert service["ports"] == ["127.0.0.1:9000:8080"]
    assert service["environment"]["VLLM_API_KEY"].startswith("${LLM_KEY:?")
    assert service["labels"]["resolver/fingerprint"] == production.version(1).artifact.fingerprint


def test_kserve_serves_it_too(production: Registry, tmp_path: Path) -> None:
    """The same server with the same arguments, its files where the cluster finds them, its key from a Secret."""
    more: dict[str, object] = {"storage_uri": "pvc://models/one", "key": "LLM_KEY", "secret": "llm", "gpus": 2}
    call(production, "--to", "kserve", "--out", tmp_path / "k.yaml", image=IMAGE, **more)
    content = yaml.safe_load((tmp_path / "k.yaml").read_text())
    (container,) = content["spec"]["predictor"]["containers"]
    environment = {one["name"]: one for one in container["env"]}

    assert (content["apiVersion"], content["kind"]) == ("serving.kserve.io/v1beta1", "InferenceService")
    assert container["args"][:2] == ["--model", "/mnt/models"]
    assert container["args"][container["args"].index("--tensor-parallel-size") + 1] == "2"
    assert environment["STORAGE_URI"]["value"] == "pvc://models/one"
    assert environment["VLLM_API_KEY"]["valueFrom"]["secretKeyRef"] == {"name": "llm", "key": "LLM_KEY"}
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "2"


def test_a_manifest_follows_promotion_and_rollback(
    production: Registry, paper_model: Callable[..., Path], tmp_path: Path
) -> None:
    """Written again after each, it names another version; the same state gives the same bytes."""
    out = tmp_path / "c.yaml"
    texts = []
    for change in (None, lambda: promote(production, paper_model("second")), lambda: production.roll_back("slow")):
        if change is not None:
            change()
        call(production, "--to", "compose", "--out", out, image=IMAGE)
        texts.append(out.read_text())

    assert texts[0] == texts[2] != texts[1] and "versions/0002/model" in texts[1]


def test_what_can_not_be_served_is_refused(
    production: Registry, paper_model: Callable[..., Path], tmp_path: Path
) -> None:
    """No tag for an image, no manifest without one, no adapter, no damaged files, no cluster without a place."""
    with pytest.raises(UsageError, match=r"deploy\.image"):
        call(production, "--to", "compose", "--out", tmp_path / "c", image="vllm/vllm-openai:latest")
    with pytest.raises(UsageError, match="No image is named"):
        call(production, "--to", "compose", "--out", tmp_path / "c")
    with pytest.raises(UsageError, match=r"deploy\.storage_uri"):
        call(production, "--to", "kserve", "--out", tmp_path / "c", image=IMAGE)
    with pytest.raises(UsageError, match="nothing to do"):
        call(production)
    with pytest.raises(UsageError, match="Nothing is in production"):
        call(Registry(tmp_path / "empty"), "--to", "compose", image=IMAGE)
    promote(production, paper_model("adapter", weights="adapter"))
    with pytest.raises(UsageError, match="is an adapter"):
        call(production, "--to", "compose", "--out", tmp_path / "c", image=IMAGE)
    weights = production.version(2).model / "model.safetensors"
    weights.chmod(0o644)
    weights.write_bytes(b"other")
    with pytest.raises(DamagedError):
        call(production, "--to", "compose", "--out", tmp_path / "c", image=IMAGE)
    assert not (tmp_path / "c").exists()


@pytest.fixture
def served(
    tiny_base: Path, paper_model: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Registry:
    """A registry whose model has a tokenizer that can be loaded; waiting looks often."""
    from llm_classifier.deploy import waiting

    monkeypatch.setattr(waiting, "PAUSE", 0.02)
    monkeypatch.setattr(waiting, "LOOK", 0.3)
    folder = paper_model("served")
    shutil.copyfile(tiny_base / "tokenizer.json", folder / "tokenizer.json")
    artifact.write(folder, artifact.read(folder))
    registry = Registry(tmp_path / "registry")
    promote(registry, folder)
    return registry


def answers(registry: Registry) -> dict[tuple[int, ...], float]:
    """Tokens of the golden prompts -> what the model answers."""
    from llm_classifier import golden
    from llm_classifier.score.server import tokenizer

    model = registry.version(1).model
    prompts, logits = golden.read(model)
    tokens = [tuple(one.ids) for one in tokenizer(model).encode_batch(prompts)]
    return dict(zip(tokens, logits.tolist(), strict=True))


@pytest.mark.llm
def test_a_server_is_healthy_once_it_gives_the_golden_logits(served: Registry, fake: ModuleType) -> None:
    """While the one before still answers, it waits; within the tolerance it is healthy."""
    right, asked = answers(served), 0

    def logit(tokens: tuple[int, ...]) -> float:
        nonlocal asked
        asked += 1
        return right[tokens] + (0.05 if asked > 2 * len(right) else 3.0)

    with fake.serve(logit) as server:
        told = call(served, "--wait", server.url, wait_seconds=20)

    assert asked > 2 * len(right)
    assert told["golden"]["agrees"] and told["golden"]["largest_difference"] == pytest.approx(0.05)


@pytest.mark.llm
def test_a_server_of_another_model_is_not_healthy(served: Registry, fake: ModuleType) -> None:
    """It answers, is up, and is refused with exit code 3."""
    with (
        fake.serve(lambda tokens: 3.0) as server,
        pytest.raises(QualityGateError, match="4 of 4 golden prompts are off") as found,
    ):
        call(served, "--wait", server.url, wait_seconds=20, settle_seconds=0.1)
    assert found.value.exit_code == 3


@pytest.mark.llm
def test_a_server_that_never_answers_is_pending(served: Registry) -> None:
    """Exit code 75 says: try again later."""
    with pytest.raises(PendingError, match="did not answer within") as found:
        call(served, "--wait", "http://127.0.0.1:9", wait_seconds=0.2)
    assert found.value.exit_code == 75
