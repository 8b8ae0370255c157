"""The fusion encoder's training on real synthetic histories, what it leaves on disk, and its proof."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from llm_classifier import measures
from llm_classifier.cli import llm
from llm_classifier.encoder import combining, corpus, model
from llm_classifier.encoder.tokens import KINDS
from llm_classifier.settings.encoder import EncoderSettings, ShapeSettings
from resolver.errors import DamagedError, ResolverError, UsageError
from resolver.progress import Progress

pytestmark = pytest.mark.llm

SETTINGS: dict[str, Any] = {
    "after": [],
    "shape": {"width": 16, "heads": 2, "most": 16, "buckets": 1024},
    "records": 64,
    "epochs": 4,
    "learning_rate": 0.005,
    "held_out": 0.4,
    "bootstrap": 20,
    "threads": 1,
}


def command(*arguments: object) -> Result:
    return CliRunner().invoke(llm, [str(one) for one in arguments], catch_exceptions=False)


def write(folder: Path, runs: Path, **more: Any) -> Path:
    path = folder / "llm.yaml"
    path.write_text(json.dumps({"encoder": {"out": str(folder / "out"), "runs": [str(runs)], **SETTINGS, **more}}))
    return path


def chosen(out: Path, runs: Path, **more: Any) -> EncoderSettings:
    return EncoderSettings(out=out, runs=(runs,), **(SETTINGS | more))


@pytest.fixture(scope="module")
def trained(labelled_run: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A small encoder, trained by the command on the bundled sample, and the record that it printed."""
    folder = tmp_path_factory.mktemp("encoder")
    told = command("encoder", "train", write(folder, labelled_run), "--json")
    return folder / "out", json.loads(told.stdout)


def test_it_beats_chance_on_persons_it_has_not_seen(trained: tuple[Path, dict[str, Any]], labelled_run: Path) -> None:
    """Histories alone tell pairs of other persons apart, and together with what stood before better than that."""
    from llm_classifier.encoder import fitting

    folder, _ = trained
    card, network = model.load(folder)
    settings = chosen(folder, labelled_run)
    known = corpus.load(settings.runs, settings, (), Progress())
    rows = np.flatnonzero(known.within(known.slot < 400))  # the 40 % kept out
    score, standing = fitting.scores(network, known, rows), known.standing[rows]
    label, even = known.label[rows].astype(float), np.ones(len(rows))

    assert label.sum() > 80 and (label == 0).sum() > 250
    assert measures.auroc(score, label, even) > 0.65
    both = measures.auroc(card.line.of(standing, score), label, even)
    assert both > measures.auroc(standing, label, even) + 0.02
    assert card.line.score > 0


def test_the_record_tells_everything(trained: tuple[Path, dict[str, Any]]) -> None:
    """Every epoch, every figure, settings and versions stand in training.json, and in what --json prints."""
    folder, record = trained

    assert json.loads((folder / model.TRAINING).read_text()) == record
    assert [one["epoch"] for one in record["history"]] == [1, 2, 3, 4]
    best = max(record["history"], key=lambda one: one["validation_auroc"])
    assert record["best_epoch"] == best["epoch"]
    for name in ("auroc", "auprc", "f1", "precision", "recall", "accuracy", "auroc_interval"):
        assert record["held_out"]["encoder"][name] is not None
    assert record["fit"]["true_weight"] > 1  # others outnumber true pairs
    assert record["fingerprint"] == model.read(folder).fingerprint


def test_the_learning_rate_rises_and_falls(trained: tuple[Path, dict[str, Any]], labelled_run: Path) -> None:
    """It rises in a line over the warm-up and falls along a cosine to nearly nothing."""
    from llm_classifier.encoder.fitting import rate

    settings = chosen(trained[0], labelled_run, warm_up=0.2)
    rates = [rate(step, 100, settings) for step in range(100)]

    assert int(np.argmax(rates)) in (19, 20)
    assert rates[:20] == sorted(rates[:20]) and rates[20:] == sorted(rates[20:], reverse=True)
    assert max(rates) == pytest.approx(0.005) and rates[-1] < 0.00001


def test_the_same_seed_gives_the_same_weights(trained: tuple[Path, dict[str, Any]], labelled_run: Path) -> None:
    """Trained again, the weights are the same byte for byte; with another seed they are not."""
    folder, _ = trained
    (again := folder.parent / "again").mkdir()
    command("encoder", "train", write(again, labelled_run), "--json")

    assert (again / "out" / model.WEIGHTS).read_bytes() == (folder / model.WEIGHTS).read_bytes()
    assert model.read(again / "out").fingerprint == model.read(folder).fingerprint


