"""The work of scoring prompts on a rented machine: how they are packed, done there, and held against what was asked.

Prompts travel without pairs or records: a part holds prompts in order, and its result the logit of each place with the
digest of the prompt that it belongs to, and says what made it. Knows nothing of pods.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

import resolver
from llm_classifier import prompt
from llm_classifier.score import Backend
from resolver import files
from resolver.errors import DamagedError

PART = 2_000  # prompts in a part: a few minutes of work that a kill can cost

_RESULT = {"place": pl.Int64, "digest": pl.String, "logit": pl.Float64}
_MADE = "resolver"  # under which a result's file says what made it


def name_of(number: int) -> str:
    return f"{number:05d}.parquet"


def number_of(name: str) -> int:
    return int(name.removesuffix(".parquet"))


def pack(prompts: Sequence[str], start: int) -> bytes:
    """A part: these prompts, the first of them being number `start` of all."""
    return _bytes(pl.DataFrame({"place": np.arange(start, start + len(prompts)), "prompt": list(prompts)}))


def work(part: bytes, backend: Backend, told: Mapping[str, str]) -> bytes:
    """The result of one part, with what made it."""
    asked = pl.read_parquet(io.BytesIO(part))
    prompts = asked["prompt"].to_list()
    logits = np.full(len(prompts), np.nan)
    for place, logit in backend.logits(prompts):
        logits[place] = logit
    return _bytes(
        pl.DataFrame(
            {"place": asked["place"], "digest": [_digest(one) for one in prompts], "logit": logits}, schema=_RESULT
        ),
        told,
    )


def check(
    name: str, asked: Sequence[str], start: int, result: bytes, told: Mapping[str, str] | None = None
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The logits of a part, if the result is one of these very prompts: as many, in order, each a number or missing.
    `told`, where it is given, is what must have made it."""
    try:
        found = pl.read_parquet(io.BytesIO(result))
        made = made_by(result)
    except Exception:  # noqa: BLE001  whatever is wrong with the file, its text may quote it
        raise DamagedError(f"The result {name} can't be read.") from None
    if found.schema != pl.Schema(_RESULT):
        raise DamagedError(f"The result {name} is of another form.")
    other = "" if told is None else strange(told, made)
    if other:
        raise DamagedError(f"The result {name} is {other}.")
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


def made_by(result: bytes) -> dict[str, str]:
    """What a result says of its making."""
    found: dict[str, str] = json.loads(pl.read_parquet_metadata(io.BytesIO(result)).get(_MADE, "{}"))
    return found


def making(fingerprint: str, image: str) -> dict[str, str]:
    """What makes answers, as this very program does: told with the order, and told back with each result."""
    return {"model": fingerprint, "prompt": prompt.VERSION, "package": resolver.__version__, "image": image}


def strange(asked: Mapping[str, str], told: Mapping[str, str]) -> str:
    """What was made in another way than was asked for, and how; "" where all is as asked."""
    for key, value in asked.items():
        if told.get(key) != value:
            return f"of {key} {told.get(key) or 'unknown'}, not of {value or 'none'}"
    return ""


def _digest(prompt: str) -> str:
    return files.digest_bytes(prompt.encode())[:32]


def _bytes(frame: pl.DataFrame, told: Mapping[str, str] | None = None) -> bytes:
    target = io.BytesIO()
    frame.write_parquet(target, compression="zstd", metadata=None if told is None else {_MADE: json.dumps(dict(told))})
    return target.getvalue()
