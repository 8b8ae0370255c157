"""Training: a base and a data set in; a model with calibration, golden logits and the record of how it was made out.

    OUT/                 weights or adapter, tokenizer, artifact.json, golden.parquet
    OUT/run/record.json  settings, versions, history of every metric, times: written last, so it says that OUT is whole
    OUT/run/checkpoints  while training lasts; after a kill, the same command goes on from the last whole one

One GPU, or the CPU. On the CPU the same settings give the same weights, killed in between or not.
"""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import resource
import shutil
import sys
import time
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from llm_classifier import artifact, calibrate, measures, needs, prompt
from llm_classifier.artifact import Artifact
from llm_classifier.train import data, scoring, tracking
from resolver import files
from resolver.errors import DamagedError, RunError, TrainingError
from resolver.progress import Progress

if TYPE_CHECKING:
    from llm_classifier.settings.train import TrainSettings

RECORD = Path("run") / "record.json"
SETTINGS = Path("run") / "settings.json"
CHECKPOINTS = Path("run") / "checkpoints"
GOLDEN = 16
# How far golden logits from disk may lie from those in memory: rounding of the arithmetic, and no more.
AGREEMENT = {"float32": 1e-2, "bfloat16": 0.5}
LIBRARIES = ("torch", "transformers", "peft", "trl", "bitsandbytes", "accelerate")
# Settings that do not change the weights. Of base and data set the contents count, not where they lie.
WITHOUT_EFFECT = {"tracking", "experiment", "score_tokens", "out", "base", "dataset"}


def train(settings: TrainSettings, progress: Progress) -> Artifact:
    """The trained model. Where it is there already, made by the same settings, nothing is done."""
    folder = settings.out
    with files.lock(folder / "run" / "lock", f"The model {folder}"):
        asked = identity(settings)
        if done(folder, asked):
            progress.say(f"{folder}: trained already with these settings")
            return artifact.check(folder)
        files.write_json(folder / SETTINGS, asked)
        os.environ["CUDA_VISIBLE_DEVICES"] = os.environ.get("CUDA_VISIBLE_DEVICES", "0").partition(",")[0]
        needs.quiet()
        torch = needs.need("torch")
        torch.set_num_threads(settings.threads or os.cpu_count() or 1)
        told = tracking.begin(settings, folder / "run", flat(settings), progress)
        finished = False
        try:
            made = _train(settings, told, progress)
            finished = True
        except torch.OutOfMemoryError:
            raise TrainingError(
                "The GPU ran out of memory.",
                do="Ask resolver llm plan for settings that fit, or lower train.micro_batch and train.score_tokens.",
            ) from None
        finally:
            told.end(finished=finished)
        return made


