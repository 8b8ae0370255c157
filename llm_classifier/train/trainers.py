"""The two trainers: transformers' for the classifier, trl's for the model that says True or False.

What they share is here once: the loss per pair, the order of pairs, and what an evaluation is. This file imports torch
and transformers, trl's only when asked; it is loaded when training starts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import transformers

from llm_classifier.measures import Floats
from llm_classifier.needs import need
from llm_classifier.train.data import Order
from llm_classifier.train.scoring import by_model
from resolver.progress import Progress

BEST = "auprc"  # on the validation split, at the gray zone's prior


@dataclass(frozen=True)
class Plan:
    """What a trainer needs to know beside transformers' own arguments."""

    lengths: Sequence[int]  # of the prompts that are trained on
    batch: int
    by_length: bool
    seed: int
    gamma: float  # of the focal loss; 0 is cross entropy
    answer: Callable[[Any, Any], Any]  # token ids, attention mask -> raw logits
    validation: Sequence[Sequence[int]]  # tokens
    measure: Callable[[Floats], Mapping[str, float]]  # of the validation split's logits
    score_tokens: int
    padding: int
    dtype: str
    scored: Callable[[int], object]  # told how many pairs of an evaluation are scored


def pair_loss(log_probability: Any, weight: Any, gamma: float) -> Any:
    """Mean over the pairs of a batch. `log_probability` is that of each pair's own label."""
    # Focal loss: the gradient goes through both factors. The floor keeps it finite where the answer is certain.
    focus = (-torch.expm1(log_probability)).clamp(min=1e-12) ** gamma if gamma else 1.0
    return (-log_probability * focus * weight).mean()


class _Shared:
    """Goes before a trainer's class; overrides what both do in the same way."""

    loss_is_scaled_for_ga = False  # pair_loss is the mean of one micro-batch
    plan: Plan
    args: Any
    state: Any
    control: Any
    callback_handler: Any
    accelerator: Any
    model: Any

    def follow(self, plan: Plan) -> None:
        self.plan = plan
        self.model_accepts_loss_kwargs = False

    def _get_train_sampler(self, train_dataset: Any = None) -> Order:
        plan = self.plan
        return Order(plan.lengths, batch=plan.batch, by_length=plan.by_length, seed=plan.seed)

    def score(self, tokens: Sequence[Sequence[int]], advance: Callable[[int], object]) -> Floats:
        """Raw logits, in the arithmetic that is trained in."""
        learning = self.model.training
        self.model.eval()
        device = self.args.device
        try:
            with torch.autocast(device.type, torch.bfloat16, enabled=self.plan.dtype == "bfloat16"):
                return by_model(
                    self.plan.answer,
                    tokens,
                    device=device,
                    padding=self.plan.padding,
                    batch_tokens=self.plan.score_tokens,
                    advance=advance,
                )
        finally:
            self.model.train(learning)

    def evaluate(
        self, eval_dataset: Any = None, ignore_keys: Any = None, metric_key_prefix: str = "eval"
    ) -> dict[str, float]:
        found = self.plan.measure(self.score(self.plan.validation, self.plan.scored))
        metrics = {f"{metric_key_prefix}_{name}": value for name, value in found.items()}
        self.log(metrics)  # type: ignore[attr-defined]
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics


class ClassifierTrainer(_Shared, transformers.Trainer):
    """The loss of a classifier: cross entropy of its two outputs."""

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        outputs = model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"])
        said = torch.log_softmax(outputs.logits.float(), dim=-1)
        right = said.gather(1, inputs["label"][:, None])[:, 0]
        loss = pair_loss(right, inputs["weight"], self.plan.gamma)
        return (loss, outputs) if return_outputs else loss


def causal_trainer(*arguments: Any, **more: Any) -> Any:
    """trl's trainer for supervised fine-tuning; the completion is one token, and its loss is weighted per pair."""
    need("trl")
    from trl import SFTTrainer

    class CausalTrainer(_Shared, SFTTrainer):
        def compute_loss(
            self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
        ) -> Any:
            outputs = model(
                input_ids=inputs["input_ids"],
                attention_mask=inputs["attention_mask"],
                labels=inputs["labels"],
                use_cache=False,
                fused_lm_head=True,  # asks the language head only where there is a label
            )
            loss = pair_loss(outputs.log_probs.float().sum(1), inputs["weight"], self.plan.gamma)
            return (loss, outputs) if return_outputs else loss

    trainer = CausalTrainer(*arguments, **more)
    for weight in trainer.model.parameters():  # trl makes those of a four-bit base bfloat16
        if weight.requires_grad:
            weight.data = weight.data.float()
    return trainer


class Told(transformers.TrainerCallback):
    """Tells the progress and whoever listens what happens, and has the last step evaluated and kept."""

    def __init__(self, progress: Progress, listen: Callable[[Mapping[str, float], int], None]) -> None:
        self.progress, self.listen = progress, listen
        self.shown = 0
        self.begun: Any = None
        self.step: Any = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        self.begun = self.progress.step("training", state.max_steps, "steps")
        self.step = self.begun.__enter__()
        self.step.advance(state.global_step)
        self.shown = state.global_step

    def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        self.step.advance(state.global_step - self.shown)
        self.shown = state.global_step
        if state.global_step >= state.max_steps:
            control.should_evaluate = control.should_save = True

    def scored(self, count: int) -> None:
        """No step is done, but training is alive."""
        if self.step is not None:
            self.step.advance(0)

    def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, Any] | None = None, **more: Any) -> None:
        self.listen(
            {name: value for name, value in (logs or {}).items() if isinstance(value, (int, float))}, state.global_step
        )
        if logs and f"eval_{BEST}" in logs:
            self.progress.say(
                f"  step {state.global_step:,}: AUPRC {logs[f'eval_{BEST}']:.4f}, AUROC {logs['eval_auroc']:.4f}"
            )

    def close(self) -> None:
        """Takes the bar off the screen, however training ended."""
        if self.begun is not None:
            self.begun.__exit__(None, None, None)
            self.begun = None
