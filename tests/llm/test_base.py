"""The text-only base, on tiny multimodal checkpoints."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from resolver.errors import DamagedError, TrainingError, UsageError
from resolver.progress import Progress

pytestmark = pytest.mark.llm


@pytest.fixture(scope="module")
def multimodal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from llm_classifier import tiny

    return tiny.make(tmp_path_factory.mktemp("mm") / "multimodal", ["Same person? True False"], multimodal=True)


def test_the_base_is_the_language_half(multimodal: Path, tmp_path: Path) -> None:
    """Every tensor is the multimodal model's own, and it answers the same, to the last bit."""
    import torch
    from transformers import AutoModelForCausalLM, Gemma3ForConditionalGeneration

    from llm_classifier import base

    told = base.extract(multimodal, tmp_path / "base", Progress())
    full = Gemma3ForConditionalGeneration.from_pretrained(multimodal)
    text = AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    ids = torch.tensor([[2, 30, 40, 50]])

    assert type(text).__name__ == "Gemma3ForCausalLM"
    assert told["largest_logit_difference"] == 0
    assert told["tensors"] == len(text.state_dict())
    assert torch.equal(full(input_ids=ids).logits, text(input_ids=ids).logits)
    assert json.loads((tmp_path / "base" / base.FILE).read_text()) == told
    assert not list(tmp_path.glob(".*"))


def test_the_obvious_way_leaves_the_language_half_random(multimodal: Path) -> None:
    """The text-only class finds none of its tensors in a multimodal checkpoint: this is what `base` is for."""
    from transformers import Gemma3ForCausalLM

    from llm_classifier import needs

    needs.quiet()
    text, found = Gemma3ForCausalLM.from_pretrained(multimodal, output_loading_info=True)

    assert len(found["missing_keys"]) == len(text.state_dict())


def test_a_checkpoint_that_lacks_a_tensor_is_refused(multimodal: Path, tmp_path: Path) -> None:
    """One missing tensor would be random; nothing is written then."""
    import shutil

    from safetensors.torch import load_file, save_file

    from llm_classifier import base

    source = tmp_path / "source"
    shutil.copytree(multimodal, source)
    weights = load_file(source / "model.safetensors")
    del weights["language_model.model.layers.1.mlp.up_proj.weight"]
    save_file(weights, source / "model.safetensors", metadata={"format": "pt"})

    with pytest.raises(TrainingError, match=r"lacks 1 tensors .*layers\.1\.mlp\.up_proj"):
        base.extract(source, tmp_path / "base", Progress())
    assert not (tmp_path / "base").exists()


def test_another_tensor_on_disk_is_noticed() -> None:
    """What was written is held against what was moved, tensor by tensor."""
    from llm_classifier import base

    before = {"a": "1", "b": "2"}
    found: dict[str, set[str]] = {"missing_keys": set(), "mismatched_keys": set()}
    base._same(Path("base"), found, before, dict(before))

    with pytest.raises(DamagedError, match="1 are others"):
        base._same(Path("base"), found, before, {"a": "1", "b": "3"})
    with pytest.raises(DamagedError, match="1 are not in what was written"):
        base._same(Path("base"), {**found, "missing_keys": {"b"}}, before, dict(before))


def test_what_can_not_be_a_source_is_refused(multimodal: Path, tiny_base: Path, tmp_path: Path) -> None:
    """A text-only checkpoint, an empty folder, and an out folder that holds something: each with what to do."""
    from llm_classifier import base

    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    for source, out, says in (
        (tiny_base, tmp_path / "base", "text-only already"),
        (tmp_path, tmp_path / "base", "config.json is missing"),
        (multimodal, tmp_path / "full", "there already"),
    ):
        with pytest.raises(UsageError, match=says):
            base.extract(source, out, Progress())


def test_a_tiny_base_learns_its_tokens_from_a_data_set(toy_base: Path) -> None:
    """Words of the data set's prompts are tokens of their own, so prompts are short."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(toy_base)

    assert len(tokenizer(" asthma", add_special_tokens=False)["input_ids"]) == 1


def test_the_command_says_what_it_needs(tmp_path: Path) -> None:
    """Too few folders, or --from without --tiny, are told before anything is loaded."""
    from llm_classifier.cli.base import base

    for arguments, says in (
        ([str(tmp_path)], "two folders"),
        (["--tiny"], "one folder"),
        ([str(tmp_path), "out", "--from", "x"], "for --tiny"),
        (["--tiny", "out", "--width", "20"], "multiple of 8"),
    ):
        result = CliRunner().invoke(base, arguments)
        assert isinstance(result.exception, UsageError)
        assert says in str(result.exception)
