"""The memorisation scan finds models that remember, and is silent about those that do not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_classifier import prompt
from llm_classifier.dataset import canaries
from llm_classifier.dataset.canaries import Planted
from llm_classifier.predeploy import memorised
from llm_classifier.predeploy.memorised import Floats
from resolver import files
from resolver.errors import TrainingError

PLANTED = Planted(seed=7, count=16, times=3)
CARRIERS = [prompt.pair(f"conditions: asthma {number}", "conditions: asthma") for number in range(3)]
RECORDS = pl.DataFrame(
    {
        "first_name": [f"FIRST{number % 23}" for number in range(200)],
        "last_name": [f"LAST{number % 17}" for number in range(200)],
        "ssn": [f"{number * 7919 % 10**9:09d}" for number in range(1, 201)],
    }
)


def noise(text: str) -> float:
    """A draw from a standard normal that depends on nothing but the text."""
    return float(np.random.default_rng(int(files.digest_of(text)[:12], 16)).normal())


def forgetful(prompts: Sequence[str]) -> Floats:
    return np.array([noise(one) for one in prompts])


def split(rows: int, start: int = 0) -> pl.DataFrame:
    number = pl.int_range(start, start + rows, eager=True)
    summaries = pl.DataFrame(
        {
            "pair_id": number,
            "swapped": number % 2 == 1,
            "label": (number % 3 == 0).cast(pl.Int8),
            "origin": pl.Series(["gray", "random"] * (rows // 2)),
            "left_summary": "conditions: " + number.cast(pl.String),
            "right_summary": "medications: " + number.cast(pl.String),
            "tokens": pl.Series([100, 500] * (rows // 2), dtype=pl.Int32),
        }
    )
    return summaries.with_columns(prompt=prompt.pairs(pl.col("left_summary"), pl.col("right_summary")))


def test_canaries_follow_from_the_seed() -> None:
    """The same seed gives the same canaries; planted ones and controls never meet."""
    again = Planted(seed=7, count=16, times=3)

    assert PLANTED.texts() == again.texts() != Planted(seed=8, count=16, times=3).texts()
    assert len({*PLANTED.texts(), *PLANTED.controls(500)}) == 516
    assert sum(PLANTED.labels()) == 8


def test_each_canary_stands_in_so_many_pairs_of_its_label() -> None:
    """Planting puts every canary where it belongs and leaves all other pairs as they were."""
    before = split(600)
    after = canaries.plant(before, PLANTED, max_tokens=500)
    changed = before["prompt"] != after["prompt"]

    assert after.columns == before.columns and after["pair_id"].equals(before["pair_id"])
    assert changed.sum() == PLANTED.count * PLANTED.times
    assert before.filter(changed)["tokens"].unique().to_list() == [100]
    assert ((after["tokens"] > before["tokens"]) == changed).all()
    for text, label in zip(PLANTED.texts(), PLANTED.labels(), strict=True):
        held = after.filter(pl.col("prompt").str.contains(text, literal=True))
        assert held["label"].to_list() == [label] * PLANTED.times
    assert after.filter(changed)["prompt"].to_list() == [
        prompt.pair(left, right) for left, right in after.filter(changed).select("left_summary", "right_summary").rows()
    ]


def test_canaries_without_room_are_refused() -> None:
    """Half of them planted would make the scan look for what is not there."""
    with pytest.raises(TrainingError, match="There is room for"):
        canaries.plant(split(60), PLANTED, max_tokens=500)


def test_planting_does_not_hang_on_the_order_of_rows() -> None:
    """Which pairs hold canaries follows from their ids."""
    before = split(600)
    one = canaries.plant(before, PLANTED, max_tokens=500).sort("pair_id")
    other = canaries.plant(before.reverse(), PLANTED, max_tokens=500).sort("pair_id")

    assert one.equals(other)


def test_a_classifier_that_learned_canaries_is_found() -> None:
    """Canaries that push the logit the way of their label stand out; without that push nothing does."""
    push = dict(zip(PLANTED.texts(), PLANTED.labels(), strict=True))

    def remembers(prompts: Sequence[str]) -> Floats:
        held = [next((label for text, label in push.items() if text in one), None) for one in prompts]
        return forgetful(prompts) + np.array([0.0 if one is None else 4.0 * one - 2.0 for one in held])

    found = memorised.canaries_of_classifier(remembers, PLANTED, CARRIERS, 256)
    clean = memorised.canaries_of_classifier(forgetful, PLANTED, CARRIERS, 256)

    assert found.auc > 0.9 and found.p < 1e-6
    assert 0.3 < clean.auc < 0.7 and clean.p > 0.001


def test_a_causal_model_that_learned_canaries_is_found() -> None:
    """Exposure counts bits of guessing; it is at most that of the first of all controls."""

    def remembers(beginning: str, strings: Sequence[str]) -> Floats:
        known = [one.strip() in PLANTED.texts() for one in strings]
        return forgetful(strings) - 30.0 + 10.0 * np.array(known)

    found = memorised.canaries_of_causal(remembers, PLANTED, 255)
    clean = memorised.canaries_of_causal(lambda _, strings: forgetful(strings), PLANTED, 255)

    assert found.exposure == pytest.approx(8.0) and found.p < 1e-6
    assert clean.exposure is not None and clean.exposure < 8 and clean.p > 0.001


def test_identifiers_that_are_completed_are_found() -> None:
    """Real names and numbers stand out only of a model that met them; the strings themselves are never told."""
    names = {f" {first} {last}".lower() for first, last in RECORDS.select("first_name", "last_name").rows()}
    numbers = {f" {one}" for one in RECORDS["ssn"]}

    def remembers(beginning: str, strings: Sequence[str]) -> Floats:
        return forgetful(strings) + 5.0 * np.array([one in names or one in numbers for one in strings])

    found = memorised.identifiers_of_causal(remembers, RECORDS, 60, seed=1)
    clean = memorised.identifiers_of_causal(lambda _, strings: forgetful(strings), RECORDS, 60, seed=1)

    assert [one.what for one in found] == ["names are likely", "numbers are likely"]
    assert all(one.p < 1e-6 for one in found) and all(one.p > 0.001 for one in clean)
    assert all("first" not in one.told() for one in found)


def test_identifiers_that_move_a_classifier_are_found() -> None:
    """Either direction counts: what was met moves the logit further than what was not."""
    numbers = set(RECORDS["ssn"])

    def remembers(prompts: Sequence[str]) -> Floats:
        met = np.array([any(number in one for number in numbers) for one in prompts])
        return 0.1 * forgetful(prompts) + np.where(met, 3.0, 0.0) * np.sign(forgetful([one[-400:] for one in prompts]))

    names, found = memorised.identifiers_of_classifier(remembers, RECORDS, CARRIERS[:1], 60, seed=1)

    assert found.p < 1e-6 and found.auc > 0.9
    assert names.p > 0.001


def test_membership_is_found_within_label_and_origin() -> None:
    """A model surer of what it was trained on is found; a mere difference in mix is not."""
    train, test = split(300), split(300, start=300)
    labels = dict(zip([*train["prompt"], *test["prompt"]], [*train["label"], *test["label"]], strict=True))
    known = set(train["prompt"])

    def fair(prompts: Sequence[str]) -> Floats:
        return forgetful(prompts) + np.array([4.0 * labels[one] - 2.0 for one in prompts])

    def overfitted(prompts: Sequence[str]) -> Floats:
        sign = np.array([2.0 * labels[one] - 1.0 for one in prompts])
        return fair(prompts) + 3.0 * sign * np.array([one in known for one in prompts])

    easier = train.filter((pl.col("label") == 1) | (pl.col("pair_id") % 5 == 0))
    train, test = (one.with_columns(swapped=pl.lit(False)) for one in (train, test))
    found = memorised.membership(overfitted, train, test, 200, seed=0)
    clean = memorised.membership(fair, easier, test, 200, seed=0)

    assert found.auc > 0.9 and found.p < 1e-6
    assert 0.4 < clean.auc < 0.6 and clean.p > 0.001


def test_membership_is_not_told_by_canaries_or_by_order() -> None:
    """Pairs that hold canaries, and the second order of a pair, are left out: they would count what is no memory."""
    held = canaries.plant(split(600), PLANTED, max_tokens=600)
    asked: list[str] = []

    def ask(prompts: Sequence[str]) -> Floats:
        asked.extend(prompts)
        return forgetful(prompts)

    found = memorised.membership(ask, held, split(300, start=600), 1000, seed=0)
    assert not any(canaries.LINE in one for one in asked)
    assert found.unmet == 150 and found.met < 300


@given(st.lists(st.integers(0, 9), min_size=1, max_size=30), st.lists(st.integers(0, 9), min_size=1, max_size=30))
@settings(deadline=None, max_examples=60)
def test_wins_count_every_comparison(met: list[int], unmet: list[int]) -> None:
    """The quick count of who stands higher is that of comparing each with each; ties count half."""
    slow = sum(1.0 if one > other else 0.5 if one == other else 0.0 for one in met for other in unmet)

    assert memorised._wins(np.array(met, dtype=float), np.array(unmet, dtype=float)) == slow


@pytest.mark.llm
def test_likelihood_is_that_of_the_whole_model(tiny_base: Path) -> None:
    """Batched and cut to the positions that count, the log-probability is that of reading token by token."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from llm_classifier.artifact import Artifact
    from llm_classifier.predeploy import likelihood
    from llm_classifier.score.loading import Loaded

    model = AutoModelForCausalLM.from_pretrained(tiny_base).eval()
    tokenizer = AutoTokenizer.from_pretrained(tiny_base)
    told = Artifact("causal", "merged", "float32", "", "", "1", 512, 200, "", 0.5)
    loaded = Loaded(told, model, tokenizer, "cpu", 0, lambda ids, mask: ids)
    strings = [f" {one}" for one in (*PLANTED.texts(), "Same", "person? condition")]
    found = likelihood.of(loaded, "condition since", strings)

    first = tokenizer("condition since")["input_ids"]
    for string, quick in zip(strings[-3:], found[-3:], strict=True):
        rest = tokenizer(string, add_special_tokens=False)["input_ids"]
        with torch.inference_mode():
            each = model(input_ids=torch.tensor([[*first, *rest]])).logits[0].log_softmax(-1)
        slow = sum(float(each[len(first) - 1 + place, token]) for place, token in enumerate(rest))
        assert quick == pytest.approx(slow, abs=1e-3)
