"""Verify: does what is served, or what was copied, answer as the model does? Golden logits say.

A server is asked over HTTP, a folder through a backend. Knows nothing of how either came about.
"""

from __future__ import annotations

from pathlib import Path

from llm_classifier import artifact, golden
from llm_classifier.golden import Compared
from llm_classifier.score import open_backend
from resolver.errors import UsageError

SECONDS = 60.0  # that a server gets to answer at all


def verify(
    target: str,
    model: Path | None,
    *,
    tolerance: float | None = None,
    backend: str = "transformers",
    python: Path | None = None,
    wait: float = SECONDS,
) -> Compared:
    """Hold `target`, an address or a folder, against the golden logits of `model`; of a folder its own by default."""
    if target.startswith(("http://", "https://")):
        if model is None:
            raise UsageError("What the server should answer is not known.", do="Say --model DIR, the exported model.")
        artifact.read(model)
        opened = open_backend(model, backend="vllm-server", endpoint=target, give_up_after=wait)
        held = model
    else:
        folder = Path(target)
        artifact.check(folder)
        held = model or folder
        opened = open_backend(folder, backend=backend, python=python)
    try:
        return golden.compare(opened, held, tolerance)
    finally:
        opened.close()