@pytest.mark.parametrize("kind", ["bce", "focal"])
def test_pairs_without_a_label_are_masked(kind: str) -> None:
    """Unlabelled pairs change neither the loss nor its gradient, unless a teacher spoke of them."""
    import torch

    from llm_classifier.encoder.batches import Step
    from llm_classifier.encoder.fitting import Loss

    def graded(label: list[int], taught: list[float], teach: float) -> tuple[float, list[float]]:
        score = torch.tensor([0.5, -1.0, 2.0], requires_grad=True)
        loss = Loss(true_weight=3.0, focal=2.0 if kind == "focal" else 0.0, teach=teach, prior=-1.0)
        places = np.arange(3)
        value = loss(score, Step(places, places, places, np.array(label), np.array(taught)))
        value.backward()
        assert score.grad is not None
        return float(value.detach()), score.grad.tolist()

    silent = [np.nan] * 3
    _, slopes = graded([1, 0, -1], silent, 0.5)
    _, taught = graded([1, 0, -1], [np.nan, np.nan, 4.0], 0.5)
    _, unheard = graded([1, 0, -1], [np.nan, np.nan, 4.0], 0.0)

    assert slopes[2] == 0 and slopes[0] < 0 < slopes[1]
    assert taught[2] != 0
    assert unheard == slopes
    assert graded([-1, -1, -1], silent, 0.5)[0] == 0


def test_focal_loss_looks_at_what_is_hard() -> None:
    """A pair that is told well already has less of the gradient than under cross-entropy."""
    import torch

    from llm_classifier.encoder.batches import Step
    from llm_classifier.encoder.fitting import Loss

    def share(focal: float) -> float:
        score = torch.tensor([4.0, -1.0], requires_grad=True)
        places = np.arange(2)
        step = Step(places, places, places, np.array([1, 1]), np.array([np.nan, np.nan]))
        Loss(1.0, focal, 0.0, 0.0)(score, step).backward()
        assert score.grad is not None
        return float(score.grad[0] / score.grad.sum())

    assert share(2.0) < share(0.0) / 5


@pytest.mark.parametrize(("folds", "names"), [("person", "persons 1 of 5"), ("facility", "facility facility_1")])
def test_folds_keep_persons_and_facilities_apart(labelled_run: Path, tmp_path: Path, folds: str, names: str) -> None:
    """What a fold is measured on was not learned from: neither its persons, nor the facility that was left out."""
    from llm_classifier.encoder.training import splits

    settings = chosen(tmp_path, labelled_run, folds=folds)
    known = corpus.load(settings.runs, settings, (), Progress())

    found = list(splits(known, settings))

    assert found[0].name == names and len(found) == (5 if folds == "person" else 3)

    def persons(rows: Any) -> set[int]:
        return set(known.person[known.left[rows]]) | set(known.person[known.right[rows]])

    def sources(rows: Any) -> set[str]:
        return set(known.source[known.left[rows]]) | set(known.source[known.right[rows]])

    for fold in found:
        assert len(fold.test.rows) and len(fold.validation.rows)
        assert not persons(fold.learned) & (persons(fold.test.rows) | persons(fold.validation.rows))
        assert not persons(fold.test.rows) & persons(fold.validation.rows)
        if folds == "facility":
            left_out = fold.name.removeprefix("facility ")
            assert left_out not in sources(fold.learned) | sources(fold.validation.rows)
            tested = known.source[known.left[fold.test.rows]], known.source[known.right[fold.test.rows]]
            assert ((tested[0] == left_out) | (tested[1] == left_out)).all()
    if folds == "person":
        true = np.concatenate([fold.test.rows[known.label[fold.test.rows] == 1] for fold in found])
        assert sorted(true) == np.flatnonzero(known.open(settings.asks) & (known.label == 1)).tolist()


