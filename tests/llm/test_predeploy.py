"""Go or no-go: each fault is found by the check that is there for it, and what was not looked at is said."""

from __future__ import annotations

import dataclasses
import json
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner

from llm_classifier import artifact, predeploy, prompt
from llm_classifier.cli import predeploy as command
from llm_classifier.dataset import canaries, card
from llm_classifier.predeploy import checks
from llm_classifier.predeploy.outcome import Check, Report, go, no_go, not_checked
from llm_classifier.registry.metrics import Figure, Metrics
from llm_classifier.registry.store import Registry, Version
from llm_classifier.settings.predeploy import PredeploySettings
from llm_classifier.settings.registry import GateSettings
from resolver.errors import QualityGateError, UsageError
from resolver.progress import Progress

Make = Callable[..., Path]
PIN = "a" * 16


def put(registry: Registry, folder: Path, pin: str = PIN) -> Version:
    """Into production."""
    told = artifact.read(folder)
    figures = {name: Figure(value=0.9, low=0.8, high=0.95) for name in ("auprc", "auroc", "f1")}
    found = Metrics(
        model=told.fingerprint,
        calibration=told.calibration,
        test_set=pin,
        seen=0,
        pairs=9,
        positives=4,
        headline=figures,
    )
    version = registry.measure(registry.register(folder), found)
    assert registry.promote(version, pin, GateSettings()).passed
    return registry.version(version.number)


def rewrite(path: Path, **more: object) -> None:
    content = json.loads(path.read_text(encoding="utf-8")) | more
    path.write_text(json.dumps(content), encoding="utf-8")


def test_one_no_go_is_enough_and_open_checks_are_not_one() -> None:
    """A check that could not be made counts as neither; it is told."""
    fine, open_, bad = go("a", "x"), not_checked("b", "y", "z"), no_go("c", "y", "z")

    assert Report("m", (fine, open_)).go and not Report("m", (fine, open_, bad)).go
    assert Report("m", (fine, open_)).facts()["checks"][1]["outcome"] == "not checked"


def test_the_registry_says_whether_a_version_is_served_rightly(paper_model: Make, tmp_path: Path) -> None:
    """Production is a go; a candidate, a version rolled back and files that changed are not."""
    registry = Registry(tmp_path / "registry")
    version = put(registry, paper_model("one"))
    assert checks.registry(registry, version).outcome == "go"
    candidate = registry.register(paper_model("two"))
    assert "candidate, not in production" in checks.registry(registry, candidate).says
    assert checks.registry(None, None).outcome == "not checked"

    golden = version.model / artifact.GOLDEN
    golden.chmod(0o644)
    golden.write_bytes(b"other")
    assert "not those that were registered" in checks.registry(registry, version).says


def test_a_data_set_whose_pin_changed_is_a_no_go(paper_model: Make, tmp_path: Path) -> None:
    """What it was promoted on must be what lies there."""
    registry = Registry(tmp_path / "registry")
    version = put(registry, paper_model("one"))

    assert checks.data(PIN, version, PIN, tmp_path).outcome == "go"
    assert "promoted on" in checks.data("c" * 16, version, PIN, tmp_path).says
    assert checks.data("c" * 16, version, PIN, tmp_path).outcome == "no-go"
    assert checks.data("", version, PIN, None).outcome == "not checked"
    assert checks.data("", None, "", None).outcome == "not checked"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"architectures": ["Gemma3TextForSequenceClassification"]}, "the architecture is not"),
        ({"max_position_embeddings": 1024}, "fewer than 2048 tokens"),
        ({"id2label": {"0": "A", "1": "B", "2": "C"}}, "3 labels"),
        ({"quantization_config": {}}, "quantization_config says otherwise"),
    ],
)
def test_a_config_that_vllm_would_not_load_is_found(paper_model: Make, change: dict[str, Any], says: str) -> None:
    """Before a machine is rented, and in words."""
    folder = paper_model("one")
    assert checks.config(folder, artifact.read(folder)).outcome == "go"
    rewrite(folder / "config.json", **change)

    found = checks.config(folder, artifact.read(folder))
    assert found.outcome == "no-go" and says in found.says


def test_missing_weights_are_found(paper_model: Make) -> None:
    """A shard that the index names and that is not there; an adapter; no tokenizer."""
    folder = paper_model("one")
    (folder / "tokenizer.json").unlink()
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    told = artifact.read(folder)

    says = checks.config(folder, told).says
    assert "1 files of weights are missing, among them model-00001" in says and "no tokenizer" in says


