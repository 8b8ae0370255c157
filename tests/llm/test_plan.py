"""Shapes, memory, GPUs and prices."""

from __future__ import annotations

import datetime as dt
import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_classifier import plan, shapes
from llm_classifier.settings.train import TrainSettings
from resolver.errors import InputError, UsageError

SMALL = shapes.Shape(96, 4, 4, 2, 16, 160, 400, 64)


def _settings(**more: Any) -> TrainSettings:
    return TrainSettings(**{"base": "base", "dataset": "dataset", "out": "out", **more})


@pytest.mark.llm
@pytest.mark.parametrize("name", ["4b", "1b", "tiny"])
def test_weights_are_counted_exactly(name: str) -> None:
    """The formula gives what transformers builds, and the shape that is read back is the same."""
    import torch
    from transformers import Gemma3ForCausalLM

    shape = shapes.NAMED[name]
    with torch.device("meta"):
        model = Gemma3ForCausalLM(shapes.config_of(shape))

    assert shape.parameters == sum(one.numel() for one in model.parameters())
    assert shape.working == shape.parameters - model.get_input_embeddings().weight.numel()


def _saved_bytes(shape: shapes.Shape, dtype: Any, *, adapter: bool, checkpointing: bool, tokens: int) -> float:
    """Bytes of what the forward pass keeps for the backward pass, beside the weights."""
    import peft
    import torch
    from transformers import Gemma3TextForSequenceClassification

    model = Gemma3TextForSequenceClassification(shapes.config_of(shape, num_labels=2, use_cache=False))
    inner = model
    if adapter:
        targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
        model = peft.get_peft_model(
            model.to(dtype), peft.LoraConfig(task_type="SEQ_CLS", r=8, lora_dropout=0.05, target_modules=targets)
        )
        model.enable_input_require_grads()
    if checkpointing:
        inner.activation_checkpointing_enable({"use_reentrant": False})
    model.train()
    own = {one.untyped_storage().data_ptr() for one in (*model.parameters(), *model.buffers())}
    kept: dict[int, Any] = {}

    def note(tensor: Any) -> Any:
        if tensor.untyped_storage().data_ptr() not in own:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    ids = torch.randint(3, shape.vocabulary, (2, tokens // 2))
    with (
        torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16),
    ):
        model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits.sum()
    return float(sum(one.untyped_storage().nbytes() for one in kept.values()))


@pytest.mark.llm
@pytest.mark.parametrize(("adapter", "name"), [(True, "bfloat16"), (True, "float32"), (False, "float32")])
def test_activations_are_those_that_are_measured(adapter: bool, name: shapes.Dtype) -> None:
    """On a shape that the factors were not taken from, within a tenth."""
    import torch

    tokens = 192
    measured = _saved_bytes(SMALL, getattr(torch, name), adapter=adapter, checkpointing=False, tokens=tokens)
    computed = SMALL.activation_bytes(
        tokens, "lora" if adapter else "full", name, rank=8, longest=tokens // 2, checkpointing=False
    )

    assert computed == pytest.approx(measured, rel=0.1)


@pytest.mark.llm
def test_with_checkpointing_a_layer_keeps_its_input() -> None:
    """What is kept from the forward pass is the formula's less the one layer that is computed again."""
    import torch

    tokens = 192
    measured = _saved_bytes(SMALL, torch.bfloat16, adapter=True, checkpointing=True, tokens=tokens)
    kept = tokens * (SMALL.layers * SMALL.width * 2 + 8 * SMALL.width)

    assert measured == pytest.approx(kept, rel=0.25)
    assert kept < SMALL.activation_bytes(tokens, "lora", "bfloat16", rank=8, longest=96, checkpointing=True)


@pytest.mark.llm
def test_what_learns_is_counted_exactly() -> None:
    """Adapters of every kind have as many weights as peft makes; AdamW keeps sixteen bytes for each."""
    import peft
    import torch
    from transformers import Gemma3TextForSequenceClassification

    from llm_classifier.train.model import TARGETS

    for targets in ("attention", "mlp", "both"):
        model = Gemma3TextForSequenceClassification(shapes.config_of(SMALL, num_labels=2))
        config = peft.LoraConfig(task_type="SEQ_CLS", r=8, target_modules=list(TARGETS[targets]))
        learning = [one for one in peft.get_peft_model(model, config).parameters() if one.requires_grad]
        assert SMALL.adapter(8, targets) == sum(one.numel() for one in learning) - 2 * SMALL.width  # type: ignore[arg-type]
    optimizer = torch.optim.AdamW(learning)
    for one in learning:
        one.grad = torch.zeros_like(one)
    optimizer.step()
    state = sum(
        value.nbytes for one in learning for value in (one, one.grad, *optimizer.state[one].values()) if value.ndim
    )

    assert SMALL.learning_bytes("lora", 8, "both") == state


def test_the_language_half_of_a_multimodal_checkpoint_has_its_shape(tmp_path: Path) -> None:
    """A config with a text part is read there; anything else is told."""
    text = {
        "hidden_size": 2560,
        "num_hidden_layers": 34,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
        "head_dim": 256,
        "intermediate_size": 10240,
        "vocab_size": 262_208,
        "sliding_window": 1024,
        "layer_types": (["sliding_attention"] * 5 + ["full_attention"]) * 5 + ["sliding_attention"] * 4,
    }
    (tmp_path / "config.json").write_text(json.dumps({"text_config": text}), encoding="utf-8")
    assert shapes.of(tmp_path) == shapes.NAMED["4b"]

    (tmp_path / "config.json").write_text('{"model_type": "bert"}', encoding="utf-8")
    with pytest.raises(UsageError, match="not that of a Gemma 3 model"):
        shapes.of(tmp_path)


def test_arithmetic_is_two_per_weight_and_token_and_attention() -> None:
    """For short prompts next to nothing is added, for long ones local layers stop growing with the length."""
    shape = shapes.NAMED["4b"]
    short, long = shape.flops(64), shape.flops(32_768)

    assert short == pytest.approx(2 * shape.working * 64, rel=0.01)
    assert 1.1 < long / (2 * shape.working * 32_768) < 1.5
    assert shape.training_flops(64, "full", checkpointing=True) == 4 * short
    assert shape.training_flops(64, "lora", checkpointing=False) == 2 * short


def test_the_cache_of_local_layers_ends_at_their_window() -> None:
    """Twice the prompt takes less than twice the keys and values."""
    shape = shapes.NAMED["4b"]

    assert shape.cache_bytes(1000) == 2 * 2 * 4 * 256 * 34 * 1000
    assert shape.cache_bytes(4096) < 2 * shape.cache_bytes(2048)


@given(st.integers(1, 16), st.integers(64, 4096), st.booleans())
@settings(deadline=None, max_examples=30)
def test_memory_grows_with_batch_and_length(micro: int, longest: int, checkpointing: bool) -> None:
    """And four bits take less than sixteen, checkpointing less than none, an adapter less than every weight."""
    shape, asked = shapes.NAMED["4b"], _settings()

    def total(method: shapes.Method, size: int, length: int, twice: bool) -> float:
        return sum(plan.memory(shape, asked, method, size, length, checkpointing=twice).values())

    here = total("lora", micro, longest, checkpointing)
    assert here < total("lora", micro + 1, longest, checkpointing)
    assert here < total("lora", micro, longest + 1, checkpointing)
    assert here < total("full", micro, longest, checkpointing)
    assert total("qlora", micro, longest, checkpointing) < here
    assert total("lora", micro, longest, True) < total("lora", micro, longest, False)


def test_every_price_has_a_date_and_a_source() -> None:
    """Or says that it is assumed."""
    table = plan.gpus()

    assert len({gpu.name for gpu in table}) == len(table) >= 8
    for gpu in table:
        assert dt.date.fromisoformat(gpu.price_date) <= dt.date(2027, 1, 1)
        assert gpu.price_source == "assumed" or gpu.price_source.startswith("https://")
        assert min(gpu.memory_gib, gpu.bf16_tflops, gpu.usd_per_hour) > 0


def test_a_small_gpu_gets_four_bits_and_checkpointing() -> None:
    """What does not fit in sixteen bits is tried in four; what fits in no way is not among the choices."""
    shape, asked = shapes.NAMED["4b"], _settings(batch=16)
    work = plan.Work(10_000, 900.0, 1200, 500)

    def on(gib: float) -> list[plan.Choice]:
        return plan.choices(shape, asked, work, [plan.Gpu("one", gib, 100, 1.0, "assumed", "2026-11-21")])

    large, middle, small = on(200)[0], on(12)[0], on(8)[0]

    assert (large.method, large.checkpointing) == ("lora", False)
    assert (middle.method, middle.checkpointing) == ("lora", True)
    assert (small.method, small.checkpointing) == ("qlora", True)
    assert on(3) == []
    for choice, gib in ((large, 200), (middle, 12), (small, 8)):
        assert choice.gib <= gib
        assert asked.batch % choice.micro_batch == 0
        assert choice.usd == pytest.approx(choice.hours)
    assert large.hours < middle.hours < small.hours


def test_a_table_that_is_none_is_refused(tmp_path: Path) -> None:
    """With the columns that it must have."""
    (tmp_path / "gpus.csv").write_text("name,price\nA,1\n", encoding="utf-8")

    with pytest.raises(InputError, match="memory_gib"):
        plan.gpus(tmp_path / "gpus.csv")
    with pytest.raises(InputError, match="can't be read"):
        plan.gpus(tmp_path / "none.csv")


def test_the_command_writes_a_config_that_can_be_trained(tmp_path: Path) -> None:
    """Tuned for the GPU that was named, with absolute paths and everything else as it was."""
    from llm_classifier.cli.plan import plan as command
    from llm_classifier.train import sweep

    config = tmp_path / "llm.yaml"
    section = {"base": "base", "dataset": "data", "out": "out", "batch": 8, "rank": [4, 8]}
    config.write_text(yaml.safe_dump({"train": section}), encoding="utf-8")
    (tmp_path / "elsewhere").mkdir()
    out = tmp_path / "elsewhere" / "tuned.yaml"
    common = [str(config), "--shape", "4b", "--rows", "5000", "--tokens", "1000"]

    shown = CliRunner().invoke(command, [*common, "--gpu", "l4", "--out", str(out)], catch_exceptions=False)
    told = json.loads(CliRunner().invoke(command, [*common, "--json"], catch_exceptions=False).output)
    (tuned,) = sweep.runs(out)
    unknown = CliRunner().invoke(command, [*common, "--gpu", "Z80"])

    assert "assumed, 2026-11-21" in shown.output
    assert "tuned for L4" in shown.output
    assert (tuned.settings.base, tuned.settings.rank, tuned.settings.batch) == (tmp_path / "base", 4, 8)
    assert tuned.settings.precision == "bfloat16"
    assert tuned.settings.micro_batch is not None
    assert [one["usd"] for one in told["choices"]] == sorted(one["usd"] for one in told["choices"])
    assert told["model"]["parameters"] == shapes.NAMED["4b"].parameters
    assert isinstance(unknown.exception, UsageError)


def test_a_data_set_says_what_is_to_be_done(toy_pairs: Path) -> None:
    """Rows and tokens come from it where they are not given."""
    work = plan.work_of(toy_pairs, _settings(max_train_pairs=40), None, None)

    assert work == plan.Work(80, 128.0, 512, 2000)
    assert plan.work_of(toy_pairs, _settings(), 7, 100) == plan.Work(7, 100.0, 100, 2000)


@pytest.mark.llm
def test_the_benchmark_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """On the CPU, with torch and transformers alone; shares lie below the limit."""
    path = Path(__file__).parents[2] / "benchmarks" / "llm.py"
    spec = importlib.util.spec_from_file_location("llm_benchmark", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    quick = ["llm.py", "--json", "--tokens", "16", "--batch", "2", "--score-batch", "2", "--steps", "1"]
    monkeypatch.setattr("sys.argv", [*quick, "--checkpointing"])
    module.main()
    told = json.loads(capsys.readouterr().out)

    assert told["parameters"] == shapes.NAMED["tiny"].parameters
    assert 0 < told["scoring_share"] < 1
    assert 0 < told["training_share"] < 1
