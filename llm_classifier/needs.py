"""Libraries that only some users have: a clear line where one is missing."""

from __future__ import annotations

import importlib
from typing import Any

from resolver.errors import UsageError


def need(module: str) -> Any:
    """The module, or one line that says how to get it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        if error.name is not None and error.name.partition(".")[0] != module.partition(".")[0]:
            raise
        raise UsageError(
            f"This needs {module.partition('.')[0]}, which is not installed here.",
            do="Install it with: pip install 'resolver[llm]'",
        ) from None
