"""The decisions about models: one line of JSON each, only ever added to, each bound to the one before by its digest.

What is in production is nothing but what these lines add up to, so no second file can disagree with them. A line that
was changed or taken out later is noticed. Knows nothing of files of models or of figures.
"""

from __future__ import annotations

import dataclasses
import getpass
import json
import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

from resolver import files
from resolver.errors import DamagedError

What = Literal["registered", "measured", "promoted", "refused", "rolled back"]
Stage = Literal["candidate", "production", "archived"]
FIRST = "0" * 64  # what the first line is bound to


@dataclass(frozen=True)
class Entry:
    at: str
    by: str  # the account that ran the command
    what: What
    version: int
    instead_of: int | None  # promoted: what was in production before; rolled back: what is in production now
    reason: str
    facts: dict[str, Any]  # registered: digest; measured: pin and digest; promoted and refused: all the gate saw
    after: str  # digest of the line before


@dataclass(frozen=True)
class State:
    """What the lines add up to."""

    stages: dict[int, Stage] = field(default_factory=dict)
    line: tuple[int, ...] = ()  # of succession: the last is in production, before it what it replaced
    rolled_back: dict[int, str] = field(default_factory=dict)  # version -> reason, until it is promoted again
    test_set: str = ""  # pin of the test set that what is in production was promoted on

    @property
    def production(self) -> int | None:
        return self.line[-1] if self.line else None


def read(path: Path) -> list[Entry]:
    """All entries, checked. What follows the last line break was being written when the power went: it never held."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    known = {one.name for one in dataclasses.fields(Entry)}
    entries: list[Entry] = []
    after = FIRST
    for number, line in enumerate(content.split(b"\n")[:-1], start=1):
        try:
            values = json.loads(line)
        except ValueError:
            values = None
        if not isinstance(values, dict) or set(values) != known or values["after"] != after:
            raise DamagedError(
                f"{path}, line {number}: the history was changed after it was written.",
                do="Restore it from a backup; until then nothing is promoted.",
            )
        entries.append(Entry(**values))
        after = files.digest_bytes(line)
    return entries


def add(path: Path, what: What, version: int, *, reason: str, instead_of: int | None = None, **facts: Any) -> Entry:
    """Write one more entry, on disk before this returns. The caller holds the registry's lock."""
    read(path)
    content = path.read_bytes() if path.exists() else b""
    lines = content[: content.rfind(b"\n") + 1]
    after = files.digest_bytes(lines[:-1].rpartition(b"\n")[2]) if lines else FIRST
    entry = Entry(time.strftime("%Y-%m-%dT%H:%M:%S%z"), _account(), what, version, instead_of, reason, facts, after)
    line = json.dumps(dataclasses.asdict(entry), sort_keys=True).encode() + b"\n"
    with path.open("ab") as file:
        file.truncate(len(lines))
        file.write(line)
        file.flush()
        os.fsync(file.fileno())
    return entry


def state(entries: list[Entry]) -> State:
    stages: dict[int, Stage] = {}
    line: list[int] = []
    rolled_back: dict[int, str] = {}
    pins: list[str] = []
    for entry in entries:
        if entry.what == "registered":
            stages[entry.version] = "candidate"
        elif entry.what == "promoted":
            if line:
                stages[line[-1]] = "archived"
            line.append(entry.version)
            stages[entry.version] = "production"
            rolled_back.pop(entry.version, None)
            pins.append(cast(str, entry.facts["test_set"]))
        elif entry.what == "rolled back":
            stages[line.pop()] = "archived"
            pins.pop()
            rolled_back[entry.version] = entry.reason
            if line:
                stages[line[-1]] = "production"
    return State(stages, tuple(line), rolled_back, pins[-1] if pins else "")


def _account() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return f"uid {os.getuid()}"
