"""The settings as a JSON Schema, so that an editor completes a config and marks what does not exist.

Knows nothing of particular sections.
"""

from __future__ import annotations

import json
from typing import Any

from resolver.settings.base import Section

FIRST_LINE = "# yaml-language-server: $schema="  # the YAML extensions of editors read it, then a path or an address


def schema(kind: type[Section], title: str) -> dict[str, Any]:
    """The JSON Schema of a config of that kind."""
    found = _untitled(kind.model_json_schema())
    found.pop("description", None)  # that of the class, for programmers
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": title} | found


def _untitled(told: dict[str, Any]) -> dict[str, Any]:
    """Without the titles that pydantic makes of names; a setting may itself be called title."""
    found: dict[str, Any] = {}
    for key, value in told.items():
        if key in ("properties", "$defs"):
            found[key] = {name: _untitled(one) for name, one in value.items()}
        elif key != "title":
            if isinstance(value, list):
                found[key] = [_untitled(one) if isinstance(one, dict) else one for one in value]
            else:
                found[key] = _untitled(value) if isinstance(value, dict) and key != "default" else value
    return found


def text(kind: type[Section], title: str) -> str:
    return json.dumps(schema(kind, title), indent=1, ensure_ascii=False) + "\n"
