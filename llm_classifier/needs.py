"""Libraries that only some users have: a clear line where one is missing."""

from __future__ import annotations

import importlib
import logging
import os
import warnings
from typing import Any

from resolver.errors import UsageError


def need(module: str, extra: str = "llm") -> Any:
    """The module, or one line that says how to get it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        if error.name is not None and error.name.partition(".")[0] != module.partition(".")[0]:
            raise
        raise UsageError(
            f"This needs {module.partition('.')[0]}, which is not installed here.",
            do=f"Install it with: pip install 'resolver[{extra}]'",
        ) from None


def quiet() -> None:
    """Before transformers is loaded: have it take what is on disk, open no connection and draw no bars of its own."""
    for name in ("HF_HUB_OFFLINE", "HF_HUB_DISABLE_TELEMETRY", "HF_HUB_DISABLE_PROGRESS_BARS"):
        os.environ.setdefault(name, "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # it tells of kernels that only 4-bit inference would use
    # peft asks transformers by a name that it calls old
    warnings.filterwarnings("ignore", ".is_gradient_checkpointing. is deprecated", FutureWarning)
    said = need("transformers").utils.logging
    said.set_verbosity_error()
    said.disable_progress_bar()
