"""The network: one encoder per kind of evidence, a fusion over the kinds, a head on two records' vectors.

    tokens of a kind -> class token of the kind's own transformer -> fusion transformer over the kinds that are there
    -> mean over them -> the record's vector;  two vectors -> head -> a score

The head reads products, distances and sums of the two vectors, which are the same whichever comes first. Kinds that a
record lacks are masked out of the fusion and of the mean. Needs torch; knows nothing of files or labels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from llm_classifier.encoder.tokens import KINDS, Tokens

WAVES = (4.0, 8.0, 16.0, 32.0, 64.0)  # years: fine and coarse at once
STEPS = (1.0, 2.0, 4.0, 8.0, 16.0)  # per standard deviation of a measurement
FARTHEST = 6.0  # standard deviations; further out lies what was mistyped
MOMENT = 2 + 2 * len(WAVES) + 2  # numbers that tell a time
MEASURED = 2 + 2 * len(STEPS)  # numbers that tell a value
NUMBERS = 2 * MOMENT + 2 * MEASURED + 4


@dataclass(frozen=True)
class Shape:
    buckets: int = 8192  # of pieces of words
    most: int = 48  # tokens of a kind and record
    width: int = 64
    heads: int = 4
    layers: int = 1  # of the transformer of each kind
    fusion_layers: int = 1
    dropout: float = 0.1


@dataclass(frozen=True)
class Batch:
    """Some records' tokens, ready for the network."""

    things: Tensor  # pieces of each thing that occurs
    thing: Tensor  # per token, a row of `things`
    months: Tensor
    values: Tensor
    counts: Tensor  # tokens x (days, lasts)
    # Per kind: which records have it, and a row of token numbers for each of them; -1 where the row is filled up.
    rows: tuple[tuple[Tensor, Tensor], ...]
    present: Tensor  # records x kinds


def lay(tokens: Tokens, places: NDArray[np.int64], hidden: NDArray[np.bool_] | None = None) -> Batch:
    """The records at these places. `hidden`: records x kinds that are to be taken as missing."""
    start, count = tokens.start[places], tokens.count[places]
    if hidden is not None:
        count = np.where(hidden, 0, count)
    total = int(count.sum())
    flat = count.reshape(-1)
    begin = np.cumsum(flat) - flat
    chosen = np.repeat(start.reshape(-1) - begin, flat) + np.arange(total)
    begin = begin.reshape(count.shape)
    rows = []
    for kind in range(len(KINDS)):
        there = np.flatnonzero(count[:, kind])
        steps = np.arange(int(count[there, kind].max())) if len(there) else np.arange(0)
        index = np.where(steps < count[there, kind][:, None], begin[there, kind][:, None] + steps, -1)
        rows.append((torch.from_numpy(there), torch.from_numpy(index)))
    things, thing = np.unique(tokens.thing[chosen], return_inverse=True)
    return Batch(
        torch.from_numpy(tokens.pieces[things]),
        torch.from_numpy(thing.reshape(-1)),
        torch.from_numpy(tokens.months[chosen]),
        torch.from_numpy(tokens.values[chosen]),
        torch.from_numpy(np.stack([tokens.days[chosen], tokens.lasts[chosen]], axis=1)),
        tuple(rows),
        torch.from_numpy(count > 0),
    )


class Block(nn.Module):
    """One layer of a transformer, normalised before each step."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.before_mixing, self.before_thinking = nn.LayerNorm(width), nn.LayerNorm(width)
        self.asks, self.offers = nn.Linear(width, width), nn.Linear(width, 2 * width)
        self.mixed = nn.Linear(width, width)
        self.thinks = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width), nn.Dropout(dropout)
        )

    def forward(self, x: Tensor, there: Tensor, wanted: int | None = None) -> Tensor:
        """`there`: which places of each row may be looked at; at least one. `wanted`: so many places are answered,
        the first ones; all others are looked at and their own answers not worked out."""
        rows, _, width = x.shape
        seen = self.before_mixing(x)
        x = x[:, :wanted]

        def apart(one: Tensor) -> Tensor:
            return one.view(rows, one.shape[1], self.heads, width // self.heads).transpose(1, 2)

        key, value = self.offers(seen).chunk(2, dim=-1)
        mixed = functional.scaled_dot_product_attention(
            apart(self.asks(seen[:, :wanted])),
            apart(key),
            apart(value),
            attn_mask=there[:, None, None, :],
            dropout_p=self.dropout if self.training else 0.0,
        )
        x = x + self.mixed(mixed.transpose(1, 2).reshape(x.shape))
        out: Tensor = x + self.thinks(self.before_thinking(x))
        return out


class KindEncoder(nn.Module):
    """Reads the tokens of one kind of a record and answers with its class token."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.first = nn.Parameter(torch.randn(shape.width) * 0.02)
        self.places = nn.Parameter(torch.randn(shape.most, shape.width) * 0.02)
        self.blocks = nn.ModuleList(Block(shape.width, shape.heads, shape.dropout) for _ in range(shape.layers))
        self.last = nn.LayerNorm(shape.width)

    def forward(self, tokens: Tensor, index: Tensor) -> Tensor:
        there = index >= 0
        x = tokens[index.clamp(min=0)] + self.places[: index.shape[1]]
        x = torch.cat([self.first.expand(len(x), 1, -1), x], dim=1)
        there = torch.cat([torch.ones_like(there[:, :1]), there], dim=1)
        for block in self.blocks[:-1]:
            x = block(x, there)
        out: Tensor = self.last(self.blocks[-1](x, there, wanted=1)[:, 0])
        return out


