"""A folder of the rented machine in which a job's worker makes something.

It is named by the job, so that on a machine that stays, a worker goes on where one that was killed left off. Gone when
the worker has ended by itself; of what others left, that whose time is over is taken away. Knows nothing of the work.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from resolver import files
from resolver.errors import LockedError

NAME = "resolver-room-"
UNTIL = "until"  # the deadline of the worker, Unix time
LOCK = "lock"
LEFT = 3600.0  # seconds past it, after which a room is nobody's


@contextlib.contextmanager
def room(job: str, deadline: float) -> Iterator[Path]:
    root = Path(tempfile.gettempdir())
    for other in root.glob(f"{NAME}*"):
        if _ours(other) and _over(other):
            shutil.rmtree(other, ignore_errors=True)
    place = root / f"{NAME}{job[:12]}"
    with contextlib.suppress(FileExistsError):
        place.mkdir(mode=0o700)
    if not _ours(place):  # a folder that somebody else prepared could hold anything
        place = Path(tempfile.mkdtemp(prefix=NAME))
    with files.lock(place / LOCK, "The folder of this job on this machine"):
        files.write_text(place / UNTIL, str(deadline))
        try:
            yield place
        finally:
            shutil.rmtree(place, ignore_errors=True)


def _ours(place: Path) -> bool:
    try:
        told = place.lstat()
    except OSError:
        return False
    return told.st_uid == os.getuid() and place.is_dir() and not place.is_symlink() and not told.st_mode & 0o077


def _over(place: Path) -> bool:
    """Whether nobody works in it, and its time is over."""
    try:
        late = float((place / UNTIL).read_text(encoding="utf-8")) + LEFT < time.time()
        with files.lock(place / LOCK, "The folder"):
            return late
    except (OSError, ValueError, LockedError):
        return False
