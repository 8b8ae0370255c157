"""This machine as a provider: the worker as a process of its own, so that the whole way runs anywhere.

A pod is a folder with the process's number and when it began; a number that the system has given to another process
since is not taken for it. Costs nothing.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

from llm_classifier.pods.names import parse
from llm_classifier.pods.providers import Offer, Order, Pod, Refused
from resolver import files

WORKER = (sys.executable, "-m", "llm_classifier.pods.worker")
# What a process needs to find programs and libraries. Nothing else is passed on: keys stay here.
PASSED = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "HF_HUB_OFFLINE")


class Local:
    name = "local"

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def offers(self) -> list[Offer]:
        return [Offer("this machine")]

    def shows(self, machine: str) -> bool:
        return True

    def launch(self, order: Order) -> Pod:
        place = self._folder / order.name
        try:
            place.mkdir(parents=True, mode=0o700)
        except FileExistsError:
            raise Refused("a pod of this name was made before") from None
        environment = {name: os.environ[name] for name in PASSED if name in os.environ}
        # Not subprocess: the worker outlives this program, and is nobody's child then.
        number = os.posix_spawn(
            WORKER[0],
            WORKER,
            environment | dict(order.environment),
            setsid=True,
            file_actions=(
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, str(place / "log"), os.O_WRONLY | os.O_CREAT, 0o600),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ),
        )
        files.write_json(place / "process.json", {"number": number, "began": _began(number)})
        return Pod(order.name, order.name, "starting", 0.0)

    def pods(self) -> list[Pod]:
        if not self._folder.is_dir():
            return []
        names = sorted(path.name for path in self._folder.iterdir() if parse(path.name) is not None)
        found = (self.describe(name) for name in names)
        return [pod for pod in found if pod is not None]

    def describe(self, id: str) -> Pod | None:
        return None if self._running(id) is None else Pod(id, id, "running", 0.0)

    def end(self, id: str) -> None:
        number = self._running(id)
        if number is None:
            return
        try:
            os.killpg(number, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            return

    def _running(self, id: str) -> int | None:
        """The number of its process, while that lives."""
        try:
            told = json.loads((self._folder / id / "process.json").read_text(encoding="utf-8"))
        except FileNotFoundError:  # killed between the start of the process and the note of it
            return _found(id)
        except (OSError, ValueError):
            return None
        began = _began(told["number"])
        return int(told["number"]) if began is not None and began == told["began"] else None


def _found(name: str) -> int | None:
    """The process that was told this name, by its environment."""
    from llm_classifier.pods.worker import PREFIX

    told = f"{PREFIX}POD={name}".encode()
    for place in Path("/proc").glob("[0-9]*/environ"):
        try:
            if told in place.read_bytes().split(b"\0"):
                return int(place.parent.name)
        except OSError:  # another user's, or gone meanwhile
            continue
    return None


def _began(number: int) -> str | None:
    """When a process began, as the system counts it; None where there is none, or it is only waited for."""
    try:
        stat = Path(f"/proc/{number}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return None
    return None if stat[0] in ("Z", "X") else stat[19]
