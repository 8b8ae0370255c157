"""Scoring: prompts in, raw logits out. What every backend fulfils; the judge `llm` is built on it (judge.py)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, get_args

from resolver.errors import UsageError

if TYPE_CHECKING:
    from llm_classifier.score.usage import Usage

Name = Literal["transformers", "vllm", "vllm-server"]
NAMES: tuple[str, ...] = get_args(Name)


class Backend(Protocol):
    """Where a model answers: in this process, in an offline vLLM engine, or behind HTTP."""

    usage: Usage
    """What scoring took so far."""

    def logits(self, prompts: Sequence[str]) -> Iterator[tuple[int, float]]:
        """(position in `prompts`, raw logit) as they become known, in any order.

        Each position comes once. NaN where the prompt can't be scored: too long for the model, or refused by the
        server. Who calls keeps what has come, so that a kill loses only what is under way.
        """

    def close(self) -> None:
        """Give back memory, processes and connections."""


def open_backend(
    model: Path,
    *,
    backend: str = "transformers",
    endpoint: str | None = None,
    batch_tokens: int = 16_384,
    dtype: Literal["float32", "bfloat16"] | None = None,
    device: str | None = None,
    in_flight: int = 64,
    timeout: float = 120.0,
    give_up_after: float = 600.0,
    python: Path | None = None,
) -> Backend:
    """A backend for the model in that folder; every one of them needs its tokenizer and what artifact.json says.

    transformers: batches of `batch_tokens` in `dtype` on `device`. vllm: an offline engine, in the environment whose
    interpreter is `python`. vllm-server: `in_flight` requests at once to `endpoint`; a request without an answer for
    `timeout` seconds is sent again, and after `give_up_after` seconds without any answer it stops.
    """
    if backend == "transformers":
        from llm_classifier.score.local import TransformersBackend

        return TransformersBackend(model, batch_tokens=batch_tokens, dtype=dtype, device=device)
    if backend == "vllm":
        from llm_classifier.score.engine import EngineBackend

        return EngineBackend(model, python=python, dtype=dtype)
    if backend == "vllm-server":
        from llm_classifier.score.server import ServerBackend

        if endpoint is None:
            raise UsageError(
                "The backend vllm-server needs the address of a server.", do="Give it as http://HOST:PORT."
            )
        return ServerBackend(model, endpoint, in_flight=in_flight, timeout=timeout, give_up_after=give_up_after)
    raise UsageError(f"There is no backend {backend}; there are {', '.join(NAMES)}.")
