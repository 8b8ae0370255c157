"""Says what went wrong when Synthea failed, from its exit code and its output.

Quotes nothing of the output: it holds names.
"""

from __future__ import annotations

import signal

from resolver.errors import ResolverError, RunError


class GenerationError(RunError):
    """Synthea failed."""


class StoppedError(GenerationError):
    """A person or the system stopped the generation."""

    exit_code = 130


# What Synthea or Java says -> what is wrong, what to do. The first that is found counts.
_SIGNS: tuple[tuple[tuple[str, ...], str, str], ...] = (
    (
        ("No space left on device", "Disk quota exceeded"),
        "the disk of {folder} is full.",
        "Make room or choose another --out, and run the same command again; it starts over.",
    ),
    (
        ("Could not reserve enough space", "insufficient memory for the Java Runtime", "Invalid maximum heap size"),
        "Java can't have a heap of {heap:g} GiB on this machine.",
        "Lower it with --heap-gib.",
    ),
    (
        ("java.lang.OutOfMemoryError", "Too small maximum heap", "GC overhead limit"),
        "a heap of {heap:g} GiB is too little.",
        "Raise it with --heap-gib, or lower threads in the config; then run the same command again.",
    ),
    (
        ("UnsupportedClassVersionError",),
        "Java is too old for this Synthea.",
        "Install Java 17, or point JAVA_HOME at it.",
    ),
    (
        ("NoClassDefFoundError", "ClassNotFoundException", "Could not find or load main class"),
        "a library of Synthea is missing on the class path.",
        "Put all of its libraries there, not only its own jar; the log names the class.",
    ),
    (
        ("Permission denied",),
        "it may not write to {folder}.",
        "Check who owns the folder.",
    ),
)


def fatal(line: str) -> bool:
    """Whether this line means that going on is pointless. Synthea goes on with half of its files missing."""
    return any(sign in line for sign in _SIGNS[0][0])


def sign_in(line: str) -> str | None:
    """The sign that this line holds, so that the output need not be kept in memory."""
    return next((sign for signs, _, _ in _SIGNS for sign in signs if sign in line), None)


def full_disk(done: str, folder: object) -> GenerationError:
    """The error for a disk on which not even Synthea's output fits."""
    _, what, do = _SIGNS[0]
    return GenerationError(f"Synthea failed after {done}: {what.format(folder=folder)}", do=do)


def explain(signs: set[str], code: int, *, done: str, folder: object, log: object, heap: float) -> ResolverError:
    """The error for a Synthea that ended too early; `done` says how far it came."""
    for known, what, do in _SIGNS:
        if signs.intersection(known):
            return GenerationError(f"Synthea failed after {done}: {what.format(folder=folder, heap=heap)}", do=do)
    if code in (-signal.SIGKILL, 128 + signal.SIGKILL):
        return GenerationError(
            f"Synthea was killed after {done}, most likely because the machine ran out of memory.",
            do="Lower --heap-gib, or free memory, and run the same command again.",
        )
    if code < 0 or code in (128 + signal.SIGTERM, 128 + signal.SIGINT):
        return StoppedError(
            f"Synthea was stopped after {done}.", do="Run the same command again; it starts over from nothing."
        )
    if code:
        return GenerationError(f"Synthea failed after {done} with exit code {code}.", do=f"Its log says why: {log}")
    return GenerationError(
        f"Synthea ended after {done}, without all that it was asked for.", do=f"Its log says why: {log}"
    )
