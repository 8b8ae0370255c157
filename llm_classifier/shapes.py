"""The shape of a Gemma 3 text model, and what follows from it: weights, arithmetic per token, and memory.

Needs neither torch nor weights. Nothing here is about a particular GPU (plan.py) or data set.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from resolver.errors import UsageError

Method = Literal["lora", "qlora", "full"]
Dtype = Literal["bfloat16", "float32"]

BYTES: dict[Dtype, int] = {"bfloat16": 2, "float32": 4}

# NF4 keeps four bits a weight, and with double quantisation one byte per block of 64 and four bytes per 256 blocks.
NF4_BYTES = 0.5 + 1 / 64 + 4 / (64 * 256)

# A weight that learns: itself, its gradient and the two averages of AdamW, each in float32.
LEARNING_BYTES = 16

# Bytes of activations that one layer keeps per token until its gradient is taken, without checkpointing, as multiples
# of (width, query width, key width, inner width, rank, prompt length). Measured on the CPU with torch 2.13 and
# transformers 5.23 by adding up the tensors saved for the backward pass, over shapes that differ in one number at a
# time; tests/llm/test_plan.py measures others again. With dropout, and with all projections adapted: the most it takes.
ACTIVATIONS: dict[tuple[Literal["adapter", "full"], Dtype], tuple[float, float, float, float, float, float]] = {
    ("adapter", "bfloat16"): (46.5, 18.6, 4.4, 12.2, 22.0, 1.8),
    ("adapter", "float32"): (56.1, 28.5, 4.3, 20.0, 28.0, 4.1),
    ("full", "bfloat16"): (46.6, 17.5, 9.3, 9.5, 0.0, 0.9),
    ("full", "float32"): (40.1, 24.5, 8.3, 16.0, 0.0, 4.1),
}


@dataclass(frozen=True)
class Shape:
    width: int
    layers: int
    heads: int
    key_heads: int
    head: int  # width of one
    inner: int  # width of the MLP
    vocabulary: int
    window: int  # tokens that a local layer looks back
    global_every: int = 6  # of so many layers, one looks back over everything
    tied: bool = True  # the language head is the table of embeddings

    @property
    def attention(self) -> int:
        """Weights of one layer's projections."""
        return self.width * self.head * (2 * self.heads + 2 * self.key_heads)

    @property
    def mlp(self) -> int:
        return 3 * self.width * self.inner

    @property
    def embedding(self) -> int:
        return self.vocabulary * self.width

    @property
    def norms(self) -> int:
        return self.layers * (4 * self.width + 2 * self.head) + self.width

    @property
    def working(self) -> int:
        """Weights that every token passes through; looking up an embedding is no arithmetic."""
        return self.layers * (self.attention + self.mlp) + self.norms

    @property
    def parameters(self) -> int:
        return self.working + self.embedding * (1 if self.tied else 2)

    @property
    def global_layers(self) -> int:
        return self.layers // self.global_every

    def adapter(self, rank: int, targets: Literal["attention", "mlp", "both"] = "both") -> int:
        """Weights of the two small matrices beside each projection: rank x (inputs + outputs)."""
        query, key = self.heads * self.head, self.key_heads * self.head
        attention = 2 * (self.width + query) + 2 * (self.width + key)
        mlp = 3 * (self.width + self.inner)
        chosen = {"attention": attention, "mlp": mlp, "both": attention + mlp}[targets]
        return rank * self.layers * chosen

    def flops(self, tokens: int) -> float:
        """Of one prompt's forward pass: two per weight and token, and what attention adds with the prompt's length.

        Attention multiplies each token's query with the keys it sees, and its weights with as many values. A token of
        a causal prompt sees half of it on average, in a local layer no more than the window.
        """
        local = min(tokens / 2, self.window)
        seen = self.global_layers * tokens / 2 + (self.layers - self.global_layers) * local
        return tokens * (2 * self.working + 4 * self.heads * self.head * seen)

    def training_flops(self, tokens: int, method: Method, *, checkpointing: bool) -> float:
        """Of one prompt: forward; backward to the activations, as much again; to the weights, as much again, where all
        of them learn (the small matrices are too small to count); and with checkpointing the forward pass twice."""
        passes = 2 + (method == "full") + checkpointing
        return passes * self.flops(tokens)

    def weights_bytes(self, method: Method, dtype: Dtype) -> float:
        """As they lie in memory for training, without what is kept per weight that learns."""
        if method == "full":
            return 0.0  # every weight learns: all of it is in learning_bytes
        size = BYTES[dtype]
        projections = self.layers * (self.attention + self.mlp)
        packed = projections * (NF4_BYTES if method == "qlora" else size)
        return packed + (self.parameters - projections) * size

    def learning_bytes(self, method: Method, rank: int, targets: Literal["attention", "mlp", "both"]) -> float:
        learning = self.parameters if method == "full" else self.adapter(rank, targets)
        return LEARNING_BYTES * (learning + 2 * self.width)

    def activation_bytes(
        self, tokens: int, method: Method, dtype: Dtype, *, rank: int, longest: int, checkpointing: bool
    ) -> float:
        """Of `tokens` in memory at once, in prompts of at most `longest`.

        With checkpointing every layer keeps its input alone, and one layer at a time has all of its activations.
        """
        kind: Literal["adapter", "full"] = "full" if method == "full" else "adapter"
        factors = ACTIVATIONS[kind, dtype]
        sizes = (self.width, self.heads * self.head, self.key_heads * self.head, self.inner, rank, longest)
        layer = sum(factor * size for factor, size in zip(factors, sizes, strict=True))
        kept = self.width * (4 if method == "full" else BYTES[dtype])
        ends = 8 * self.width  # the last norm, in float32, and the head's input
        return tokens * ((self.layers * kept + layer if checkpointing else self.layers * layer) + ends)

    def scratch_bytes(self, method: Method, dtype: Dtype) -> float:
        """Needed for a moment: a four-bit weight is unpacked to be used, one matrix and its product at a time."""
        return 2.0 * self.width * self.inner * BYTES[dtype] if method == "qlora" else 0.0

    def scoring_bytes(self, tokens: int, dtype: Dtype) -> float:
        """Activations of a forward pass alone: one layer's at a time, the inner ones of the MLP at their widest."""
        return tokens * (3 * self.inner * BYTES[dtype] + self.width * (4 + 4 * BYTES[dtype]))

    def cache_bytes(self, tokens: int, dtype: Dtype = "bfloat16") -> float:
        """Keys and values of one prompt, kept so that its beginning can be shared: two per token, layer and key head.
        Local layers keep no more than their window."""
        kept = self.global_layers * tokens + (self.layers - self.global_layers) * min(tokens, self.window)
        return 2.0 * self.key_heads * self.head * BYTES[dtype] * kept


