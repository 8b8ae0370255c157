"""Names of pods: whoever lists the pods of an account can tell ours, and when each has to be gone.

The deadline is in the name so that the reaper needs nothing else: no job record, no clock but its own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

PREFIX = "resolver"
_FORM = re.compile(rf"{PREFIX}-([0-9a-f]{{12}})-(\d{{1,4}})-(\d{{9,12}})-([0-9a-f]{{8}})")


@dataclass(frozen=True)
class PodName:
    job: str  # first 12 digits of the job's key
    attempt: int
    deadline: int  # Unix time, whole seconds
    nonce: str  # 8 hex digits: no two intents share a name

    def __str__(self) -> str:
        return f"{PREFIX}-{self.job}-{self.attempt}-{self.deadline}-{self.nonce}"


def parse(name: str) -> PodName | None:
    """The parts of a name of ours; None for any other name."""
    found = _FORM.fullmatch(name)
    return PodName(found[1], int(found[2]), int(found[3]), found[4]) if found else None
