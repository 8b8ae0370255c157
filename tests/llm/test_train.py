"""Training on tiny models: what is learned, kept, gone on with, and refused."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner

from llm_classifier import artifact
from llm_classifier.settings.train import TrainSettings
from resolver.errors import RunError, TrainingError, UsageError
from resolver.progress import Progress

pytestmark = [pytest.mark.llm, pytest.mark.slow]

QUICK: dict[str, Any] = {
    "epochs": 1.0,
    "batch": 32,
    "rank": 4,
    "evaluations": 3.0,
    "learning_rate": 1e-3,
    "gradient_checkpointing": False,
    "tracking": "none",
    "threads": 1,
}


@pytest.fixture
def asked(toy_base: Path, toy_pairs: Path, tmp_path: Path) -> Any:
    def settings(name: str = "model", **more: Any) -> TrainSettings:
        return TrainSettings(**{**QUICK, "base": toy_base, "dataset": toy_pairs, "out": tmp_path / name, **more})

    return settings


def _trained(settings: TrainSettings) -> artifact.Artifact:
    from llm_classifier.train import train

    return train(settings, Progress())


def test_every_weight_learns_a_tiny_task(asked: Any) -> None:
    """From random weights to knowing all pairs of other persons, or something is not wired."""
    made = _trained(asked(method="full", epochs=6, learning_rate=3e-3, batch=16, evaluations=0.5))
    record = json.loads((asked().out / "run" / "record.json").read_text())

    assert made.metrics["test"]["auroc"]["value"] == 1.0
    assert made.metrics["test"]["calibration_error"]["value"] < 0.2
    assert (made.weights, made.dtype, made.prior_train) == ("merged", "float32", 0.5)
    assert artifact.check(asked().out) == made
    assert record["dataset"]["pin"] == made.dataset_pin
    assert record["history"]
    assert not (asked().out / "run" / "checkpoints").exists()


def test_a_finished_model_is_not_trained_again(asked: Any) -> None:
    """The same settings do nothing; others, or a model from elsewhere, are refused rather than overwritten."""
    made = _trained(asked())
    before = (asked().out / "run" / "record.json").stat().st_mtime_ns

    assert _trained(asked(tracking="sqlite:///other.db")) == made
    assert (asked().out / "run" / "record.json").stat().st_mtime_ns == before
    with pytest.raises(RunError, match="other settings"):
        _trained(asked(rank=8))
    (asked().out / "run" / "settings.json").unlink()
    with pytest.raises(RunError, match="not trained here"):
        _trained(asked())


def test_the_head_starts_from_the_language_head(asked: Any) -> None:
    """Before the first step the classifier says what the base itself says of True and False."""
    import torch

    from llm_classifier.score import loading
    from llm_classifier.train import model

    ids = torch.tensor([[2, 30, 40, 50], [2, 60, 70, 0]])
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]])
    said = []
    for kind in ("classifier", "causal"):
        ready = model.ready(asked(kind=kind))
        ready.model.eval()
        with torch.no_grad():
            said.append(loading.answering(ready.model, kind, ready.tokenizer)(ids, mask))

    assert torch.allclose(said[0], said[1], atol=1e-6)
    assert said[0].abs().max() > 0


def test_an_adapter_leaves_the_base_as_it_is(asked: Any, toy_base: Path) -> None:
    """LoRA writes small matrices and the head alone, and they move what the model says."""
    from safetensors.torch import load_file

    before = artifact.digest(toy_base)
    made = _trained(asked(targets="attention", micro_batch=16, loss="focal", weights="balanced"))
    names = set(load_file(asked().out / "adapter_model.safetensors"))

    assert artifact.digest(toy_base) == before == made.base_digest
    assert made.weights == "adapter"
    assert {name.split(".")[-3] for name in names if "lora" in name} == {"q_proj", "k_proj", "v_proj", "o_proj"}
    assert any(name.endswith("score.weight") for name in names)
    golden = pl.read_parquet(asked().out / artifact.GOLDEN)
    assert golden.columns == ["prompt", "logit"]
    assert golden.get_column("logit").n_unique() > 1


def test_one_token_labels_and_four_bits(asked: Any) -> None:
    """trl's trainer learns True or False as the next token, on a base in four bits, on the CPU."""
    made = _trained(asked(kind="causal", method="qlora", epochs=0.7, evaluations=1, gradient_checkpointing=True))

    assert (made.kind, made.dtype, made.weights) == ("causal", "nf4", "adapter")
    assert len(pl.read_parquet(asked().out / artifact.GOLDEN)) == 16


