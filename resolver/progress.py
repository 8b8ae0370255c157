"""Shows how far a step is: a bar on a terminal, a plain line now and then elsewhere, nothing where JSON is wanted.

Knows nothing of what is counted. Labels are fixed words, never values from records.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import Protocol

from resolver import amounts

PLAIN_SECONDS = 10.0  # between two lines where there is no terminal


class Step(Protocol):
    def advance(self, count: int) -> None: ...
    def total(self, count: int) -> None: ...


class Progress:
    """Says nothing. The parent of those that do."""

    @contextlib.contextmanager
    def step(self, label: str, total: int | None = None, unit: str = "rows") -> Iterator[Step]:
        """A step of work; `advance` counts units done."""
        yield _Silent()

    def say(self, text: str) -> None:
        """One line for the person watching."""


class _Silent:
    def advance(self, count: int) -> None:
        pass

    def total(self, count: int) -> None:
        pass


class _Plain:
    def __init__(self, label: str, total: int | None, unit: str) -> None:
        self.label, self.of, self.unit = label, total, unit
        self.done, self.began = 0, time.monotonic()
        self.shown = self.began

    def total(self, count: int) -> None:
        self.of = count

    def advance(self, count: int) -> None:
        self.done += count
        now = time.monotonic()
        if now - self.shown >= PLAIN_SECONDS:
            self.shown = now
            share = f" of {self.of:,}" if self.of else ""
            rate = self.done / max(now - self.began, 1e-9)
            left = f", {amounts.time((self.of - self.done) / rate)} left" if self.of and rate else ""
            sys.stderr.write(f"  {self.label}: {self.done:,}{share} {self.unit}, {amounts.rate(rate)}{left}\n")


class PlainProgress(Progress):
    """Lines on standard error, for logs and pipes."""

    @contextlib.contextmanager
    def step(self, label: str, total: int | None = None, unit: str = "rows") -> Iterator[Step]:
        sys.stderr.write(f"{label}\n")
        yield _Plain(label, total, unit)

    def say(self, text: str) -> None:
        sys.stderr.write(f"{text}\n")


class BarProgress(Progress):
    """A bar with count, rate and time left, on a terminal."""

    def __init__(self) -> None:
        from rich.console import Console

        self.console = Console(stderr=True)

    @contextlib.contextmanager
    def step(self, label: str, total: int | None = None, unit: str = "rows") -> Iterator[Step]:
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            ProgressColumn,
            SpinnerColumn,
            Task,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )
        from rich.progress import Progress as Bars
        from rich.text import Text

        class Rate(ProgressColumn):
            def render(self, task: Task) -> Text:
                return Text(amounts.rate(task.speed) if task.speed else "")

        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn(unit),
            Rate(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        with Bars(*columns, console=self.console, transient=True) as bars:
            task = bars.add_task(label, total=total)

            class Bar:
                def advance(self, count: int) -> None:
                    bars.advance(task, count)

                def total(self, count: int) -> None:
                    bars.update(task, total=count)

            yield Bar()

    def say(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False)


def for_terminal(quiet: bool) -> Progress:
    """The progress that fits where standard error goes."""
    if quiet:
        return Progress()
    return BarProgress() if sys.stderr.isatty() else PlainProgress()
