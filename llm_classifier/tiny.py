"""A tiny Gemma 3 with random weights and a tokenizer of its own: to try every command without gated weights or a GPU.

It knows nothing until it is trained; nobody should decide anything with it. The same shapes and the same classes as
MedGemma's, text-only or with the (tiny) eye of the multimodal one.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from llm_classifier.needs import need

SPECIAL = ("<pad>", "<eos>", "<bos>", "<unk>")
WORDS = ("True", "False")  # single tokens, as they are in Gemma's own vocabulary
IMAGE = ("<start_of_image>", "<end_of_image>", "<image_soft_token>")


def make(
    folder: Path,
    texts: Iterable[str] = (),
    *,
    multimodal: bool = False,
    vocabulary: int = 1024,
    width: int = 64,
    layers: int = 2,
    max_tokens: int = 4096,
    seed: int = 0,
) -> Path:
    """Write the checkpoint. `texts` are what the tokenizer learns its pieces from."""
    torch, transformers = need("torch"), need("transformers")
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = _tokenizer(texts, vocabulary, max_tokens)
    text = transformers.Gemma3TextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=width // 4,
        query_pre_attn_scalar=width // 4,
        max_position_embeddings=max_tokens,
        sliding_window=512,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=2,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = _multimodal(transformers, text, tokenizer) if multimodal else transformers.Gemma3ForCausalLM(text)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def _multimodal(transformers: Any, text: Any, tokenizer: Any) -> Any:
    begin, end, soft = (tokenizer.convert_tokens_to_ids(token) for token in IMAGE)
    eye = transformers.SiglipVisionConfig(
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=28,
        patch_size=14,
    )
    config = transformers.Gemma3Config(
        text_config=text,
        vision_config=eye,
        mm_tokens_per_image=4,
        boi_token_index=begin,
        eoi_token_index=end,
        image_token_index=soft,
    )
    return transformers.Gemma3ForConditionalGeneration(config)


def _tokenizer(texts: Iterable[str], vocabulary: int, max_tokens: int) -> Any:
    tokenizers, transformers = need("tokenizers"), need("transformers")
    pieces = tokenizers.Tokenizer(tokenizers.models.BPE(unk_token="<unk>"))
    pieces.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    pieces.decoder = tokenizers.decoders.ByteLevel()
    pieces.train_from_iterator(
        texts,
        tokenizers.trainers.BpeTrainer(
            vocab_size=vocabulary,
            special_tokens=[*SPECIAL, *IMAGE],
            initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    pieces.add_tokens([word for word in WORDS if pieces.token_to_id(word) is None])
    pieces.post_processor = tokenizers.processors.TemplateProcessing(
        single="<bos> $A", special_tokens=[("<bos>", pieces.token_to_id("<bos>"))]
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=pieces,
        pad_token="<pad>",
        eos_token="<eos>",
        bos_token="<bos>",
        unk_token="<unk>",
        model_max_length=max_tokens,
        padding_side="right",
    )
