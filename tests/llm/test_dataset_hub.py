"""The copy on a hub: private, in one commit that is pinned, and a line for everything that can go wrong."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from llm_classifier import dataset
from llm_classifier.dataset import card
from resolver.errors import ResolverError, RunError, UsageError

pytestmark = pytest.mark.llm

TOKEN = "hf_not_a_real_token"
HEAD, NEW = "1" * 40, "2" * 40


class Hub(ThreadingHTTPServer):
    """A hub on the loopback interface: one repository, and answers that a test chooses."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.there, self.private, self.failing = True, True, 0
        self.tokens: set[str | None] = set()
        self.created: list[dict[str, Any]] = []
        self.commits: list[dict[str, Any]] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Answers(BaseHTTPRequestHandler):
    server: Hub

    def do_GET(self) -> None:
        self.server.tokens.add(self.headers.get("Authorization"))
        if not self.path.startswith("/api/datasets/"):
            return self.answer(404, {})
        if self.server.failing == 500:
            return self.answer(500, {"error": "internal"})
        if not self.server.there:
            return self.answer(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
        return self.answer(200, {"id": "clinic/pairs", "sha": HEAD, "private": self.server.private, "tags": []})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/api/repos/create":
            self.server.created.append(json.loads(body))
            self.server.there = True
            return self.answer(200, {"url": f"{self.server.address}/datasets/clinic/pairs"})
        if "/preupload/" in self.path:
            files = [{"path": one["path"], "uploadMode": "regular"} for one in json.loads(body)["files"]]
            return self.answer(200, {"files": [one | {"shouldIgnore": False} for one in files]})
        if "/commit/" in self.path:
            if self.server.failing == 412:
                return self.answer(412, {"error": "The branch has moved"})
            lines = [json.loads(line) for line in body.splitlines()]
            files = {
                one["value"]["path"]: base64.b64decode(one["value"]["content"]) for one in lines if one["key"] == "file"
            }
            self.server.commits.append({"parent": lines[0]["value"].get("parentCommit"), "files": files})
            url = f"{self.server.address}/datasets/clinic/pairs/commit/{NEW}"
            return self.answer(200, {"success": True, "commitOid": NEW, "commitUrl": url})
        return self.answer(200, {"errors": [], "warnings": []})

    def answer(self, status: int, content: Any, headers: dict[str, str] | None = None) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Nothing: the tests look at what was asked."""


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    import huggingface_hub.constants

    server = Hub()
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("HF_ENDPOINT", server.address)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    yield server
    server.shutdown()
    server.server_close()


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

    assert pinned == {"repository": "clinic/pairs", "commit": NEW, "pin": made.pin}
    assert json.loads((made.folder / "hub.json").read_text()) == pinned
    (commit,) = hub.commits
    assert commit["parent"] == HEAD
    names = {"README.md", "dataset.json", *(f"data/{name}.parquet" for name in card.SPLITS)}
    assert commit["files"] == {name: (made.folder / name).read_bytes() for name in names}
    assert f"Bearer {TOKEN}" in hub.tokens
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
