"""What a model's answers hang on, and what is odd about it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner

from llm_classifier import prompt
from llm_classifier.dataset import card
from llm_classifier.registry.metrics import Figure, Metrics, Slice
from llm_classifier.validate import findings, variants
from llm_classifier.validate.sensitivity import Moved, Sensitivity

ONE = "conditions: asthma since 2010, ongoing; gout 2015 to 2016\nallergies: peanut since 1999"
TWO = "conditions: asthma since 2016, ongoing\nprocedures: appendectomy 2003"


def pairs(*sides: tuple[str, str]) -> pl.DataFrame:
    left, right = zip(*sides, strict=True)
    return pl.DataFrame({"left_summary": left, "right_summary": right})


def named(name: str) -> variants.Variant:
    every = (*variants.SECTIONS, *variants.ALONE, *variants.OTHERS)
    return next(one for one in every if one.name == name)


def changed(name: str, *sides: tuple[str, str]) -> dict[int, str]:
    found = variants.of(pairs(*sides), named(name))
    return dict(zip(found["row"].to_list(), found["prompt"].to_list(), strict=True))


def test_a_section_is_left_out_on_both_sides() -> None:
    """The section's line goes, the others stay as they were; a pair that has none of it is not asked again."""
    found = changed("without conditions", (ONE, TWO), ("allergies: latex", "allergies: latex"))

    assert found == {0: prompt.pair("allergies: peanut since 1999", "procedures: appendectomy 2003")}


def test_a_side_without_anything_left_says_so() -> None:
    """Nothing on record stands where every piece is gone."""
    assert changed("only allergies", (ONE, TWO)) == {0: prompt.pair("allergies: peanut since 1999", prompt.NOTHING)}


def test_the_latest_year_of_the_pair_is_left_out() -> None:
    """Pieces that tell of the latest year of either side go; those without a year stay."""
    left = "conditions: asthma since 2010, ongoing; gout 2015 to 2016\nallergies: peanut"

    found = changed("without the latest year", (left, TWO))

    assert found == {
        0: prompt.pair("conditions: asthma since 2010, ongoing\nallergies: peanut", "procedures: appendectomy 2003")
    }


def test_half_of_each_section_stays() -> None:
    """The first half, rounded up, so that no section is lost."""
    assert changed("half as long", (ONE, TWO)) == {
        0: prompt.pair("conditions: asthma since 2010, ongoing\nallergies: peanut since 1999", TWO)
    }


def test_shuffling_keeps_every_piece() -> None:
    """Another order within sections, the same at each call, and nothing else."""
    many = "conditions: " + "; ".join(f"thing {letter}" for letter in "abcdefgh")

    (first,) = changed("shuffled", (many, TWO)).values()

    assert first == changed("shuffled", (many, TWO))[0]
    assert first != prompt.pair(many, TWO)
    assert sorted(first) == sorted(prompt.pair(many, TWO))


def test_swapping_turns_a_pair_round() -> None:
    """Pairs of two equal sides are not asked again."""
    found = variants.swapped(pairs((ONE, TWO), (ONE, ONE)))

    assert found.rows() == [(0, prompt.pair(TWO, ONE))]


def metrics(auroc: float = 0.9, **more: Any) -> Metrics:
    figures = {"auroc": Figure(value=auroc, low=auroc - 0.01, high=auroc + 0.01)}
    return Metrics(
        model="m",
        calibration={},
        test_set="t",
        pairs=500,
        positives=250,
        headline=figures | more.pop("figures", {}),
        **more,
    )


def seen(auroc: float = 0.9, length: float = 0.0, **aurocs: float) -> Sensitivity:
    """Nothing odd but what is named: variant (with _ for a space) -> its AUROC, or `turned_` -> share of answers."""
    every = [one.name for one in (*variants.SECTIONS, *variants.ALONE, *variants.OTHERS)] + [variants.SWAPPED]
    usual = {name: 0.6 if name.startswith("only") else auroc - 0.02 for name in every}
    usual |= {name.replace("_", " "): value for name, value in aurocs.items() if not name.startswith("turned")}
    turned = {name.removeprefix("turned_").replace("_", " "): value for name, value in aurocs.items()}
    moved = tuple(Moved(name, name, 1.0, 0.1, turned.get(name, 0.0), value, 0.5) for name, value in usual.items())
    return Sensitivity(400, auroc, 0.5, length, -1.0, moved)


def told(found: Metrics, sensitivity: Sensitivity | None) -> list[findings.Finding]:
    return findings.find(found, sensitivity, model="MODEL", dataset="DATA", config="CONFIG")


def test_a_sound_model_raises_nothing() -> None:
    """No word where nothing is odd."""
    assert told(metrics(), seen()) == []
    assert told(metrics(), None) == []


