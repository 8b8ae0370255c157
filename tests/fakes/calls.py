"""What the end-to-end tests of rented machines call, each in a process of its own (warm.py)."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

# A process that has these has all that a run and a worker import.
WARM = (
    "resolver.cli:main",
    "resolver.runs",
    "resolver.pipeline",
    "splink",
    "duckdb",
    "polars",
    "jinja2",
    "httpx",
    "s3fs",
    "botocore.session",
    "cryptography.hazmat.primitives.ciphers.aead",
    "transformers:Gemma3TextForSequenceClassification",
    "transformers:AutoTokenizer",
    "llm_classifier.pods.asking",
    "llm_classifier.pods.worker",
    "llm_classifier.score.local",
)


def cli() -> None:
    from resolver.cli import main

    main(sys.argv[1:])


def worker() -> int:
    from llm_classifier.pods import worker as program

    return program.main()


def dying_worker() -> int:
    """Does one part, then waits until the file that TEST_FLAG names is there, and dies as by kill -9."""
    from llm_classifier.pods import scoring

    work, done = scoring.work, []

    def working(*arguments: Any) -> Any:
        if done:
            while not Path(os.environ["TEST_FLAG"]).exists():
                time.sleep(0.02)
            os.kill(os.getpid(), signal.SIGKILL)
        done.append(True)
        return work(*arguments)

    scoring.work = working
    return worker()


def ask() -> int:
    """CONFIG MODEL PROMPTS [STATE before|after]: asks for answers. Dies as by kill -9 when the job changes into that
    state, before the change is on disk or after it."""
    from llm_classifier.pods import asking, jobs, scoring
    from resolver import settings
    from resolver.errors import PendingError, ResolverError
    from resolver.progress import Progress

    config, model, prompts, *dying = sys.argv[1:]
    scoring.PART = 10
    if dying:
        _die(jobs.Jobs, *dying)
    try:
        with asking.allowing(asking.Leave(launch=True)):
            told = asking.answers(
                json.loads(Path(prompts).read_text()), Path(model), settings.load(Path(config)), Progress()
            )
    except PendingError as error:
        print(error)
        return 75
    except ResolverError as error:
        print(error)
        return error.exit_code
    print(json.dumps({"logits": told.logits.tolist(), "facts": told.facts}))
    return 0


def _die(jobs: Any, state: str, when: str) -> None:
    move, change = jobs.move, jobs.change
    doomed: list[bool] = []

    def moved(self: Any, job: Any, to: str, *arguments: Any, **more: Any) -> Any:
        if to == state and job.state != state:
            doomed.append(True)
        return move(self, job, to, *arguments, **more)

    class Change:
        def __init__(self, jobs: Any) -> None:
            self.inner = change(jobs)

        def __enter__(self) -> Any:
            return self.inner.__enter__()

        def __exit__(self, *error: Any) -> Any:
            if doomed and when == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            found = self.inner.__exit__(*error)
            if doomed:
                os.kill(os.getpid(), signal.SIGKILL)
            return found

    jobs.move, jobs.change = moved, lambda self: Change(self)
