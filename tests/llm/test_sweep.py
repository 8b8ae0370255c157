"""Lists in a config: every combination is a run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from llm_classifier import settings
from llm_classifier.settings.train import TrainSettings
from llm_classifier.train import RECORD, sweep
from resolver.errors import SettingsError, UsageError

SHIPPED = Path(__file__).parents[2] / "configs" / "llm.yaml"


def _config(folder: Path, **train: object) -> Path:
    path = folder / "llm.yaml"
    section = {"base": "base", "dataset": "dataset", "out": "out", **train}
    path.write_text(yaml.safe_dump({"train": section}), encoding="utf-8")
    return path


def test_every_combination_is_a_run(tmp_path: Path) -> None:
    """Two lists of two make four runs, the last list fastest, each in a folder of its own."""
    found = sweep.runs(_config(tmp_path, learning_rate=[1e-4, 2e-4], method=["lora", "full"]))

    assert [(run.number, run.settings.learning_rate, run.settings.method) for run in found] == [
        (0, 1e-4, "lora"),
        (1, 1e-4, "full"),
        (2, 2e-4, "lora"),
        (3, 2e-4, "full"),
    ]
    assert found[1].settings.out == tmp_path / "out" / "001-learning_rate=0.0001-method=full"
    assert {run.settings.tracking for run in found} == {f"sqlite:///{tmp_path / 'mlflow.db'}"}


def test_without_lists_there_is_one_run(tmp_path: Path) -> None:
    """It goes into `out` itself."""
    (run,) = sweep.runs(_config(tmp_path), ("train.rank=8",))

    assert (run.name, run.settings.out, run.settings.rank) == ("", tmp_path / "out", 8)


def test_a_list_on_the_command_line_is_a_sweep_too(tmp_path: Path) -> None:
    """--set takes YAML."""
    assert [run.settings.rank for run in sweep.runs(_config(tmp_path), ("train.rank=[4, 8]",))] == [4, 8]


def test_other_commands_read_a_config_with_lists(tmp_path: Path) -> None:
    """They see the first run of the sweep."""
    loaded = settings.load(_config(tmp_path, rank=[4, 8])).train

    assert loaded is not None
    assert loaded.rank == 4


@pytest.mark.parametrize(
    ("train", "says"),
    [
        ({"rank": []}, "empty list"),
        ({"seed": list(range(40)), "rank": list(range(1, 41))}, "1,600 runs"),
        ({"out": ["a", "b"]}, "share one folder"),
        ({"rank": [4, -1]}, "rank"),
        ({"batch": 16, "micro_batch": 5}, "must divide"),
        ({"tracking": "postgresql://me:word@host/db"}, "no user name or password"),
        ({"ranks": 4}, "did you mean rank"),
    ],
)
def test_faults_are_told(tmp_path: Path, train: dict[str, object], says: str) -> None:
    """Each in one line that names the setting."""
    with pytest.raises(SettingsError, match=says) as caught:
        sweep.runs(_config(tmp_path, **train))
    assert "word@" not in str(caught.value)


def test_jobs_are_commands_and_an_array_script(tmp_path: Path) -> None:
    """A line per run, and a Slurm script whose array has as many tasks; settings given go along."""
    from llm_classifier.cli.train import train

    config = str(_config(tmp_path, rank=[4, 8, 16]))
    listed = CliRunner().invoke(train, [config, "--sweep", "list", "--set", "train.seed=3"])
    script = CliRunner().invoke(train, [config, "--sweep", "slurm"])

    assert listed.output.splitlines() == [
        f"resolver llm train {config} --set train.seed=3 --job {number}" for number in range(3)
    ]
    assert "#SBATCH --array=0-2\n" in script.output
    assert script.output.endswith(f'resolver llm train {config} --job "$SLURM_ARRAY_TASK_ID"\n')
    assert script.output.startswith("#!/bin/bash\n")
    assert (tmp_path / "out").is_dir()


def test_a_job_that_is_not_there_is_refused(tmp_path: Path) -> None:
    """Numbers are counted from nothing."""
    from llm_classifier.cli.train import train

    result = CliRunner().invoke(train, [str(_config(tmp_path, rank=[4, 8])), "--job", "2"])

    assert isinstance(result.exception, UsageError)
    assert "asks for 2" in str(result.exception)


def test_the_best_on_the_validation_split_comes_first(tmp_path: Path) -> None:
    """A run that is not finished is left out."""
    found = sweep.runs(_config(tmp_path, rank=[4, 8, 16]))
    for run, auprc in zip(found[:2], (0.4, 0.6), strict=True):
        figures = {name: {"value": auprc} for name in ("auprc", "auroc", "log_loss")}
        record = {"model": {"metrics": {"validation": figures}}, "seconds": {"all": 1}}
        (run.settings.out / RECORD).parent.mkdir(parents=True)
        (run.settings.out / RECORD).write_text(json.dumps(record), encoding="utf-8")

    assert [row["run"] for row in sweep.table(found, RECORD)] == ["001-rank=8", "000-rank=4"]


def test_the_config_that_ships_holds_every_setting_with_its_default() -> None:
    """What a person reads there is what happens without it."""
    section = yaml.safe_load(SHIPPED.read_text(encoding="utf-8"))["train"]
    loaded = settings.load(SHIPPED).train

    assert set(section) == set(TrainSettings.model_fields)
    for name, field in TrainSettings.model_fields.items():
        assert field.is_required() or getattr(loaded, name) == field.default, name
