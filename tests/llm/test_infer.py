"""Launch, then collect, on this machine: real processes, a real worker, kill -9 between any two lines of the record."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

pytestmark = pytest.mark.llm

# Dies as by kill -9 at the given change of the job's record, before or after it is on disk.
DYING = """
import os, signal, sys
from pathlib import Path
from llm_classifier.pods import asking, jobs
from resolver import settings
from resolver.errors import PendingError
from resolver.progress import Progress

at, after, config, model = int(sys.argv[1]), sys.argv[2] == "after", Path(sys.argv[3]), Path(sys.argv[4])
change, count = jobs.Jobs.change, [0]

class Change:
    def __init__(self, jobs): self.inner = change(jobs)
    def __enter__(self):
        count[0] += 1
        return self.inner.__enter__()
    def __exit__(self, *error):
        if count[0] == at and not after and error[0] is None:
            os.kill(os.getpid(), signal.SIGKILL)
        found = self.inner.__exit__(*error)
        if count[0] == at:
            os.kill(os.getpid(), signal.SIGKILL)
        return found

jobs.Jobs.change = lambda self: Change(self)
prompts = Path(sys.argv[5]).read_text().split("\\x00")
try:
    with asking.allowing(asking.Leave(launch=True)):
        print(len(asking.answers(prompts, model, settings.load(config), Progress()).logits))
except PendingError as error:
    print(error)
    sys.exit(75)
"""


@pytest.fixture(scope="session")
def model(tiny_classifier: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with golden logits of its own."""
    import shutil

    from llm_classifier import golden, prompt
    from llm_classifier.score import open_backend

    folder = tmp_path_factory.mktemp("infer") / "model"
    shutil.copytree(tiny_classifier, folder)
    prompts = [prompt.pair(f"conditions: asthma since {year}", "conditions: asthma") for year in range(1990, 1994)]
    backend = open_backend(folder)
    golden.write(folder, prompts, np.array([logit for _, logit in sorted(backend.logits(prompts))]))
    backend.close()
    return folder


def config(folder: Path, model: Path) -> Path:
    """The bundled sample, Splink alone, and a language model on a machine to be rented for 40 of its gray pairs."""
    from resolver import sample

    more = f"""
    learn: {{way: none}}
    adjudicate: {{judges: [llm]}}
    decide: {{match_probability: 0.9999, non_match_probability: 0.0001}}
    llm: {{model: {json.dumps(str(model))}, backend: pods, max_pairs: 40}}
    pods: {{backend: transformers}}
    """
    path = folder / "infer.yaml"
    path.write_text(sample.config(folder / "run") + textwrap.dedent(more), encoding="utf-8")
    return path


def call(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "resolver", *map(str, arguments)], capture_output=True, text=True, check=False
    )


def workers(folder: Path) -> int:
    """Processes that work for a job of this folder."""
    found = 0
    for place in Path("/proc").glob("[0-9]*/environ"):
        try:
            found += f"RESOLVER_JOB_BRIDGE=file://{folder}".encode() in place.read_bytes()
        except OSError:
            continue
    return found


def test_launch_then_collect(model: Path, tmp_path: Path) -> None:
    """run says what waits; infer launches and says come back; later it collects, finishes and leaves nothing behind."""
    path = config(tmp_path, model)

    first = call("run", path)
    assert first.returncode == 75, first.stderr
    assert "resolver infer" in first.stderr
    assert workers(tmp_path) == 0

    codes = []
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        done = call("infer", path, "--json")
        codes.append(done.returncode)
        if done.returncode != 75:
            break
        assert workers(tmp_path) <= 1
        time.sleep(4)
    assert codes[0] == 75 and codes[-1] == 0, done.stderr

    verdicts = pl.read_parquet(tmp_path / "run" / "verdicts.parquet")
    assert 0 < len(verdicts.filter(pl.col("status") == "ok")) <= 40
    assert workers(tmp_path) == 0
    assert len(list((tmp_path / "run" / "pods" / "machines").iterdir())) == 1
    assert call("pods", "list", path, "--json").stdout.strip() == "[]"
    again = call("infer", path, "--json")
    assert again.returncode == 0, again.stderr
    assert len(list((tmp_path / "run" / "pods" / "machines").iterdir())) == 1


