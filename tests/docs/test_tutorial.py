"""The tutorial does what it says."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.mark.slow
def test_the_tutorial(sample_run: Any, pages: Any, follow: Callable[[Path, Path], None], tmp_path: Path) -> None:
    """Every command of it works, in order, and prints what the page shows."""
    shutil.copytree(sample_run.run, tmp_path / "runs" / "demo")  # so that the demo has little left to do
    follow(pages.root / "docs" / "tutorial.md", tmp_path)


@pytest.mark.parametrize(
    ("expected", "line"),
    [
        ("a\nc", None),
        ("b  ... 2\n...\nd", None),
        ("d\na", "a"),
        ("a\nb 3", "b 3"),
    ],
)
def test_what_is_not_printed_is_seen(pages: Any, expected: str, line: str | None) -> None:
    """Lines must come in the order shown; bars and widths don't count."""
    assert pages.missing(expected, "a\nb │██ 1 2\nc\nd\n") == line
