"""The copy on a hub: private, in one commit that is pinned, and a line for everything that can go wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from fake_hub import HEAD, Hub, serving

from llm_classifier import dataset
from llm_classifier.dataset import card
from resolver.errors import ResolverError, RunError, UsageError

pytestmark = pytest.mark.llm

TOKEN = "hf_not_a_real_token"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    import huggingface_hub.constants

    with serving() as server:
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.setenv("HF_ENDPOINT", server.address)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
        yield server


@pytest.fixture
def made(tmp_path: Path) -> dataset.Dataset:
    counts = {"rows": 1, "pairs": 1, "true": 1, "positives": 1.0, "hard_negatives": 1.0, "persons": 1, "groups": 1}
    facts = {
        "prompt_version": "1",
        "tokens_per_side": 64,
        "max_tokens": 256,
        "tokenizer": "",
        "splits": {name: {**counts, "origins": dict.fromkeys(card.ORIGINS, 0)} for name in card.SPLITS},
        "gray_prior": 0.1,
        "priors": {},
        "populations": [{"name": "bed"}],
        "seed": 0,
        "attrition": [],
        "made": {},
    }
    data = {name: pl.DataFrame({"prompt": [name], "label": [1]}) for name in card.SPLITS}
    return card.write(tmp_path / "data", data, facts)


def push(made: dataset.Dataset) -> dict[str, Any]:
    from llm_classifier.dataset import hub as hubs

    return hubs.push(made, "clinic/pairs")


def test_a_push_is_one_commit_on_what_was_seen(hub: Hub, made: dataset.Dataset) -> None:
    """All files at once, on top of the commit that was looked at; the new one is written down beside the data."""
    pinned = push(made)

    assert json.loads((made.folder / "hub.json").read_text()) == pinned
    (commit,) = hub.commits
    assert pinned == {"repository": "clinic/pairs", "commit": commit["oid"], "pin": made.pin}
    assert commit["parent"] == HEAD
    names = {"README.md", "dataset.json", *(f"data/{name}.parquet" for name in card.SPLITS)}
    assert commit["files"] == {name: (made.folder / name).read_bytes() for name in names}
    assert f"Bearer {TOKEN}" in hub.seen
    assert dataset.read(made.folder).pin == made.pin


def test_a_new_repository_is_made_private(hub: Hub, made: dataset.Dataset) -> None:
    """And is looked at again before anything is uploaded."""
    hub.there = False
    push(made)

    assert [one.get("private") or one.get("visibility") == "private" for one in hub.created] == [True]
    assert len(hub.commits) == 1


@pytest.mark.parametrize("there", [True, False])
def test_a_public_repository_is_refused(hub: Hub, made: dataset.Dataset, there: bool) -> None:
    """Nothing is uploaded, whether it was there or an organisation's rules made it public."""
    hub.there, hub.private = there, False

    with pytest.raises(UsageError, match="clinic/pairs is public"):
        push(made)
    assert not hub.commits


@pytest.mark.parametrize(("status", "words"), [(412, "was changed while"), (500, "answered 500")])
def test_a_hub_that_fails_gets_one_line(hub: Hub, made: dataset.Dataset, status: int, words: str) -> None:
    """Without the token, and without a pin of something that was not uploaded."""
    hub.failing = status

    with pytest.raises(RunError, match=words) as error:
        push(made)
    assert TOKEN not in str(error.value) and "\n" not in str(error.value)
    assert not (made.folder / "hub.json").exists()


def test_a_hub_that_is_not_there_gets_one_line(
    hub: Hub, made: dataset.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refused connection is no traceback."""
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")

    with pytest.raises(RunError, match="can't be reached"):
        push(made)


def test_a_push_needs_a_token(hub: Hub, made: dataset.Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is taken from the environment and from nowhere else."""
    monkeypatch.delenv("HF_TOKEN")

    with pytest.raises(ResolverError, match="no token"):
        push(made)
    assert not hub.commits
