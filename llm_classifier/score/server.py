"""The backend `vllm-server`: many requests in flight to a vLLM server, each sent again until it is answered whole.

A classifier answers at /classify, with the activation switched off so that outputs are raw; a causal model answers at
/v1/completions with the log-probabilities of two tokens, whose difference is that of their logits. Prompts go out as
tokens: nothing readable stands in a request. Knows nothing of pairs; never puts a prompt or an answer into an error.
"""

from __future__ import annotations

import heapq
import math
import os
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llm_classifier import artifact
from llm_classifier.needs import need
from llm_classifier.score.asking import Answer, Refused, Unwell, classify, complete
from llm_classifier.score.usage import Usage, parameters
from llm_classifier.score.workers import Workers
from llm_classifier.tiny import WORDS
from resolver.errors import DamagedError, PendingError, UsageError

KEY = "RESOLVER_LLM_KEY"  # environment variable with the server's key, if it asks for one
TOGETHER = 8  # prompts in a request: those of one left record, mostly
TRIES = 6  # of a prompt that others are answered beside
LONGEST_PAUSE = 30.0  # seconds between two tries
ALIVE = 30.0  # seconds since the last answer within which a server counts as well


@dataclass
class _Request:
    places: list[int]
    tries: int = 0


class ServerBackend:
    def __init__(
        self,
        folder: Path,
        endpoint: str,
        *,
        in_flight: int = 64,
        timeout: float = 120.0,
        give_up_after: float = 600.0,
    ) -> None:
        httpx = need("httpx")
        self._artifact = artifact.read(folder)
        self._tokenizer = tokenizer(folder)
        self._endpoint = endpoint.rstrip("/").removesuffix("/v1")
        if not self._endpoint.startswith(("http://", "https://")):
            raise UsageError(f"{endpoint} is no address of a server.", do="Give it as http://HOST:PORT.")
        self._most, self._give_up_after = in_flight, give_up_after
        self._allowed = float(min(8, in_flight))  # requests at once: grows with answers, halves when it is too much
        key = os.environ.get(KEY)
        self._client = httpx.Client(
            base_url=self._endpoint,
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx.Timeout(timeout, connect=min(timeout, 10.0)),
            limits=httpx.Limits(max_connections=in_flight, max_keepalive_connections=in_flight),
        )
        self._workers = Workers(in_flight)
        self.usage = Usage(parameters(folder))
        self._name = ""  # what the server calls the model; asked for with the first prompts
        self._ask = classify if self._artifact.kind == "classifier" else complete(*answer_tokens(self._tokenizer))

    def logits(self, prompts: Sequence[str]) -> Iterator[tuple[int, float]]:
        if not prompts:
            return
        began, hits = time.monotonic(), self._hits()
        self._name = self._name or self._served()
        tokens = [one.ids for one in self._tokenizer.encode_batch(list(prompts))]
        try:
            fits = []
            for place, one in enumerate(tokens):
                if len(one) <= self._artifact.max_tokens:
                    fits.append(place)
                else:
                    self.usage.refused += 1
                    yield place, math.nan
            self.usage.prompts += len(fits)
            self.usage.tokens += sum(len(tokens[place]) for place in fits)
            for place, logit in self._all(fits, tokens):
                self.usage.refused += math.isnan(logit)
                yield place, logit
        finally:
            self.usage.seconds += time.monotonic() - began
            now = self._hits()
            if hits is not None and now is not None:
                self.usage.cached = (self.usage.cached or 0) + max(now - hits, 0)

    def _all(self, places: list[int], tokens: list[list[int]]) -> Iterator[tuple[int, float]]:
        """Send all, answer as they come: what waits, what is under way, and what pauses before it is sent again."""
        waiting = deque(_Request(places[start : start + TOGETHER]) for start in range(0, len(places), TOGETHER))
        pausing: list[tuple[float, int, _Request]] = []
        flying: dict[Future[Answer], _Request] = {}
        last, number = time.monotonic(), 0
        while waiting or pausing or flying:
            now = time.monotonic()
            while pausing and pausing[0][0] <= now:
                waiting.appendleft(heapq.heappop(pausing)[2])
            while waiting and len(flying) < int(self._allowed):
                request = waiting.popleft()
                batch = [tokens[place] for place in request.places]
                flying[self._workers.submit(self._ask, self._client, self._name, batch)] = request
            if not flying:
                time.sleep(max(pausing[0][0] - now, 0.0))
                continue
            soon = max(pausing[0][0] - now, 0.01) if pausing else None
            done, _ = wait(flying, timeout=soon, return_when=FIRST_COMPLETED)
            for future in done:
                request = flying.pop(future)
                try:
                    answers = future.result()
                except Refused:
                    # One prompt spoils a request; alone, it is found out.
                    if len(request.places) == 1:
                        yield request.places[0], math.nan
                    else:
                        waiting.extendleft(_Request([place]) for place in reversed(request.places))
                    continue
                except Unwell as trouble:
                    if trouble.busy:
                        self._allowed = max(self._allowed / 2, 1.0)
                    answers = [None] * len(request.places)
                    pause = trouble.pause
                else:
                    pause = None
                    if any(answer is not None for answer in answers):
                        last = time.monotonic()
                        self._allowed = min(self._allowed + 1 / self._allowed, float(self._most))
                yield from ((place, got) for place, got in zip(request.places, answers, strict=True) if got is not None)
                again = [place for place, got in zip(request.places, answers, strict=True) if got is None]
                if not again:
                    continue
                self.usage.retries += 1
                if time.monotonic() - last > self._give_up_after:
                    raise PendingError(
                        f"The server at {self._endpoint} has not answered for {self._give_up_after:.0f} seconds.",
                        do="Run the same command again when it does: what it answered is kept.",
                    )
                tried = request.tries + 1
                if tried >= TRIES and len(again) == 1 and time.monotonic() - last < ALIVE:
                    yield again[0], math.nan
                    continue
                pieces = [[place] for place in again] if tried == TRIES // 2 else [again]
                for piece in pieces:
                    number += 1
                    due = time.monotonic() + (pause or min(0.25 * 2**tried, LONGEST_PAUSE))
                    heapq.heappush(pausing, (due, number, _Request(piece, tried)))

    def _served(self) -> str:
        """What the server calls the model, if it is a server of one and reads prompts as long as this one's."""
        httpx = need("httpx")
        began, pause = time.monotonic(), 0.5
        while True:
            try:
                response = self._client.get("/v1/models")
                if response.status_code in (401, 403):
                    raise UsageError(
                        f"The server at {self._endpoint} does not let us in ({response.status_code}).",
                        do=f"Put its key into the environment as {KEY}.",
                    )
                if response.status_code == 200:
                    (model,) = response.json()["data"]
                    break
            except httpx.HTTPError:
                pass
            except (ValueError, KeyError, TypeError):
                raise UsageError(
                    f"{self._endpoint} is no vLLM server of one model.", do="Give the address of one."
                ) from None
            if time.monotonic() - began > self._give_up_after:
                raise PendingError(
                    f"The server at {self._endpoint} does not answer.", do="Start it, then run the same command again."
                )
            time.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)
        longest, needed = model.get("max_model_len"), self._artifact.max_tokens
        if isinstance(longest, int) and longest < needed:
            raise UsageError(
                f"The server at {self._endpoint} reads {longest} tokens, and this model's prompts have up to {needed}.",
                do=f"Serve it with --max-model-len {needed + 1}.",
            )
        return str(model["id"])

    def _hits(self) -> int | None:
        """Tokens that the server has found in its prefix cache so far, where it tells."""
        httpx = need("httpx")
        try:
            lines = self._client.get("/metrics", timeout=5.0).text.splitlines()
            return int(sum(float(one.split()[-1]) for one in lines if one.startswith("vllm:prefix_cache_hits_total")))
        except (httpx.HTTPError, ValueError, IndexError):
            return None

    def close(self) -> None:
        self._workers.close()
        self._client.close()


def tokenizer(folder: Path) -> Any:
    """The model's tokenizer alone, without transformers."""
    library = need("tokenizers")
    try:
        found = library.Tokenizer.from_file(str(folder / "tokenizer.json"))
        # What whoever saved it last had set for a batch is no part of the model.
        found.no_padding()
        found.no_truncation()
        return found
    except Exception:  # noqa: BLE001 (the library raises nothing narrower)
        raise DamagedError(
            f"{folder / 'tokenizer.json'} can't be read.", do="Copy the whole folder again from where it was made."
        ) from None


def answer_tokens(tokenizer: Any) -> tuple[int, int]:
    """The tokens for False and True."""
    yes, no = (tokenizer.token_to_id(word) for word in WORDS)
    if yes is None or no is None:
        raise DamagedError(
            "The model's tokenizer has no token of its own for True and False.", do="Take the tokenizer of the base."
        )
    return no, yes