@pytest.mark.parametrize(
    ("kind", "found", "sensitivity"),
    [
        ("carried", metrics(), seen(without_allergies=0.6)),
        ("weak", metrics(auroc=0.55), None),
        ("leak", metrics(), seen(only_devices=0.899)),
        ("unstable", metrics(), seen(turned_sides_swapped=0.1)),
        ("length", metrics(), seen(length=0.5)),
        ("overconfidence", metrics().model_copy(update={"calibration": {"temperature": 3.0, "bias": 0.0}}), None),
        ("calibration", metrics(figures={"calibration_error": Figure(value=0.08, low=0.05, high=0.1)}), None),
        (
            "slice",
            metrics(
                slices=(
                    Slice(
                        dimension="sex",
                        value="F",
                        pairs=200,
                        positives=100,
                        figures={"auroc": Figure(value=0.7, low=0.65, high=0.75)},
                    ),
                )
            ),
            None,
        ),
    ],
)
def test_what_is_planted_is_found(kind: str, found: Metrics, sensitivity: Sensitivity | None) -> None:
    """Each oddity is told once, with a command to go on with."""
    (one,) = told(found, sensitivity)

    assert one.kind == kind
    assert one.next.startswith("resolver llm ")


def written(folder: Path) -> Path:
    """A data set of 40 pairs of which half are true, in the test split; true pairs share a condition."""
    rng = np.random.default_rng(0)
    rows = []
    for number in range(40):
        true = number % 2
        left = f"conditions: thing {number} since 2010; asthma since {2000 + number % 9}\nallergies: latex"
        right = f"conditions: thing {number if true else number + 100} since 2012"
        for swapped in (False, True):
            sides = (right, left) if swapped else (left, right)
            rows.append(
                {
                    "pair_id": number,
                    "population": "made",
                    "left_id": f"l{number}",
                    "right_id": f"r{number}",
                    "group": number,
                    "swapped": swapped,
                    "left_summary": sides[0],
                    "right_summary": sides[1],
                    "prompt": prompt.pair(*sides),
                    "label": true,
                    "origin": "gray",
                    "logit": float(rng.normal()),
                    "weight": 1.0,
                    "tokens": 100,
                    "sex": "F" if number % 4 < 2 else "M",
                    "age_band": "20-39",
                    "race": None,
                    "ethnicity": "unknown",
                }
            )
    frame = pl.DataFrame(rows, schema_overrides={"race": pl.String})
    empty = frame.head(0)
    data = {name: frame if name == "test" else empty for name in card.SPLITS}
    origins = dict.fromkeys(card.ORIGINS, 0)
    counts = {"rows": 80, "pairs": 40, "persons": 40, "true": 20, "origins": origins}
    facts = {
        "prompt_version": prompt.VERSION,
        "tokens_per_side": 512,
        "max_tokens": 2048,
        "tokenizer": "",
        "splits": dict.fromkeys(card.SPLITS, counts),
        "gray_prior": 0.5,
        "priors": {},
        "populations": [{"name": "made"}],
        "seed": 0,
        "attrition": [],
    }
    return card.write(folder, data, facts).folder


@pytest.mark.llm
def test_a_model_is_validated_and_explained(tiny_classifier: Path, tmp_path: Path) -> None:
    """Metrics, sensitivity and page are written beside the model; a pair's answer is taken apart."""
    import shutil

    from llm_classifier.cli.validate import explain, validate

    model, data = tmp_path / "model", written(tmp_path / "data")
    shutil.copytree(tiny_classifier, model)

    done = CliRunner().invoke(validate, [str(model), str(data), "--json"], catch_exceptions=False)

    found = json.loads(done.stdout)
    assert found["metrics"]["pairs"] == 40
    assert {one["variant"] for one in found["sensitivity"]["moved"]} >= {"without conditions", "sides swapped"}
    moved = {one["variant"]: one for one in found["sensitivity"]["moved"]}
    assert moved["without conditions"]["changed"] == 1.0
    assert moved["without conditions"]["shift"] > 0
    assert moved["without medications"] == {
        **moved["without medications"],
        "changed": 0.0,
        "shift": 0.0,
        "auroc": found["sensitivity"]["auroc"],
    }
    page = (model / "validation" / "report.html").read_text(encoding="utf-8")
    assert "<svg" in page and "What its answers hang on" in page
    assert "thing 3" not in page, "no words of a history stand in the report"

    one = CliRunner().invoke(explain, [str(model), str(data), "--pair", "3", "--json"], catch_exceptions=False)
    parts = json.loads(one.stdout)
    assert parts["label"] == 1
    assert {section["name"] for section in parts["sections"]} == {"conditions", "allergies"}
    assert parts["sections"][0]["left"]
    surest = CliRunner().invoke(explain, [str(model), str(data), "--surest"], catch_exceptions=False)
    assert "in truth" in surest.stdout
