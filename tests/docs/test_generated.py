"""Pages and schemas that are made from the code, and the configs that name them."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

from augmentation import presets
from llm_classifier import settings as llm
from resolver import pipeline, settings, tables
from resolver.settings.schema import FIRST_LINE
from resolver.stage import file_of
from synthea_runner import settings as synthea

ROOT = Path(__file__).parents[2]
CONFIGS = sorted(ROOT.glob("configs/**/*.yaml"))


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate_docs", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def test_nothing_is_stale(generate: ModuleType) -> None:
    """Pages and schemas say what the code says; where one does not, the message says what to type."""
    stale = generate.stale()

    assert not stale, f"{', '.join(stale)}: the code says something else now. Type: make docs"


def test_every_output_has_a_meaning() -> None:
    """Each file that a stage writes is declared with what it is, and nothing else is."""
    written = {name for stage in pipeline.STAGES for name in stage.writes}

    assert written == tables.TABLES.keys() | tables.FILES.keys()
    assert all(file_of(name) == name for name in tables.FILES)


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_config_names_its_schema_and_loads(path: Path) -> None:
    """Each config names in its first line a schema that is there, has no fault, and holds what the schema knows."""
    first = path.read_text(encoding="utf-8").splitlines()[0]
    assert first.startswith(FIRST_LINE)
    named = (path.parent / first.removeprefix(FIRST_LINE)).resolve()
    read: dict[str, Any] = {
        "schema.json": lambda: settings.load(path),
        "schema-augment.json": lambda: presets.load(str(path)),
        "schema-llm.json": lambda: llm.load(path),
        "schema-synthea.json": lambda: synthea.load(path, {}),
    }

    assert read[named.name]()
    schema = yaml.safe_load(named.read_text(encoding="utf-8"))
    assert unknown(yaml.safe_load(path.read_text(encoding="utf-8")), schema, schema) == []


def test_a_key_that_the_schema_lacks_is_seen() -> None:
    """The walk through a schema finds a wrong key at the top, in a section and in a source."""
    schema = yaml.safe_load((ROOT / "configs" / "schema.json").read_text(encoding="utf-8"))
    content = {"rnu": {}, "link": {"max_blok": 1}, "sources": [{"kind": "fhir", "pth": "x"}]}

    assert unknown(content, schema, schema) == ["rnu", "max_blok", "pth"]


def unknown(value: Any, told: dict[str, Any], whole: dict[str, Any]) -> list[str]:
    """Keys that an editor with this schema would mark."""
    if "$ref" in told:
        return unknown(value, whole["$defs"][told["$ref"].rpartition("/")[2]], whole)
    choices = told.get("oneOf", told.get("anyOf"))
    if choices:
        mapping = told.get("discriminator", {}).get("mapping")
        if mapping:
            return unknown(value, {"$ref": mapping[value["kind"]]}, whole)
        return min((unknown(value, one, whole) for one in choices), key=len)
    if isinstance(value, list):
        return [key for one in value for key in unknown(one, told.get("items", {}), whole)]
    if not isinstance(value, dict):
        return []
    known, more = told.get("properties", {}), told.get("additionalProperties")
    found = [str(key) for key in value if key not in known] if more is False else []
    return found + [
        wrong
        for key, inner in value.items()
        for wrong in unknown(inner, known.get(key, more if isinstance(more, dict) else {}), whole)
    ]
