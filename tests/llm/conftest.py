"""What the tests of the language-model judge share: tiny models, and a skip where the extra is not installed."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that are marked `llm` need the extra; the others in this folder do not."""
    if importlib.util.find_spec("transformers") is not None and importlib.util.find_spec("torch") is not None:
        return
    skip = pytest.mark.skip(reason="needs the extra llm: make llm")
    for item in items:
        if "llm" in item.keywords and HERE in item.path.parents:
            item.add_marker(skip)


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A text-only Gemma 3 with random weights, 94,000 of them."""
    from llm_classifier import tiny

    return tiny.make(tmp_path_factory.mktemp("tiny") / "base", ["Same person? True False condition since"])