@pytest.mark.parametrize(
    ("change", "serving", "says"),
    [
        ({"prompt_version": "0"}, {}, "prompts of version 0"),
        ({"tokens_per_side": 2000}, {}, "2048 fit"),
        ({}, {"request": {"path": "/v1/completions"}}, "asked at /classify"),
        ({}, {"fingerprint": "other"}, "another model"),
        ({}, {"arguments": ["--max-model-len", "600"]}, "600 fit"),
        ({}, {"arguments": []}, "can't be read"),
    ],
)
def test_a_contract_that_scoring_would_break_is_found(
    paper_model: Make, change: dict[str, Any], serving: dict[str, Any], says: str
) -> None:
    """Prompts of another version, prompts that do not fit, another way of asking."""
    good = paper_model("good")
    assert checks.contract(good, artifact.read(good), None).outcome == "go"
    folder = paper_model("one", **change)
    rewrite(folder / artifact.SERVING, **serving)

    found = checks.contract(folder, artifact.read(folder), None)
    assert found.outcome == "no-go" and says in found.says


def test_golden_prompts_of_another_kind_are_found(paper_model: Make) -> None:
    """Golden logits of texts that this program never sends prove nothing."""
    folder = paper_model("one")
    pl.DataFrame({"prompt": ["hello"], "logit": [0.0]}).write_parquet(folder / artifact.GOLDEN)

    assert "1 of 1 golden prompts" in checks.contract(folder, artifact.read(folder), None).says


def test_price_memory_and_disk_are_held_against_their_bounds(paper_model: Make, tmp_path: Path) -> None:
    """Each says what it would take; what is not known is asked for."""
    folder = paper_model("one")
    told = artifact.read(folder)
    dear = PredeploySettings(pairs=100_000, tokens_per_second=10_000, price_per_hour=2.0, max_cost=5.0)

    assert checks.price(told, None, PredeploySettings()).outcome == "not checked"
    assert checks.price(told, 500.0, dear).outcome == "go"
    assert "1.39 h, 2.78 of 5.00" in checks.price(told, 500.0, dear).says
    assert "at most 2,048 tokens" in checks.price(told, None, dear).says
    assert checks.price(told, None, dear).outcome == "no-go"
    assert checks.memory(folder, PredeploySettings(gpu_memory_gib=24)).outcome == "go"
    assert checks.memory(folder, PredeploySettings(gpu_memory_gib=1e-9)).outcome == "no-go"
    assert checks.disk(folder, PredeploySettings(disk=tmp_path)).outcome == "go"
    assert checks.disk(folder, PredeploySettings(disk=tmp_path / "none")).outcome == "no-go"


def test_keys_are_named_and_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only whether they are set."""
    monkeypatch.setenv("A_KEY", "very-secret")
    monkeypatch.setenv("EMPTY_KEY", "")

    found = checks.keys(("A_KEY",))
    assert found.outcome == "go" and "very-secret" not in found.says
    assert checks.keys(("A_KEY", "EMPTY_KEY")).says == "not set: EMPTY_KEY"


def test_hosts_must_answer() -> None:
    """One that listens is a go; one that does not, and one that is no address, are named."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert checks.network((f"127.0.0.1:{port}",)).outcome == "go"
    assert f"127.0.0.1:{port}, nowhere" in checks.network((f"127.0.0.1:{port}", "nowhere")).says


def test_damaged_files_stop_everything(paper_model: Make) -> None:
    """With other weights nothing else is worth looking at."""
    folder = paper_model("one")
    (folder / "config.json").write_text("{}", encoding="utf-8")

    report = predeploy.run(folder, PredeploySettings(), Progress())
    assert [(one.name, one.outcome) for one in report.checks] == [("files", "no-go")]


