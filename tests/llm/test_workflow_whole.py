"""The workflow with real steps: from a finished run to a model in production, and back where it does not hold."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from llm_classifier import artifact, dataset
from llm_classifier.cli import workflow as command
from llm_classifier.registry.store import Registry
from resolver.errors import QualityGateError, UsageError

pytestmark = [pytest.mark.llm, pytest.mark.slow]


def _module(name: str, path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from llm_classifier import prompt, tiny

    folder = tmp_path_factory.mktemp("flow")
    # A tokenizer that knows the prompt's words: prompts of a hundred tokens rather than five hundred.
    base = tiny.make(folder / "base", [prompt.pair("", "")] * 10, width=32, layers=1)
    worlds = _module("made_up_worlds", Path(__file__).parents[1] / "conftest.py")
    datasets = _module("tests_of_data_sets", Path(__file__).with_name("test_dataset.py"))
    run = datasets.finished(folder / "one", worlds.make(folder / "world", persons=60))
    content = {
        "dataset": {
            "out": "pairs",
            "runs": [str(run)],
            "tokens_per_side": 64,
            "max_tokens": 1024,
            "min_pairs": 10,
            "max_pairs": 160,
        },
        "train": {
            "base": str(base),
            "dataset": "pairs",
            "out": "trained",
            "method": "full",
            "epochs": 1,
            "evaluations": 1,
            "learning_rate": 1e-3,
            "gradient_checkpointing": False,
            "tracking": "none",
            "threads": 1,
        },
        "registry": {"dir": "registry", "gate": {"at_least": {}}},
        "workflow": {"dir": "flow"},
    }
    path = folder / "llm.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def call(config: Path, *overrides: str) -> list[dict[str, Any]]:
    arguments = [str(config), "--json", *(f"--set={one}" for one in overrides)]
    found: list[dict[str, Any]] = json.loads(
        CliRunner().invoke(command.workflow, arguments, catch_exceptions=False).stdout
    )
    return found


@pytest.fixture(scope="session")
def first(config: Path) -> list[dict[str, Any]]:
    """What the first run of the workflow did."""
    return call(config)


def recalibrated(config: Path, folder: Path, temperature: float) -> str:
    """The model in production with another calibration, which makes it another version; as a setting."""
    shutil.copytree(Registry(config.parent / "registry").require_production().model, folder)
    for path in folder.iterdir():
        path.chmod(0o755)
    told = artifact.read(folder)
    artifact.write(folder, dataclasses.replace(told, calibration=told.calibration | {"temperature": temperature}))
    return f"workflow.model={folder}"


def production(config: Path) -> int | None:
    return Registry(config.parent / "registry").state().production


def test_from_a_run_to_production(config: Path, first: list[dict[str, Any]]) -> None:
    """Trained, measured, looked over, promoted; and nothing is done twice."""
    registry = Registry(config.parent / "registry")
    assert [one["name"] for one in first] == [
        *("prepare", "train", "export", "validate", "bias", "check", "promote", "confirm")
    ]
    assert not any(one["skipped"] for one in first)
    assert production(config) == 1 and registry.version(1).metrics[first[0]["facts"]["pin"]].pairs > 10
    assert all(one["skipped"] for one in call(config))


@pytest.mark.usefixtures("first")
def test_what_does_not_hold_is_taken_back(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A gate that is not met changes nothing; a model that answers otherwise is rolled back, and does not return."""
    registry = Registry(config.parent / "registry")
    other = (recalibrated(config, tmp_path / "given", 2.0), f"workflow.dir={tmp_path / 'flow'}")
    with pytest.raises(QualityGateError, match=r"not above 0\.99"):
        call(config, *other, "registry.gate.at_least={auroc: 0.99}")
    assert production(config) == 1 and registry.entries()[-1].what == "refused"

    def strange(*_: object) -> None:
        raise QualityGateError("It does not answer as the model does.")

    with monkeypatch.context() as patch:
        patch.setattr("llm_classifier.verify.verify", strange)
        with pytest.raises(QualityGateError, match="does not answer"):
            call(config, *other)
    last = registry.entries()[-1]
    assert (last.what, last.instead_of) == ("rolled back", 1)
    assert last.reason == "confirm failed: It does not answer as the model does."
    with pytest.raises(QualityGateError, match="it was rolled back"):
        call(config, *other)
    assert production(config) == 1


@pytest.mark.usefixtures("first")
def test_another_test_set_must_be_named(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pin that changed is refused; named in the config, the model in production is measured on it too. A model that
    was trained on pairs of it is refused."""
    monkeypatch.setattr("llm_classifier.validate.measuring.TELLING", 20)  # these made-up histories are short
    before = Registry(config.parent / "registry").require_production()
    other = [
        *(f"dataset.out={tmp_path / 'pairs'}", f"workflow.dir={tmp_path / 'flow'}", "dataset.seed=3"),
        recalibrated(config, tmp_path / "given", 3.0),
    ]
    with pytest.raises(QualityGateError, match=r"the test set changed.*; trained on .* nobody looked"):
        call(config, *other)
    other.append(f"workflow.trained_on={config.parent / 'pairs'}")
    pin = dataset.read(tmp_path / "pairs").pin
    named = f"registry.gate.test_set={pin}"
    with pytest.raises(QualityGateError, match="% of the test pairs stand in its training data"):
        call(config, *other, named)
    done = call(config, *other, named, "registry.gate.max_seen=0.99")
    assert not any(one["skipped"] for one in done[-2:])
    registry = Registry(config.parent / "registry")
    assert pin in registry.version(before.number).metrics
    assert done[-1]["facts"]["version"] == production(config) != before.number
    registry.roll_back("as it was")


def test_a_config_that_can_not_be_done_is_refused(config: Path) -> None:
    """Sections that are missing are named; a sweep is not one model; train must read what prepare writes."""
    with pytest.raises(UsageError, match="lacks the sections workflow, registry"):
        call(config, "registry=null", "workflow=null")
    with pytest.raises(UsageError, match="lacks the section train"):
        call(config, "train=null")
    with pytest.raises(UsageError, match="makes a sweep"):
        call(config, "train.rank=[4, 8]")
    with pytest.raises(UsageError, match=r"dataset\.out"):
        call(config, "train.dataset=elsewhere")
