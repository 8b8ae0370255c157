"""The base, made ready to learn: as a classifier or as it is, with small matrices beside the weights or whole.

The classification head starts from the rows of the language head for True and False, so before the first step it says
what the base itself would say. Knows nothing of data.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from llm_classifier import shapes
from llm_classifier.needs import need
from llm_classifier.score import loading
from resolver.errors import TrainingError, UsageError

if TYPE_CHECKING:
    from llm_classifier.settings.train import TrainSettings

ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
MLP = ("gate_proj", "up_proj", "down_proj")
TARGETS = {"attention": ATTENTION, "mlp": MLP, "both": (*ATTENTION, *MLP)}


@dataclass(frozen=True)
class Ready:
    model: Any
    tokenizer: Any
    dtype: str  # of the arithmetic
    device: str
    learning: int  # weights that learn
    total: int


def ready(settings: TrainSettings) -> Ready:
    """The model as it is before the first step; the same every time with one seed."""
    torch, transformers = need("torch"), need("transformers")
    check_text_only(settings.base)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = {"auto": "bfloat16" if device == "cuda" else "float32"}.get(settings.precision, settings.precision)
    # Weights that learn are kept in float32, or small steps would be rounded away; the others in the arithmetic's type.
    held = getattr(torch, "float32" if settings.method == "full" else dtype)
    more: dict[str, Any] = {"dtype": held}
    if settings.method == "qlora":
        _check_packing(settings.base, device)
        more |= {"quantization_config": loading.nf4(getattr(torch, dtype)), "device_map": {"": device}}
    tokenizer = transformers.AutoTokenizer.from_pretrained(settings.base)
    tokenizer.padding_side = "right"
    if tokenizer.pad_token_id is None:
        raise UsageError(f"The tokenizer of {settings.base} has no token for padding.", do="Take another base.")
    transformers.set_seed(settings.seed)
    model = (
        _classifier(settings.base, tokenizer, more) if settings.kind == "classifier" else _causal(settings.base, more)
    )
    model.config.pad_token_id = tokenizer.pad_token_id
    model.config.use_cache = False
    if settings.method != "full":
        model = _with_adapter(model, settings)
    for weight in model.parameters():
        if weight.requires_grad:
            weight.data = weight.data.float()
    learning = sum(one.numel() for one in model.parameters() if one.requires_grad)
    return Ready(model, tokenizer, dtype, device, learning, sum(one.numel() for one in model.parameters()))


def check_text_only(base: Path) -> None:
    try:
        config = json.loads((base / "config.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(f"{base} holds no base.", do="Make one with: resolver llm base") from None
    except (OSError, ValueError):
        raise UsageError(f"{base / 'config.json'} can't be read.", do="Make the base again.") from None
    if "text_config" in config:
        raise UsageError(
            f"{base} is a multimodal checkpoint.", do=f"Make its text-only base with: resolver llm base {base} OUT"
        )


def _check_packing(base: Path, device: str) -> None:
    """On the CPU bitsandbytes packs four-bit weights in blocks of 64 inputs and 32 outputs, and has no remainder."""
    shape = shapes.of(base)
    inputs = (shape.width, shape.inner, shape.heads * shape.head)
    if device == "cpu" and (any(size % 64 for size in inputs) or shape.key_heads * shape.head % 32):
        raise UsageError(
            f"The widths of {base} can't be packed in four bits on the CPU: they are not multiples of 64.",
            do="Take another base, or train.method lora.",
        )


def _causal(base: Path, more: dict[str, Any]) -> Any:
    model, found = need("transformers").AutoModelForCausalLM.from_pretrained(base, output_loading_info=True, **more)
    _nothing_random(base, set(found["missing_keys"]) | set(found["mismatched_keys"]))
    return model


def _classifier(base: Path, tokenizer: Any, more: dict[str, Any]) -> Any:
    torch, transformers = need("torch"), need("transformers")
    model, found = transformers.AutoModelForSequenceClassification.from_pretrained(
        base,
        num_labels=2,
        id2label={0: "False", 1: "True"},
        label2id={"False": 0, "True": 1},
        output_loading_info=True,
        **more,
    )
    _nothing_random(base, (set(found["missing_keys"]) | set(found["mismatched_keys"])) - {"score.weight"})
    rows = torch.tensor(loading.answers(tokenizer))
    with torch.no_grad():
        model.score.weight.copy_(_language_head(base, model)[rows])
    return model


def _language_head(base: Path, model: Any) -> Any:
    if model.config.get_text_config().tie_word_embeddings:
        return model.get_input_embeddings().weight
    safetensors = need("safetensors")
    for file in sorted(base.glob("*.safetensors")):
        with safetensors.safe_open(file, "pt") as weights:
            if "lm_head.weight" in weights.keys():  # noqa: SIM118 (no mapping)
                return weights.get_tensor("lm_head.weight").to(model.score.weight)
    raise TrainingError(f"{base} has no language head to start from.", do="Make the base again.")


def _nothing_random(base: Path, random: set[Any]) -> None:
    if random:
        raise TrainingError(
            f"{len(random)} tensors of {base} would start at random: its files do not fit its config.",
            do="Make the base again with: resolver llm base",
        )


def _with_adapter(model: Any, settings: TrainSettings) -> Any:
    peft = need("peft")
    config = peft.LoraConfig(
        task_type="SEQ_CLS" if settings.kind == "classifier" else "CAUSAL_LM",
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=list(TARGETS[settings.targets]),
        modules_to_save=["score"] if settings.kind == "classifier" else None,
    )
    model = peft.get_peft_model(model, config)
    if settings.gradient_checkpointing:
        model.enable_input_require_grads()
    return model
