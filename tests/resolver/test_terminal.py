"""What the terminal gets: completion, colours, amounts, and files that only their owner may read."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from resolver import amounts, cli, files
from resolver.cli import run, screen

PROGRAM = "import sys; from resolver import cli\ntry: cli.main()\nfinally: print(*sys.modules, file=sys.stderr)"


def complete(*words: str) -> tuple[list[str], str]:
    """What bash would be offered after these words, and the modules that it took."""
    environment = {
        **os.environ,
        "_RESOLVER_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(("resolver", *words)),
        "COMP_CWORD": str(len(words)),
    }
    program = PROGRAM.replace("import sys;", "import sys; sys.argv = ['resolver'];")
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)
    return [line.partition(",")[2] for line in done.stdout.splitlines()], done.stderr


def test_completion_offers_commands_without_loading_them() -> None:
    """Names of commands are offered at once: no file of a command is imported for them."""
    offered, loaded = complete("")

    assert offered == list(cli.COMMANDS)
    assert "resolver.cli.run" not in loaded.split()
    assert "augmentation.cli" not in loaded.split()


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["mpi", "lo"], ["lookup"]),
        (["llm", "encoder", "t"], ["train"]),
        (["run", "--on"], ["--only"]),
        (["mpi", "export", "--format", "f"], ["fhir"]),
        (["run", "my.yaml", "--from", "c"], ["cluster"]),
        (["augment", "all", "st"], ["starved"]),
    ],
)
def test_completion_goes_into_commands(words: list[str], offered: list[str]) -> None:
    """Commands within commands, options, stages, presets and the values of a choice are completed."""
    assert complete(*words)[0] == offered


@pytest.mark.parametrize(
    ("terminal", "no_color", "colour"),
    [("xterm", None, None), ("xterm", "", None), ("xterm", "1", False), ("dumb", None, False)],
)
def test_colours(monkeypatch: pytest.MonkeyPatch, terminal: str, no_color: str | None, colour: bool | None) -> None:
    """NO_COLOR and a dumb terminal take colours away from every command; else the terminal decides."""
    monkeypatch.setenv("TERM", terminal)
    monkeypatch.delenv("NO_COLOR", raising=False)
    if no_color is not None:
        monkeypatch.setenv("NO_COLOR", no_color)
    given: list[bool | None] = []
    monkeypatch.setattr(cli.cli, "main", lambda *_, color, **more: given.append(color))
    with pytest.raises(SystemExit):
        cli.main(["demo"])

    assert given == [colour]


def test_no_colours_in_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    """Where the output is no terminal, it holds no control characters."""
    screen.show(
        dict.fromkeys(("records", "rejected", "persons", "candidates", "judges", "judges_why", "report"))
        | {"index": {}, "tiers": {}, "hubs": [], "anomalies": [], "truth": None, "estimated": None, "added_to": None}
        | {"stages": [{"stage": "ingest", "done": True, "seconds": 75.2, "peak_mib": 2048}], "carried_over": None}
        | {"tiers": {"gray": 1}, "cuts": 0},
        run.typed(Path("my data.yaml"), ("run.seed=1",)),
    )

    told = capsys.readouterr().out
    assert "\x1b" not in told
    assert "75 s   2.0 GiB" in told
    assert "1 gray pair; the most doubtful: resolver explain 'my data.yaml' --set run.seed=1 --doubtful" in told


def test_a_run_that_shares_no_record_with_its_base_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    """Where every record changed, as after a change of the column map, the screen says how models are learned anew."""
    names = ("rejected", "persons", "judges", "judges_why", "report", "truth", "estimated")
    common = dict.fromkeys(names) | {"records": 5, "candidates": 7, "added_to": "R1", "index": {}, "tiers": {}}
    common |= {"hubs": [], "anomalies": [], "stages": []}
    for carried, verdicts, said in ((0, 0, True), (3, 4, False), (0, 4, False)):
        screen.show(common | {"carried_over": carried, "verdicts_carried_over": verdicts}, "my.yaml")
        assert ("To learn anew: resolver run my.yaml --full" in capsys.readouterr().out) == said


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (amounts.many(1, "record"), "1 record"),
        (amounts.many(2345, "record"), "2,345 records"),
        (amounts.time(0.42), "0.4 s"),
        (amounts.time(89), "89 s"),
        (amounts.time(600), "10 min"),
        (amounts.time(5400), "1.5 h"),
        (amounts.time(200_000), "2.3 days"),
        (amounts.size(812), "812 bytes"),
        (amounts.size(4.6 * 2**10), "4.6 KiB"),
        (amounts.size(120 * 2**20), "120 MiB"),
        (amounts.size(1000 * 2**20), "1.0 GiB"),
        (amounts.size(2345 * 2**30), "2,345 GiB"),
        (amounts.rate(1234.4), "1,234/s"),
        (amounts.rate(4.51), "4.5/s"),
    ],
)
def test_amounts(said: str, expected: str) -> None:
    """Counts, times, sizes and rates have the unit that a person would choose."""
    assert said == expected


@pytest.fixture
def umask() -> Iterator[Callable[[int], int]]:
    before = os.umask(0o022)
    yield os.umask
    os.umask(before)


@pytest.mark.parametrize(
    ("usual", "folder", "file"), [(0o022, 0o700, 0o600), (0o000, 0o700, 0o600), (0o027, 0o750, 0o640)]
)
def test_what_is_written_is_private(
    tmp_path: Path, umask: Callable[[int], int], usual: int, folder: int, file: int
) -> None:
    """Others can't read what a command writes, whatever the umask; the group can where the umask keeps others out."""
    umask(usual)
    out = tmp_path / "new" / "schema.json"
    with pytest.raises(SystemExit) as leave:
        cli.main(["schema", "--out", str(out)])

    assert leave.value.code == 0
    assert stat.S_IMODE(out.stat().st_mode) == file
    assert stat.S_IMODE(out.parent.stat().st_mode) == folder
    assert umask(usual) == usual
    with files.private(), pytest.raises(FileExistsError):
        out.parent.mkdir()
