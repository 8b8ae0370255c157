"""A RunPod on loopback: its REST API v2 as its published schema has it, and the ways in which it fails.

Where it is told what a container runs, a pod is a process with the environment of the order, its own id and a key that
may see and end this pod alone; a process that ends by itself is started again, as containers are. Else pods run
nothing, and `boot` and `exit` say what happens to one.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import ThreadingHTTPServer
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from loopback import Quiet, listening

KEY = "rpa_planted_secret_key"
CREATE_FIELDS = {"name", "image", "gpu", "cloud", "disk", "env", "ports", "dataCenterIds", "registry", "args", "mounts"}


class Container(Protocol):
    def poll(self) -> int | None: ...
    def kill(self) -> None: ...


Starts = Callable[[Mapping[str, str]], Container]


@dataclass
class Life:
    """What really became of a pod, whatever anybody was told."""

    name: str
    made: float
    ended: float | None = None
    starts: int = 0
    ended_by: str = ""  # whose key: the user's or the pod's own
    container: Container | None = None


@dataclass
class FakeRunPod:
    pods: dict[str, dict[str, Any]] = field(default_factory=dict)
    stock: set[str] = field(default_factory=lambda: {"NVIDIA L4", "NVIDIA H100 PCIe"})
    create: str = "ok"  # ok | made, then 500 | 500 | hang up | no stock | made, then hang up | not json
    busy: int = 0  # further answers that are 429
    away: int = 0  # further answers that are 503
    unknown: int = 0  # further descriptions that are 404 though the pod is there
    deletes_ignored: int = 0
    starts: Starts | None = None  # what a container runs
    boots: bool = True  # False: sticks in PROVISIONING, and is billed
    crash: Callable[[], bool] | None = None  # when true, the first container ends once
    made: Callable[[], None] | None = None  # called once, between the making of a pod and the answer
    center: str | None = None  # where its pods are
    lives: dict[str, Life] = field(default_factory=dict)
    lock: threading.RLock = field(default_factory=threading.RLock)
    requests: list[tuple[str, str]] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    url: str = ""

    def boot(self, id: str) -> None:
        self.pods[id]["status"] = "RUNNING"

    def exit(self, id: str) -> None:
        self.pods[id] |= {"status": "EXITED", "cost": 0.0}

    def tick(self) -> None:
        """What happens to containers by itself."""
        with self.lock:
            for id, pod in self.pods.items():
                life = self.lives.get(id)
                if self.starts is None or life is None or not self.boots:
                    continue
                if life.container is not None and self.crash is not None and self.crash():
                    self.crash = None
                    life.container.kill()
                if life.container is None or life.container.poll() is not None:
                    assert life.starts < 20, "a container that ends is started again and again"
                    own = {"RUNPOD_POD_ID": id, "RUNPOD_API_KEY": own_key(id), "RESOLVER_JOB_API": self.url}
                    life.container = self.starts({**pod["env"], **own})
                    life.starts += 1
                    pod["status"] = "RUNNING"

    def paid(self) -> float:
        """USD, of all pods up to now."""
        return sum(0.4 * ((one.ended or time.time()) - one.made) / 3600 for one in self.lives.values())

    def may(self, key: str, method: str, path: str) -> bool:
        if key == KEY:
            return True
        id = key.removeprefix(own_key(""))
        return key.startswith(own_key("")) and method in ("GET", "DELETE") and path == f"/v2/pods/{id}"

    def answer(self, method: str, path: str, body: Any, key: str = KEY) -> tuple[int, Any] | None:
        """Status and content; None: the connection is closed without an answer."""
        with self.lock:
            return self._answer(method, path, body, key)

    def _answer(self, method: str, path: str, body: Any, key: str) -> tuple[int, Any] | None:
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
                self._stop(pod["id"], "user" if key == KEY else "pod")
            return 204, None
        return 200, pod

    def _stop(self, id: str, by: str) -> None:
        life = self.lives[id]
        life.ended, life.ended_by = time.time(), by
        if life.container is not None:
            life.container.kill()

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
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        given = {name: body[name] for name in ("name", "env", "image", "gpu", "cloud")}
        told = {"dataCenterId": self.center, "createdAt": now, "startedAt": None, "cudaVersion": None, "cost": 0.4}
        self.pods[id] = {"id": id, "status": "PROVISIONING"} | given | told
        self.lives[id] = Life(body["name"], time.time())
        if self.made is not None:
            made, self.made = self.made, None
            made()
        if self.create == "made, then 500":
            return 500, {"title": "Internal Server Error"}
        if self.create == "made, then hang up":
            return None
        return 201, "it is made" if self.create == "not json" else self.pods[id]


def own_key(id: str) -> str:
    """The key that RunPod puts into a pod."""
    return f"rpa_planted_secret_of_{id}"


@contextmanager
def serving(starts: Starts | None = None) -> Iterator[FakeRunPod]:
    fake = FakeRunPod(starts=starts)
    over = threading.Event()

    def keep() -> None:
        while not over.wait(0.05):
            fake.tick()

    class Handler(Quiet):
        def _any(self) -> None:
            fake.requests.append((self.command, self.path))
            length = int(self.headers.get("content-length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            key = (self.headers.get("authorization") or "").removeprefix("Bearer ")
            if not fake.may(key, self.command, self.path):
                found: tuple[int, Any] | None = (401, {"title": "Unauthorized", "status": 401, "detail": "bad key"})
            else:
                found = fake.answer(self.command, self.path, body, key)
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

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    keeper = threading.Thread(target=keep, daemon=True)
    if starts is not None:
        keeper.start()
    with listening(server) as fake.url:
        try:
            yield fake
        finally:
            over.set()
            if starts is not None:
                keeper.join()
            for life in fake.lives.values():
                if life.container is not None:
                    life.container.kill()
