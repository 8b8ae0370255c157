"""From a data set's pairs to batches of tokens: what is trained on, what is scored, and in which order.

Knows nothing of models.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import polars as pl

from llm_classifier.measures import Floats
from resolver.errors import TrainingError, UsageError

if TYPE_CHECKING:
    from llm_classifier.dataset import Dataset

CHUNK = 4096  # prompts that are turned into tokens at once
POOL = 50  # batches that are put in order of length together: enough to save padding, few enough to stay random


def of(folder: Path, prompt_version: str) -> Dataset:
    """The data set, if its prompts are those of this version of the program."""
    from llm_classifier import dataset

    found = dataset.read(folder)
    if found.card.prompt_version != prompt_version:
        raise UsageError(
            f"The prompts of {folder} are of version {found.card.prompt_version}; version {prompt_version} is needed.",
            do="Make the data set again with: resolver llm dataset",
        )
    return found


def once(pairs: pl.DataFrame, at_most: int | None = None, seed: int = 0) -> pl.DataFrame:
    """Each pair in one order only; of more than `at_most`, a draw."""
    return drawn(pairs.filter(~pl.col("swapped")), at_most, seed)


def drawn(pairs: pl.DataFrame, at_most: int | None, seed: int) -> pl.DataFrame:
    """All rows of at most so many pairs."""
    known = pairs.get_column("pair_id").unique().sort()
    if at_most is None or len(known) <= at_most:
        return pairs
    kept = np.sort(np.random.default_rng(seed).permutation(len(known))[:at_most])
    return pairs.join(known[kept].to_frame(), on="pair_id", how="semi", maintain_order="left")


def labels(pairs: pl.DataFrame) -> Floats:
    return pairs.get_column("label").cast(pl.Float64).to_numpy()


def weights(pairs: pl.DataFrame) -> Floats:
    return pairs.get_column("weight").cast(pl.Float64).to_numpy()


def groups(pairs: pl.DataFrame) -> npt.NDArray[np.int64]:
    return pairs.get_column("group").cast(pl.Int64).to_numpy()


def loss_weights(pairs: pl.DataFrame, how: str) -> tuple[Floats, float]:
    """What each pair counts in the loss, one on average, and the share of true pairs that comes of it."""
    true = labels(pairs)
    if how == "gray":
        found = weights(pairs)
    elif how == "balanced":
        share = true.mean()
        found = np.where(true > 0, 0.5 / max(share, 1e-12), 0.5 / max(1 - share, 1e-12))
    else:
        found = np.ones(len(true))
    found = found / found.mean()
    return found, float((found * true).mean())


def tokens(pairs: pl.DataFrame, tokenizer: Any, *, at_most: int, where: str) -> list[list[int]]:
    """The tokens of every prompt, none of them cut: the question stands at the end."""
    prompts = pairs.get_column("prompt")
    found: list[list[int]] = []
    for start in range(0, len(prompts), CHUNK):
        found.extend(tokenizer(prompts[start : start + CHUNK].to_list())["input_ids"])
    long = sum(len(one) > at_most for one in found)
    if long:
        raise TrainingError(
            f"{long:,} prompts of the split {where} have more than {at_most:,} tokens, which is the most of this base.",
            do="Make the data set with the tokenizer of this base, or with a smaller dataset.tokens_per_side.",
        )
    return found


class Order:
    """In which order an epoch goes through the pairs: by seed and epoch alone, so that a resumed run finds its place.

    With `by_length`, prompts of like length share a batch, and the batches come in random order.
    """

    def __init__(self, lengths: Sequence[int], *, batch: int, by_length: bool, seed: int) -> None:
        self.lengths = np.asarray(lengths)
        self.batch, self.by_length, self.seed, self.epoch = batch, by_length, seed, 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        draw = np.random.default_rng([self.seed, self.epoch])
        order = draw.permutation(len(self.lengths))
        if not self.by_length:
            return iter(order.tolist())
        pool = np.arange(len(order)) // (self.batch * POOL)
        order = order[np.lexsort((self.lengths[order], pool))]
        whole = len(order) // self.batch * self.batch
        shuffled = draw.permutation(order[:whole].reshape(-1, self.batch)).reshape(-1)
        return iter(np.concatenate([shuffled, order[whole:]]).tolist())


@dataclass(frozen=True)
class Collator:
    """Rows into a batch, padded on the right. `answers`: the tokens for False and True, where the label is a token."""

    padding: int
    answers: tuple[int, int] | None = None

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
        import torch

        sequences = [torch.tensor(row["input_ids"]) for row in rows]
        right = [int(row["label"]) for row in rows]
        if self.answers is not None:
            sequences = [
                torch.cat([one, torch.tensor([self.answers[label]])])
                for one, label in zip(sequences, right, strict=True)
            ]
        lengths = torch.tensor([len(one) for one in sequences])
        ids = torch.nn.utils.rnn.pad_sequence(sequences, batch_first=True, padding_value=self.padding)
        place = torch.arange(ids.shape[1])[None, :]
        batch = {
            "input_ids": ids,
            "attention_mask": (place < lengths[:, None]).long(),
            "label": torch.tensor(right),
            "weight": torch.tensor([row["weight"] for row in rows], dtype=torch.float32),
        }
        if self.answers is not None:
            batch["labels"] = torch.where(place == lengths[:, None] - 1, ids, -100)
        return batch