def test_the_command_ends_with_3_on_a_no_go(paper_model: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is wrong stands in one line; --without leaves a check out and says so."""
    registry = Registry(tmp_path / "registry")
    put(registry, paper_model("one"))
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    heavy = ("contract", "golden", "memorisation")
    arguments = ["--registry", str(registry.dir), *(f"--without={name}" for name in heavy)]

    def call(*more: str) -> str:
        return CliRunner().invoke(command.predeploy, [*arguments, *more], catch_exceptions=False).stdout

    with pytest.raises(QualityGateError, match="No-go for version 1: keys") as found:
        call("--set", "predeploy.keys=[NO_SUCH_KEY]")
    assert found.value.exit_code == 3
    told = json.loads(call("--json"))
    assert told["go"] and told["left_out"] == list(heavy)
    assert "Go, as far as was looked" in call()
    with pytest.raises(UsageError, match="There is no check gold"):
        call("--without", "gold")


@pytest.fixture
def whole(tiny_classifier: Path, tmp_path: Path) -> Path:
    """A classifier that can be loaded, as export would leave it."""
    from llm_classifier import export, golden
    from llm_classifier.score import open_backend

    folder = tmp_path / "whole"
    shutil.copytree(tiny_classifier, folder)
    rewrite(folder / "config.json", architectures=[export.ARCHITECTURES["classifier"]])
    told = artifact.write(folder, artifact.read(folder))
    prompts = [prompt.pair(f"conditions: asthma since {year}", "conditions: asthma") for year in range(1990, 1996)]
    backend = open_backend(folder)
    golden.write(folder, prompts, golden.ask(backend, prompts))
    backend.close()
    (folder / artifact.SERVING).write_text(json.dumps(export.manifest(folder, told, 0.05, "m")), encoding="utf-8")
    return folder


def made_of(out: Path) -> card.Dataset:
    """A small data set with canaries."""
    rows = pl.DataFrame({"pair_id": range(80)}).with_columns(
        swapped=pl.lit(False),
        label=(pl.col("pair_id") % 2).cast(pl.Int8),
        origin=pl.lit("gray"),
        left_summary="conditions: asthma since " + (1900 + pl.col("pair_id")).cast(pl.String),
        right_summary=pl.lit("conditions: asthma"),
        tokens=pl.lit(400, pl.Int32),
    )
    rows = rows.with_columns(prompt=prompt.pairs(pl.col("left_summary"), pl.col("right_summary")))
    planted = canaries.Planted(seed=0, count=16, times=2)
    data = dict.fromkeys(card.SPLITS, rows) | {"train": canaries.plant(rows, planted, max_tokens=4096)}
    counts = {"rows": 80, "pairs": 80, "persons": 80, "true": 40, "origins": dict.fromkeys(card.ORIGINS, 0)}
    facts = {
        "prompt_version": prompt.VERSION,
        "tokens_per_side": 1024,
        "max_tokens": 4096,
        "tokenizer": "",
        "splits": dict.fromkeys(card.SPLITS, counts),
        "gray_prior": 0.1,
        "priors": {},
        "populations": [],
        "seed": 0,
        "attrition": [],
        "made": {"canaries": {"seed": 0, "count": 16, "times": 2}},
    }
    return card.write(out, data, facts)


@pytest.mark.llm
def test_a_whole_model_is_a_go(whole: Path, tmp_path: Path) -> None:
    """Every check with a model that can be asked; of a classifier the scan says what it could not see."""
    pairs = made_of(tmp_path / "pairs")
    artifact.write(whole, dataclasses.replace(artifact.read(whole), dataset_pin=pairs.pin))
    registry = Registry(tmp_path / "registry")
    version = put(registry, whole, pairs.pin)
    records = pl.DataFrame(
        {"first_name": [f"A{n}" for n in range(40)], "last_name": [f"B{n % 7}" for n in range(40)], "ssn": None}
    )
    records.with_columns(pl.col("ssn").cast(pl.String)).write_parquet(tmp_path / "records.parquet")
    scan = {"carriers": 1, "controls": 32, "strings": 16, "pairs": 40, "records": (tmp_path / "records.parquet",)}
    settings = PredeploySettings.model_validate({"dataset": pairs.folder, "scan": scan})

    report = predeploy.run(version.model, settings, Progress(), registry=registry, version=version)
    found: dict[str, Check] = {one.name: one for one in report.checks}
    assert report.go and tuple(found) == predeploy.NAMES
    for name in ("files", "config", "contract", "registry", "data", "golden", "memorisation"):
        assert found[name].outcome == "go", found[name]
    assert "canaries push the logit" in found["memorisation"].says
    assert "names move the logit" in found["memorisation"].says
    assert "only 1 could be held against others" in found["memorisation"].says
    assert "pairs trained on are told from others" in found["memorisation"].says
    assert "a classifier completes nothing" in found["memorisation"].says


@pytest.mark.llm
def test_other_golden_logits_are_a_no_go(whole: Path) -> None:
    """A copy that answers otherwise is found before it is served."""
    held = pl.read_parquet(whole / artifact.GOLDEN)
    held.with_columns(pl.col("logit") + 1).write_parquet(whole / artifact.GOLDEN)

    report = predeploy.run(whole, PredeploySettings(), Progress(), only=("golden",))
    assert [(one.name, one.outcome) for one in report.checks] == [("golden", "no-go")]
    assert "6 of 6 golden prompts are off" in report.checks[0].says
