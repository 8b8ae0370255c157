"""Logits of many prompts, of a model in memory or in a folder, longest prompts first. Knows nothing of labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from llm_classifier.measures import Floats
from llm_classifier.needs import need
from resolver.progress import Progress


def by_model(
    answer: Callable[[Any, Any], Any],
    tokens: Sequence[Sequence[int]],
    *,
    device: Any,
    padding: int,
    batch_tokens: int,
    advance: Callable[[int], object] = lambda count: None,
) -> Floats:
    """`answer` takes token ids and an attention mask, and gives raw logits; `advance` is told how many are done."""
    torch = need("torch")
    found = np.empty(len(tokens))
    order = sorted(range(len(tokens)), key=lambda place: (-len(tokens[place]), place))
    begin = 0
    with torch.inference_mode():
        while begin < len(order):
            batch = order[begin : begin + max(1, batch_tokens // len(tokens[order[begin]]))]
            lengths = torch.tensor([len(tokens[place]) for place in batch])
            ids = torch.nn.utils.rnn.pad_sequence(
                [torch.tensor(tokens[place]) for place in batch], batch_first=True, padding_value=padding
            )
            mask = (torch.arange(ids.shape[1])[None, :] < lengths[:, None]).long()
            found[batch] = answer(ids.to(device), mask.to(device)).float().cpu().numpy()
            begin += len(batch)
            advance(len(batch))
    return found


def by_folder(
    model: Path, pairs: Mapping[str, pl.DataFrame], *, progress: Progress, batch_tokens: int = 16_384
) -> dict[str, Floats]:
    """The same from disk, by name of the split: what everybody who opens the folder gets."""
    from llm_classifier.score.local import TransformersBackend

    backend = TransformersBackend(model, batch_tokens=batch_tokens)
    found = {}
    try:
        for name, some in pairs.items():
            logits = np.full(len(some), np.nan)
            with progress.step(f"scoring {name}", len(some), "pairs") as step:
                for place, logit in backend.logits(some.get_column("prompt").to_list()):
                    logits[place] = logit
                    step.advance(1)
            found[name] = logits
    finally:
        backend.close()
    return found