class Encoder(nn.Module):
    rarity: Tensor
    middle: Tensor
    spread: Tensor

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        width = shape.width
        self.pieces = nn.EmbeddingBag(shape.buckets, width, mode="mean", padding_idx=0)
        self.tells = nn.Linear(NUMBERS, width)
        self.gated = nn.Linear(NUMBERS, width)
        self.gate = nn.Linear(width, width)
        self.token = nn.Sequential(nn.LayerNorm(width), nn.Dropout(shape.dropout))
        self.kinds = nn.ModuleDict({kind: KindEncoder(shape) for kind in KINDS})
        self.types = nn.Parameter(torch.randn(len(KINDS), width) * 0.02)
        self.fusion = nn.ModuleList(Block(width, shape.heads, shape.dropout) for _ in range(shape.fusion_layers))
        self.vector = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 2 * width))
        self.head = nn.Sequential(
            nn.LayerNorm(6 * width),
            nn.Linear(6 * width, 2 * width),
            nn.GELU(),
            nn.Dropout(shape.dropout),
            nn.Linear(2 * width, 1),
        )
        # Of each thing, by the bucket of its whole: how rare it was in training, and how its values lay. Not trained.
        self.register_buffer("rarity", torch.zeros(shape.buckets))
        self.register_buffer("middle", torch.zeros(shape.buckets))
        self.register_buffer("spread", torch.zeros(shape.buckets))

    def encode(self, batch: Batch) -> Tensor:
        """One vector per record. That of a record without any evidence means nothing."""
        things = self.pieces(batch.things)
        numbers = self._numbers(batch)
        tokens = self.token(
            things[batch.thing] + self.tells(numbers) + self.gate(things)[batch.thing] * torch.tanh(self.gated(numbers))
        )
        kinds = tokens.new_zeros(len(batch.present), len(KINDS), self.shape.width)
        for number, (encoder, (which, index)) in enumerate(zip(self.kinds.values(), batch.rows, strict=True)):
            if len(which):
                kinds = kinds.index_put((which, torch.tensor(number)), encoder(tokens, index))
        x = kinds + self.types
        # A row of which nothing may be looked at has no softmax; its vector is never used.
        there = batch.present | ~batch.present.any(dim=1, keepdim=True)
        for block in self.fusion:
            x = block(x, there)
        share = batch.present.to(x.dtype)
        mean = (x * share[:, :, None]).sum(1) / share.sum(1, keepdim=True).clamp(min=1)
        out: Tensor = self.vector(mean)
        return out

    def score(self, left: Tensor, right: Tensor) -> Tensor:
        """Raw scores of pairs of vectors; the same, to the last bit, with the two exchanged."""
        seen = torch.cat([left * right, (left - right).abs(), left + right], dim=-1)
        out: Tensor = self.head(seen).squeeze(-1)
        return out

    def _numbers(self, batch: Batch) -> Tensor:
        whole = batch.things[:, 0][batch.thing]
        spread = self.spread[whole][:, None]
        level = (batch.values - self.middle[whole][:, None]) / spread.clamp(min=1e-6)
        level = torch.where(spread > 0, level, torch.nan)  # nobody knows what is usual there
        length = (batch.months[:, 1] - batch.months[:, 0]).nan_to_num() / 12
        more = [
            torch.log1p(batch.counts[:, :1].nan_to_num()),
            batch.counts[:, 1:],
            self.rarity[whole][:, None],
            torch.log1p(length)[:, None],
        ]
        return torch.cat([*(_moment(batch.months[:, end]) for end in (0, 1)), _measured(level), *more], dim=1)


def _moment(months: Tensor) -> Tensor:
    known = ~months.isnan()
    months = months.nan_to_num(2000.0 * 12)
    years = months / 12 - 2000
    turns = years[:, None] * (2 * torch.pi / torch.tensor(WAVES))
    season = (months % 12)[:, None] * (2 * torch.pi / 12)
    told = torch.cat([years[:, None] / 20, turns.sin(), turns.cos(), season.sin(), season.cos()], dim=1)
    return torch.cat([known[:, None].to(told.dtype), told * known[:, None]], dim=1)


def _measured(level: Tensor) -> Tensor:
    known = ~level.isnan()
    level = level.nan_to_num().clamp(-FARTHEST, FARTHEST)
    steps = level[:, :, None] * torch.tensor(STEPS)
    told = torch.cat([known[:, :, None].to(level.dtype), level[:, :, None], steps.sin(), steps.cos()], dim=2)
    return (told * known[:, :, None]).flatten(1)