def _train(settings: TrainSettings, told: tracking.Tracking, progress: Progress) -> Artifact:
    from llm_classifier.score import loading
    from llm_classifier.train import model as models
    from llm_classifier.train import trainers

    began = time.time()
    pairs = data.of(settings.dataset, prompt.VERSION)
    ready = models.ready(settings)
    longest = min(pairs.card.max_tokens, ready.model.config.get_text_config().max_position_embeddings)
    splits = {
        "train": data.drawn(pairs.split("train"), settings.max_train_pairs, settings.seed),
        "validation": data.once(pairs.split("validation"), settings.max_validation_pairs, settings.seed),
        "calibration": data.once(pairs.split("calibration")),
        "test": data.once(pairs.split("test")),
    }
    tokens = {name: data.tokens(some, ready.tokenizer, at_most=longest, where=name) for name, some in splits.items()}
    for name, some in splits.items():
        if some.get_column("label").n_unique() < 2:
            raise TrainingError(f"The split {name} lacks true or false pairs.", do="Make a larger data set.")
    weight, prior = data.loss_weights(splits["train"], settings.weights)
    watch = trainers.Told(progress, told.metrics)
    plan = trainers.Plan(
        lengths=[len(one) for one in tokens["train"]],
        batch=settings.batch,
        by_length=settings.group_by_length,
        seed=settings.seed,
        gamma=settings.focal_gamma if settings.loss == "focal" else 0.0,
        answer=loading.answering(ready.model, settings.kind, ready.tokenizer),
        validation=tokens["validation"],
        measure=_validation(splits["validation"]),
        score_tokens=settings.score_tokens,
        padding=ready.tokenizer.pad_token_id,
        dtype=ready.dtype,
        scored=watch.scored,
    )
    trainer = _trainer(settings, ready, plan, tokens["train"], splits["train"], weight, watch)
    resumed = _last_whole(settings.out / CHECKPOINTS)
    if resumed is not None:
        progress.say(f"going on from step {int(resumed.name.partition('-')[2]):,}")
    trained = time.time()
    try:
        trainer.train(resume_from_checkpoint=None if resumed is None else str(resumed))
    finally:
        watch.close()
    trained = time.time() - trained

    logits = {}
    for name in ("validation", "calibration", "test"):
        with progress.step(f"scoring the {name} split", len(tokens[name]), "pairs") as step:
            logits[name] = trainer.score(tokens[name], step.advance)
    some = splits["calibration"]
    calibration = calibrate.fit(
        logits["calibration"], data.labels(some), data.weights(some), method=settings.calibration
    )
    metrics = {name: _figures(logits[name], splits[name], calibration) for name in ("validation", "test")}
    history = trainer.state.log_history
    steps = trainer.state.global_step
    settings.out.mkdir(parents=True, exist_ok=True)
    ready.model.config.use_cache = True
    (ready.model if settings.method != "full" else trainer.model).save_pretrained(settings.out)
    if settings.method != "full":
        _tidy_adapter(settings)
    ready.tokenizer.save_pretrained(settings.out)
    made = artifact.write(
        settings.out,
        Artifact(
            kind=settings.kind,
            weights="merged" if settings.method == "full" else "adapter",
            dtype="nf4" if settings.method == "qlora" else ready.dtype,
            base=str(settings.base),
            base_digest=artifact.digest(settings.base),
            prompt_version=pairs.card.prompt_version,
            max_tokens=pairs.card.max_tokens,
            tokens_per_side=pairs.card.tokens_per_side,
            dataset_pin=pairs.pin,
            prior_train=prior,
            calibration=calibration,
            metrics=metrics,
            made={
                "command": "resolver llm train",
                "settings": settings.model_dump(mode="json"),
                "versions": _versions(),
                "learning_weights": ready.learning,
                "weights": ready.total,
                "steps": steps,
            },
        ),
    )
    _golden(settings, splits["validation"], logits["validation"], ready.dtype, progress)
    spent = {"training": trained, "all": time.time() - began}
    record = {
        "settings": settings.model_dump(mode="json"),
        "dataset": {"pin": pairs.pin, "pairs": {name: len(one) for name, one in splits.items()}, "prior": prior},
        "model": dataclasses.asdict(made) | {"fingerprint": made.fingerprint},
        "machine": _machine(ready.device),
        "resumed_from": None if resumed is None else resumed.name,
        "seconds": spent,
        "tokens_trained": int(sum(plan.lengths) * trainer.state.epoch),
        "best": {"step": trainer.state.best_global_step, "auprc": trainer.state.best_metric},
        "calibration": calibrate.gain(logits["validation"], splits["validation"], calibration),
        "history": history,
    }
    told.metrics(flat_figures(metrics), steps)
    shutil.rmtree(settings.out / CHECKPOINTS, ignore_errors=True)
    files.write_json(settings.out / RECORD, record)
    return made


