"""A RunPod on loopback: its REST API v2 as its published schema has it, and the ways in which it fails.

Pods here run nothing; `boot` and `exit` say what happens to one.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

KEY = "rpa_planted_secret_key"
CREATE_FIELDS = {"name", "image", "gpu", "cloud", "disk", "env", "ports", "dataCenterIds", "registry", "args", "mounts"}


@dataclass
class FakeRunPod:
    pods: dict[str, dict[str, Any]] = field(default_factory=dict)
    stock: set[str] = field(default_factory=lambda: {"NVIDIA L4", "NVIDIA H100 PCIe"})
    create: str = "ok"  # ok | made, then 500 | 500 | hang up | no stock | made, then hang up | not json
    busy: int = 0  # further answers that are 429
    away: int = 0  # further answers that are 503
    unknown: int = 0  # further descriptions that are 404 though the pod is there
    deletes_ignored: int = 0
    requests: list[tuple[str, str]] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    url: str = ""

    def boot(self, id: str) -> None:
        self.pods[id]["status"] = "RUNNING"

    def exit(self, id: str) -> None:
        self.pods[id] |= {"status": "EXITED", "cost": 0.0}

    def answer(self, method: str, path: str, body: Any) -> tuple[int, Any] | None:
        """Status and content; None: the connection is closed without an answer."""
        if self.busy > 0:
            self.busy -= 1
            return 429, {"title": "Too Many Requests", "status": 429, "detail": "slow down"}
        parts = [unquote(part) for part in urlsplit(path).path.split("/")[2:]]
        if method == "POST" and parts == ["pods"]:
            return self._create(body)
        if self.away > 0:
            self.away -= 1
            return 503, "<html>bad gateway</html>"
        if method == "GET" and parts == ["catalog", "gpus"]:
            prices = {"NVIDIA L4": 0.4, "NVIDIA H100 PCIe": 2.4, "NVIDIA B200": 6.0}
            rows = [
                {"id": id, "secure": id in self.stock, "community": False, "price": {"secure": price, "community": 0}}
                for id, price in prices.items()
            ]
            return 200, {"gpus": rows}
        if method == "GET" and parts == ["pods"]:
            return 200, {"pods": list(self.pods.values())}
        pod = self.pods.get(parts[1]) if len(parts) == 2 and parts[0] == "pods" else None
        if method == "GET" and pod is not None and self.unknown > 0:
            self.unknown -= 1
            pod = None
        if pod is None:
            return 404, {"title": "Not Found", "status": 404, "detail": "pod not found"}
        if method == "DELETE":
            if self.deletes_ignored > 0:
                self.deletes_ignored -= 1
            else:
                del self.pods[pod["id"]]
            return 204, None
        return 200, pod

    def _create(self, body: Any) -> tuple[int, Any] | None:
        self.bodies.append(body)
        strange = sorted(set(body) - CREATE_FIELDS)
        if strange:
            return 422, {"title": "Unprocessable Entity", "status": 422, "detail": f"unknown: {strange}"}
        gpu = body["gpu"]["id"]
        if gpu not in self.stock or self.create == "no stock":
            return 400, {"title": "Bad Request", "status": 400, "detail": "no capacity"}
        if self.create in ("500", "hang up"):
            return (500, {"title": "Internal Server Error"}) if self.create == "500" else None
        id = f"pod{len(self.bodies)}"
        self.pods[id] = {"id": id, "name": body["name"], "status": "PROVISIONING", "cost": 0.4, "env": body["env"]}
        if self.create == "made, then 500":
            return 500, {"title": "Internal Server Error"}
        if self.create == "made, then hang up":
            return None
        return 201, "it is made" if self.create == "not json" else self.pods[id]


@contextmanager
def serving() -> Iterator[FakeRunPod]:
    fake = FakeRunPod()

    class Handler(BaseHTTPRequestHandler):
        def _any(self) -> None:
            fake.requests.append((self.command, self.path))
            length = int(self.headers.get("content-length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            if self.headers.get("authorization") != f"Bearer {KEY}":
                found: tuple[int, Any] | None = (401, {"title": "Unauthorized", "status": 401, "detail": "bad key"})
            else:
                found = fake.answer(self.command, self.path, body)
            if found is None:
                self.close_connection = True
                self.connection.close()
                return
            status, content = found
            text = b"" if content is None else (content if isinstance(content, str) else json.dumps(content)).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = do_DELETE = _any

        def log_message(self, *arguments: Any) -> None:
            """Silent."""

        def handle(self) -> None:
            try:
                super().handle()
            except (ConnectionError, ValueError, OSError):
                return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    fake.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield fake
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
