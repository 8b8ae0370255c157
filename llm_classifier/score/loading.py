"""A model folder into memory, ready to be asked: classifier or causal, merged or an adapter on its base.

Knows nothing of batches or of where prompts come from. Used for local scoring and for golden logits.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from llm_classifier import artifact
from llm_classifier.artifact import Artifact, Kind
from llm_classifier.needs import need
from llm_classifier.tiny import WORDS
from resolver.errors import DamagedError, UsageError

Dtype = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class Loaded:
    artifact: Artifact
    model: Any
    tokenizer: Any
    device: str
    parameters: int  # that take part in every token: all but the table of embeddings
    answer: Callable[[Any, Any], Any]  # token ids, attention mask -> raw logits, on the device


def load(folder: Path, *, dtype: Dtype | None = None, device: str | None = None) -> Loaded:
    """`dtype` is that of the arithmetic; default: as the artifact says on a GPU, float32 elsewhere."""
    torch = need("torch")
    told = artifact.read(folder)
    where = device or ("cuda" if torch.cuda.is_available() else "cpu")
    if dtype is None:
        dtype = "bfloat16" if where.startswith("cuda") and told.dtype != "float32" else "float32"
    model = whole(folder, told, getattr(torch, dtype), where)
    model.eval()
    tokenizer = _tokenizer(folder)
    answer = answering(model, told.kind, tokenizer)
    return Loaded(told, model, tokenizer, where, working_parameters(model), answer)


def answering(model: Any, kind: Kind, tokenizer: Any) -> Callable[[Any, Any], Any]:
    """Token ids, padded on the right, and their mask to raw logits; of a model that is still learning, too."""
    return _classifier(model) if kind == "classifier" else _causal(model, answers(tokenizer))


def answers(tokenizer: Any) -> tuple[int, int]:
    """The tokens for False and True, in the order of a classifier's outputs."""
    yes, no = (tokenizer.convert_tokens_to_ids(word) for word in WORDS)
    for word, token in zip(WORDS, (yes, no), strict=True):
        if token is None or token == tokenizer.unk_token_id:
            raise DamagedError(
                f"The model's tokenizer has no token of its own for {word}.", do="Take the tokenizer of the base."
            )
    return no, yes


def working_parameters(model: Any) -> int:
    """Parameters that take part in every token. Looking up an embedding is no arithmetic, so its table is left out."""
    table = model.get_input_embeddings().weight.numel()
    # Four-bit weights are packed: two to a byte.
    total = sum(one.numel() * (2 if hasattr(one, "quant_state") else 1) for one in model.parameters())
    return int(total - table)


def _tokenizer(folder: Path) -> Any:
    tokenizer = need("transformers").AutoTokenizer.from_pretrained(folder)
    tokenizer.padding_side = "right"
    return tokenizer


def whole(folder: Path, told: Artifact, dtype: Any, device: str) -> Any:
    """The model of transformers, an adapter put on its base."""
    transformers = need("transformers")
    transformers.utils.logging.disable_progress_bar()  # our own progress is enough
    transformers.utils.logging.set_verbosity_error()
    more: dict[str, Any] = {"dtype": dtype, "device_map": device}
    if told.dtype == "nf4" and told.weights == "adapter":
        more["quantization_config"] = nf4(dtype)
    kinds = {
        "classifier": functools.partial(transformers.AutoModelForSequenceClassification.from_pretrained, num_labels=2),
        "causal": transformers.AutoModelForCausalLM.from_pretrained,
    }
    if told.weights == "merged":
        return _complete(kinds[told.kind], folder, more)
    base = base_of(folder, told)
    if told.kind == "causal":
        model = _complete(kinds["causal"], base, more)
    else:  # the head that the base lacks comes with the adapter
        model = _complete(kinds["classifier"], base, more, lacks=("score.weight",))
        _brings_head(folder)
    return need("peft").PeftModel.from_pretrained(model, folder)


def base_of(folder: Path, told: Artifact) -> Path:
    """Where the base of an adapter lies."""
    for base in (Path(told.base), folder / told.base):
        if base.is_dir():
            return base
    raise UsageError(
        f"The base of the adapter in {folder} is not where it was: {told.base}.",
        do="Bring it back with: resolver llm base, or export the adapter where its base is.",
    )


def _complete(load: Callable[..., Any], folder: Path, more: dict[str, Any], lacks: tuple[str, ...] = ()) -> Any:
    """transformers fills what a checkpoint lacks with random numbers, and only warns."""
    model, told = load(folder, output_loading_info=True, **more)
    absent = sorted(set(told["missing_keys"]) - set(lacks))
    if absent or told["mismatched_keys"]:
        raise DamagedError(
            f"{folder} lacks {len(absent) or len(told['mismatched_keys'])} weights of the model, among them "
            f"{(absent or [str(one) for one in told['mismatched_keys']])[0]}.",
            do="Copy the whole folder again from where the model was made.",
        )
    return model


def _brings_head(adapter: Path) -> None:
    safetensors = need("safetensors")
    with safetensors.safe_open(adapter / "adapter_model.safetensors", framework="pt") as weights:
        keys = weights.keys()  # not a mapping: it can't be walked through itself
        if not any("score" in key for key in keys):
            raise DamagedError(
                f"The adapter in {adapter} does not bring the classification head.",
                do="Train with the head among the modules that are saved.",
            )


def nf4(dtype: Any) -> Any:
    """How a four-bit base is made, in training and in scoring alike."""
    need("bitsandbytes")
    return need("transformers").BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
        llm_int8_skip_modules=["score", "lm_head"],
    )


def _last(hidden: Any, mask: Any) -> Any:
    """What stands at the last token of each prompt, padding being on the right."""
    torch = need("torch")
    return hidden[torch.arange(len(hidden), device=hidden.device), mask.sum(1) - 1]


def _classifier(model: Any) -> Callable[[Any, Any], Any]:
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model

    def answer(ids: Any, mask: Any) -> Any:
        hidden = inner.model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
        outputs = inner.score(_last(hidden, mask)).float()
        return outputs[:, 1] - outputs[:, 0]

    return answer


def _causal(model: Any, tokens: tuple[int, int]) -> Callable[[Any, Any], Any]:
    """Of the language head only the two rows that count are asked, and only at the last token."""
    torch = need("torch")
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    no, yes = tokens
    cap = getattr(inner.config.get_text_config(), "final_logit_softcapping", None)

    def answer(ids: Any, mask: Any) -> Any:
        hidden = inner.model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
        head = inner.get_output_embeddings().weight[[no, yes]]
        outputs = (_last(hidden, mask) @ head.T).float()
        if cap:
            outputs = cap * torch.tanh(outputs / cap)
        return outputs[:, 1] - outputs[:, 0]

    return answer
