"""The work of scoring prompts on a rented machine: how they are packed, done there, and held against what was asked.

Prompts travel without pairs or records: a part holds prompts in order, and its result the logit of each place with the
digest of the prompt that it belongs to. Knows nothing of pods.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import polars as pl

from llm_classifier.score import Backend
from resolver import files
from resolver.errors import DamagedError

PART = 2_000  # prompts in a part: a few minutes of work that a kill can cost

_RESULT = {"place": pl.Int64, "digest": pl.String, "logit": pl.Float64}


def pack(prompts: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """Name and content of each part."""
    for number, start in enumerate(range(0, len(prompts), PART)):
        some = list(prompts[start : start + PART])
        frame = pl.DataFrame({"place": np.arange(start, start + len(some)), "prompt": some})
        yield f"{number:05d}.parquet", _bytes(frame)


def work(part: bytes, backend: Backend) -> bytes:
    """The result of one part."""
    asked = pl.read_parquet(io.BytesIO(part))
    prompts = asked["prompt"].to_list()
    logits = np.full(len(prompts), np.nan)
    for place, logit in backend.logits(prompts):
        logits[place] = logit
    return _bytes(
        pl.DataFrame(
            {"place": asked["place"], "digest": [_digest(one) for one in prompts], "logit": logits}, schema=_RESULT
        )
    )


def check(name: str, asked: Sequence[str], start: int, result: bytes) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The logits of a part, if the result is one of these very prompts: as many, in order, each a number or missing."""
    try:
        found = pl.read_parquet(io.BytesIO(result))
    except Exception:  # noqa: BLE001  whatever is wrong with the file, its text may quote it
        raise DamagedError(f"The result {name} can't be read.") from None
    if found.schema != pl.Schema(_RESULT):
        raise DamagedError(f"The result {name} is of another form.")
    if len(found) != len(asked):
        raise DamagedError(f"The result {name} has {len(found):,} answers to {len(asked):,} prompts.")
    if found["place"].to_list() != list(range(start, start + len(asked))):
        raise DamagedError(f"The result {name} answers other places than were asked.")
    if found["digest"].to_list() != [_digest(one) for one in asked]:
        raise DamagedError(f"The result {name} answers other prompts than were asked.")
    logits = found["logit"].to_numpy()
    if np.isinf(logits).any() or found["logit"].null_count():
        raise DamagedError(f"The result {name} holds answers that are no numbers.")
    return logits


def _digest(prompt: str) -> str:
    return files.digest_bytes(prompt.encode())[:32]


def _bytes(frame: pl.DataFrame) -> bytes:
    target = io.BytesIO()
    frame.write_parquet(target, compression="zstd")
    return target.getvalue()
