"""Training steps and scored pairs a second of a Gemma 3 shape with random weights, against the physical limit.

    PYTHONPATH=. python benchmarks/llm.py --shape tiny            # here, on the CPU
    PYTHONPATH=. python benchmarks/llm.py --shape 4b              # on a GPU

Needs only torch and transformers. The limit is 2 x parameters x tokens of arithmetic for a forward pass (embeddings are
looked up and count nothing) and as much again for each further pass that training makes, divided by what a matrix
product of the model's own size reaches on this machine. Random weights take as long as trained ones. Training is LoRA
of rank 16 at every projection, written out here so that no other library is needed, with AdamW, in bfloat16 on a GPU
and float32 on the CPU. Also prints the memory that `resolver llm plan` computes beside what the GPU really took.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable
from typing import Any

import torch
import transformers
from torch import nn

from llm_classifier import shapes
from llm_classifier.shapes import Dtype, Shape

TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


class Adapted(nn.Module):
    """A projection that does not learn, and two small matrices beside it that do."""

    def __init__(self, inner: nn.Linear, rank: int) -> None:
        super().__init__()
        self.inner = inner
        more: dict[str, Any] = {"device": inner.weight.device, "dtype": torch.float32}
        self.down = nn.Parameter(torch.randn(rank, inner.in_features, **more) / math.sqrt(inner.in_features))
        self.up = nn.Parameter(torch.zeros(inner.out_features, rank, **more))
        self.drop = nn.Dropout(0.05)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        small = nn.functional.linear(nn.functional.linear(self.drop(x), self.down.to(x.dtype)), self.up.to(x.dtype))
        return self.inner(x) + 2 * small


def built(shape: Shape, dtype: torch.dtype, device: str) -> Any:
    transformers.set_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device(device):
            config = shapes.config_of(shape, num_labels=2, use_cache=False)
            return transformers.Gemma3TextForSequenceClassification(config)
    finally:
        torch.set_default_dtype(before)


def adapted(model: Any, rank: int) -> list[nn.Parameter]:
    model.requires_grad_(False)
    for layer in model.model.layers:
        for part in (layer.self_attn, layer.mlp):
            for name in TARGETS:
                if hasattr(part, name):
                    setattr(part, name, Adapted(getattr(part, name), rank))
    model.score.float().requires_grad_(True)
    return [one for one in model.parameters() if one.requires_grad]


def seconds(work: Callable[[], Any], times: int, device: str) -> float:
    """Of one call: the median of several, after one that does not count."""
    work()
    found = []
    for _ in range(times):
        wait(device)
        began = time.perf_counter()
        work()
        wait(device)
        found.append(time.perf_counter() - began)
    return sorted(found)[len(found) // 2]


def wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def matmul_peak(shape: Shape, tokens: int, dtype: torch.dtype, device: str) -> float:
    """Operations a second of the best of two products: the MLP's own, and a large square one."""
    best = 0.0
    large = 8192 if device == "cuda" else 1024
    for rows, inner, columns in ((tokens, shape.width, shape.inner), (large, large, large)):
        a = torch.randn(rows, inner, dtype=dtype, device=device)
        b = torch.randn(inner, columns, dtype=dtype, device=device)

        def product(a: torch.Tensor = a, b: torch.Tensor = b) -> torch.Tensor:
            return a @ b

        best = max(best, 2 * rows * inner * columns / seconds(product, 10, device))
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=sorted(shapes.NAMED), default="tiny")
    parser.add_argument("--tokens", type=int, help="of a prompt; default: 1024 on a GPU, 256 on the CPU")
    parser.add_argument("--batch", type=int, default=8, help="prompts in memory at once in training")
    parser.add_argument("--score-batch", type=int, default=16, help="and in scoring")
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--steps", type=int, default=7, help="that are timed; the median counts")
    parser.add_argument("--checkpointing", action="store_true", help="compute activations twice")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    shape = shapes.NAMED[asked.shape]
    device = "cuda" if torch.cuda.is_available() else "cpu"
    told_dtype: Dtype = "bfloat16" if device == "cuda" else "float32"
    dtype = getattr(torch, told_dtype)
    tokens = asked.tokens or (1024 if device == "cuda" else 256)
    peak = matmul_peak(shape, asked.batch * tokens, dtype, device)
    model = built(shape, dtype, device)
    draw = torch.Generator().manual_seed(0)

    def prompts(many: int) -> torch.Tensor:
        return torch.randint(3, shape.vocabulary, (many, tokens), generator=draw).to(device)

    ids = prompts(asked.score_batch)

    def score() -> torch.Tensor:
        with torch.inference_mode():
            outputs = model.score(model.model(input_ids=ids).last_hidden_state[:, -1])
            return (outputs[:, 1] - outputs[:, 0]).float()

    model.eval()
    scoring = seconds(score, asked.steps, device)
    learning = adapted(model, asked.rank)
    optimizer = torch.optim.AdamW(learning, lr=1e-4)
    if asked.checkpointing:
        model.enable_input_require_grads()
        # Newer releases of transformers have another name for it.
        enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
        enable({"use_reentrant": False})
    model.train()
    batch, labels = prompts(asked.batch), torch.arange(asked.batch, device=device) % 2
    ones = torch.ones_like(batch)

    def step() -> None:
        with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
            said = model(input_ids=batch, attention_mask=ones).logits
        nn.functional.cross_entropy(said.float(), labels).backward()
        nn.utils.clip_grad_norm_(learning, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    training = seconds(step, asked.steps, device)
    passes = 3 if asked.checkpointing else 2
    forward = 2 * shape.working * tokens
    computed = (
        shape.weights_bytes("lora", told_dtype)
        + shape.learning_bytes("lora", asked.rank, "both")
        + shape.activation_bytes(
            asked.batch * tokens,
            "lora",
            told_dtype,
            rank=asked.rank,
            longest=tokens,
            checkpointing=asked.checkpointing,
        )
    )
    found = {
        "shape": asked.shape,
        "parameters": shape.parameters,
        "working_parameters": shape.working,
        "device": torch.cuda.get_device_name() if device == "cuda" else f"CPU, {torch.get_num_threads()} threads",
        "dtype": told_dtype,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "tokens": tokens,
        "matmul_peak_tflops": peak / 1e12,
        "scored_pairs_per_second": asked.score_batch / scoring,
        "scoring_limit": peak / forward,
        "scoring_share": asked.score_batch / scoring * forward / peak,
        "training_steps_per_second": 1 / training,
        "trained_pairs_per_second": asked.batch / training,
        "training_limit": peak / (passes * forward),
        "training_share": asked.batch / training * passes * forward / peak,
        "computed_gib": computed / 2**30,
        "measured_gib": torch.cuda.max_memory_allocated() / 2**30 if device == "cuda" else None,
    }
    if asked.json:
        print(json.dumps(found, indent=2))
        return
    print(
        f"{asked.shape}: {shape.parameters / 1e6:,.1f} million weights, {shape.working / 1e6:,.1f} of them at work on "
        f"every token; {tokens:,} tokens a prompt; {found['device']}, {told_dtype}"
    )
    print(f"matrix product     {peak / 1e12:9.3f} TFLOP/s, measured")
    print(
        f"scoring            {found['scored_pairs_per_second']:9.2f} pairs/s of {found['scoring_limit']:,.2f}"
        f" ({found['scoring_share']:.0%} of the limit), {asked.score_batch} at once"
    )
    print(
        f"training           {found['trained_pairs_per_second']:9.2f} pairs/s of {found['training_limit']:,.2f}"
        f" ({found['training_share']:.0%} of the limit), {1 / training:.2f} steps/s of {asked.batch}"
    )
    measured = f", measured {found['measured_gib']:.2f}" if device == "cuda" else ""
    print(f"training memory    {found['computed_gib']:9.2f} GiB computed{measured}")


if __name__ == "__main__":
    main()
