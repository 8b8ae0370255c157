"""The backend `vllm`: an offline engine in vLLM's own environment, driven through a pipe (serving/engine.py).

Knows nothing of pairs. What the engine prints is thrown away, since it may hold what it was asked.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from llm_classifier import artifact
from llm_classifier.score.loading import Dtype
from llm_classifier.score.server import answer_tokens, tokenizer
from llm_classifier.score.usage import Usage, parameters
from llm_classifier.serving import engine
from resolver.errors import RunError, UsageError

PYTHON = Path(".venv-vllm/bin/python")  # where `make vllm` puts it
AT_ONCE = 512  # prompts handed over at once: what a kill may lose


def _interpreter() -> Path:
    """This very one where it has vLLM, as in the image of the GPU worker; else the environment beside the checkout."""
    return Path(sys.executable) if find_spec("vllm") else PYTHON


class EngineBackend:
    def __init__(self, folder: Path, *, python: Path | None = None, dtype: Dtype | None = None) -> None:
        told = artifact.read(folder)
        if told.weights != "merged":
            raise UsageError(f"{folder} is an adapter, and vLLM takes merged weights.", do="Use resolver llm export.")
        interpreter = python or _interpreter()
        if not interpreter.exists():
            raise UsageError(
                f"There is no environment with vLLM at {interpreter}.",
                do="Make it with: make vllm; or say where it is (llm.vllm_python).",
            )
        self._artifact, self._tokenizer = told, tokenizer(folder)
        self.usage = Usage(parameters(folder), cached=0)
        ours, theirs = os.pipe()
        environment = os.environ | {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
        self._process = subprocess.Popen(
            [str(interpreter.absolute()), engine.__file__, str(theirs)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(theirs,),
            env=environment,
            text=True,
        )
        os.close(theirs)
        self._answers = os.fdopen(ours, encoding="utf-8")
        self._tell(
            {
                "model": str(folder.absolute()),
                "kind": told.kind,
                "dtype": dtype or ("float32" if told.dtype == "float32" else "bfloat16"),
                "max_tokens": told.max_tokens,
                "answers": answer_tokens(self._tokenizer),
                "eager": not Path("/dev/nvidiactl").exists(),
            }
        )
        self._hear()

    def logits(self, prompts: Sequence[str]) -> Iterator[tuple[int, float]]:
        for start in range(0, len(prompts), AT_ONCE):
            began = time.monotonic()
            tokens = [one.ids for one in self._tokenizer.encode_batch(list(prompts[start : start + AT_ONCE]))]
            fits = [place for place, one in enumerate(tokens) if len(one) <= self._artifact.max_tokens]
            self._tell({"prompts": [tokens[place] for place in fits]})
            told = self._hear()
            found = dict(zip(fits, told["logits"], strict=True))
            answers = [math.nan if found.get(place) is None else float(found[place]) for place in range(len(tokens))]
            self.usage.prompts += len(fits)
            self.usage.tokens += sum(len(tokens[place]) for place in fits)
            self.usage.cached = (self.usage.cached or 0) + int(told["cached"])
            self.usage.refused += sum(math.isnan(one) for one in answers)
            self.usage.seconds += time.monotonic() - began
            yield from ((start + place, answer) for place, answer in enumerate(answers))

    def _tell(self, what: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(what) + "\n")
            self._process.stdin.flush()
        except OSError:
            self._gone()

    def _hear(self) -> Any:
        line = self._answers.readline()
        if not line:
            self._gone()
        return json.loads(line)

    def _gone(self) -> None:
        self._process.wait()
        raise RunError(
            f"The vLLM engine ended with code {self._process.returncode}.",
            do="Serve the model by hand to see why: serving.json beside it has the command.",
        )

    def close(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._answers.close()
