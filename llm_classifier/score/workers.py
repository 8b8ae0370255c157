"""Threads that wait for answers, and that nobody waits for: a program that is stopped ends at once.

(The standard pool lets no program end before each of its threads has, which here can take as long as a server hangs.)
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

Work = tuple[Future[Any], Callable[..., Any], tuple[Any, ...]]


class Workers:
    def __init__(self, most: int) -> None:
        self._most = most
        self._work: queue.SimpleQueue[Work | None] = queue.SimpleQueue()
        self._threads = 0
        self._idle = 0
        self._lock = threading.Lock()

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        future: Future[Any] = Future()
        with self._lock:
            if self._idle == 0 and self._threads < self._most:
                self._threads += 1
                threading.Thread(target=self._run, daemon=True).start()
            else:
                self._idle = max(self._idle - 1, 0)
        self._work.put((future, function, arguments))
        return future

    def _run(self) -> None:
        while True:
            work = self._work.get()
            if work is None:
                return
            future, function, arguments = work
            try:
                future.set_result(function(*arguments))
            except BaseException as error:  # noqa: BLE001 (handed to who waits)
                future.set_exception(error)
            with self._lock:
                self._idle += 1

    def close(self) -> None:
        """What is under way is not waited for."""
        for _ in range(self._threads):
            self._work.put(None)
