"""Programs for end-to-end tests: each a process of its own, that can be killed, forked from one that has imported much.

    python warm.py MODULE...     reads commands on standard input, answers each on standard output

Starting Python and importing torch takes seconds of CPU time, a fork milliseconds.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PASSED = ("PATH", "HOME", "PYTHONPATH", "LD_LIBRARY_PATH", "TMPDIR")
CALM = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "POLARS_MAX_THREADS": "1", "HF_HUB_OFFLINE": "1"}


@dataclass(frozen=True)
class Process:
    """What subprocess.Popen is, as far as tests need it."""

    warm: Warm
    pid: int
    log: Path

    def poll(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        found = self.warm.ask({"poll": self.pid})["code"]
        return None if found is None else int(found)

    def wait(self, seconds: float = 120.0) -> int:
        until = time.monotonic() + seconds
        while (code := self.poll()) is None:
            assert time.monotonic() < until, f"it still runs: {self.log.read_text()}"
            time.sleep(0.02)
        return code

    def kill(self) -> None:
        if self.poll() is None:
            os.killpg(self.pid, signal.SIGKILL)
            self.wait()


class Warm:
    def __init__(self, modules: Sequence[str]) -> None:
        environment = {name: os.environ[name] for name in PASSED if name in os.environ} | CALM
        self._process = subprocess.Popen(
            [sys.executable, __file__, *modules],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env=environment | {"PYTHONPATH": f"{ROOT}:{environment.get('PYTHONPATH', '')}"},
            text=True,
        )
        self._lock = threading.Lock()

    def start(self, function: str, arguments: Sequence[object], environment: Mapping[str, str], log: Path) -> Process:
        """`function` as module:name. It sees this environment and no other; its output goes to `log`."""
        told = {"function": function, "arguments": [str(one) for one in arguments], "environment": dict(environment)}
        return Process(self, int(self.ask({**told, "log": str(log)})["pid"]), log)

    def ask(self, command: Mapping[str, Any]) -> dict[str, Any]:
        with self._lock:
            assert self._process.stdin is not None and self._process.stdout is not None
            self._process.stdin.write(json.dumps(command) + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        assert answer, "the warm process is gone"
        return dict(json.loads(answer))

    def close(self) -> None:
        self._process.communicate()


def _serve(modules: Sequence[str]) -> None:
    for module in modules:
        name, _, attribute = module.partition(":")
        found = importlib.import_module(name)
        if attribute:  # what a module loads only when it is asked for
            getattr(found, attribute)
    codes: dict[int, int | None] = {}
    for line in sys.stdin:
        command = json.loads(line)
        if "function" in command:
            pid = os.fork()
            if pid == 0:
                _run(command)
            codes[pid] = None
            answer: dict[str, Any] = {"pid": pid}
        else:
            pid = command["poll"]
            if codes[pid] is None:
                found, status = os.waitpid(pid, os.WNOHANG)
                codes[pid] = os.waitstatus_to_exitcode(status) if found else None
            answer = {"code": codes[pid]}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def _run(command: Mapping[str, Any]) -> None:
    code = 1
    try:
        os.setsid()
        log = os.open(command["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.environ.clear()
        os.environ.update(command["environment"] | CALM)
        module, _, name = command["function"].partition(":")
        sys.argv = [module, *command["arguments"]]
        code = getattr(importlib.import_module(module), name)() or 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException as error:  # noqa: BLE001
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    _serve(sys.argv[1:])
