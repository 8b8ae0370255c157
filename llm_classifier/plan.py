"""Which GPU fits a training: memory, time and price for each of a table of GPUs, and the settings that suit it.

Memory follows from the model's shape (shapes.py). Time is arithmetic divided by the GPU's peak, times a share of that
peak that is really reached: assumed here, measured by benchmarks/llm.py. Nothing is rented or asked for over a network.
"""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_classifier.shapes import Dtype, Method, Shape
from resolver import files
from resolver.errors import InputError

if TYPE_CHECKING:
    from llm_classifier.settings.train import TrainSettings

TABLE = Path(__file__).parent / "gpus.csv"
GIB = 2**30

# Assumed, until a measurement on the GPU says better (--share): what part of the peak training and scoring reach,
TRAIN_SHARE, SCORE_SHARE = 0.4, 0.5
QLORA_SHARE = 0.75  # of that, where four-bit weights are unpacked each time they are used,
SMALL_BATCH = 4096  # and tokens in memory at once below which a GPU has too little to do.
# Assumed: memory of the driver and its libraries, and what is lost between tensors of changing sizes.
RESERVE_GIB, LOST = 1.0, 0.08

DTYPE: Dtype = "bfloat16"
SCORE_TOKENS = (131_072, 65_536, 32_768, 16_384, 8192, 4096)


@dataclass(frozen=True)
class Gpu:
    name: str
    memory_gib: float
    bf16_tflops: float
    usd_per_hour: float
    price_source: str
    price_date: str


@dataclass(frozen=True)
class Work:
    """What is to be trained on: rows and tokens of prompts."""

    rows: int
    mean_tokens: float
    longest: int
    validation: int  # pairs scored in an evaluation


@dataclass(frozen=True)
class Choice:
    """How a training would run on a GPU. Memory in GiB, part by part."""

    gpu: Gpu
    method: Method
    micro_batch: int
    checkpointing: bool
    score_tokens: int
    memory: dict[str, float]
    hours: float
    usd: float
    pairs_per_second: float  # when it scores
    cached_prompts: int  # whose keys and values fit beside the weights when it scores, for shared beginnings

    @property
    def gib(self) -> float:
        return sum(self.memory.values())


def gpus(path: Path = TABLE) -> list[Gpu]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(line for line in file if not line.startswith("#")))
        return [
            Gpu(
                row["name"],
                float(row["memory_gib"]),
                float(row["bf16_tflops"]),
                float(row["usd_per_hour"]),
                row["price_source"],
                row["price_date"],
            )
            for row in rows
        ]
    except OSError as error:
        raise InputError(f"{path} can't be read: {(error.strerror or '').lower()}.", do="Check the path.") from None
    except (KeyError, TypeError, ValueError):
        columns = ", ".join(one.name for one in dataclasses.fields(Gpu))
        raise InputError(f"{path} is not a table of GPUs.", do=f"Its columns must be {columns}.") from None


def memory(
    shape: Shape, settings: TrainSettings, method: Method, micro: int, longest: int, *, checkpointing: bool
) -> dict[str, float]:
    """GiB of each part at the moment of most need: a full micro-batch of the longest prompts, before its gradients."""
    parts = {
        "weights": shape.weights_bytes(method, DTYPE),
        "learning": shape.learning_bytes(method, settings.rank, settings.targets),
        "activations": shape.activation_bytes(
            micro * longest, method, DTYPE, rank=settings.rank, longest=longest, checkpointing=checkpointing
        ),
        "scratch": shape.scratch_bytes(method, DTYPE)
        # The causal variant asks the language head once a prompt: logits, their softmax and gradient.
        + (3.0 * 4 * micro * shape.vocabulary if settings.kind == "causal" else 0.0),
    }
    return {name: size / GIB for name, size in parts.items()} | {"reserve": RESERVE_GIB}


def choices(
    shape: Shape,
    settings: TrainSettings,
    work: Work,
    table: Sequence[Gpu],
    *,
    train_share: float = TRAIN_SHARE,
    score_share: float = SCORE_SHARE,
) -> list[Choice]:
    """The quickest way on each GPU that can do it at all, the cheapest first."""
    found = []
    for gpu in table:
        ways = _ways(shape, settings, work, gpu, train_share, score_share)
        if ways:
            found.append(min(ways, key=lambda way: (way.hours, way.gib)))
    return sorted(found, key=lambda choice: (choice.usd, choice.hours, choice.gpu.name))


