"""Every error that a user can meet, and the exit code it ends with.

    ResolverError                1  something failed
    ├── UsageError               2  the command or the config asks for something that does not exist
    │   └── SettingsError        2  faults in a YAML config, all of them together
    ├── InputError               1  a source file is missing, unreadable or of the wrong shape
    │   └── SchemaError          1  a table lacks a column or has one of another type
    ├── RunError                 1  the run folder or the index can't be used
    │   ├── LockedError          1  another process is at work on it
    │   └── DamagedError         1  a file is not what the manifest says
    ├── TrainingError            1  a model could not be trained on this data
    ├── QualityGateError         3  the run finished, and a quality gate in the config was not met
    └── PendingError            75  work is under way elsewhere: run the same command again later

Messages name the thing, the place and the next step. They never hold patient text: no names, dates of birth,
identifiers or clinical words from a record, only files, columns, row numbers and counts.
"""

from __future__ import annotations

from collections.abc import Iterable


class ResolverError(Exception):
    """What went wrong, where, and what to do about it, in one line."""

    exit_code = 1

    def __init__(self, what: str, *, do: str | None = None) -> None:
        self.what = what
        self.do = do
        super().__init__(what if do is None else f"{what} {do}")


class UsageError(ResolverError):
    exit_code = 2


class SettingsError(UsageError):
    """All faults of a config at once, one line each."""

    def __init__(self, where: str, faults: list[str]) -> None:
        self.faults = faults
        lead = f"{where} has {len(faults)} fault{'s' if len(faults) > 1 else ''}:"
        super().__init__(" ".join([lead, faults[0]]) if len(faults) == 1 else "\n  ".join([lead, *faults]))


class InputError(ResolverError):
    pass


class SchemaError(InputError):
    pass


class RunError(ResolverError):
    pass


class LockedError(RunError):
    pass


class DamagedError(RunError):
    pass


class TrainingError(ResolverError):
    pass


class QualityGateError(ResolverError):
    exit_code = 3


class PendingError(ResolverError):
    exit_code = 75


def instead(word: str, known: Iterable[str]) -> str:
    """How to go on where a word is not among those known: the nearest of them, or all."""
    import difflib

    there = list(known)
    near = difflib.get_close_matches(word, there, n=1)
    return f"did you mean {near[0]}?" if near else f"there are {', '.join(there) or 'none'}."
