"""What scoring took: prompts, tokens, how many came from the prefix cache, and how near that is to the physical limit.

The limit: a token that passes through a model of P parameters takes 2 P operations at least. Knows nothing of backends.
"""

from __future__ import annotations

import json
import math
import struct
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llm_classifier.needs import need


@dataclass
class Usage:
    parameters: int = 0  # that every token passes through
    prompts: int = 0
    tokens: int = 0  # of all prompts, whether computed or found in the cache
    cached: int | None = None  # of them, found in the prefix cache; None: nobody counted
    seconds: float = 0.0
    retries: int = 0
    refused: int = 0  # prompts that got no logit

    def facts(self, limit: float | None) -> dict[str, Any]:
        """For the manifest and the screen. `limit`: operations a second that the machine can do."""
        computed = self.tokens - (self.cached or 0)
        per_second = 1 / self.seconds if self.seconds else 0.0
        found: dict[str, Any] = {
            "prompts": self.prompts,
            "prompt_tokens": self.tokens,
            "cache_hit_rate": None if self.cached is None else round(self.cached / max(self.tokens, 1), 4),
            "seconds": round(self.seconds, 1),
            "pairs_per_second": _short(self.prompts * per_second),
            "tokens_per_second": _short(self.tokens * per_second),
            "operations": float(2 * self.parameters * computed),
            "retries": self.retries,
            "refused": self.refused,
        }
        if limit:
            found["limit_tflops"] = _short(limit / 1e12)
            found["share_of_limit"] = _short(2 * self.parameters * computed * per_second / limit)
        return found

    def __str__(self) -> str:
        told = self.facts(None)
        hits = "" if self.cached is None else f", {told['cache_hit_rate']:.0%} of them from the cache"
        return (
            f"{self.prompts:,} prompts of {self.tokens:,} tokens{hits}, in {self.seconds:,.1f} s: "
            f"{told['pairs_per_second']} pairs/s, {told['operations'] / 1e12:,.3g} T operations"
        )


def _short(value: float) -> float:
    """Three digits that count."""
    return float(f"{value:.3g}") if math.isfinite(value) else value


def parameters(folder: Path) -> int:
    """Parameters that every token passes through, by the headers of the weights: all but the table of embeddings."""
    total = 0
    for path in sorted(folder.glob("*.safetensors")):
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header = json.loads(file.read(length))
        for name, tensor in header.items():
            if name == "__metadata__" or name.endswith("embed_tokens.weight") or ".weight." in name:
                continue
            # Four-bit weights lie packed, two to a byte.
            total += math.prod(tensor["shape"]) * (2 if tensor["dtype"] == "U8" else 1)
    return total


def measured_limit(device: str, dtype: str) -> float:
    """Operations a second of a large matrix product here: what this machine can do, measured rather than looked up."""
    torch = need("torch")
    size = 8192 if device.startswith("cuda") else 1024
    one = torch.ones(size, size, dtype=getattr(torch, dtype), device=device)
    best = math.inf
    for _ in range(5):
        _wait(torch, device)
        began = time.perf_counter()
        one @ one
        _wait(torch, device)
        best = min(best, time.perf_counter() - began)
    return float(2 * size**3 / best)


def _wait(torch: Any, device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()
