"""Waits for a server until it answers as the model does: a server that is up, but gives other logits, is not healthy.

Knows nothing of how the server was started.
"""

from __future__ import annotations

import time
from pathlib import Path

from llm_classifier import golden, score
from llm_classifier.golden import Compared
from llm_classifier.settings.deploy import DeploySettings
from resolver.errors import PendingError
from resolver.progress import Progress

PAUSE = 2.0  # seconds between two looks
LOOK = 15.0  # seconds that one look waits for an answer


def wait(endpoint: str, model: Path, settings: DeploySettings, progress: Progress) -> Compared:
    """What it answered once it agreed. Ends in PendingError if it never answers, in QualityGateError if it differs."""
    began = time.monotonic()
    strange_since: float | None = None
    while True:
        left = settings.wait_seconds - (time.monotonic() - began)
        found = _look(endpoint, model, min(LOOK, max(left, PAUSE)))
        if found is not None and found.agrees:
            return found
        now = time.monotonic()
        if found is None:
            progress.say(f"{endpoint}: no answer yet")
        else:
            progress.say(f"{endpoint}: answers, but not yet as this model does")
            strange_since = strange_since or now
            if now - strange_since >= settings.settle_seconds:
                found.check(endpoint)
        if now - began >= settings.wait_seconds:
            if found is not None:
                found.check(endpoint)
            raise PendingError(
                f"{endpoint} did not answer within {settings.wait_seconds:g} seconds.",
                do="Look at its log, then run the same command again.",
            )
        time.sleep(PAUSE)


def _look(endpoint: str, model: Path, seconds: float) -> Compared | None:
    """The golden logits as the server gives them now; None where it does not answer."""
    try:
        backend = score.open_backend(
            model, backend="vllm-server", endpoint=endpoint, in_flight=4, timeout=seconds, give_up_after=seconds
        )
        try:
            return golden.compare(backend, model)
        finally:
            backend.close()
    except PendingError:
        return None