def _trainer(
    settings: TrainSettings,
    ready: Any,
    plan: Any,
    tokens: list[list[int]],
    pairs: pl.DataFrame,
    weight: measures.Floats,
    watch: Any,
) -> Any:
    from llm_classifier.score import loading
    from llm_classifier.train import trainers

    transformers, datasets = needs.need("transformers"), needs.need("datasets")
    causal = settings.kind == "causal"
    rows = datasets.Dataset.from_dict(
        {"input_ids": tokens, "label": pairs.get_column("label").to_list(), "weight": weight.tolist()}
    )
    micro = settings.micro_batch or settings.batch
    steps = max(1, -(-len(rows) // settings.batch))
    every = max(1, round(steps / settings.evaluations))
    arguments: dict[str, Any] = {
        "output_dir": str(settings.out / CHECKPOINTS),
        "per_device_train_batch_size": micro,
        "gradient_accumulation_steps": settings.batch // micro,
        "num_train_epochs": settings.epochs,
        "learning_rate": settings.learning_rate,
        "lr_scheduler_type": "cosine",
        "warmup_steps": settings.warmup,
        "weight_decay": settings.weight_decay,
        "max_grad_norm": settings.clip,
        "optim": "adamw_torch",
        "bf16": ready.dtype == "bfloat16",
        "use_cpu": ready.device == "cpu",
        "logging_steps": max(1, every // 4),
        "eval_strategy": "steps",
        "eval_steps": every,
        "save_strategy": "steps",
        "save_steps": every,
        "save_total_limit": 2,
        "load_best_model_at_end": True,
        "metric_for_best_model": trainers.BEST,
        "greater_is_better": True,
        "seed": settings.seed,
        "report_to": [],
        "disable_tqdm": True,
        "remove_unused_columns": False,
        "dataloader_pin_memory": ready.device == "cuda",
        "label_names": [],
    }
    if settings.gradient_checkpointing:
        fields = transformers.TrainingArguments.__dataclass_fields__
        name = "activation_checkpointing" if "activation_checkpointing" in fields else "gradient_checkpointing"
        arguments |= {name: True, f"{name}_kwargs": {"use_reentrant": False}}
    if causal:
        arguments |= {"max_length": None, "dataset_kwargs": {"skip_prepare_dataset": True}}
        kind = needs.need("trl").SFTConfig
    else:
        kind = transformers.TrainingArguments
    callbacks: list[Any] = [watch]
    if settings.patience is not None:
        callbacks.append(transformers.EarlyStoppingCallback(early_stopping_patience=settings.patience))
    trainer = (trainers.causal_trainer if causal else trainers.ClassifierTrainer)(
        model=ready.model,
        args=kind(**arguments),
        train_dataset=rows,
        eval_dataset=rows.select(range(1)),  # never read: `evaluate` scores the validation split in its own batches
        data_collator=data.Collator(ready.tokenizer.pad_token_id, loading.answers(ready.tokenizer) if causal else None),
        processing_class=ready.tokenizer,
        callbacks=callbacks,
    )
    trainer.remove_callback(transformers.PrinterCallback)
    trainer.follow(plan)
    return trainer


def _validation(pairs: pl.DataFrame) -> Any:
    labels, weights = data.labels(pairs), data.weights(pairs)

    def measure(logits: measures.Floats) -> Mapping[str, float]:
        if not np.isfinite(logits).all():
            raise TrainingError(
                "The model answers with numbers that are none: it diverged.", do="Lower train.learning_rate."
            )
        said = {name: some(logits, labels, weights) for name, some in measures.RANKING.items()}
        return said | {"log_loss": measures.log_loss(logits, labels, weights)}

    return measure


def _figures(logits: measures.Floats, pairs: pl.DataFrame, calibration: Mapping[str, float]) -> dict[str, Any]:
    """Headline figures with intervals over persons. Plain: each pair counts the same, whatever the gray zone's mix."""
    told = data.labels(pairs), data.weights(pairs)
    groups = data.groups(pairs)
    believed = calibrate.apply(logits, calibration)
    return {
        "pairs": len(pairs),
        "positives": int(told[0].sum()),
        **measures.figures(logits, *told, groups=groups),
        **measures.figures(believed, *told, measures=measures.CALIBRATED, groups=groups),
        "plain_auroc": measures.figures(
            logits, told[0], np.ones(len(pairs)), measures={"auroc": measures.auroc}, groups=groups
        )["auroc"],
    }


def _tidy_adapter(settings: TrainSettings) -> None:
    """The digest of an adapter must not depend on where its base lies, which artifact.json says, nor on the order in
    which peft's sets come in this process."""
    path = settings.out / "adapter_config.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    targets = sorted(content["target_modules"])
    files.write_json(path, content | {"base_model_name_or_path": settings.base.name, "target_modules": targets})
    (settings.out / "README.md").unlink(missing_ok=True)  # peft's empty form


def _golden(
    settings: TrainSettings, pairs: pl.DataFrame, logits: measures.Floats, dtype: str, progress: Progress
) -> None:
    """Prompts from the lowest to the highest logit, as the model on disk answers them, which must be as in memory."""
    order = np.argsort(logits, kind="stable")
    chosen = order[np.unique(np.linspace(0, len(order) - 1, min(GOLDEN, len(order))).astype(int))]
    some = pairs[chosen]
    said = scoring.by_folder(settings.out, {"golden prompts": some}, progress=progress)["golden prompts"]
    apart = float(np.abs(said - logits[chosen]).max())
    if not apart <= AGREEMENT[dtype]:
        raise DamagedError(
            f"The model in {settings.out} answers {apart:.3g} apart from the one that was trained.",
            do="Report this: what was written is not what was trained.",
        )
    with files.whole(settings.out / artifact.GOLDEN) as scratch:
        some.select("prompt").with_columns(logit=pl.Series(said)).write_parquet(scratch)


def identity(settings: TrainSettings) -> dict[str, Any]:
    """What the weights depend on: a half-trained model is gone on with only where all of it is the same."""
    return {
        "settings": settings.model_dump(mode="json", exclude=WITHOUT_EFFECT),
        "dataset_pin": data.of(settings.dataset, prompt.VERSION).pin,
        "base_digest": artifact.digest(settings.base),
    }


def done(folder: Path, asked: Mapping[str, Any]) -> bool:
    """Whether the model is finished; refuses a folder that holds something else, finished or not."""
    try:
        known = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))
    except FileNotFoundError:
        known = None
    except ValueError:
        raise DamagedError(f"{folder / SETTINGS} can't be read.", do="Choose another train.out.") from None
    if known is not None:  # one that was written when they counted holds paths
        known["settings"] = {key: value for key, value in known["settings"].items() if key not in WITHOUT_EFFECT}
    if known is not None and known != asked:
        raise RunError(
            f"{folder} holds a model of other settings, another base or another data set.",
            do="Choose another train.out, or remove the folder.",
        )
    if known is None and (folder / artifact.FILE).exists():
        raise RunError(f"{folder} holds a model that was not trained here.", do="Choose another train.out.")
    return (folder / RECORD).is_file()


def _last_whole(folder: Path) -> Path | None:
    """The newest checkpoint that was written to its end: its state is its last file. Half ones are removed."""
    found = sorted(folder.glob("checkpoint-*"), key=lambda one: int(one.name.partition("-")[2]))
    while found:
        newest = found.pop()
        try:
            json.loads((newest / "trainer_state.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            shutil.rmtree(newest, ignore_errors=True)
            continue
        return newest
    return None


def _versions() -> dict[str, str]:
    known = {one.metadata["Name"].lower(): one.version for one in metadata.distributions()}
    return {"python": platform.python_version()} | {name: known[name] for name in LIBRARIES if name in known}


def _machine(device: str) -> dict[str, Any]:
    torch = needs.need("torch")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    told = {"device": device, "threads": torch.get_num_threads(), "peak_memory_gib": round(peak / 2**30, 3)}
    if device == "cuda":
        told |= {
            "gpu": torch.cuda.get_device_name(),
            "peak_gpu_gib": round(torch.cuda.max_memory_allocated() / 2**30, 3),
        }
    return told


def flat(settings: TrainSettings) -> dict[str, Any]:
    return settings.model_dump(mode="json", exclude={"tracking", "experiment"})


def flat_figures(metrics: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    return {
        f"{split}_{name}": value["value"]
        for split, some in metrics.items()
        for name, value in some.items()
        if isinstance(value, dict)
    }
