"""Asking a busy store again, after the pause that it asks for or a growing one of our own. Knows no store."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from resolver.errors import RunError

T = TypeVar("T")
Sleep = Callable[[float], None]

TRIES = 8
FIRST = 1.0  # seconds before the first repetition, doubled each time
LONGEST = 60.0  # seconds of one pause of our own
ASKED = 300.0  # seconds of one pause that the store asks for, at most


class BusyError(Exception):
    """The store could not be asked now, or answered in part. What was asked may be asked again."""

    def __init__(self, why: str, after: float = 0.0) -> None:
        super().__init__(why)
        self.why = why
        self.after = after  # seconds, where the store says


def patiently(call: Callable[[], T], what: str, sleep: Sleep = time.sleep) -> T:
    """What the call gives, asked again while the store is busy; one line about `what` when patience ends."""
    for turn in range(TRIES):
        try:
            return call()
        except BusyError as error:
            if turn == TRIES - 1:
                raise RunError(f"{what}: {error.why}.", do="Run the same command again later.") from None
            sleep(min(error.after, ASKED) or min(FIRST * 2**turn, LONGEST))
    raise AssertionError("the last turn returns or raises")