NAMED = {
    # As published in the configs of Gemma 3 4B (MedGemma 4B and 1.5 4B share its language half) and Gemma 3 1B.
    "4b": Shape(2560, 34, 8, 4, 256, 10240, 262_208, 1024),
    "1b": Shape(1152, 26, 4, 1, 256, 6912, 262_144, 512),
    "tiny": Shape(128, 4, 4, 2, 32, 256, 2048, 512),
}


def of(folder: Path) -> Shape:
    """The shape of a checkpoint on disk, text-only or the language half of a multimodal one."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        text = config.get("text_config", config)
        kinds = text.get("layer_types") or []
        layers = int(text["num_hidden_layers"])
        wide = kinds.count("full_attention")
        return Shape(
            width=int(text["hidden_size"]),
            layers=layers,
            heads=int(text["num_attention_heads"]),
            key_heads=int(text["num_key_value_heads"]),
            head=int(text["head_dim"]),
            inner=int(text["intermediate_size"]),
            vocabulary=int(text["vocab_size"]),
            window=int(text.get("sliding_window") or text["max_position_embeddings"]),
            global_every=max(1, layers // wide) if wide else layers + 1,
            tied=bool(text.get("tie_word_embeddings", config.get("tie_word_embeddings", True))),
        )
    except FileNotFoundError:
        raise UsageError(
            f"{folder} holds no checkpoint (config.json is missing).",
            do=f"Give the folder of one, or --shape with one of {', '.join(NAMED)}.",
        ) from None
    except (OSError, KeyError, TypeError, ValueError):
        raise UsageError(f"{folder / 'config.json'} is not that of a Gemma 3 model.", do="Give another.") from None


def config_of(shape: Shape, **more: Any) -> Any:
    """A transformers config of this shape: for models with random weights, which know nothing."""
    import transformers

    return transformers.Gemma3TextConfig(
        vocab_size=shape.vocabulary,
        hidden_size=shape.width,
        intermediate_size=shape.inner,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.key_heads,
        head_dim=shape.head,
        query_pre_attn_scalar=shape.head,
        sliding_window=shape.window,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=2,
        **more,
    )