def test_bfloat16_keeps_what_learns_in_float32(asked: Any) -> None:
    """Small steps would be rounded away otherwise."""
    import torch

    from llm_classifier.train import model

    ready = model.ready(asked(precision="bfloat16"))
    kinds = {one.requires_grad: one.dtype for one in ready.model.parameters()}

    assert kinds == {True: torch.float32, False: torch.bfloat16}
    assert ready.learning == sum(one.numel() for one in ready.model.parameters() if one.requires_grad)


KILLED = """
import os, signal, sys
from llm_classifier.settings.train import TrainSettings
from llm_classifier.train import train, trainers

class Deadly(trainers.Told):
    def on_step_begin(self, args, state, control, **more):
        if state.global_step == 2:  # a checkpoint of step 1 is whole, and that of step 2 as well
            os.kill(os.getpid(), signal.SIGKILL)

trainers.Told = Deadly
from resolver.progress import Progress
train(TrainSettings.model_validate_json(sys.argv[1]), Progress())
"""


def test_a_killed_training_goes_on_to_the_same_weights(asked: Any) -> None:
    """kill -9 in the middle of an epoch, then the same command: every weight is as if nothing had happened."""
    whole = _trained(asked("whole"))
    settings = asked("killed")
    killed = subprocess.run([sys.executable, "-c", KILLED, settings.model_dump_json()], capture_output=True, text=True)
    checkpoints = settings.out / "run" / "checkpoints"
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-2000:]
    assert not (settings.out / artifact.FILE).exists()
    half = checkpoints / "checkpoint-9"  # one that was being written when the power went
    half.mkdir()
    (half / "trainer_state.json").write_text('{"global_step": 9', encoding="utf-8")

    made = _trained(settings)
    record = json.loads((settings.out / "run" / "record.json").read_text())

    assert record["resumed_from"] == "checkpoint-2"
    assert made.weights_digest == whole.weights_digest
    assert made.metrics == whole.metrics


def test_training_stops_where_nothing_becomes_better(asked: Any) -> None:
    """With steps too small to change anything, patience runs out after the second evaluation."""
    made = _trained(asked(learning_rate=1e-12, patience=1, evaluations=3.0, epochs=3.0))

    assert made.made["steps"] == 2


def test_focal_loss_looks_away_from_what_is_known() -> None:
    """Without gamma it is cross entropy, weighted; with it a sure answer counts next to nothing."""
    import torch

    from llm_classifier.train.trainers import pair_loss

    sure, unsure = torch.tensor([-0.05]), torch.tensor([-2.0])
    one = torch.ones(1)

    assert pair_loss(unsure, 3 * one, 0.0).item() == pytest.approx(6.0)
    assert pair_loss(sure, one, 2.0) < 0.01 * pair_loss(sure, one, 0.0)
    assert pair_loss(unsure, one, 2.0) > 0.7 * pair_loss(unsure, one, 0.0)


def test_mlflow_gets_parameters_and_metrics(asked: Any, tmp_path: Path) -> None:
    """On SQLite beside the model, and goes on in the same run where training does."""
    from llm_classifier.train import tracking

    settings = asked(tracking=None)
    told = tracking.begin(settings, tmp_path / "run", {"rank": 4}, Progress())
    told.metrics({"eval_auprc": 0.5}, 1)
    told.end(finished=False)
    again = tracking.begin(settings, tmp_path / "run", {"rank": 4}, Progress())
    again.metrics({"eval_auprc": 0.75}, 2)
    again.end(finished=True)
    assert isinstance(told, tracking.Mlflow)
    assert isinstance(again, tracking.Mlflow)
    kept = again.client.get_run(again.run)

    assert (tmp_path / "mlflow.db").is_file()
    assert told.run == again.run
    assert kept.data.params == {"rank": "4"}
    assert kept.data.metrics == {"eval_auprc": 0.75}
    assert kept.info.status == "FINISHED"


