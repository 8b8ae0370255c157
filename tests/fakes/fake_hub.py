"""A hub on loopback that the real huggingface_hub talks to: one data set repository with branches, commits on a parent,
large-file storage, and answers that a test chooses."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

from loopback import Quiet, listening

REPOSITORY = "clinic/pairs"
HEAD = "1" * 40
Tree = dict[str, bytes]


class Hub(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.clear()

    def clear(self) -> None:
        self.there, self.private, self.failing = True, True, 0
        self.faults: list[str] = []  # of the requests to come: a status, hang up, moved (somebody else commits) or ok
        self.only = ""  # faults are for requests whose path holds this
        self.tokens: dict[str, str | None] = {}  # role of each token that is known; empty: all are
        self.scope: list[str] = [REPOSITORY]  # repositories that fine-grained tokens open
        self.seen: set[str | None] = set()
        self.created: list[dict[str, Any]] = []
        self.commits: list[dict[str, Any]] = []
        self.trees: dict[str, Tree] = {HEAD: {".gitattributes": b""}}
        self.heads = {"main": HEAD}
        self.large: dict[str, bytes] = {}  # large files by digest
        self.names: dict[str, str] = {}  # under which large files were committed
        self.requests: list[str] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def tree(self, revision: str) -> Tree | None:
        return self.trees.get(self.heads.get(revision, revision))

    def commit(self, branch: str, parent: str | None, changes: dict[str, bytes | None]) -> str | None:
        """The new head; None where the branch has moved."""
        head = self.heads[branch]
        if parent not in (None, head):
            return None
        tree = {**self.trees[head], **{name: content for name, content in changes.items() if content is not None}}
        new = hashlib.sha1(f"{head} {len(self.trees)}".encode()).hexdigest()
        self.trees[new] = {name: tree[name] for name in tree if changes.get(name, b"") is not None}
        self.heads[branch] = new
        self.commits.append({"branch": branch, "parent": parent, "files": changes, "oid": new})
        return new


class Answers(Quiet):
    server: Hub
    protocol_version = "HTTP/1.1"

    def any(self) -> None:
        hub, body = self.server, self.rfile.read(int(self.headers.get("Content-Length") or 0))
        token = self.headers.get("Authorization")
        hub.seen.add(token)
        hub.requests.append(f"{self.command} {self.path}")
        fault = hub.faults.pop(0) if hub.faults and hub.only in self.path else "ok"
        if fault == "hang up":
            self.close_connection = True
            return self.connection.close()
        if fault == "moved":
            for branch in hub.heads:
                hub.commit(branch, None, {"elsewhere": b"x"})
        elif fault != "ok":
            return self.answer(int(fault), {"error": "not now"}, {"Retry-After": "7"} if fault == "429" else {})
        if hub.tokens and (token or "").removeprefix("Bearer ") not in hub.tokens and "/storage/" not in self.path:
            return self.answer(401, {"error": "Invalid credentials"})
        path = unquote(urlsplit(self.path).path)
        if path == "/api/whoami-v2":
            return self.whoami((token or "").removeprefix("Bearer "))
        if path == "/api/repos/create":
            hub.created.append(json.loads(body))
            hub.there = True
            return self.answer(200, {"url": f"{hub.address}/datasets/{REPOSITORY}"})
        if path.startswith("/storage/"):
            return self.storage(path.removeprefix("/storage/"), body)
        if path == f"/datasets/{REPOSITORY}.git/info/lfs/objects/batch":
            return self.batch(json.loads(body))
        if path.startswith(f"/datasets/{REPOSITORY}/resolve/"):
            return self.resolve(*path.removeprefix(f"/datasets/{REPOSITORY}/resolve/").split("/", 1))
        if path.startswith("/api/validate-yaml"):
            return self.answer(200, {"errors": [], "warnings": []})
        if not path.startswith("/api/datasets/"):
            return self.answer(404, {})
        if hub.failing == 500:
            return self.answer(500, {"error": "internal"})
        if not hub.there or not path.startswith(f"/api/datasets/{REPOSITORY}"):
            return self.answer(404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"})
        what, _, rest = path.removeprefix(f"/api/datasets/{REPOSITORY}").lstrip("/").partition("/")
        return self.repository(what, rest, body)

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = any

    def repository(self, what: str, rest: str, body: bytes) -> None:
        hub = self.server
        if what == "branch":
            if self.command == "DELETE":
                return self.answer(200, {}) if hub.heads.pop(rest, None) else self.missing("RevisionNotFound")
            if rest in hub.heads:
                return self.answer(409, {"error": "it exists"})
            hub.heads[rest] = hub.heads["main"]
            return self.answer(200, {})
        if what == "refs":
            branches = [
                {"name": name, "ref": f"refs/heads/{name}", "targetCommit": oid} for name, oid in hub.heads.items()
            ]
            return self.answer(200, {"branches": branches, "converts": [], "tags": []})
        if what == "lfs-files":
            return self.large_files(rest, body)
        revision = rest.split("/")[0] or "main"
        tree = hub.tree(revision)
        if tree is None:
            return self.missing("RevisionNotFound")
        if what == "tree":
            rows = [
                {"type": "file", "oid": "0" * 40, "size": len(content), "path": name} for name, content in tree.items()
            ]
            return self.answer(200, rows)
        if what == "preupload":
            files = [
                {"path": one["path"], "uploadMode": "lfs" if one["path"].endswith("large.parquet") else "regular"}
                for one in json.loads(body)["files"]
            ]
            return self.answer(200, {"files": [one | {"shouldIgnore": False} for one in files]})
        if what == "commit":
            return self.committed(revision, [json.loads(line) for line in body.splitlines()])
        sha = hub.heads.get(revision, revision)
        return self.answer(200, {"id": REPOSITORY, "sha": sha, "private": hub.private, "tags": []})

    def committed(self, branch: str, lines: list[dict[str, Any]]) -> None:
        hub, changes = self.server, dict[str, bytes | None]()
        for line in lines[1:]:
            path = line["value"]["path"]
            if line["key"] == "file":
                changes[path] = base64.b64decode(line["value"]["content"])
            elif line["key"] == "lfsFile":
                changes[path] = b"large:" + line["value"]["oid"].encode()
                hub.names[line["value"]["oid"]] = path
            else:
                changes[path] = None
        new = None if hub.failing == 412 else hub.commit(branch, lines[0]["value"].get("parentCommit"), changes)
        if new is None:
            return self.answer(412, {"error": "The branch has moved"})
        url = f"{hub.address}/datasets/{REPOSITORY}/commit/{new}"
        return self.answer(200, {"success": True, "commitOid": new, "commitUrl": url})

    def resolve(self, revision: str, name: str) -> None:
        tree = self.server.tree(revision)
        if tree is None:
            return self.missing("RevisionNotFound")
        if name not in tree:
            return self.missing("EntryNotFound")
        if tree[name].startswith(b"large:"):
            return self.answer(302, b"", {"Location": f"{self.server.address}/storage/{tree[name][6:].decode()}"})
        return self.answer(200, tree[name])

    def batch(self, asked: dict[str, Any]) -> None:
        objects = [
            one | {"actions": {"upload": {"href": f"{self.server.address}/storage/{one['oid']}"}}}
            for one in asked["objects"]
        ]
        self.answer(200, {"transfer": "basic", "objects": objects})

    def storage(self, oid: str, body: bytes) -> None:
        if self.command == "PUT":
            self.server.large[oid] = body
            return self.answer(200, b"")
        return self.answer(200, self.server.large[oid]) if oid in self.server.large else self.answer(404, b"")

    def large_files(self, rest: str, body: bytes) -> None:
        hub = self.server
        if rest == "batch":
            for oid in json.loads(body)["deletions"]["sha"]:
                hub.large.pop(oid, None)
                hub.names.pop(oid, None)
            return self.answer(200, {})
        pushed = "2026-01-01T00:00:00.000Z"
        rows = [
            {"fileOid": oid, "filename": name, "oid": oid, "pushedAt": pushed, "ref": None, "size": 1}
            for oid, name in hub.names.items()
        ]
        return self.answer(200, rows)

    def whoami(self, token: str) -> None:
        scoped = [
            {"entity": {"type": "dataset", "name": name}, "permissions": ["repo.write"]} for name in self.server.scope
        ]
        told = {"role": self.server.tokens.get(token), "fineGrained": {"global": [], "scoped": scoped}}
        self.answer(200, {"name": "clinic", "type": "user", "auth": {"accessToken": told}})

    def missing(self, code: str) -> None:
        self.answer(404, {"error": code}, {"X-Error-Code": code})

    def answer(self, status: int, content: Any, headers: dict[str, str] | None = None) -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


@contextmanager
def serving() -> Iterator[Hub]:
    server = Hub()
    with listening(server):
        yield server
