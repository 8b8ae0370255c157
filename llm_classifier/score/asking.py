"""One request to a vLLM server, and what its answer is worth. Knows nothing of trying again.

An answer is taken only if it is whole: as many results as prompts, each in its place, each of the shape that was asked
for. A logit that is no number counts as not given.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from llm_classifier.needs import need

Answer = list[float | None]


class Unwell(Exception):
    """No usable answer this time. `busy`: it is asked too much; `pause`: seconds that the server asks for."""

    def __init__(self, *, busy: bool = False, pause: float | None = None) -> None:
        super().__init__()
        self.busy, self.pause = busy, pause


class Refused(Exception):
    """The server will not answer this request however often it is sent."""


def classify(client: Any, model: str, prompts: list[list[int]]) -> Answer:
    """Raw: vLLM puts outputs through a softmax, unless it is told not to."""
    told = _post(client, "/classify", {"model": model, "input": prompts, "use_activation": False})
    return _in_place(told, "data", len(prompts), _of_two)


def complete(no: int, yes: int) -> Callable[[Any, str, list[list[int]]], Answer]:
    """The next token: log-probability of True less that of False, over the whole vocabulary."""

    def ask(client: Any, model: str, prompts: list[list[int]]) -> Answer:
        body = {
            "model": model,
            "prompt": prompts,
            "max_tokens": 1,
            "temperature": 0.0,
            "logprobs": 1,
            "logprob_token_ids": [no, yes],
            "return_tokens_as_token_ids": True,
        }
        return _in_place(_post(client, "/v1/completions", body), "choices", len(prompts), of_tokens)

    def of_tokens(choice: Any) -> float:
        found = choice["logprobs"]["top_logprobs"][0]
        return float(found[f"token_id:{yes}"]) - float(found[f"token_id:{no}"])

    return ask


def _of_two(result: Any) -> float:
    no, yes = result["probs"]
    return float(yes) - float(no)


def _post(client: Any, path: str, body: dict[str, Any]) -> Any:
    httpx = need("httpx")
    try:
        response = client.post(path, json=body)
        status = response.status_code
        if status == 200:
            return response.json()
    except (httpx.HTTPError, ValueError):
        raise Unwell from None
    if status in (408, 429) or status >= 500:
        raise Unwell(busy=status in (429, 503), pause=_pause(response.headers.get("retry-after")))
    raise Refused


def _pause(header: str | None) -> float | None:
    try:
        return min(max(float(header or ""), 0.0), 300.0)
    except ValueError:
        return None


def _in_place(told: Any, key: str, count: int, read: Callable[[Any], float]) -> Answer:
    try:
        results = told[key]
        if len(results) != count or sorted(int(one["index"]) for one in results) != list(range(count)):
            raise Unwell
        answer: Answer = [None] * count
        for one in results:
            logit = read(one)
            answer[int(one["index"])] = logit if math.isfinite(logit) else None
    except (KeyError, TypeError, ValueError, IndexError):
        raise Unwell from None
    return answer
