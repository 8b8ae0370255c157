"""The command line: one program, one file per family of commands, each loaded only when it is called.

Errors become one line and an exit code here (see resolver/errors.py); --debug shows the traceback.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from typing import Any, NoReturn

import click

from resolver import __version__, files
from resolver.cli.lazy import Lazy
from resolver.errors import ResolverError

# What a person wants -> command -> where it is defined and its line in --help, which must not need an import.
FAMILIES: dict[str, dict[str, tuple[str, str]]] = {
    "Start": {
        "demo": ("resolver.cli.run:demo", "The whole way on the bundled sample."),
        "init": ("resolver.cli.init:init", "Look at data and write a config for it."),
        "check": ("resolver.cli.check:check", "Look over data and config before a long run."),
        "schema": ("resolver.cli.schema:schema", "The JSON Schema of a config, for editors."),
    },
    "Run": {
        "run": ("resolver.cli.run:run", "Records in, Master Patient Index out."),
        "train": ("resolver.cli.train:train", "Fit the judges to labelled populations."),
    },
    "Understand": {
        "explain": ("resolver.cli.explain:explain", "Why two records are, or are not, one person."),
        "evaluate": ("resolver.cli.evaluate:evaluate", "Compare a run with the truth."),
        "report": ("resolver.cli.report:report", "Write the report of a run as one HTML file."),
    },
    "Look up and correct": {
        "mpi": ("resolver.cli.mpi:mpi", "Look into the index, correct it, export it."),
        "label": ("resolver.cli.label:label", "Answer questions about pairs; learn how good a run is."),
    },
    "Judge with a language model": {
        "llm": ("llm_classifier.cli:llm", "Its data set, training, promotion, serving."),
        "infer": ("llm_classifier.cli.infer:infer", "A run with a language model apart from it."),
        "pods": ("llm_classifier.cli.infer:pods", "Workers of infer: see them, end those that should be gone."),
    },
    "Make test beds": {
        "synthea": ("synthea_runner.cli:synthea", "Make synthetic populations."),
        "augment": ("augmentation.cli:augment", "Make a hard, labelled test bed from a population."),
        "data": ("synthea_runner.cli:data", "Pin data sets and check that they did not change."),
    },
}
COMMANDS = {name: command for family in FAMILIES.values() for name, command in family.items()}


@click.group(
    cls=Lazy,
    commands_at=COMMANDS,
    under={wanted: tuple(family) for wanted, family in FAMILIES.items()},
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="resolver")
@click.option("--debug", is_flag=True, help="Show tracebacks and debug messages.")
def cli(debug: bool) -> None:
    """Finds out which patient records belong to the same person.

    \b
    resolver demo                          see it work on a bundled synthetic sample
    resolver init DATA --out my.yaml       write a config for your data
    resolver check my.yaml                 what the data is like, what a run will take
    resolver run my.yaml                   records in, Master Patient Index out
    """
    logging.basicConfig(level=logging.DEBUG if debug else logging.WARNING, format="%(levelname)s %(name)s: %(message)s")


def main(arguments: list[str] | None = None) -> None:
    """Entry point: runs a command and turns errors into one line and an exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    stopped: list[int] = []
    try:
        with _noticing(stopped), files.private():
            result: Any = cli.main(args=arguments, prog_name="resolver", standalone_mode=False, color=_colour())
    except click.exceptions.Exit as leave:
        sys.exit(leave.exit_code)
    except click.ClickException as error:
        error.show()
        if example := _example(error):
            sys.stderr.write(f"For example: {example}\n")
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        _stop()
    except Exception as error:  # noqa: BLE001 (the last place to make a line of it)
        if stopped:  # a library made another error of the interrupt
            _stop()
        line, code = explain_failure(error)
        if "--debug" in arguments:
            sys.stderr.write(trace(error))
        sys.stderr.write(f"resolver: {line}\n")
        sys.exit(code)
    sys.exit(result if isinstance(result, int) else 0)


def _example(error: click.ClickException) -> str | None:
    """The first example in the help of the command that was used wrongly."""
    context = error.ctx if isinstance(error, click.UsageError) else None
    if context is None or isinstance(context.command, click.Group):
        return None
    lines = (line.strip() for line in (context.command.help or "").splitlines())
    return next((line for line in lines if line.startswith(f"{context.command_path} ")), None)


def _colour() -> bool | None:
    """False where the environment wants none; None: colours where the output is a terminal."""
    return False if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" else None


@contextlib.contextmanager
def _noticing(stopped: list[int]) -> Iterator[None]:
    """Notes Ctrl-C in `stopped`, and lets it interrupt as always."""

    def note(number: int, frame: Any) -> None:
        stopped.append(number)
        signal.default_int_handler(number, frame)

    usual = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if usual:
        signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        if usual:
            signal.signal(signal.SIGINT, signal.default_int_handler)


def _stop() -> NoReturn:
    sys.stderr.write("\nStopped. What was finished is kept: run the same command again to go on.\n")
    sys.exit(130)


# Exceptions that speak of code or SQL. Those of others can quote values from records.
HARMLESS = (
    *("AssertionError", "AttributeError", "ImportError", "ModuleNotFoundError", "NameError", "NotImplementedError"),
    *("TypeError", "BinderException", "CatalogException", "ParserException"),
)


def trace(error: BaseException) -> str:
    """The traceback with the exceptions behind it; of messages, those that can't hold text from records."""
    lines: list[str] = []
    seen: BaseException | None = error
    while seen is not None:
        name = type(seen).__name__
        says = str(seen) if isinstance(seen, ResolverError) or name in HARMLESS else "(its message may quote records)"
        lines = [
            "Traceback (most recent call last):\n",
            *traceback.format_tb(seen.__traceback__),
            f"{name}: {says}\n",
            *(["\nand because of it:\n\n"] if lines else []),
            *lines,
        ]
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
    return "".join(lines)


def explain_failure(error: Exception) -> tuple[str, int]:
    """One line and an exit code for any exception, without text from records."""
    if isinstance(error, ResolverError):
        return str(error), error.exit_code
    text = str(error)
    if getattr(error, "errno", None) == errno.ENOSPC or "No space left on device" in text:
        return "The disk is full. What was finished is kept: make room and run the same command again.", 1
    if type(error).__name__ == "OutOfMemoryException":
        return "The database ran out of memory. Raise run.memory_gib, or lower run.threads, and run again.", 1
    if isinstance(error, PermissionError) and error.filename:
        return f"{files.target(error.filename)} can't be opened: permission denied. Check who owns it.", 1
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{files.target(error.filename)} can't be opened: {error.strerror.lower()}. Check the path.", 1
    # Messages of other libraries can quote values from records, so only their kind is shown.
    return f"{type(error).__name__} in the program. Run again with --debug to see where; finished stages are kept.", 1
