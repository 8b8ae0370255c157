"""The command line: errors become a line and an exit code, and nothing heavy is imported before it is needed."""

from __future__ import annotations

import errno
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import duckdb
import pytest

from resolver import cli, errors

HEAVY = ("duckdb", "lightgbm", "numpy", "polars", "pyarrow", "pydantic", "rich", "splink", "jinja2", "scipy")


def every_error() -> list[type[errors.ResolverError]]:
    found: list[type[errors.ResolverError]] = [errors.ResolverError]
    for one in found:
        found += one.__subclasses__()
    return found


def fail_with(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def raising(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(cli.cli, "main", raising)


def test_the_tree_of_errors_is_as_drawn() -> None:
    """Each error has the exit code that the drawing at the top of its file gives it, and none is missing there."""
    drawn = {}
    for line in (errors.__doc__ or "").splitlines():
        words = line.replace("├──", "").replace("└──", "").replace("│", "").split()
        if words and words[0].endswith("Error"):
            drawn[words[0]] = int(words[1])

    assert drawn == {one.__name__: one.exit_code for one in every_error() if one.__module__ == "resolver.errors"}
    assert set(drawn.values()) == {1, 2, 3, 75}


@pytest.mark.parametrize("kind", [one for one in every_error() if one is not errors.SettingsError])
def test_each_error_is_one_line_and_one_code(
    kind: type[errors.ResolverError], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What went wrong and what to do come as one line on standard error, with the error's exit code."""
    fail_with(monkeypatch, kind("It broke.", do="Mend it."))
    with pytest.raises(SystemExit) as leave:
        cli.main(["run"])

    assert leave.value.code == kind.exit_code
    assert capsys.readouterr() == ("", "resolver: It broke. Mend it.\n")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "disk is full"),
        (duckdb.IOException("Could not write: No space left on device"), "disk is full"),
        (duckdb.OutOfMemoryException("failed to allocate"), "run.memory_gib"),
        (PermissionError(errno.EACCES, "Permission denied", "/data/records.csv"), "/data/records.csv"),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "/out/.my.yaml.tmp"), "/out/my.yaml can't"),
        (duckdb.ConversionException("Could not convert string 'Lindqvist' to INT32"), "ConversionException"),
        (ValueError("born 1980-02-03"), "ValueError"),
    ],
)
def test_errors_of_others_quote_nothing(
    error: Exception, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An error of a library is one line without its own words, which can quote records; --debug adds where it was."""
    for arguments in (["run"], ["--debug", "run"]):
        fail_with(monkeypatch, error)
        with pytest.raises(SystemExit) as leave:
            cli.main(arguments)
        told = capsys.readouterr().err
        assert leave.value.code == 1
        assert said in told.splitlines()[-1]
        assert "Lindqvist" not in told
        assert "1980" not in told
        assert ("Traceback" in told) == ("--debug" in arguments)


def test_stopping(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Ctrl-C ends with 130 and says that nothing is lost."""
    fail_with(monkeypatch, KeyboardInterrupt())
    with pytest.raises(SystemExit) as leave:
        cli.main(["run"])

    assert leave.value.code == 130
    assert "same command again" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["rum"], "did you mean run?"),
        (["evalute", "x.yaml"], "did you mean evaluate?"),
        (["mpi", "lookupp"], "did you mean lookup?"),
        (["augment", "al"], "did you mean all?"),
        (["xyzzy"], "there are demo, init"),
        (["run"], "CONFIG"),
        (["run"], "For example: resolver run my.yaml"),
        (["mpi", "link", "my.yaml", "a"], "For example: resolver mpi link my.yaml north:17"),
        (["run", "x.yaml", "--form", "link"], "--from"),
    ],
)
def test_wrong_use(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A command or option that does not exist ends with 2 and names the nearest one."""
    with pytest.raises(SystemExit) as leave:
        cli.main(arguments)

    assert leave.value.code == 2
    assert said in capsys.readouterr().err


def test_no_such_stage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A stage that does not exist ends with 2 and names the nearest, or those that do."""
    (tmp_path / "c.yaml").write_text("run: {dir: run}\nsources: [{kind: synthea, path: data}]\n")
    for given, said in (("clusters", "did you mean cluster?"), ("xyzzy", "ingest, link")):
        with pytest.raises(SystemExit) as leave:
            cli.main(["run", str(tmp_path / "c.yaml"), "--from", given])
        assert leave.value.code == 2
        assert said in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["run", "--help"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    """Help is there at once: no library that takes long to load is imported for it."""
    program = (
        "import sys; from resolver import cli\n"
        f"try: cli.main({arguments!r})\n"
        f"except SystemExit as leave: print('LOADED', leave.code, [one for one in {HEAVY!r} if one in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.splitlines()[-1] == "LOADED 0 []"


def test_the_list_of_stages_imports_nothing_heavy() -> None:
    """A run that finds nothing to do needs no library but the database: stages import theirs when they are done."""
    program = (
        "import sys, resolver.pipeline, resolver.cli.screen\n"
        f"print([one for one in {HEAVY!r} if one in sys.modules and one not in ('duckdb', 'pydantic')])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


def leaves(command: click.Command, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command that does something, by what is typed."""
    if not isinstance(command, click.Group):
        yield path, command
        return
    context = click.Context(command, info_name=path[-1])
    for name in command.list_commands(context):
        inner = command.get_command(context, name)
        assert inner is not None
        yield from leaves(inner, (*path, name))


def test_every_command_has_an_example_and_json() -> None:
    """Each --help shows the command at work, and a script can have JSON; the schema is JSON as it is."""
    lacking = [
        " ".join(path)
        for path, command in leaves(cli.cli, ("resolver",))
        if " ".join(path) not in (command.help or "")
        or (path[-1] != "schema" and not any("--json" in one.opts for one in command.params))
    ]

    assert lacking == []


def test_every_command_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    """Every command of the list can be loaded and has a help of its own."""
    for name in cli.COMMANDS:
        with pytest.raises(SystemExit) as leave:
            cli.main([name, "--help"])
        shown: Any = capsys.readouterr().out
        assert leave.value.code == 0, name
        assert "Usage" in shown
