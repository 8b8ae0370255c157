"""Answers by content, in SQLite beside the index: the same model asked the same thing answers from here.

The key is the model's fingerprint (prompt version included) and the digests of both histories in the order of the
prompt; neither text nor record ids are kept. Written as answers come, so that a kill loses what is under way and no
more. Knows nothing of pairs.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from resolver.errors import RunError

AT_ONCE = 500  # keys in one question


class Cache:
    def __init__(self, path: Path, fingerprint: str) -> None:
        self.path, self.fingerprint = path, fingerprint
        with self._said():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._con = sqlite3.connect(path, timeout=60.0, isolation_level=None)
            self._con.execute("PRAGMA journal_mode = WAL")
            self._con.execute("PRAGMA synchronous = NORMAL")
            self._con.execute(
                "CREATE TABLE IF NOT EXISTS answers (fingerprint TEXT, prompt TEXT, logit REAL NOT NULL,"
                " PRIMARY KEY (fingerprint, prompt)) WITHOUT ROWID"
            )

    def find(self, keys: Sequence[str]) -> Mapping[str, float]:
        """Those that are known."""
        found: dict[str, float] = {}
        with self._said():
            for start in range(0, len(keys), AT_ONCE):
                some = keys[start : start + AT_ONCE]
                marks = ", ".join("?" * len(some))
                found.update(
                    self._con.execute(
                        f"SELECT prompt, logit FROM answers WHERE fingerprint = ? AND prompt IN ({marks})",
                        [self.fingerprint, *some],
                    )
                )
        return found

    def keep(self, key: str, logit: float) -> None:
        """At once: the process can be killed after it. (Only where the machine itself stops, the last may be lost.)"""
        with self._said():
            self._con.execute("INSERT OR REPLACE INTO answers VALUES (?, ?, ?)", [self.fingerprint, key, logit])

    def close(self) -> None:
        self._con.close()

    @contextlib.contextmanager
    def _said(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError):
            raise RunError(
                f"{self.path}, where answers of the language model are kept, can't be used.",
                do="Check its permissions and the disk; if it is damaged, delete it: answers are then paid for again.",
            ) from None
