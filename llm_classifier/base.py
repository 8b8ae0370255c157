"""The text-only base: the language half of a multimodal Gemma 3 checkpoint, with the proof that it is the same model.

The obvious way does not work: the text-only class, given a multimodal checkpoint, finds none of its tensors under the
names it knows, starts all of them at random and says so in a warning. So the whole multimodal model is loaded, which
must leave nothing missing; its language half is moved as it is; and what was written is read again and held against
it, tensor by tensor and logit by logit. Knows nothing of data sets or training.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from llm_classifier import artifact, needs
from resolver import files
from resolver.errors import DamagedError, TrainingError, UsageError
from resolver.progress import Progress

FILE = "base.json"  # how the base was made
PROBES = (
    "Do both histories belong to the same person? Answer True or False.\nAnswer:\n",
    "Essential hypertension since 2011, ongoing; appendectomy 1998; body height 172 cm in 2019.",
)
AGREEMENT = 1e-3  # logits before and after, relative to the largest; the arithmetic is the same, so they are equal


def extract(source: Path, out: Path, progress: Progress) -> dict[str, Any]:
    """Write the text-only base of `source` to `out`; returns what base.json says."""
    needs.quiet()
    torch, transformers = needs.need("torch"), needs.need("transformers")
    _check(source, out)
    scratch = files.temporary(out)
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        progress.say("loading the multimodal model")
        tokenizer = transformers.AutoTokenizer.from_pretrained(source)
        full, found = transformers.Gemma3ForConditionalGeneration.from_pretrained(
            source, output_loading_info=True, dtype="auto"
        )
        full.eval()
        lacking = set(found["missing_keys"]) | set(found["mismatched_keys"])
        if lacking:
            raise TrainingError(
                f"{source} lacks {len(lacking)} tensors of its model, the first: {min(map(str, lacking))}.",
                do="Download it again; a base with random weights would look like a model and know nothing.",
            )
        before = _logits(full, tokenizer)
        progress.say("moving the language weights")
        text = _moved(full)
        sums = _sums(text)
        text.save_pretrained(scratch)
        tokenizer.save_pretrained(scratch)
        dtype, parameters = str(text.dtype).removeprefix("torch."), sum(one.numel() for one in text.parameters())
        del full, text
        progress.say("reading what was written, and comparing")
        again, found = transformers.AutoModelForCausalLM.from_pretrained(
            scratch, output_loading_info=True, dtype="auto"
        )
        again.eval()
        _same(scratch, found, sums, _sums(again))
        apart = _apart(before, _logits(again, tokenizer))
        told = {
            "made_from": source.name,
            "source_digest": artifact.digest(source),
            "tensors": len(sums),
            "parameters": parameters,
            "dtype": dtype,
            "largest_logit_difference": apart,
            "transformers": transformers.__version__,
            "torch": torch.__version__,
        }
        files.write_json(scratch / FILE, told)
        _into_place(scratch, out)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return told


def _free(out: Path) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} is there already.", do="Choose another folder, or remove it.")


def _check(source: Path, out: Path) -> None:
    _free(out)
    try:
        config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UsageError(
            f"{source} holds no checkpoint (config.json is missing).",
            do="Download one, such as google/medgemma-4b-it, whose terms you accept on its page, and give its folder.",
        ) from None
    except (OSError, ValueError):
        raise UsageError(f"{source / 'config.json'} can't be read.", do="Download the checkpoint again.") from None
    kind = config.get("model_type")
    if kind == "gemma3_text":
        raise UsageError(f"{source} is text-only already.", do="Use it as train.base as it is.")
    if kind != "gemma3":
        raise UsageError(f"{source} is not a multimodal Gemma 3 checkpoint.", do="Give one, such as MedGemma 4B.")


def _into_place(scratch: Path, out: Path) -> None:
    if out.is_dir():  # an empty one
        out.rmdir()
    scratch.replace(out)


def _moved(full: Any) -> Any:
    """A text-only model around the very modules of the multimodal one: nothing is copied, nothing is made anew."""
    torch, transformers = needs.need("torch"), needs.need("transformers")
    config = full.config.text_config
    config.tie_word_embeddings = full.config.tie_word_embeddings
    for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
        if getattr(config, name, None) is None:
            setattr(config, name, getattr(full.config, name, None))
    with torch.device("meta"):  # tensors without content, so that what is not replaced can't be overlooked
        text = transformers.Gemma3ForCausalLM(config)
    text.model = full.model.language_model
    text.lm_head = full.lm_head
    text.generation_config = full.generation_config
    empty = [name for name, one in (*text.named_parameters(), *text.named_buffers()) if one.is_meta]
    if empty:
        raise TrainingError(
            f"{len(empty)} tensors of the text-only model have no counterpart in the multimodal one.",
            do="Use the transformers release that this program names in pyproject.toml.",
        )
    return text.to(full.dtype).eval()


def _sums(model: Any) -> dict[str, str]:
    """SHA-256 of every tensor's bytes."""
    torch = needs.need("torch")
    return {
        name: hashlib.sha256(one.detach().cpu().contiguous().flatten().view(torch.uint8).numpy()).hexdigest()
        for name, one in model.state_dict().items()
    }


def _same(folder: Path, found: Any, before: dict[str, str], after: dict[str, str]) -> None:
    random = set(found["missing_keys"]) | set(found["mismatched_keys"])
    other = [name for name in before if after.get(name) != before[name]]
    if random or other or set(after) != set(before):
        raise DamagedError(
            f"Of {len(before)} tensors, {len(random)} are not in what was written and {len(other)} are others.",
            do="Make the base again; check the disk.",
        )


def _logits(model: Any, tokenizer: Any) -> list[Any]:
    """Of every token after each probe."""
    torch = needs.need("torch")
    with torch.inference_mode():
        found = []
        for text in PROBES:
            ids = tokenizer(text, return_tensors="pt").input_ids
            found.append(model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0, -1].float())
        return found


def _apart(before: list[Any], after: list[Any]) -> float:
    apart = max(float((one - other).abs().max()) for one, other in zip(before, after, strict=True))
    largest = max(float(one.abs().max()) for one in before)
    if not apart <= AGREEMENT * largest:
        raise TrainingError(
            f"The text-only model answers {apart:.3g} apart from the multimodal one.",
            do="Use the transformers release that this program names in pyproject.toml.",
        )
    return apart


def tiny_base(
    out: Path, dataset: Path | None, *, width: int, layers: int, vocabulary: int, seed: int
) -> dict[str, Any]:
    """A tiny base with random weights, its tokens learned from the prompts of a data set's train split."""
    from llm_classifier import prompt, shapes, tiny

    _free(out)
    needs.quiet()
    texts = [prompt.pair("", "")]
    if dataset is not None:
        from llm_classifier import dataset as data
        from llm_classifier.train.data import once

        pairs = once(data.read(dataset).split("train"))
        texts = [texts[0], *pairs.get_column("left_summary"), *pairs.get_column("right_summary")]
    scratch = files.temporary(out)
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        tiny.make(scratch, texts, vocabulary=vocabulary, width=width, layers=layers, seed=seed)
        shape = shapes.of(scratch)
        told = {"made_from": "nothing: random weights", "parameters": shape.parameters, "vocabulary": shape.vocabulary}
        files.write_json(scratch / FILE, {**told, "seed": seed})
        _into_place(scratch, out)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return told
