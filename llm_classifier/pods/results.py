"""The results of one job at home: kept part by part, each held against what was asked before it is kept.

Knows nothing of bridges and pods.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from llm_classifier.measures import Floats
from llm_classifier.pods import scoring
from resolver import files
from resolver.errors import DamagedError


@dataclass(frozen=True)
class Results:
    """Of a list of prompts."""

    prompts: Sequence[str]
    folder: Path

    def missing(self) -> list[str]:
        """The parts that are not kept here, in order. A kept one that is not whole is dropped."""
        found = []
        for name in self.parts():
            if not self._kept(name).exists():
                found.append(name)
                continue
            try:
                self._read(name)
            except DamagedError:
                self._kept(name).unlink()
                found.append(name)
        return found

    def keep(self, name: str, content: bytes, told: Mapping[str, str]) -> None:
        """Keep a part, if it answers the prompts that were asked and comes from where it was to be made."""
        start, some = self._asked(name)
        scoring.check(name, some, start, content, told)
        with files.whole(self._kept(name)) as scratch:
            scratch.write_bytes(content)

    def answers(self) -> Floats:
        """The logits, in the order of the prompts; NaN where a prompt could not be scored."""
        found = [self._read(name) for name in self.parts()]
        return np.concatenate(found) if found else np.empty(0)

    def parts(self) -> list[str]:
        return [scoring.name_of(number) for number in range(-(-len(self.prompts) // scoring.PART))]

    def packed(self, name: str) -> bytes:
        """The prompts of a part, as they travel."""
        start, some = self._asked(name)
        return scoring.pack(some, start)

    def _read(self, name: str) -> Floats:
        start, some = self._asked(name)
        try:
            content = self._kept(name).read_bytes()
        except OSError:
            raise DamagedError(
                f"{self._kept(name)} can't be read, which holds answers that came home.",
                do="Put it back, or remove the record of jobs (pods.jobs) to ask again.",
            ) from None
        return scoring.check(name, some, start, content)

    def _kept(self, name: str) -> Path:
        return self.folder / name

    def _asked(self, name: str) -> tuple[int, Sequence[str]]:
        start = scoring.number_of(name) * scoring.PART
        return start, self.prompts[start : start + scoring.PART]
