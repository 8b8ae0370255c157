"""Runs the code blocks of a page in the order in which they stand, in this process, and holds outputs against it."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pytest

from resolver import cli

ROOT = Path(__file__).parents[2]
HEREDOC = re.compile(r"cat > (\S+) <<'(\w+)'")


@dataclass(frozen=True)
class Block:
    """A piece of code in a page: what is between fences, or indented by four."""

    kind: str  # the word after the fence; empty where indented
    text: str
    line: int


def blocks(page: Path) -> Iterator[Block]:
    kind: str | None = None
    held: list[str] = []
    began = 0
    for number, line in enumerate([*page.read_text(encoding="utf-8").splitlines(), "."], 1):
        if line.startswith("```"):
            if kind is None:
                kind, held, began = line[3:].strip(), [], number
            else:
                yield Block(kind, "\n".join(held), began)
                kind, held = None, []
        elif kind is not None:
            held.append(line)
        elif line.startswith("    "):
            began = began if held else number
            held.append(line[4:])
        elif line or not held:
            if held:
                yield Block("", "\n".join(held), began)
            held = []
        else:
            held.append("")


def commands(text: str) -> Iterator[tuple[str, str | None]]:
    """Each command of a block; for a file that is written (cat > FILE), the file and its content."""
    lines = iter(text.splitlines())
    for line in lines:
        while line.endswith("\\"):
            line = line[:-1] + next(lines)
        if found := HEREDOC.match(line):
            content = []
            for inner in lines:
                if inner == found[2]:
                    break
                content.append(inner + "\n")
            yield found[1], "".join(content)
        else:
            for part in line.split("&&"):
                if words := shlex.split(part, comments=True):
                    yield shlex.join(words), None


def run(command: str) -> tuple[int, str]:
    """A command of the program: exit code, and standard output."""
    program, *arguments = shlex.split(command)
    assert program == "resolver", f"{command}: only resolver is run here"
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as leave:
        cli.main(arguments)
    assert isinstance(leave.value.code, int)
    assert leave.value.code in (0, 3, 75), f"{command}: {err.getvalue()[-400:]}"
    return leave.value.code, out.getvalue()


def query(text: str) -> str:
    """The rows of a query, values between spaces."""
    with duckdb.connect() as con:
        rows = con.execute(text).fetchall()
    return "\n".join(" ".join(str(value) for value in row) for row in rows)


def missing(expected: str, output: str) -> str | None:
    """The first line of `expected` that the output lacks, in order; ... stands for anything. Bars don't count."""

    def plain(line: str) -> str:
        return " ".join(re.sub("[│█▌▏]", " ", line).split())

    at = 0
    lines = [plain(line) for line in output.splitlines()]
    for line in expected.splitlines():
        if plain(line) == "...":
            continue
        pattern = re.compile(r".*".join(re.escape(part) for part in plain(line).split("...")))
        at = next((place + 1 for place in range(at, len(lines)) if pattern.search(lines[place])), 0)
        if at == 0:
            return line
    return None


class Pages:
    """The functions above, for tests, which can't import a conftest."""

    root = ROOT
    blocks = staticmethod(blocks)
    commands = staticmethod(commands)
    run = staticmethod(run)
    query = staticmethod(query)
    missing = staticmethod(missing)


@pytest.fixture(scope="session")
def pages() -> type[Pages]:
    return Pages


@pytest.fixture
def follow(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path, Path], None]:
    """Do what a page says in a folder. Blocks of sh (resolver alone), bash and sql are run; text is what they print."""

    def do(page: Path, folder: Path) -> None:
        monkeypatch.chdir(folder)
        monkeypatch.setenv("COLUMNS", "150")
        output = ""
        for block in blocks(page):
            if block.kind == "sql":
                output = query(block.text)
            elif block.kind == "bash":
                done = subprocess.run(["bash", "-e", "-c", block.text], capture_output=True, text=True, check=False)
                assert done.returncode == 0, f"{page.name}, line {block.line}: {done.stderr}"
                output = done.stdout
            elif block.kind == "sh":
                output = ""
                for command, content in commands(block.text):
                    if content is None:
                        output += run(command)[1] + "\n"
                    else:
                        Path(command).write_text(content, encoding="utf-8")
            elif block.kind == "text":
                line = missing(block.text, output)
                assert line is None, f"{page.name}, line {block.line}: not printed: {line}\nIt printed:\n{output}"

    return do