def test_each_fold_is_trained_and_measured(labelled_run: Path, tmp_path: Path) -> None:
    """Leaving each facility out in turn, there is one more training for each; one without enough pairs says so."""
    from llm_classifier.encoder import training

    record = training.train(
        chosen(tmp_path, labelled_run, folds="facility", held_out=0.7, epochs=1, bootstrap=0), Progress()
    )
    first, second, third = record["folds"]

    for one in (first, second):
        assert len(one["history"]) == 1 and one["encoder"]["pairs"] > 20
        assert 0 < one["encoder"]["auroc"] < 1 and "auroc_interval" not in one["encoder"]
    assert third["name"] == "facility facility_3" and "fewer than 20 true pairs" in third["left_out"]


def test_ablation_shows_every_kind_wired(trained: tuple[Path, dict[str, Any]], labelled_run: Path) -> None:
    """Leaving a kind out, leaving it alone and exchanging it each change the figures, and gradients reach it."""
    found = json.loads(command("encoder", "ablate", trained[0], labelled_run, "--threads", 1, "--json").stdout)

    assert [row["kind"] for row in found["kinds"]] == list(KINDS)
    for row in found["kinds"]:
        assert row["gradient"] > 0 and row["records"] > 0
        for change in ("without", "alone", "exchanged"):
            assert row[change]["auroc"] != found["whole"]["auroc"], (row["kind"], change)
    assert found["whole"]["auroc"] > max(row["alone"]["auroc"] for row in found["kinds"])


def test_it_is_fitted_to_other_judges_without_training(
    trained: tuple[Path, dict[str, Any]], labelled_run: Path, tmp_path: Path
) -> None:
    """Calibrated anew it has the same weights and another line; what it has learned from is refused."""
    other, third = (shutil.copy(labelled_run, labelled_run.with_name(f"{name}.yaml")) for name in ("other", "third"))

    told = command("encoder", "calibrate", trained[0], other, "--out", tmp_path / "new", "--report", third)
    made = model.read(tmp_path / "new")

    assert "after none" in told.stdout and "  third: AUROC 0." in told.stdout
    assert made.weights_digest == model.read(trained[0]).weights_digest
    assert made.line != model.read(trained[0]).line
    for configs, out, match in (
        ([labelled_run], tmp_path / "more", "sample was used before"),
        ([other, "--report", other], tmp_path / "more", "other was used before"),
        ([other], trained[0], "is the encoder itself"),
    ):
        with pytest.raises(UsageError, match=match):
            command("encoder", "calibrate", trained[0], *configs, "--out", out)


def test_what_was_changed_on_disk_is_not_used(trained: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    """Other weights than the card's, a card of another version and a folder without one are refused in one line."""
    folder, _ = trained
    copied = shutil.copytree(folder, tmp_path / "copied")
    (copied / model.WEIGHTS).write_bytes((folder / model.WEIGHTS).read_bytes()[:-4] + b"none")
    with pytest.raises(DamagedError, match="does not hold the weights"):
        model.load(copied)
    content = json.loads((copied / model.CARD).read_text())
    for change, match in (
        ({"more": 1}, "another version"),
        ({"tokens": "0"}, "other tokens"),
        ({"line": 3}, "another"),
    ):
        (copied / model.CARD).write_text(json.dumps(content | change))
        with pytest.raises(DamagedError, match=match):
            model.read(copied)
    with pytest.raises(UsageError, match="holds no encoder"):
        model.read(tmp_path)


def test_the_fingerprint_changes_with_what_changes_a_logit(trained: tuple[Path, dict[str, Any]]) -> None:
    """Another line or other bounds are another judge; the names of the runs are not."""
    from dataclasses import replace

    card = model.read(trained[0])

    assert replace(card, trained_on=("others",)).fingerprint == card.fingerprint
    assert replace(card, line=combining.Line(1.0, 2.0, 3.0)).fingerprint != card.fingerprint
    assert replace(card, weights_digest="other").fingerprint != card.fingerprint


def test_too_little_to_learn_from(labelled_run: Path, tmp_path: Path) -> None:
    """A population with too few pairs to stop by, or one that is to be measured too, is refused before training."""
    from llm_classifier.encoder import training

    with pytest.raises(ResolverError, match="fewer than 20 true pairs"):
        training.train(chosen(tmp_path, labelled_run, held_out=0.01), Progress())
    with pytest.raises(UsageError, match="sample was used before"):
        training.train(chosen(tmp_path, labelled_run, report=(labelled_run,)), Progress())
    assert ShapeSettings(width=32, heads=4).width == 32
    with pytest.raises(ValueError, match="multiple of heads"):
        ShapeSettings(width=30, heads=4)