def test_killed_at_every_change(model: Path, tmp_path: Path) -> None:
    """Killed after each change of its record, or before it, a job still ends, with one machine and all answers."""
    from llm_classifier import prompt

    path = config(tmp_path, model)
    prompts = tmp_path / "prompts"
    prompts.write_text("\x00".join(prompt.pair(f"conditions: gout since {year}", "") for year in range(1990, 2015)))
    script = tmp_path / "dying.py"
    script.write_text(DYING)
    states: list[int] = []
    for turn in range(60):
        when = ["0", "after"] if turn > 20 else [str(1 + turn % 3), "before" if turn % 4 == 3 else "after"]
        done = subprocess.run(
            [sys.executable, script, *when, path, model, prompts], capture_output=True, text=True, check=False
        )
        states.append(done.returncode)
        assert workers(tmp_path) <= 1
        if done.returncode == 0:
            break
        assert done.returncode in (75, -signal.SIGKILL), done.stderr
        if done.returncode == 75:
            time.sleep(3)
    assert done.returncode == 0 and done.stdout.strip() == "25"
    assert states.count(-signal.SIGKILL) >= 6
    assert len(list((tmp_path / "run" / "pods" / "machines").iterdir())) == 1
    assert workers(tmp_path) == 0


def test_cancel_ends_the_machine(model: Path, tmp_path: Path) -> None:
    """A job is cancelled while its worker is at it: the process is gone, and the run says how to try again."""
    from llm_classifier.pods import asking
    from resolver import settings
    from resolver.errors import PendingError, RunError
    from resolver.progress import Progress

    path = config(tmp_path, model)
    loaded = settings.load(path)

    def ask() -> Any:
        with asking.allowing(asking.Leave(launch=True)):
            return asking.answers(["a", "b"], model, loaded, Progress())

    with pytest.raises(PendingError):
        ask()
    for _ in range(3):
        if workers(tmp_path) == 0:
            with pytest.raises(PendingError):
                ask()
    assert workers(tmp_path) == 1

    done = call("infer", path, "--cancel")

    assert done.returncode == 0, done.stderr
    assert "cancelled" in done.stdout
    assert workers(tmp_path) == 0
    with pytest.raises(RunError, match="--again"):
        ask()


def test_secrets_stay_out_of_logs_and_process_lists(model: Path, tmp_path: Path, monkeypatch: Any) -> None:
    """The worker gets the job's own seal and no other secret; nothing of it is in arguments, logs or the record."""
    from llm_classifier.pods import asking
    from resolver import settings
    from resolver.errors import PendingError
    from resolver.progress import Progress

    monkeypatch.setenv("RUNPOD_API_KEY", "rpa_planted_secret")
    monkeypatch.setenv("HF_TOKEN", "hf_planted_secret")
    path = config(tmp_path, model)
    loaded = settings.load(path)
    with asking.allowing(asking.Leave(launch=True)), pytest.raises(PendingError):
        asking.answers(["a secret history"], model, loaded, Progress())
    (seal,) = (tmp_path / "run" / "pods" / "seals").iterdir()
    secret = seal.read_bytes().hex()
    assert seal.stat().st_mode & 0o077 == 0
    for place in Path("/proc").glob("[0-9]*"):
        try:
            told = (place / "environ").read_bytes()
            if f"RESOLVER_JOB_BRIDGE=file://{tmp_path}".encode() in told:
                assert b"planted_secret" not in told
            assert secret.encode() not in (place / "cmdline").read_bytes()
        except OSError:
            continue
    with asking.allowing(asking.Leave(launch=True, wait=True)):
        assert len(asking.answers(["a secret history"], model, loaded, Progress()).logits) == 1
    for file in (tmp_path / "run").rglob("*"):
        if file.is_file() and file != seal:
            content = file.read_bytes()
            assert b"planted_secret" not in content and secret.encode() not in content
            assert b"a secret history" not in content, file
    assert os.environ["HF_TOKEN"]
