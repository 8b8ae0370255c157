"""The keys of jobs, and of models that travel, as they are kept at home: one file each, readable by its owner alone.

A seal is destroyed when its job is over. Whatever a store keeps of old versions can't be read by anybody then.
"""

from __future__ import annotations

import os
from pathlib import Path

from llm_classifier.pods import sealed


class Seals:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def of(self, name: str) -> bytes:
        """The seal of this name, made once."""
        path = self._folder / name
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            found = path.read_bytes()
            if len(found) == sealed.KEY:
                return found
            path.unlink()  # cut off by a kill, so nothing was ever sealed with it
            return self.of(name)
        made = sealed.new_key()
        with os.fdopen(handle, "wb") as file:
            file.write(made)
            file.flush()
            os.fsync(file.fileno())
        return made

    def destroy(self, name: str) -> None:
        (self._folder / name).unlink(missing_ok=True)
