"""Runs Synthea's process and listens to it: how many persons are simulated, what its totals are, what went wrong.

Knows nothing of folders or of what becomes of the tables.
"""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from synthea_runner import failures

_PATIENCE_SECONDS = 60  # for Synthea to end after its last line
_PERSON = re.compile(r"^(\d+) -- ")
_TOTALS = re.compile(r"^Records: total=(\d+), alive=(\d+), dead=(\d+)")


@dataclass
class Heard:
    """What Synthea said."""

    simulated: set[int] = field(default_factory=set)
    """Numbers of persons. One who dies is simulated again under the same number, until one lives."""
    totals: tuple[int, int, int] | None = None
    """Persons, alive, dead; said at the end."""
    signs: set[str] = field(default_factory=set)
    """Signs of what went wrong; see failures.py."""
    stopped: bool = False
    """A person or the system asked for the end."""
    code: int = 0
    """Exit code."""

    def line(self, line: str) -> int:
        """Take in a line; how many persons it adds."""
        if person := _PERSON.match(line):
            new = int(person[1]) not in self.simulated
            self.simulated.add(int(person[1]))
            return int(new)
        if found := _TOTALS.match(line):
            self.totals = (int(found[1]), int(found[2]), int(found[3]))
        elif sign := failures.sign_in(line):
            self.signs.add(sign)
        return 0


def run(command: list[str], log: Path, advance: Callable[[int], None], descriptor: int) -> Heard:
    """Run Synthea to its end, however it ends, and keep its output in `log`.

    The process inherits `descriptor`, an open lock: if this one is killed, the folder stays locked until Synthea ends.
    """
    heard = Heard()
    with (
        log.open("w", encoding="utf-8", buffering=1) as kept,
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            pass_fds=(descriptor,),
        ) as process,
        _passing_on_requests_to_end(process, heard),
    ):
        assert process.stdout is not None
        try:
            for line in process.stdout:
                kept.write(line)
                advance(heard.line(line))
                if failures.fatal(line):
                    process.terminate()
            heard.code = process.wait(_PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            heard.code = process.wait()
        except OSError:  # the log can't be written
            process.kill()
            raise
    if heard.stopped:
        heard.code = -signal.SIGTERM
    return heard


def simulated_in(log: Path) -> int:
    """How many persons a log tells of."""
    heard = Heard()
    try:
        with log.open(encoding="utf-8", errors="replace") as lines:
            return sum(heard.line(line) for line in lines)
    except OSError:
        return 0


@contextlib.contextmanager
def _passing_on_requests_to_end(process: subprocess.Popen[str], heard: Heard) -> Iterator[None]:
    """Ctrl-C and kill end Synthea, and this process goes on to say what became of it. The second time they kill."""

    def end(number: int, frame: FrameType | None) -> None:
        if heard.stopped:
            process.kill()
        heard.stopped = True
        process.terminate()

    if threading.current_thread() is not threading.main_thread():  # signals can't be caught here
        yield
        return
    before = {number: signal.signal(number, end) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
