"""A folder as it travels: cut into sealed chunks, put together again at the other end, and held against its digests.

    <parcel>/chunk/<name>    up to CHUNK bytes of a file
    <parcel>/index/<name>    the files, their digests, and the chunks of each; written last

Names follow from contents and the seal, so that what is there is never written again, and never becomes something else.
No more of it is in memory than a few chunks. Stopped at any time, either end goes on with the chunk it was at. Knows
nothing of what the folder is.
"""

from __future__ import annotations

import hashlib
import json
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from llm_classifier.pods.bridges import Files
from llm_classifier.pods.parcel import HomeParcel, Parcel
from resolver import files
from resolver.errors import DamagedError

CHUNK = 32 * 2**20
TOGETHER = 8  # chunks that are put together: a commit each would be too many for a hub
AHEAD = 4  # chunks that are fetched while one is written

Advance = Callable[[int], object]  # told the bytes of each chunk that is done


def pack(parcel: HomeParcel, folder: Path, paths: Sequence[Path], advance: Advance) -> str:
    """Bring these files of the folder to the bridge, less what is there; the name of their index."""
    there = set(parcel.names())
    waiting: dict[str, bytes] = {}
    listed = []
    for path in sorted(paths):
        whole, chunks = hashlib.sha256(), []
        for chunk in _chunks(path):
            whole.update(chunk)
            name = f"chunk/{parcel.name_of(chunk)}"
            chunks.append(name)
            if name not in there:
                waiting[name] = chunk
                there.add(name)
            if len(waiting) == TOGETHER:
                parcel.put_all(waiting.items())
                waiting = {}
            advance(len(chunk))
        name = path.relative_to(folder).as_posix()
        listed.append({"name": name, "sha256": whole.hexdigest(), "size": path.stat().st_size, "chunks": chunks})
    index = json.dumps(listed, sort_keys=True).encode()
    name = f"index/{parcel.name_of(index)}"
    if waiting or name not in there:
        parcel.put_all([*waiting.items(), (name, index)])
    return name


def names(parcel: Parcel, index: str) -> list[str]:
    """All that the other end has to read."""
    return [index, *sorted({name for file in _read(parcel, index) for name in file["chunks"]})]


def unpack(parcel: Parcel, index: str, folder: Path, advance: Advance) -> None:
    """Put the files that an index lists into the folder, each when it is whole."""
    put_together(parcel, _read(parcel, index), folder, advance)


def send(
    put_all: Callable[[Files], None], folder: Path, paths: Sequence[Path], advance: Advance
) -> list[dict[str, Any]]:
    """The other way, from a worker, which may write to places that were named before: chunks are numbered. The list of
    the files, for the other end."""
    listed: list[dict[str, Any]] = []
    waiting: dict[str, bytes] = {}
    number = 0
    for path in sorted(paths):
        whole, chunks = hashlib.sha256(), []
        for chunk in _chunks(path):
            whole.update(chunk)
            chunks.append(numbered(number))
            waiting[chunks[-1]] = chunk
            number += 1
            if len(waiting) == TOGETHER:
                put_all(waiting.items())
                waiting = {}
            advance(len(chunk))
        name = path.relative_to(folder).as_posix()
        listed.append({"name": name, "sha256": whole.hexdigest(), "size": path.stat().st_size, "chunks": chunks})
    put_all(waiting.items())
    return listed


def numbered(number: int) -> str:
    return f"out/{number:05d}"


def put_together(parcel: Parcel, listed: Sequence[Mapping[str, Any]], folder: Path, advance: Advance) -> None:
    for file in listed:
        path = folder / file["name"]
        if path.exists() and path.stat().st_size == file["size"] and files.digest(path) == file["sha256"]:
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = files.temporary(path)
        whole = hashlib.sha256()
        with scratch.open("a+b") as target:
            done = min(target.tell() // CHUNK, len(file["chunks"]))
            target.truncate(done * CHUNK)
            target.seek(0)
            for _ in range(done):
                whole.update(target.read(CHUNK))
            for content in _fetched(parcel, file["chunks"][done:]):
                target.write(content)
                whole.update(content)
                advance(len(content))
        if whole.hexdigest() != file["sha256"]:
            scratch.unlink()
            raise DamagedError(f"{path.name} did not come over the bridge as it was packed.")
        files.commit(scratch, path)


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as source:
        while chunk := source.read(CHUNK):
            yield chunk


def _read(parcel: Parcel, index: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(_get(parcel, index))
    return found


def _get(parcel: Parcel, name: str) -> bytes:
    content = parcel.get(name)
    if content is None:
        raise DamagedError(f"{name} of {parcel.job} is not at the bridge.")
    return content


def _fetched(parcel: Parcel, chunks: Sequence[str]) -> Iterator[bytes]:
    """The chunks in order, a few of them on their way at a time."""
    coming = deque[Future[bytes]]()
    with ThreadPoolExecutor(AHEAD) as pool:
        for name in chunks:
            coming.append(pool.submit(_get, parcel, name))
            if len(coming) == AHEAD:
                yield coming.popleft().result()
        while coming:
            yield coming.popleft().result()
