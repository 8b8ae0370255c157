"""The tiny models that stand in for the gated ones."""

from __future__ import annotations

from pathlib import Path

import pytest

pytestmark = pytest.mark.llm


def test_the_labels_are_single_tokens(tiny_base: Path) -> None:
    """True and False are one token each, so that one logit stands for each of them."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_base)

    assert [len(tokenizer(word, add_special_tokens=False).input_ids) for word in ("True", "False")] == [1, 1]


def test_the_same_seed_makes_the_same_model(tmp_path: Path, tiny_base: Path) -> None:
    """Made again, the checkpoint is the same, byte for byte."""
    from llm_classifier import artifact, tiny

    again = tiny.make(tmp_path / "again", ["Same person? True False condition since"])

    assert artifact.digest(again) == artifact.digest(tiny_base)
