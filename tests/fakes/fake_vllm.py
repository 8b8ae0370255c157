"""A vLLM server that is none: answers on loopback as vLLM does, with what a function says, and misbehaves on demand."""

from __future__ import annotations

import contextlib
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from loopback import listening

Tokens = tuple[int, ...]


class FakeVllm:
    """`logit` of a prompt's tokens is what it answers; `trouble` says for each request what goes wrong, if anything:
    429, 500, hang, half, count, nan, or refuse. Everything asked is kept."""

    def __init__(self, logit: Callable[[Tokens], float], trouble: Callable[[int, list[Tokens]], str | None]) -> None:
        self.logit, self.trouble = logit, trouble
        self.longest, self.hang = 4096, 5.0
        self.over = threading.Event()
        self.asked: list[list[Tokens]] = []
        self.answered: Counter[Tokens] = Counter()
        self.bodies: list[dict[str, Any]] = []
        self.key: str | None = None
        self.at_once = self.most_at_once = 0
        self.lock = threading.Lock()
        self.url = ""

    def answer(self, path: str, body: dict[str, Any]) -> tuple[int, bytes, dict[str, str]]:
        prompts = [tuple(one) for one in body["input" if path == "/classify" else "prompt"]]
        with self.lock:
            number = len(self.asked)
            self.asked.append(prompts)
            self.bodies.append(body)
        wrong = self.trouble(number, prompts)
        if wrong == "429":
            return 429, b"{}", {"Retry-After": "0.05"}
        if wrong == "500":
            return 500, b"it broke", {}
        if wrong == "refuse":
            return 400, json.dumps({"error": {"message": f"no: {prompts}"}}).encode(), {}
        if wrong == "hang":
            self.over.wait(self.hang)
        logits = [self.logit(one) for one in prompts]
        if wrong == "nan":
            logits[0] = float("nan")
        if wrong == "count":
            logits.pop()
        results = [self.result(path, place, logit, body) for place, logit in enumerate(logits)]
        content = json.dumps({("data" if path == "/classify" else "choices"): results[::-1]}).encode()
        if wrong == "half":
            return 200, content[: len(content) // 2], {}
        if wrong is None:
            with self.lock:
                self.answered.update(prompts)
        return 200, content, {}

    @staticmethod
    def result(path: str, place: int, logit: float, body: dict[str, Any]) -> dict[str, Any]:
        if path == "/classify":
            raw = body.get("use_activation") is False
            return {"index": place, "probs": [-logit / 2, logit / 2] if raw else [0.5, 0.5], "num_classes": 2}
        no, yes = body["logprob_token_ids"]
        spoken = {f"token_id:{no}": -3.0 - logit, f"token_id:{yes}": -3.0}
        return {"index": place, "text": "x", "logprobs": {"top_logprobs": [spoken]}}


@contextlib.contextmanager
def serve(
    logit: Callable[[Tokens], float], trouble: Callable[[int, list[Tokens]], str | None] = lambda number, prompts: None
) -> Iterator[FakeVllm]:
    fake = FakeVllm(logit, trouble)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *arguments: object) -> None:
            pass

        def reply(self, status: int, content: bytes, headers: dict[str, str]) -> None:
            with contextlib.suppress(ConnectionError):  # whoever asked has given up
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(content))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

        def allowed(self) -> bool:
            return fake.key is None or self.headers.get("Authorization") == f"Bearer {fake.key}"

        def do_GET(self) -> None:
            if not self.allowed():
                self.reply(401, b"{}", {})
            elif self.path == "/metrics":
                hits = 7 * sum(map(len, fake.asked))
                self.reply(200, f'# HELP x\nvllm:prefix_cache_hits_total{{engine="0"}} {hits}.0\n'.encode(), {})
            else:
                one = {"id": "the-model", "max_model_len": fake.longest}
                self.reply(200, json.dumps({"data": [one]}).encode(), {})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with fake.lock:
                fake.at_once += 1
                fake.most_at_once = max(fake.most_at_once, fake.at_once)
            try:
                self.reply(*fake.answer(self.path, body))
            finally:
                with fake.lock:
                    fake.at_once -= 1

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    with listening(server) as fake.url:
        try:
            yield fake
        finally:
            fake.over.set()
