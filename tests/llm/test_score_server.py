"""The backend `vllm-server`, against a fake on loopback that misbehaves in every way that a server can."""

from __future__ import annotations

import math
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from resolver.errors import PendingError, UsageError

pytestmark = pytest.mark.llm

PROMPTS = [f"condition since {1900 + year}" for year in range(60)]


def says(tokens: tuple[int, ...]) -> float:
    return sum(tokens) % 101 / 10 - 5


def expected(folder: Path, prompts: list[str] = PROMPTS) -> list[float]:
    from llm_classifier.score.server import tokenizer

    return [says(tuple(one.ids)) for one in tokenizer(folder).encode_batch(prompts)]


def scored(folder: Path, url: str, prompts: list[str] = PROMPTS, **options: Any) -> tuple[list[float], Any]:
    from llm_classifier.score import open_backend

    backend = open_backend(folder, backend="vllm-server", endpoint=url, **options)
    try:
        came = list(backend.logits(prompts))
    finally:
        backend.close()
    assert sorted(place for place, _ in came) == list(range(len(prompts)))  # each once
    return [logit for _, logit in sorted(came)], backend.usage


@pytest.mark.parametrize("kind", ["classifier", "causal"])
def test_answers_come_back_raw(kind: str, request: pytest.FixtureRequest, fake: ModuleType) -> None:
    """Of a classifier second less first with no activation; of a causal model True less False of the next token."""
    folder = request.getfixturevalue(f"tiny_{kind}")
    with fake.serve(says) as server:
        got, usage = scored(folder, server.url + "/v1/")
    assert got == pytest.approx(expected(folder))
    assert server.bodies[0]["model"] == "the-model"
    assert usage.prompts == len(PROMPTS) and usage.retries == usage.refused == 0
    assert usage.tokens == sum(len(one) for batch in server.asked for one in batch)
    assert usage.cached == 7 * len(PROMPTS)


@pytest.mark.parametrize("wrong", ["429", "500", "half", "count", "nan"])
def test_every_trouble_passes(wrong: str, tiny_classifier: Path, fake: ModuleType) -> None:
    """Two requests in five go wrong; in the end each prompt has its answer, and usable answers are not asked twice."""
    with fake.serve(says, lambda number, prompts: wrong if number % 5 < 2 else None) as server:
        got, usage = scored(tiny_classifier, server.url)
    assert got == pytest.approx(expected(tiny_classifier))
    assert usage.retries > 0 and usage.refused == 0
    assert max(server.answered.values()) == 1


def test_a_request_that_hangs_is_sent_again(tiny_classifier: Path, fake: ModuleType) -> None:
    """One request never gets its answer in time; the others do not wait for it."""
    with fake.serve(says, lambda number, prompts: "hang" if number == 2 else None) as server:
        server.hang = 2.0
        got, usage = scored(tiny_classifier, server.url, timeout=0.5)
    assert got == pytest.approx(expected(tiny_classifier))
    assert usage.retries == 1


def test_too_many_requests_make_it_ask_less(tiny_classifier: Path, fake: ModuleType) -> None:
    """A server that takes three at once says 429 to the rest; the number in flight follows it."""
    prompts = [f"since {year} {more}" for year in range(150) for more in range(4)]
    with fake.serve(says) as server:
        server.trouble = lambda number, batch: "429" if server.at_once > 3 else None
        got, _ = scored(tiny_classifier, server.url, prompts, in_flight=32)
    assert got == pytest.approx(expected(tiny_classifier, prompts))
    assert len(server.asked) < 4 * len(prompts) / 8


def test_a_prompt_that_is_refused_spoils_no_other(tiny_classifier: Path, fake: ModuleType) -> None:
    """400 for a request with one bad prompt: the prompt gets NaN, its neighbours their answer."""
    from llm_classifier.score.server import tokenizer

    bad = tuple(tokenizer(tiny_classifier).encode(PROMPTS[11]).ids)
    with fake.serve(says, lambda number, prompts: "refuse" if bad in prompts else None) as server:
        got, usage = scored(tiny_classifier, server.url)
    assert [place for place, logit in enumerate(got) if math.isnan(logit)] == [11]
    assert usage.refused == 1


def test_a_prompt_that_always_breaks_the_server_is_given_up(
    tiny_classifier: Path, fake: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Alone it fails again and again, while the others are answered: NaN, not an endless loop."""
    from llm_classifier.score import server as module

    monkeypatch.setattr(module, "LONGEST_PAUSE", 0.05)
    monkeypatch.setattr(module, "ALIVE", 60.0)
    bad = tuple(module.tokenizer(tiny_classifier).encode(PROMPTS[5]).ids)
    with fake.serve(says, lambda number, prompts: "500" if bad in prompts else None) as server:
        got, _ = scored(tiny_classifier, server.url)
    assert [place for place, logit in enumerate(got) if math.isnan(logit)] == [5]
    assert Counter(bad in batch for batch in server.asked)[True] <= 2 * module.TRIES


def test_a_server_that_is_gone_is_said(tiny_classifier: Path, fake: ModuleType) -> None:
    """After so long without any answer it stops, as something to do again; what had come before has come."""
    from llm_classifier.score import open_backend

    with fake.serve(says, lambda number, prompts: "500" if number >= 3 else None) as server:
        backend = open_backend(
            tiny_classifier, backend="vllm-server", endpoint=server.url, in_flight=1, give_up_after=0.5
        )
        came = []
        with pytest.raises(PendingError, match="has not answered") as caught:
            for one in backend.logits(PROMPTS):
                came.append(one)
        backend.close()
    assert len(came) == 3 * 8
    assert "condition" not in str(caught.value)


def test_a_program_that_is_stopped_ends_at_once() -> None:
    """Work that hangs keeps no program alive, and errors come out where the answer is asked for."""
    import subprocess
    import time

    program = (
        "import time\nfrom llm_classifier.score.workers import Workers\n"
        "workers = Workers(2)\nassert workers.submit(pow, 2, 5).result() == 32\n"
        "assert isinstance(workers.submit(int, 'x').exception(), ValueError)\n"
        "hung = [workers.submit(time.sleep, 60) for _ in range(5)]\nworkers.close()\n"
    )
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", program], check=True, timeout=50)
    assert time.monotonic() - began < 45


def test_the_server_must_fit_the_model(
    tiny_classifier: Path, fake: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Too short a context, a key that is missing, an address that is none: said before anything is sent."""
    with fake.serve(says) as server:
        server.longest = 512
        with pytest.raises(UsageError, match="reads 512 tokens"):
            scored(tiny_classifier, server.url)
        server.longest, server.key = 4096, "abc"
        with pytest.raises(UsageError, match="RESOLVER_LLM_KEY"):
            scored(tiny_classifier, server.url)
        assert server.asked == []
        monkeypatch.setenv("RESOLVER_LLM_KEY", "abc")
        assert scored(tiny_classifier, server.url)[0] == pytest.approx(expected(tiny_classifier))
    with pytest.raises(UsageError, match="no address"):
        scored(tiny_classifier, "localhost:8000")


def test_prompts_too_long_are_not_sent(tiny_classifier: Path, fake: ModuleType) -> None:
    """They get NaN at once."""
    long = "condition " * 5000
    with fake.serve(says) as server:
        got, usage = scored(tiny_classifier, server.url, [PROMPTS[0], long])
    assert math.isnan(got[1]) and usage.refused == 1
    assert len(server.asked) == 1 and len(server.asked[0]) == 1
