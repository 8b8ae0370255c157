"""The program as a whole: what becomes of errors, of Ctrl-C, and of what was typed wrong."""

from __future__ import annotations

import signal
from pathlib import Path

import click
import pytest

from resolver import cli, judges
from resolver.cli import screen
from resolver.errors import UsageError


def code(*arguments: str) -> int:
    with pytest.raises(SystemExit) as left:
        cli.main(list(arguments))
    return int(left.value.code or 0)


def test_a_misspelt_command_is_answered_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    """Wrong usage ends with 2 and names the command that was meant."""
    assert code("chekc", "my.yaml") == 2
    assert "did you mean check?" in capsys.readouterr().err


def test_ctrl_c_ends_with_130_whatever_a_library_makes_of_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An interrupt that a library turned into an error of its own still counts as one, and the handler is put back."""

    @click.command()
    def work() -> None:
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise RuntimeError("query interrupted") from None

    monkeypatch.setattr(cli.Lazy, "resolve_command", lambda self, ctx, args: ("work", work, []))
    assert code("work") == 130
    assert "run the same command again" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_place_that_cant_be_written_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder that can't be made ends in one line with its path."""
    (tmp_path / "file").touch()
    data = tmp_path / "desk.csv"
    data.write_text("id,last,first\n1,A,B\n2,C,D\n", encoding="utf-8")

    assert code("init", str(data), "--out", str(tmp_path / "file" / "my.yaml")) == 1
    assert str(tmp_path / "file") in capsys.readouterr().err


def test_a_fault_of_a_source_is_reported_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An unknown key in the only source does not count as having no source, too."""
    config = tmp_path / "my.yaml"
    config.write_text("run: {dir: runs}\nsources:\n  - {kind: fhir, path: a, name: b, nmae: c}\n", encoding="utf-8")

    assert code("run", str(config)) == 2
    assert "has 1 fault: sources.0.nmae: unknown key; did you mean name?" in capsys.readouterr().err


@pytest.mark.parametrize("given", ["nonsense", "=3", "link..x=3", "link.max_block=[1"])
def test_a_malformed_set_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], given: str) -> None:
    """--set without a whole key or with a value that is no YAML ends with 2 and one line."""
    config = tmp_path / "my.yaml"
    config.write_text("run: {dir: runs}\nsources:\n  - {kind: fhir, path: a, name: b}\n", encoding="utf-8")

    assert code("run", str(config), "--set", given) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_judge_that_nobody_brings_is_refused_before_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An unknown judge ends the run before anything is read, even a source."""
    config = tmp_path / "my.yaml"
    config.write_text("run: {dir: runs}\nsources:\n  - {kind: fhir, path: a, name: b}\n", encoding="utf-8")

    assert code("run", str(config), "--set", "adjudicate.judges=[demographic, magic]") == 2
    assert "There is no judge magic" in capsys.readouterr().err
    with pytest.raises(UsageError, match="no judge magic"):
        judges.find("magic")


def test_figures_on_the_screen_are_those_of_the_report(capsys: pytest.CaptureFixture[str]) -> None:
    """Neither screen nor report rounds a figure up: 0.96247 is 0.9624 in both, and 0.99996 is not 1."""
    from resolver import report

    for share in (0.96247, 0.99996, 1.0, 0.5):
        assert screen.figure(share) == report._figure(share)
    assert screen.figure(0.99996) == "0.9999"
