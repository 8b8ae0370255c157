"""`resolver train` makes a model file and its card from labelled populations."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from resolver.cli.train import train
from resolver.errors import UsageError
from resolver.judges.learned import Learned
from resolver.learn import labelled
from resolver.sample import config


@pytest.fixture
def population(tmp_path: Path) -> Path:
    path = tmp_path / "sample.yaml"
    path.write_text(config(tmp_path / "run"), encoding="utf-8")
    return path


def test_a_model_and_its_card_are_written(population: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a labelled population come a model that loads and a card that names it."""
    monkeypatch.setattr(labelled, "ROUNDS", 8)
    out = tmp_path / "model.json"
    result = CliRunner().invoke(train, [str(population), "--out", str(out)], catch_exceptions=False)
    learned = Learned.load(out)

    assert result.exit_code == 0
    assert learned.joint is not None and learned.card["populations"][0]["name"] == "sample"
    assert "| sample |" in out.with_suffix(".md").read_text()


def test_a_population_is_not_both_trained_and_reported_on(population: Path, tmp_path: Path) -> None:
    """Measuring on what was trained on is refused."""
    with pytest.raises(UsageError, match="given twice"):
        CliRunner().invoke(
            train,
            [str(population), "--report", str(population), "--out", str(tmp_path / "model.json")],
            catch_exceptions=False,
        )


def test_a_population_needs_a_truth(tmp_path: Path) -> None:
    """A config without truth is refused by name."""
    path = tmp_path / "plain.yaml"
    path.write_text("run: {dir: run}\nsources: [{kind: synthea, path: .}]\n", encoding="utf-8")

    with pytest.raises(UsageError, match="names no truth"):
        CliRunner().invoke(train, [str(path), "--out", str(tmp_path / "model.json")], catch_exceptions=False)
