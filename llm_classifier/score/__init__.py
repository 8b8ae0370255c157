"""Scoring: prompts in, raw logits out. What every backend fulfils; the judge `llm` is built on it (judge.py)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol


class Backend(Protocol):
    """Where a model answers: in this process, in an offline vLLM engine, or behind HTTP."""

    def logits(self, prompts: Sequence[str]) -> Iterator[tuple[int, float]]:
        """(position in `prompts`, raw logit) as they become known, in any order.

        Each position comes once. Who calls keeps what has come, so that a kill loses only what is under way.
        """

    def close(self) -> None:
        """Give back memory, processes and connections."""