def test_a_tracking_server_that_is_gone_does_not_end_a_training(asked: Any, tmp_path: Path) -> None:
    """It is told once; what can't be reached at the start is an error."""
    from llm_classifier.train import tracking

    class Gone:
        def log_metric(self, *arguments: Any, **more: Any) -> None:
            raise ConnectionError

    said: list[str] = []

    class Heard(Progress):
        def say(self, text: str) -> None:
            said.append(text)

    told = tracking.Mlflow(Gone(), "run", Heard())
    told.metrics({"a": 1.0, "b": 2.0}, 1)
    told.end(finished=True)

    assert len(said) == 1
    with pytest.raises(RunError, match="can't be reached"):
        tracking.begin(asked(tracking="nosuch://place"), tmp_path / "run", {}, Progress())


def test_prompts_that_do_not_fit_are_refused_whole(asked: Any, toy_pairs: Path, toy_base: Path) -> None:
    """A prompt is never cut: the question stands at its end."""
    from transformers import AutoTokenizer

    from llm_classifier.train import data

    pairs = data.of(toy_pairs, "1").split("train")

    with pytest.raises(TrainingError, match=r"96 prompts of the split train have more than 20 tokens"):
        data.tokens(pairs, AutoTokenizer.from_pretrained(toy_base), at_most=20, where="train")


def test_what_can_not_be_trained_on_is_told(asked: Any, tmp_path: Path) -> None:
    """A multimodal base, a missing one, one too narrow for four bits on the CPU, prompts of another version."""
    from llm_classifier import tiny
    from llm_classifier.train import data, model

    (tmp_path / "eye").mkdir()
    (tmp_path / "eye" / "config.json").write_text('{"text_config": {}}', encoding="utf-8")
    with pytest.raises(UsageError, match="multimodal checkpoint"):
        model.check_text_only(tmp_path / "eye")
    with pytest.raises(UsageError, match="holds no base"):
        model.check_text_only(tmp_path)
    narrow = tiny.make(tmp_path / "narrow", width=32)
    with pytest.raises(UsageError, match="not multiples of 64"):
        model._check_packing(narrow, "cpu")
    with pytest.raises(UsageError, match="version 99 is needed"):
        data.of(asked().dataset, "99")


def test_the_commands_train_calibrate_and_sweep(toy_base: Path, toy_pairs: Path, tmp_path: Path) -> None:
    """A sweep of two runs is told best first, done once, and a model of it can be calibrated in another way."""
    import yaml

    from llm_classifier.cli.train import calibrate, train

    config = tmp_path / "llm.yaml"
    section = {**QUICK, "base": str(toy_base), "dataset": str(toy_pairs), "out": "sweep", "max_train_pairs": 16}
    config.write_text(yaml.safe_dump({"train": {**section, "seed": [0, 1]}}), encoding="utf-8")

    first = CliRunner().invoke(train, [str(config), "--json"], catch_exceptions=False)
    again = CliRunner().invoke(train, [str(config), "--json"], catch_exceptions=False)
    rows = json.loads(first.output)
    model = Path(rows[0]["out"])
    before = artifact.read(model)
    held = CliRunner().invoke(
        calibrate, [str(model), str(toy_pairs), "--method", "temperature", "--json"], catch_exceptions=False
    )
    told = json.loads(held.output)

    assert json.loads(again.output) == rows == json.loads((tmp_path / "sweep" / "sweep.json").read_text())
    assert rows[0]["auprc"] >= rows[1]["auprc"]
    assert told["calibration"]["bias"] == 0
    assert artifact.check(model).calibration == told["calibration"] != before.calibration
    assert artifact.read(model).fingerprint == before.fingerprint
