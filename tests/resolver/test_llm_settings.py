"""The section llm: what goes together, and the budget of `resolver run`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from resolver.cli import run as command
from resolver.errors import SettingsError
from resolver.settings import Settings, parse


def section(tmp_path: Path, **told: Any) -> Settings:
    content = {"run": {"dir": "run"}, "sources": [{"kind": "synthea", "path": "data"}], "llm": told}
    return parse(content, base=tmp_path, where="test")


def test_a_server_needs_an_address_and_a_cost_a_price(tmp_path: Path) -> None:
    """Half a setting is refused with what is missing."""
    with pytest.raises(SettingsError, match="needs endpoint"):
        section(tmp_path, backend="vllm-server")
    with pytest.raises(SettingsError, match="needs price_per_million_tokens"):
        section(tmp_path, max_cost=5)
    told = section(tmp_path, backend="vllm-server", endpoint="http://127.0.0.1:8000", model="model").llm
    assert told.model == tmp_path / "model" and told.max_pairs is None


def test_the_budget_of_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """--max-pairs and --max-cost set the budget of the judge llm for one run."""
    config = tmp_path / "my.yaml"
    config.write_text(
        "run: {dir: run}\nsources: [{kind: synthea, path: data}]\nllm: {price_per_million_tokens: 0.2, max_pairs: 7}\n"
    )
    seen: list[Settings] = []
    monkeypatch.setattr(command, "whole_way", lambda settings, *more, **named: seen.append(settings))
    for arguments in ([], ["--max-pairs", "30", "--max-cost", "2.5"]):
        assert CliRunner().invoke(command.run, [str(config), *arguments], catch_exceptions=False).exit_code == 0
    assert [(one.llm.max_pairs, one.llm.max_cost) for one in seen] == [(7, None), (30, 2.5)]