def _ways(
    shape: Shape, settings: TrainSettings, work: Work, gpu: Gpu, train_share: float, score_share: float
) -> list[Choice]:
    methods: tuple[Method, ...] = ("lora", "qlora") if settings.method == "lora" else (settings.method,)
    room = gpu.memory_gib * (1 - LOST)
    found = []
    for method in methods:
        for micro in (size for size in range(1, settings.batch + 1) if settings.batch % size == 0):
            for checkpointing in (False, True):
                parts = memory(shape, settings, method, micro, work.longest, checkpointing=checkpointing)
                if sum(parts.values()) > room:
                    continue
                found.append(
                    _choice(shape, settings, work, gpu, method, micro, checkpointing, parts, train_share, score_share)
                )
        if found:  # four bits only where sixteen do not fit
            break
    return found


def _choice(
    shape: Shape,
    settings: TrainSettings,
    work: Work,
    gpu: Gpu,
    method: Method,
    micro: int,
    checkpointing: bool,
    parts: dict[str, float],
    train_share: float,
    score_share: float,
) -> Choice:
    peak = gpu.bf16_tflops * 1e12 * (QLORA_SHARE if method == "qlora" else 1)
    busy = min(1.0, micro * work.mean_tokens / SMALL_BATCH)
    mean = round(work.mean_tokens)
    training = work.rows * settings.epochs * shape.training_flops(mean, method, checkpointing=checkpointing)
    evaluating = work.validation * settings.epochs * settings.evaluations * shape.flops(mean)
    hours = (training / (peak * train_share * busy) + evaluating / (peak * score_share)) / 3600
    held = (
        shape.parameters * (4 if method == "full" else 2) / GIB
        if method != "qlora"
        else shape.weights_bytes("qlora", DTYPE) / GIB
    )
    free = gpu.memory_gib * (1 - LOST) - RESERVE_GIB - held
    fits = [many for many in SCORE_TOKENS if shape.scoring_bytes(many, DTYPE) / GIB <= free - parts["learning"]]
    left = max(0.0, free - shape.scoring_bytes(fits[0] if fits else work.longest, DTYPE) / GIB)
    return Choice(
        gpu=gpu,
        method=method,
        micro_batch=micro,
        checkpointing=checkpointing,
        score_tokens=fits[0] if fits else work.longest,
        memory=parts,
        hours=hours,
        usd=hours * gpu.usd_per_hour,
        pairs_per_second=peak * score_share / shape.flops(mean),
        cached_prompts=int(left * GIB / shape.cache_bytes(work.longest)),
    )


def tuned(section: Mapping[str, Any], choice: Choice) -> dict[str, Any]:
    """The section `train` with the settings of a choice."""
    return {
        **section,
        "method": choice.method,
        "precision": DTYPE,
        "micro_batch": choice.micro_batch,
        "gradient_checkpointing": choice.checkpointing,
        "score_tokens": choice.score_tokens,
    }


def write(path: Path, section: Mapping[str, Any], choice: Choice) -> None:
    import yaml

    kept = ", ".join(f"{name} {size:.1f}" for name, size in choice.memory.items())
    head = (
        f"# Written by resolver llm plan for one {choice.gpu.name}: {choice.gib:.1f} of {choice.gpu.memory_gib:g} GiB\n"
        f"# ({kept}), about {choice.hours:.2g} h and ${choice.usd:.2f} at ${choice.gpu.usd_per_hour:g} an hour\n"
        f"# ({choice.gpu.price_source}, {choice.gpu.price_date}). Memory is computed; the speed is assumed.\n"
    )
    files.write_text(path, head + yaml.safe_dump({"train": tuned(section, choice)}, sort_keys=False))


def work_of(dataset: Path | None, settings: TrainSettings, rows: int | None, tokens: int | None) -> Work:
    """From the data set where there is one; what is given goes before."""
    mean, longest, known = float(tokens or 0), int(tokens or 0), rows or 0
    if dataset is not None:
        import polars as pl

        from llm_classifier import dataset as data

        found = data.read(dataset)
        lengths = found.split("train").get_column("tokens").cast(pl.Float64)
        known = rows or min(len(lengths), 2 * (settings.max_train_pairs or len(lengths)))
        mean = float(tokens or lengths.mean() or 0)  # type: ignore[arg-type]
        longest = tokens or found.card.max_tokens
    return Work(known, mean, longest, settings.max_validation_pairs or max(1, known // 12))
