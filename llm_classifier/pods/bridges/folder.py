"""A folder as a bridge: on this machine, or on a file system that both machines see. Both ends are the same."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from llm_classifier.pods.bridges import Files, Ticket
from resolver import files
from resolver.errors import RunError


class Folder:
    pause = 0.0

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()

    def put(self, name: str, content: bytes) -> None:
        try:
            with files.whole(self.root / name) as scratch:
                scratch.write_bytes(content)
        except OSError as error:
            raise RunError(
                f"The bridge {self.root} can't be written ({error.strerror}).", do="Make room, and check its rights."
            ) from None

    def put_all(self, files: Files) -> None:
        for name, content in files:
            self.put(name, content)

    def get(self, name: str) -> bytes | None:
        try:
            return (self.root / name).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise RunError(
                f"The bridge {self.root} can't be read ({error.strerror}).", do="Check its rights."
            ) from None

    def names(self, prefix: str) -> list[str]:
        every = (
            path.relative_to(self.root).as_posix()
            for path in (self.root / prefix.rpartition("/")[0]).rglob("*")
            if path.is_file()
        )
        return sorted(name for name in every if name.startswith(prefix) and not Path(name).name.startswith("."))

    def remove(self, prefix: str) -> None:
        for name in self.names(prefix):
            (self.root / name).unlink(missing_ok=True)
        if prefix.endswith("/"):
            shutil.rmtree(self.root / prefix, ignore_errors=True)

    def ticket(self, wanted: Ticket) -> Mapping[str, str]:
        return {"BRIDGE": f"file://{self.root}"}

    def close(self) -> None:
        """Nothing is open."""
