"""Trees keep their directions, explain themselves exactly, and survive a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resolver import database
from resolver.errors import DamagedError
from resolver.judges.features import Feature
from resolver.judges.learned import Learned, Model, pair_folds, record_folds
from resolver.judges.trees import Trees, fit

FEATURES = (Feature("up", "speaks for", 1), Feature("down", "speaks against", -1), Feature("free", "either"))


def example(seed: int = 0, rows: int = 800) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    table = rng.normal(size=(rows, 3)).astype(np.float32)
    table[rng.random(table.shape) < 0.1] = np.nan
    score = np.nan_to_num(table[:, 0]) - np.nan_to_num(table[:, 1]) + np.sin(3 * np.nan_to_num(table[:, 2]))
    return table, (rng.random(rows) < 1 / (1 + np.exp(-2 * score))).astype(float)


@pytest.fixture(scope="module")
def trees() -> Trees:
    return _cached()


@settings(deadline=None, max_examples=40)
@given(st.lists(st.floats(-4, 4), min_size=3, max_size=3), st.floats(0, 4))
def test_more_never_speaks_the_other_way(values: list[float], more: float) -> None:
    """Raising a feature never lowers the score against its direction."""
    trees = _cached()
    rows = np.array([values, values], dtype=np.float32)
    for place, feature in enumerate(FEATURES[:2]):
        moved = rows.copy()
        moved[1, place] += more
        low, high = trees.predict(moved, 1)
        assert (high - low) * feature.direction >= -1e-9


_KEPT: list[Trees] = []


def _cached() -> Trees:
    if not _KEPT:
        _KEPT.append(fit(*example(), FEATURES, rounds=40, seed=0))
    return _KEPT[0]


def test_contributions_add_up(trees: Trees) -> None:
    """What each feature adds, and the start, sum to the score; a model's line is part of it."""
    table, _ = example(seed=1)
    model = Model((trees.text,), slope=1.3, intercept=-0.4)
    folds = np.zeros(len(table), dtype=np.int64)

    np.testing.assert_allclose(model.contributions(table, 0, 1).sum(axis=1), model.predict(table, folds, 1), atol=1e-6)


def test_the_same_data_gives_the_same_trees(trees: Trees) -> None:
    """Fitting again gives the same model to the letter."""
    assert fit(*example(), FEATURES, rounds=40, seed=0).text == trees.text


def test_a_model_survives_its_file(trees: Trees, tmp_path: Path) -> None:
    """What is loaded scores as what was saved, and has the same fingerprint."""
    model = Model((trees.text, trees.text), 1.1, 0.2)
    learned = Learned("shipped", "why", model, None, {"seen": [1]})
    learned.save(tmp_path / "model.json")
    loaded = Learned.load(tmp_path / "model.json")

    assert loaded == learned
    assert loaded.fingerprint("demographic") == learned.fingerprint("demographic")
    assert loaded.folds == 2


@pytest.mark.parametrize("text", ["", "[]", '{"way": "shipped"}', '{"demographic": {"trees": 3}}'])
def test_a_damaged_file_is_named(tmp_path: Path, text: str) -> None:
    """A file that holds no models is refused with its name and what to do."""
    path = tmp_path / "learned.json"
    path.write_text(text)

    with pytest.raises(DamagedError, match=r"learned\.json"):
        Learned.load(path)


def test_damaged_trees_are_refused() -> None:
    """Text that is no model ends in one of the project's errors."""
    with pytest.raises(DamagedError):
        Trees("tree\nnonsense").predict(example()[0], 1)


def test_folds_hang_on_ids_alone(tmp_path: Path) -> None:
    """A record keeps its fold when others come or go, and a pair has the same fold from both sides."""
    ids = [f"s:{number}" for number in range(50)]
    found = []
    for number, kept in enumerate((ids, ids[::2])):
        path = tmp_path / f"{number}.parquet"
        pl.DataFrame({"rid": range(len(kept)), "record_id": kept}).write_parquet(path)
        with database.connect(memory_gib=1, threads=1) as con:
            found.append(dict(zip(kept, record_folds(con, path, 3).tolist(), strict=True)))
    folds = np.array(list(found[0].values()))
    left, right = np.triu_indices(50, 1)

    assert all(found[0][name] == fold for name, fold in found[1].items())
    assert set(folds) == {0, 1, 2}
    np.testing.assert_array_equal(pair_folds(folds, left, right, 3), pair_folds(folds, right, left, 3))
